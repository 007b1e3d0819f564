package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestScan_everyProcessOnce(t *testing.T) {
	t.Parallel()
	cmd := cast(t, "wait", nil)
	cmd.Env = append(cmd.Env, "SCAN_TEST_MARK=here")
	started(t, cmd)
	seen, err := Default().Skim(t.Context(), "SCAN_TEST_MARK", func(Stat) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	ours, err := Default().NetworkOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(seen, func(a, b Seen) int { return a.PID - b.PID }) {
		t.Error("not by ascending pid")
	}
	found := map[int]Seen{}
	for _, s := range seen {
		if _, twice := found[s.PID]; twice {
			t.Errorf("process %d twice", s.PID)
		}
		found[s.PID] = s
	}
	if child := found[cmd.Process.Pid]; !child.Set || child.Value != "here" || child.Net != ours || child.PPID != os.Getpid() {
		t.Errorf("the child: %+v", child)
	}
	if self := found[os.Getpid()]; self.Set || self.Net != ours || self.Closed {
		t.Errorf("ourselves: %+v", self)
	}
}

func TestAScanOfManyProcessesLosesNone(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	const count = 1000
	for pid := 1; pid <= count; pid++ {
		files[fmt.Sprintf("%d/stat", pid)] = statOf(pid, 1, fmt.Sprintf("p%d", pid), "S", uint64(pid))
		files[fmt.Sprintf("%d/environ", pid)] = fmt.Sprintf("A=1\x00MARK=%d\x00", pid)
	}
	table := picture(t, files)
	seen, err := table.Scan(context.Background(), "MARK")
	if err != nil || len(seen) != count {
		t.Fatalf("%d processes, %v", len(seen), err)
	}
	for i, s := range seen {
		if s.PID != i+1 || s.Comm != fmt.Sprintf("p%d", s.PID) || s.Value != fmt.Sprint(s.PID) {
			t.Fatalf("number %d is %+v", i, s)
		}
	}
	if _, err := (FS{Root: filepath.Join(t.TempDir(), "none")}).Scan(context.Background(), ""); err == nil {
		t.Error("a table that is not there was read")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if seen, err := table.Scan(over, ""); !errors.Is(err, context.Canceled) || seen != nil {
		t.Errorf("after the end: %d, %v", len(seen), err)
	}
}

func TestDetailsOfAPictureAreRead(t *testing.T) {
	t.Parallel()
	table := picture(t, map[string]string{
		"10/cmdline": "ffmpeg\x00-i\x00rtsp://gate/a b\x00\x00out.jpg\x00", "10/exe": "-> /usr/bin/ffmpeg (deleted)",
		"10/status": "Name:\tffmpeg\nUid:\t0\t1000\t0\t0\nNSpid:\t10\t3\n", "10/wchan": "poll_schedule_timeout",
		"10/fd/0": "-> /dev/null", "10/fd/3": "-> socket:[24042]", "10/fd/4": "-> socket:[24043]",
		"20/cmdline": "", "20/wchan": "0",
	})
	got, err := table.Details(context.Background(), []int{10, 20, 30})
	if err != nil {
		t.Fatal(err)
	}
	d := got[0]
	if strings.Join(d.Args, "|") != "ffmpeg|-i|rtsp://gate/a b||out.jpg" || d.Program != "/usr/bin/ffmpeg" || d.UID != 1000 ||
		d.Depth != 1 || d.FDs != 3 || !slices.Equal(d.Sockets, []uint64{24042, 24043}) || d.Waits != "poll_schedule_timeout" || d.Gone {
		t.Errorf("%+v", d)
	}
	if d := got[1]; d.Args != nil || d.Program != "" || d.FDs != -1 || d.Depth != 0 || d.Waits != "" || d.Gone {
		t.Errorf("a closed one: %+v", d)
	}
	if !got[2].Gone {
		t.Errorf("one that is gone: %+v", got[2])
	}
}

func TestDetail_ofAnotherUsersProcess(t *testing.T) {
	t.Parallel()
	needRoot(t, "starts a process of another user")
	other := actor(t, "wait", asNobody())
	got, err := Default().Details(t.Context(), []int{other.Process.Pid, os.Getpid()})
	if err != nil || got[0].UID != nobody || got[0].FDs < 3 || len(got[0].Args) == 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got[1].Program == "" || got[1].Depth != 0 || got[1].FDs < 3 {
		t.Errorf("ourselves: %+v", got[1])
	}
}

func TestTheUDPSocketsOfAProcessAreKnown(t *testing.T) {
	t.Parallel()
	socket, err := net.ListenPacket("udp", net.JoinHostPort(drawn(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	all, err := Default().Datagrams(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	details, err := Default().Details(t.Context(), []int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(details[0].Sockets, func(inode uint64) bool { return all[inode] }) {
		t.Errorf("none of our sockets %v is among %d UDP sockets", details[0].Sockets, len(all))
	}
	if _, err := picture(t, map[string]string{"10/net/udp": "head\n  0: 00000000:0044 torn\n"}).Datagrams(10); err == nil {
		t.Error("half a table was taken for a whole one")
	}
	if _, err := picture(t, map[string]string{}).Datagrams(10); err == nil {
		t.Error("a table that is not there was read")
	}
}

func TestNetworkOf_tellsNamespacesApartForAnybody(t *testing.T) {
	t.Parallel()
	needRoot(t, "makes a network namespace")
	other := actor(t, "loopback", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET})
	numbers := map[string]uint64{}
	for name, pid := range map[string]int{"ours": os.Getpid(), "our parent's": os.Getppid(), "the other": other.Process.Pid} {
		var err error
		if numbers[name], err = Default().NetworkOf(pid); err != nil {
			t.Fatal(err)
		}
	}
	if numbers["ours"] == 0 || numbers["ours"] != numbers["our parent's"] || numbers["ours"] == numbers["the other"] {
		t.Errorf("%v", numbers)
	}
	if _, err := Default().NetworkOf(1 << 22); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nobody: %v", err)
	}
}

func TestScan_silenceInAContainer(t *testing.T) {
	t.Parallel()
	needRoot(t, "makes a network namespace")
	other := actor(t, "loopback", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET})
	ours, err := Default().Namespace(os.Getpid(), "net")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 { // on whatever thread, the main one too
		if _, err := Default().ConnectionsIn(other.Process.Pid, []uint16{5554}); err != nil {
			t.Fatal(err)
		}
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if place, err := os.Readlink(thread); err == nil && place != fmt.Sprintf("net:[%d]", ours) {
			t.Errorf("%s stayed in %s", thread, place)
		}
	}
	sockets, err := Default().ConnectionsIn(other.Process.Pid, []uint16{5554})
	if err != nil || len(sockets.Conns) != 1 || sockets.Method != Netlink || !sockets.Conns[0].SilentKnown {
		t.Fatalf("%+v, %v", sockets, err)
	}
	// And we are back where we were.
	here, err := Default().Connections([]uint16{5554})
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range here.Conns {
		if conn.Inode == sockets.Conns[0].Inode {
			t.Errorf("seen from here: %+v", conn)
		}
	}
	asNobody := picture(t, map[string]string{"10/net/tcp": "head\n"})
	if sockets, err := asNobody.ConnectionsIn(10, []uint16{554}); err != nil || sockets.Method != Procfs {
		t.Errorf("in a picture: %+v, %v", sockets, err)
	}
}

func TestNobodyHidesProcessesHere(t *testing.T) {
	t.Parallel()
	if Default().PidHidden() {
		t.Skip("this /proc is mounted with hidepid")
	}
	if picture(t, map[string]string{}).PidHidden() {
		t.Error("a picture without process 1 hides it")
	}
	if Default().HostName() == "" {
		t.Error("this host has no name")
	}
}
