package proc

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestANameInParenthesesCannotPoseAsNumbers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"x) Z 1 (y", "a b", ")", "((", "x)\nZ 1", "ffmpeg) S 1 1"} {
		t.Run(strconv.Quote(name), func(t *testing.T) {
			t.Parallel()
			cmd := program(t, name, "/bin/sleep", "120")
			stat, err := Default().Stat(cmd.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			if stat.Comm != name || stat.PID != cmd.Process.Pid || stat.PPID != os.Getpid() || stat.Start == 0 || stat.Dead() || stat.Kernel {
				t.Errorf("read %+v", stat)
			}
		})
	}
}

func TestStatOfOurselves(t *testing.T) {
	t.Parallel()
	stat, err := Default().Stat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	group, _ := syscall.Getpgid(0)
	session, _ := unix.Getsid(0) // 0 where the leader of the session lives outside of this pid namespace, as in some containers
	if stat.PPID != os.Getppid() || stat.PGRP != group || stat.Threads < 2 || stat.RSSPages < 100 || stat.Session != session {
		t.Errorf("read %+v", stat)
	}
}

func TestAStoppedProcessShowsItsState(t *testing.T) {
	t.Parallel()
	cmd, id := sleeper(t)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "state T", func() bool {
		stat, err := Default().Stat(id.PID)
		return err == nil && stat.State == 'T'
	})
	if presence, err := Default().Look(id); presence != Running || err != nil {
		t.Errorf("a stopped process is %v, %v", presence, err)
	}
}

func TestAProcessWhoseFirstThreadLeftIsNotDead(t *testing.T) {
	t.Parallel()
	cmd := actor(t, "lose-first-thread", nil)
	var stat Stat
	testkit.Eventually(t, "the first thread to leave", func() bool {
		var err error
		stat, err = Default().Stat(cmd.Process.Pid)
		return err == nil && stat.State == 'Z'
	})
	id := identify(t, cmd.Process.Pid)
	if presence, err := Default().Look(id); stat.Dead() || presence != Running || err != nil {
		t.Errorf("%+v: dead %v, %v, %v", stat, stat.Dead(), presence, err)
	}
	result, err := Default().Kill(context.Background(), id, 0, kindBound)
	if result.Outcome != Ended || err != nil {
		t.Errorf("kill: %+v, %v", result, err)
	}
}

func TestAPIDWithoutAProcessDoesNotExist(t *testing.T) {
	t.Parallel()
	cmd, id := sleeper(t)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	table := Default()
	_, stat := table.Stat(id.PID)
	_, identity := table.Identify(id.PID)
	_, cmdline := table.Cmdline(id.PID)
	_, _, environ := table.Environ(id.PID, "PATH")
	_, uid := table.UID(id.PID)
	_, children := table.Children(id.PID)
	_, namespace := table.Namespace(id.PID, "net")
	for i, err := range []error{stat, identity, cmdline, environ, uid, children, namespace} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("question %d: %v", i, err)
		}
	}
}

func TestAllListsOurselvesAndNoProcessTwice(t *testing.T) {
	t.Parallel()
	_, id := sleeper(t)
	all, err := Default().All(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]Stat{}
	for i, stat := range all {
		if i > 0 && all[i-1].PID >= stat.PID {
			t.Errorf("pid %d follows %d", stat.PID, all[i-1].PID)
		}
		seen[stat.PID] = stat
	}
	if seen[id.PID].Start != id.Start || seen[os.Getpid()].PID == 0 || seen[1].PID == 0 {
		t.Errorf("missing among %d processes: %+v", len(all), seen[id.PID])
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Default().All(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

const plainStat = "42 (ffmpeg) S 7 42 40 0 -1 4194304 100 0 0 0 11 12 0 0 20 0 5 0 777 1000 333 18446744073709551615 1 1 0"

func TestATornStatIsAnErrorAndNotAProcess(t *testing.T) {
	t.Parallel()
	want := Stat{PID: 42, PPID: 7, PGRP: 42, Session: 40, Comm: "ffmpeg", State: 'S', Start: 777, UTime: 11, STime: 12, RSSPages: 333, Threads: 5}
	if got, err := parseStat([]byte(plainStat)); got != want || err != nil {
		t.Fatalf("whole: %+v, %v", got, err)
	}
	for _, torn := range []string{
		"", "42", "42 (ffmpeg", "42 )ffmpeg( S", "42 (ffmpeg) S 7 42", plainStat[:60],
		strings.Replace(plainStat, "777", "-1", 1), strings.Replace(plainStat, "777", "99999999999999999999", 1),
		strings.Replace(plainStat, " S ", " SS ", 1), strings.Replace(plainStat, "42 (", "x (", 1), strings.Replace(plainStat, " 7 ", " seven ", 1),
	} {
		if stat, err := parseStat([]byte(torn)); err == nil {
			t.Errorf("%q was read as %+v", torn, stat)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(plainStat))
	f.Add([]byte("1 (x) Z 1 (y) R 1 1 1"))
	f.Add([]byte(")("))
	f.Fuzz(func(t *testing.T, data []byte) {
		stat, err := parseStat(data)
		if err != nil && stat != (Stat{}) {
			t.Errorf("%+v with %v", stat, err)
		}
		if err == nil && !strings.Contains(string(data), "("+stat.Comm+")") {
			t.Errorf("name %q", stat.Comm)
		}
	})
}
