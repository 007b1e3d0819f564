package proc

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// drawn returns a loopback address that no other test uses.
func drawn() string {
	return fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(241), 1+rand.IntN(254), 1+rand.IntN(254))
}

func listenOn(t *testing.T, host string) *net.TCPListener {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.(*net.TCPListener)
}

func portOf(listener net.Listener) uint16 {
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

// connected returns both ends of one connection.
func connected(t *testing.T, listener *net.TCPListener) (client, server *net.TCPConn) {
	t.Helper()
	conn, err := dialRetry(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	accepted, err := listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return conn.(*net.TCPConn), accepted
}

// connections asks for the connections to the listeners; there must be as many as wanted. A port alone is not enough to
// tell: other tests connect at the same time, and their ports are drawn from the same numbers.
func connections(t *testing.T, want int, listeners ...*net.TCPListener) []Conn {
	t.Helper()
	var ports []uint16
	ours := map[string]bool{}
	for _, listener := range listeners {
		ports = append(ports, portOf(listener))
		ours[listener.Addr().String()] = true
	}
	sockets, err := Default().Connections(ports)
	if err != nil {
		t.Fatal(err)
	}
	if sockets.Method != Netlink {
		t.Fatalf("by %s: %v", sockets.Method, sockets.Why)
	}
	conns := slices.DeleteFunc(sockets.Conns, func(conn Conn) bool { return !ours[conn.Remote.String()] })
	if len(conns) != want {
		t.Fatalf("%d connections, not %d: %+v", len(conns), want, conns)
	}
	return conns
}

func inState(t *testing.T, state string, listener *net.TCPListener) Conn {
	t.Helper()
	var found Conn
	testkit.Eventually(t, state, func() bool {
		conns := connections(t, 1, listener)
		found = conns[0]
		return found.State == state
	})
	return found
}

func TestAConnectionIsSeenFromItsOwnSideOnly(t *testing.T) {
	t.Parallel()
	listener := listenOn(t, drawn())
	client, _ := connected(t, listener)
	conn := connections(t, 1, listener)[0]
	if conn.State != Established || conn.Local.String() != client.LocalAddr().String() || conn.Remote.String() != client.RemoteAddr().String() {
		t.Errorf("%+v", conn)
	}
	if conn.Inode == 0 || conn.UID != uint32(os.Getuid()) || conn.RecvQueue != 0 || !conn.SilentKnown || conn.Silent > time.Minute {
		t.Errorf("%+v", conn)
	}
}

func TestAConnectionWhoseSYNIsDroppedIsSeen(t *testing.T) {
	t.Parallel()
	remote, _ := deaf(t)
	testkit.Eventually(t, "SYN_SENT", func() bool {
		sockets, err := Default().Connections([]uint16{remote.Port()})
		if err != nil {
			t.Fatal(err)
		}
		for _, conn := range sockets.Conns {
			if conn.State == SynSent {
				if conn.Inode == 0 || conn.SilentKnown || conn.Remote != remote {
					t.Errorf("%+v", conn)
				}
				return true
			}
		}
		return false
	})
}

// deaf listens with a backlog that is full, and returns where, and the sockets that try to connect.
func deaf(t *testing.T) (netip.AddrPort, []int) {
	t.Helper()
	newSocket := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	address := netip.MustParseAddr(drawn())
	server := newSocket()
	if err := unix.Bind(server, &unix.SockaddrInet4{Addr: address.As4()}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(server, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(server)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	clients := []int{}
	for range 4 {
		fd := newSocket()
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: address.As4(), Port: port}); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		clients = append(clients, fd)
	}
	return netip.AddrPortFrom(address, uint16(port)), clients
}

func TestClosingConnectionsAreTold(t *testing.T) {
	t.Parallel()
	t.Run("the camera closed and we did not", func(t *testing.T) {
		t.Parallel()
		listener := listenOn(t, drawn())
		_, server := connected(t, listener)
		server.Close()
		if conn := inState(t, CloseWait, listener); conn.RecvQueue != 1 || conn.Inode == 0 {
			t.Errorf("the end of the stream counts as one: %+v", conn)
		}
	})
	t.Run("we closed and the camera did not", func(t *testing.T) {
		t.Parallel()
		listener := listenOn(t, drawn())
		client, _ := connected(t, listener)
		client.CloseWrite()
		if conn := inState(t, FinWait2, listener); conn.Inode == 0 {
			t.Errorf("%+v", conn)
		}
		client.Close() // from here on it belongs to the kernel alone
		testkit.Eventually(t, "the socket to lose its owner", func() bool {
			return connections(t, 1, listener)[0].Inode == 0
		})
	})
	t.Run("both closed", func(t *testing.T) {
		t.Parallel()
		listener := listenOn(t, drawn())
		client, server := connected(t, listener)
		client.Close()
		server.Close()
		if conn := inState(t, TimeWait, listener); conn.Inode != 0 || conn.SilentKnown {
			t.Errorf("%+v", conn)
		}
	})
}

func TestWhatWaitsToBeReadIsCounted(t *testing.T) {
	t.Parallel()
	listener := listenOn(t, drawn())
	client, server := connected(t, listener)
	if _, err := server.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "1000 bytes", func() bool { return connections(t, 1, listener)[0].RecvQueue == 1000 })
	if _, err := client.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if queue := connections(t, 1, listener)[0].RecvQueue; queue != 0 {
		t.Errorf("read, and still %d", queue)
	}
}

func TestSilenceGrowsUntilDataArrives(t *testing.T) {
	t.Parallel()
	listener := listenOn(t, drawn())
	began := time.Now()
	client, server := connected(t, listener)
	silent := func() time.Duration { return connections(t, 1, listener)[0].Silent }
	testkit.Eventually(t, "half a second of silence", func() bool { return silent() >= 500*time.Millisecond })
	if longest := time.Since(began) + 50*time.Millisecond; silent() > longest {
		t.Errorf("silent for %v, since %v", silent(), longest)
	}
	// What we send is not what the camera sends.
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if silent() < 500*time.Millisecond {
		t.Error("our own data ended the silence")
	}
	spoke := time.Now()
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the end of the silence", func() bool { return silent() <= time.Since(spoke)+50*time.Millisecond })
}

func TestIPv6AndMappedAddressesAreTold(t *testing.T) {
	t.Parallel()
	t.Run("IPv6", func(t *testing.T) {
		t.Parallel()
		listener := listenOn(t, "::1")
		connected(t, listener)
		if conn := connections(t, 1, listener)[0]; conn.Remote != netip.AddrPortFrom(netip.IPv6Loopback(), portOf(listener)) {
			t.Errorf("%+v", conn)
		}
	})
	t.Run("IPv4 through an IPv6 socket", func(t *testing.T) {
		t.Parallel()
		listener := listenOn(t, drawn())
		mapped(t, listener)
		if conn := connections(t, 1, listener)[0]; conn.Remote.String() != listener.Addr().String() || !conn.Local.Addr().Is4() {
			t.Errorf("%+v", conn)
		}
	})
}

// mapped connects an IPv6 socket to an IPv4 listener.
func mapped(t *testing.T, listener *net.TCPListener) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	to := netip.MustParseAddrPort(listener.Addr().String())
	if err := unix.Connect(fd, &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}); err != nil {
		t.Fatal(err)
	}
}

func TestBothWaysToLookAgree(t *testing.T) {
	t.Parallel()
	var ports []uint16
	listen := func(host string) *net.TCPListener {
		listener := listenOn(t, host)
		ports = append(ports, portOf(listener))
		return listener
	}
	plain := listen(drawn())
	connected(t, plain)
	_, server := connected(t, plain)
	if _, err := server.Write([]byte("waiting")); err != nil {
		t.Fatal(err)
	}
	connected(t, listen("::1"))
	mapped(t, listen(drawn()))
	half, _ := connected(t, listen(drawn()))
	half.CloseWrite()
	_, closer := connected(t, listen(drawn()))
	closer.Close()
	client, server := connected(t, listen(drawn()))
	client.Close()
	server.Close()
	remote, _ := deaf(t)
	ports = append(ports, remote.Port())
	slices.Sort(ports)

	settled := func(conns []Conn, err error) []Conn {
		if err != nil {
			t.Fatal(err)
		}
		for i := range conns {
			conns[i].Silent, conns[i].SilentKnown = 0, false // which the tables do not tell
			conns[i].Received, conns[i].ReceivedKnown = 0, false
		}
		slices.SortFunc(conns, func(a, b Conn) int {
			return cmp.Or(a.Remote.Compare(b.Remote), a.Local.Compare(b.Local))
		})
		return conns
	}
	var one, two []Conn
	testkit.Eventually(t, "both to say the same, and every state to be there", func() bool { // each is read at its own moment
		one = settled(dumpConnections(ports, wantedStates))
		two = settled(readNetTCP("/proc/net", ports))
		states := map[string]bool{}
		for _, conn := range one {
			states[conn.State] = true
		}
		return slices.Equal(one, two) && states[Established] && states[SynSent] && states[FinWait2] && states[CloseWait] && states[TimeWait]
	})
	standing := slices.DeleteFunc(slices.Clone(one), func(conn Conn) bool { return !Takes(conn.State) })
	for name, f := range map[string]FS{"sock_diag": Default(), "/proc/net": {Root: "/proc/self"}} {
		testkit.Eventually(t, "those that take a slot, by "+name, func() bool {
			sockets, err := f.Standing(ports)
			return err == nil && slices.Equal(settled(sockets.Conns, err), standing)
		})
	}
	if len(one) < 9 || slices.ContainsFunc(one, func(conn Conn) bool { return conn.State == Listen }) {
		t.Errorf("%d connections: %+v", len(one), one)
	}
}

func TestNoPortMeansNoConnection(t *testing.T) {
	t.Parallel()
	listener := listenOn(t, drawn())
	connected(t, listener)
	connections(t, 0)
	connections(t, 1, listener, listener)
}

// only returns the one connection to the listener.
func only(t *testing.T, conns []Conn, listener *net.TCPListener) Conn {
	t.Helper()
	ours := slices.DeleteFunc(slices.Clone(conns), func(conn Conn) bool { return conn.Remote.String() != listener.Addr().String() })
	if len(ours) != 1 {
		t.Fatalf("%d connections: %+v", len(ours), conns)
	}
	return ours[0]
}

func TestWithoutNetlinkTheTablesOfProcAreRead(t *testing.T) {
	t.Parallel()
	listener := listenOn(t, drawn())
	connected(t, listener)
	want := connections(t, 1, listener)[0]
	answer := ask(t, Question{Port: portOf(listener), Refuse: "netlink", Errno: int(unix.EPERM)}, nil)
	if answer.Method != Procfs || !strings.Contains(answer.Why, "operation not permitted") {
		t.Fatalf("%+v", answer)
	}
	conn := only(t, answer.Sockets, listener)
	if conn.SilentKnown || conn.Inode != want.Inode || conn.Local != want.Local || conn.Remote != want.Remote || conn.PID != os.Getpid() {
		t.Errorf("%+v, not %+v", conn, want)
	}
}

func TestConnections_ordinaryUserSeesNoHolder(t *testing.T) {
	t.Parallel()
	needRoot(t, "asks as another user")
	listener := listenOn(t, drawn())
	connected(t, listener)
	answer := ask(t, Question{Port: portOf(listener)}, asNobody())
	if answer.Method != Netlink {
		t.Fatalf("%+v", answer)
	}
	if conn := only(t, answer.Sockets, listener); !conn.SilentKnown || conn.PID != 0 || conn.Program != "" || conn.Inode == 0 {
		t.Errorf("%+v", conn)
	}
}

func TestConnectionsOfAContainerAreReadThere(t *testing.T) {
	t.Parallel()
	needRoot(t, "makes a network namespace")
	other := actor(t, "loopback", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET})
	sockets, err := Default().ConnectionsOf(other.Process.Pid, []uint16{5554})
	if err != nil || len(sockets.Conns) != 1 || sockets.Method != Procfs || sockets.Conns[0].Remote.String() != "127.0.0.1:5554" {
		t.Fatalf("%+v, %v", sockets, err)
	}
	owned, err := Default().Own(sockets.Conns, nil)
	if err != nil || owned[0].PID != other.Process.Pid {
		t.Errorf("%+v, %v", owned, err)
	}
	ours, err := Default().Namespace(os.Getpid(), "net")
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err := Default().Namespace(other.Process.Pid, "net"); theirs == ours || err != nil {
		t.Errorf("namespace %d, %v", theirs, err)
	}
	here, err := Default().Connections([]uint16{5554})
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range here.Conns {
		if conn.Inode == sockets.Conns[0].Inode {
			t.Errorf("seen from here: %+v", conn)
		}
	}
}

func TestEveryStateHasAName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for state := range uint8(20) {
		name := stateName(state)
		if seen[name] || name == "" || strings.HasPrefix(name, "STATE_") != (state == 0 || state > 13) {
			t.Errorf("state %d is %q", state, name)
		}
		seen[name] = true
	}
}
