package slot

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// counted demands these numbers of own, cooling and foreign slots.
func counted(t *testing.T, table Table, address netip.AddrPort, what string, own, cooling, foreign int) Count {
	t.Helper()
	c, err := table.Count(address, 9, 0)
	testkit.Check(t, err)
	if c.Own != own || c.Cooling != cooling || c.Foreign != foreign {
		t.Errorf("%s: own %d, cooling %d, foreign %d; want %d, %d, %d (%v)", what, c.Own, c.Cooling, c.Foreign, own, cooling, foreign, c.Holders)
	}
	if c.Used() != own+cooling+foreign || c.Free() != 9-c.Used() {
		t.Errorf("%s: used %d, free %d", what, c.Used(), c.Free())
	}
	return c
}

func write(t *testing.T, table Table, lease ledger.Lease) *ledger.Held {
	t.Helper()
	if lease.Deadline == 0 {
		lease.Deadline = proc.BootTime() + time.Minute
	}
	held, err := table.Ledger.Write(lease)
	testkit.Check(t, err)
	return held
}

func TestAnOwnersLeasesAndSocketsAreTheSameSlots(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	camera, elsewhere := newSite(t), newSite(t)
	counted(t, table, camera.address, "nothing", 0, 0, 0)
	one := write(t, table, ledger.Lease{Kind: ledger.Connection, Address: camera.address})
	counted(t, table, camera.address, "a lease before its socket", 1, 0, 0)
	camera.dial(t)
	counted(t, table, camera.address, "a lease with its socket", 1, 0, 0)
	camera.dial(t)
	counted(t, table, camera.address, "a lease and two sockets", 2, 0, 0)
	two := write(t, table, ledger.Lease{Kind: ledger.Connection, Address: camera.address})
	counted(t, table, camera.address, "two leases and two sockets", 2, 0, 0)
	write(t, table, ledger.Lease{Kind: ledger.Connection, Address: camera.address})
	c := counted(t, table, camera.address, "three leases and two sockets", 3, 0, 0)
	if len(c.Holders) != 1 || c.Holders[0].PID != os.Getpid() || !c.Holders[0].Ours || c.Holders[0].Connections != 3 {
		t.Errorf("holders %v", c.Holders)
	}
	counted(t, table, elsewhere.address, "another address", 0, 0, 0)

	// A process lease of ours does not hide what this process dials itself.
	testkit.Check(t, one.Strike())
	testkit.Check(t, two.Strike())
	write(t, table, ledger.Lease{Kind: ledger.Process, Address: camera.address})
	counted(t, table, camera.address, "one lease for us and one for a child, and two sockets of ours", 3, 0, 0)
}

func TestAChildsSocketIsTheSlotOfItsLease(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	camera := newSite(t)
	dial := func(n string, held *ledger.Held) *other {
		var env []string
		if held != nil {
			env = []string{ledger.MarkVariable + "=" + held.Lease().Mark().String()}
		}
		child := startWith(t, "dial", nil, env, camera.address.String(), n)
		child.must("connected")
		return child
	}
	held := write(t, table, ledger.Lease{Kind: ledger.Process, Address: camera.address})
	marked := dial("1", held)
	counted(t, table, camera.address, "a lease that does not know its child yet", 1, 0, 0)
	id, err := proc.Default().Identify(marked.PID())
	testkit.Check(t, err)
	testkit.Check(t, held.Update(func(l *ledger.Lease) { l.Child = id }))
	c := counted(t, table, camera.address, "a lease with its child", 1, 0, 0)
	if c.Holders[0].PID != marked.PID() || !c.Holders[0].Ours {
		t.Errorf("holders %v", c.Holders)
	}
	dial("2", held) // as a grandchild would
	counted(t, table, camera.address, "a child and its descendant with three sockets", 3, 0, 0)

	plain := dial("1", nil)
	id, err = proc.Default().Identify(plain.PID())
	testkit.Check(t, err)
	other := write(t, table, ledger.Lease{Kind: ledger.Process, Address: newSite(t).address, Child: id})
	counted(t, table, camera.address, "and the child of another camera's lease", 4, 0, 0)
	// The number alone is no proof: another process may have got it.
	testkit.Check(t, other.Update(func(l *ledger.Lease) { l.Child.Start-- }))
	c = counted(t, table, camera.address, "and a stranger with the number of a child", 3, 0, 1)
	if h := c.Holders[len(c.Holders)-1]; h.PID != plain.PID() || h.Ours || h.Why != "not ours" {
		t.Errorf("the stranger is %+v", h)
	}
	// Its lease struck, a child that lives on is nobody's.
	testkit.Check(t, held.Strike())
	c = counted(t, table, camera.address, "children whose lease is struck", 0, 0, 4)
	for _, h := range c.Holders {
		if h.PID == marked.PID() && !strings.Contains(h.Why, fmt.Sprint("camwarden pid ", os.Getpid())) {
			t.Errorf("a marked process counts because %q", h.Why)
		}
	}
}

func TestCount_deadOwnersSocketsCount(t *testing.T) {
	t.Parallel()
	table, base := newTable(t)
	camera := newSite(t)
	dead := start(t, "take", base, camera.address.String(), "9", "1m")
	dead.must("taken")
	c := counted(t, table, camera.address, "another camwarden", 1, 0, 0)
	if c.Holders[0].PID != dead.PID() || !strings.Contains(c.Holders[0].Why, fmt.Sprint("run-", dead.PID())) {
		t.Errorf("holders %v", c.Holders)
	}
	dead.Kill()
	counted(t, table, camera.address, "after it was killed", 0, 0, 0)

	wedged := start(t, "take", base, camera.address.String(), "9", "1m")
	id := wedged.must("taken").ID
	all, _, err := table.Ledger.Read()
	testkit.Check(t, err)
	for _, lease := range all {
		if lease.ID == id {
			testkit.Check(t, table.Ledger.Adopt(lease).Update(func(l *ledger.Lease) { l.Deadline = proc.BootTime() - ledger.Margin - time.Second }))
		}
	}
	c = counted(t, table, camera.address, "a wedged camwarden with its connection", 0, 0, 1)
	if h := c.Holders[0]; h.PID != wedged.PID() || !strings.Contains(h.Why, ledger.WedgedOwner) {
		t.Errorf("holders %+v", h)
	}
}

func TestCount_dyingCamwardenIsNoStranger(t *testing.T) {
	t.Parallel()
	table, base := newTable(t)
	camera := newSite(t)
	for range 12 {
		dying := start(t, "take", base, camera.address.String(), "99", "1m")
		dying.must("taken")
		killed := make(chan struct{})
		time.AfterFunc(rand.N(10*time.Millisecond), func() { dying.Kill(); close(killed) })
		for alive := true; alive; {
			c, err := table.Count(camera.address, 9, 0)
			testkit.Check(t, err)
			if c.Foreign > 0 {
				t.Fatalf("foreign: %v", c.Holders)
			}
			select {
			case <-killed:
				alive = false
			default:
			}
		}
	}
}

func TestStreamsTakeNoSlotAndCoolingOnesDo(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	camera := newSite(t)
	write(t, table, ledger.Lease{Kind: ledger.Stream, Address: camera.address, Name: "camwarden-gate"})
	counted(t, table, camera.address, "a stream", 0, 0, 0)
	held := write(t, table, ledger.Lease{Kind: ledger.Connection, Address: camera.address})
	testkit.Check(t, held.Cool(proc.BootTime()+time.Minute))
	counted(t, table, camera.address, "a stream and a cooling session", 0, 1, 0)
	counted(t, table, newSite(t).address, "another address", 0, 0, 0)
}

func TestOnlyConnectionsThatTheCameraStillHasCount(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	camera := newSite(t)
	state := func(remote netip.AddrPort) string {
		sockets, err := proc.Default().Connections([]uint16{remote.Port()})
		testkit.Check(t, err)
		var states []string
		for _, c := range sockets.Conns {
			if c.Remote == remote {
				states = append(states, c.State)
			}
		}
		return strings.Join(states, " ")
	}
	conn := camera.dial(t)
	counted(t, table, camera.address, "established", 0, 0, 1)
	testkit.Check(t, conn.Close()) // the camera closes too: TIME_WAIT on our side
	testkit.Eventually(t, "TIME_WAIT, or what becomes of it where the kernel keeps few", func() bool {
		return state(camera.address) == proc.TimeWait || state(camera.address) == ""
	})
	counted(t, table, camera.address, "TIME_WAIT", 0, 0, 0)

	camera.shut.Store(true)
	conn = camera.dial(t)
	testkit.Eventually(t, "CLOSE_WAIT", func() bool { return strings.Contains(state(camera.address), proc.CloseWait) })
	counted(t, table, camera.address, "CLOSE_WAIT", 0, 0, 0)
	testkit.Check(t, conn.Close())

	// A backlog that is full drops SYNs: the connection hangs in SYN_SENT, and the camera may take it any moment.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	testkit.Check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	testkit.Check(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: camera.address.Addr().As4()}))
	testkit.Check(t, unix.Listen(fd, 0))
	name, err := unix.Getsockname(fd)
	testkit.Check(t, err)
	full := netip.AddrPortFrom(camera.address.Addr(), uint16(name.(*unix.SockaddrInet4).Port))
	hung, err := net.Dial("tcp", full.String()) // fills it
	testkit.Check(t, err)
	t.Cleanup(func() { hung.Close() })
	go func() {
		d := net.Dialer{Timeout: 15 * time.Second}
		if conn, err := d.DialContext(t.Context(), "tcp", full.String()); err == nil {
			conn.Close()
		}
	}()
	testkit.Eventually(t, "SYN_SENT", func() bool { return strings.Contains(state(full), proc.SynSent) })
	counted(t, table, full, "one established and one in SYN_SENT", 0, 0, 2)
}

func TestAMappedAddressIsTheSameAddress(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	camera := newSite(t)
	mapped := netip.AddrPortFrom(netip.AddrFrom16(camera.address.Addr().As16()), camera.address.Port())
	write(t, table, ledger.Lease{Kind: ledger.Connection, Address: mapped})
	other := start(t, "dial", camera.address.String(), "1")
	other.must("connected")
	counted(t, table, camera.address, "plain", 1, 0, 1)
	counted(t, table, mapped, "mapped", 1, 0, 1)
}

func TestSocketsOfAnotherUserCountWithAHiddenOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as another user")
	}
	base, err := os.MkdirTemp("/tmp", "camwarden-test-")
	testkit.Check(t, err)
	t.Cleanup(func() { os.RemoveAll(base) })
	testkit.Check(t, os.Chown(base, 65534, 65534))
	camera := newSite(t)
	start(t, "dial", camera.address.String(), "2").must("connected") // root's
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	c := startWith(t, "count", nobody, nil, base, camera.address.String(), "9").must("counted").Count
	if c.Foreign != 2 || len(c.Holders) != 1 {
		t.Fatalf("%+v, want two foreign connections of one unknown holder", c)
	}
	if h := c.Holders[0]; h.PID != 0 || h.Why != "owner hidden" || h.String() != "owner hidden (2 connections)" {
		t.Errorf("holder %+v", h)
	}
	taken := startWith(t, "take", nobody, nil, base, camera.address.String(), "2", "1m").hear()
	if taken.Error == nil {
		t.Fatal("took a third connection of two")
	}
	refused(t, taken.Error, "exhausted", "owner hidden")
	if !strings.Contains(taken.Error.Hint, "root") {
		t.Errorf("hint %q does not say how to see the owner", taken.Error.Hint)
	}
}

func TestCount_unseenIsAnErrorAndNoSlot(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	camera := newSite(t)
	blind := Table{Ledger: table.Ledger, FS: proc.FS{Root: t.TempDir()}}
	_, err := blind.Count(camera.address, 2, 0)
	refused(t, err, "local", camera.address.String())
	held, err := blind.Take(within(t, time.Second), ask(camera.address, 2))
	if held != nil {
		t.Error("took a slot without having looked")
	}
	refused(t, err, "local")
	if n := leases(t, table); n != 0 {
		t.Errorf("%d leases left", n)
	}
}

func TestAProgramsNameCannotSpeakToTheTerminal(t *testing.T) {
	t.Parallel()
	h := Holder{PID: 7, Program: proc.Printable("ff\x1b[2J\nmpeg\u202e門")}
	if got := h.String(); got != "pid 7 ff?[2J?mpeg?門" {
		t.Errorf("%q", got)
	}
}
