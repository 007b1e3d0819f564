package proc

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestChildren_ofAllThreadsAndZombies(t *testing.T) {
	t.Parallel()
	cmd, id := sleeper(t)
	dead, deadID := sleeper(t)
	_ = dead.Process.Kill()
	testkit.Eventually(t, "a zombie", func() bool { presence, _ := Default().Look(deadID); return presence == Zombie })
	children, err := Default().Children(os.Getpid())
	if err != nil || !slices.Contains(children, cmd.Process.Pid) || !slices.Contains(children, deadID.PID) || !slices.IsSorted(children) {
		t.Errorf("%v, %v", children, err)
	}
	if children, err := Default().Children(id.PID); len(children) != 0 || err != nil {
		t.Errorf("children of a sleep: %v, %v", children, err)
	}
}

func TestBothWaysToFindChildrenAgree(t *testing.T) {
	t.Parallel()
	shell := exec.Command("/bin/sh", "-c", "sleep 120 & sleep 120 & echo ready; read end; kill %1 %2")
	started(t, shell)
	pid := shell.Process.Pid
	listed, err := Default().Children(pid)
	if err != nil {
		t.Fatal(err)
	}
	scanned, err := Default().childrenByParent(pid)
	if err != nil || len(listed) != 2 || !slices.Equal(listed, scanned) {
		t.Errorf("%v and %v, %v", listed, scanned, err)
	}
	for _, child := range listed { // the shell may be killed before it kills them
		id := identify(t, child)
		t.Cleanup(func() { _, _ = Default().Kill(context.Background(), id, 0, kindBound) })
	}
}

func TestTheMarkedAreFoundByTheirEnvironment(t *testing.T) {
	t.Parallel()
	variable := "PROC_TEST_MARK_" + strconv.Itoa(os.Getpid())
	marks := map[int]string{}
	for _, mark := range []string{"lease-1", "", "a=b"} {
		cmd := cast(t, "wait", nil)
		cmd.Env = append(cmd.Env, variable+"="+mark)
		marks[started(t, cmd).Process.Pid] = mark
	}
	actor(t, "wait", nil) // not marked
	found, _, err := Default().Marked(context.Background(), variable)
	if err != nil || len(found) != len(marks) {
		t.Fatalf("%v, not %v, %v", found, marks, err)
	}
	for pid, mark := range marks {
		if value, ok := found[pid]; !ok || value != mark {
			t.Errorf("process %d: %q, %v", pid, value, ok)
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Default().Marked(cancelled, variable); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestMarked_unaskedAreCounted(t *testing.T) {
	t.Parallel()
	needRoot(t, "asks as another user")
	variable := "PROC_TEST_ASKED_" + strconv.Itoa(os.Getpid())
	cmd := cast(t, "wait", nil)
	cmd.Env = append(cmd.Env, variable+"=x")
	started(t, cmd)
	answer := ask(t, Question{Variable: variable}, asNobody())
	if len(answer.Marked) != 0 || answer.Unreadable < 2 {
		t.Errorf("%v, %d unreadable", answer.Marked, answer.Unreadable)
	}
	all, err := Default().All(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	threads := 0
	for _, stat := range all {
		if stat.Kernel {
			threads++
		}
	}
	// Kernel threads cannot be read either, and would drown the number.
	if threads > 0 && answer.Unreadable > len(all)-threads+20 {
		t.Errorf("%d unreadable of %d processes, %d of them kernel threads", answer.Unreadable, len(all), threads)
	}
}

func TestTheEffectiveUserIsTold(t *testing.T) {
	t.Parallel()
	cmd := actor(t, "wait", nil)
	if uid, err := Default().UID(cmd.Process.Pid); uid != uint32(os.Geteuid()) || err != nil {
		t.Errorf("%d, %v", uid, err)
	}
	if os.Getuid() != 0 {
		return
	}
	other := actor(t, "wait", asNobody())
	if uid, err := Default().UID(other.Process.Pid); uid != nobody || err != nil {
		t.Errorf("%d, %v", uid, err)
	}
	if _, err := parseUID([]byte("Name:\tx\nUid:\t1\n")); err == nil {
		t.Error("half a line was read")
	}
}

func TestArgumentsOfAZombieAreNone(t *testing.T) {
	t.Parallel()
	cmd, id := sleeper(t)
	testkit.Eventually(t, "its arguments", func() bool { // in the middle of an exec it has none either
		arguments, err := Default().Cmdline(id.PID)
		return err == nil && len(arguments) == 2 && arguments[1] == "120"
	})
	_ = cmd.Process.Kill()
	testkit.Eventually(t, "a zombie", func() bool { presence, _ := Default().Look(id); return presence == Zombie })
	if arguments, err := Default().Cmdline(id.PID); arguments != nil || err != nil {
		t.Errorf("dead: %q, %v", arguments, err)
	}
	if _, set, err := Default().Environ(id.PID, "PATH"); set || err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("dead: %v, %v", set, err)
	}
}

func FuzzCmdline(f *testing.F) {
	f.Add([]byte("ffmpeg\x00-i\x00\x00x\x00"))
	f.Add([]byte("nginx: worker process"))
	f.Fuzz(func(t *testing.T, data []byte) {
		arguments := splitCmdline(data)
		if whole := strings.Join(arguments, "\x00"); whole != string(data) && whole+"\x00" != string(data) {
			t.Errorf("%q became %q", data, arguments)
		}
	})
}

func FuzzEnviron(f *testing.F) {
	f.Add([]byte("A=1\x00B=2\x00"), "B")
	f.Add([]byte("AB=1\x00B"), "B")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		value, set := lookupEnviron(data, name)
		if set && !bytes.Contains(append([]byte{0}, data...), []byte("\x00"+name+"="+value)) {
			t.Errorf("%q has no %q = %q", data, name, value)
		}
		if set && strings.Contains(value, "\x00") {
			t.Errorf("value %q", value)
		}
	})
}
