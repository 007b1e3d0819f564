package proc

import (
	"os"
	"testing"
)

func TestTheProcessThatHoldsAConnectionIsNamed(t *testing.T) {
	t.Parallel()
	listener := listenOn(t, drawn())
	other := actor(t, "dial "+listener.Addr().String(), nil)
	connected(t, listener)
	conns, err := Default().Own(connections(t, 2, listener), nil)
	if err != nil {
		t.Fatal(err)
	}
	owners := map[int]string{}
	for _, conn := range conns {
		owners[conn.PID] = conn.Program
	}
	for _, pid := range []int{other.Process.Pid, os.Getpid()} {
		stat, err := Default().Stat(pid)
		if err != nil || owners[pid] != stat.Comm {
			t.Errorf("process %d is %q in %v, %v", pid, stat.Comm, owners, err)
		}
	}
}

func TestOfSeveralHoldersThePreferredIsNamed(t *testing.T) {
	t.Parallel()
	listener := listenOn(t, drawn())
	client, _ := connected(t, listener)
	shared, err := client.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shared.Close() })
	heir := cast(t, "wait", nil)
	heir.ExtraFiles = []*os.File{shared}
	started(t, heir)
	conns := connections(t, 1, listener)
	for _, pid := range []int{os.Getpid(), heir.Process.Pid} {
		asked := map[int]bool{}
		owned, err := Default().Own(conns, func(stat Stat) bool { asked[stat.PID] = true; return stat.PID == pid })
		if err != nil || owned[0].PID != pid || !asked[1] {
			t.Errorf("%d, not %d, %v", owned[0].PID, pid, err)
		}
	}
	if conns[0].PID != 0 {
		t.Error("the question was written on")
	}
}

func TestAConnectionWithoutAProcessHasNoOwner(t *testing.T) {
	t.Parallel()
	owned, err := Default().Own([]Conn{{State: TimeWait}, {State: Established, Inode: 1 << 40}}, nil)
	if err != nil || len(owned) != 2 || owned[0].PID != 0 || owned[1].PID != 0 || owned[1].Program != "" {
		t.Errorf("%+v, %v", owned, err)
	}
}

func TestOwnersInAPictureAreFound(t *testing.T) {
	t.Parallel()
	table := picture(t, map[string]string{
		"10/stat": statOf(10, 1, "ffmpeg", "S", 5), "10/fd/0": "-> /dev/null", "10/fd/3": "-> socket:[24042]",
		"20/stat": statOf(20, 1, "other", "S", 5), "20/fd/3": "-> socket:[24043]", "20/fd/4": "-> socket:[24042]",
		"30/stat": statOf(30, 1, "dead", "Z", 5), "30/fd/3": "-> socket:[24044]",
	})
	owned, err := table.Own([]Conn{{Inode: 24042}, {Inode: 24043}, {Inode: 24044}}, func(stat Stat) bool { return stat.Comm == "other" })
	if err != nil || owned[0].PID != 20 || owned[1].PID != 20 || owned[2].PID != 0 {
		t.Errorf("%+v, %v", owned, err)
	}
	owned, err = table.Own([]Conn{{Inode: 24042}}, nil)
	if err != nil || owned[0].PID != 10 || owned[0].Program != "ffmpeg" {
		t.Errorf("%+v, %v", owned, err)
	}
}

func TestASocketLinkIsTold(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]uint64{"socket:[42]": 42, "socket:[42": 0, "socket:[]": 0, "pipe:[42]": 0, "socket:[x]": 0, "/socket:[42]": 0} {
		if got, ok := parseSocketLink([]byte(target)); got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %v", target, got, ok)
		}
	}
}
