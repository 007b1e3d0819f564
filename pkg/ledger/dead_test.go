package ledger_test

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// tries is how often a lock is asked for before who keeps it lets go: often enough to have been believed.
const tries = 30

// playWait keeps what it has inherited until its stdin ends.
func playWait([]string) error {
	wait()
	return nil
}

// playHeadless takes the lock and ends its first thread. What is left holds the lock until its stdin ends, and looks like a
// process that SIGKILL is just ending: a zombie with living threads.
func playHeadless(args []string) error {
	l, err := openIn(args[0])
	if err != nil {
		return err
	}
	lock, _, err := l.TryLock("round", time.Minute)
	if err != nil || lock == nil {
		return err
	}
	say(saying{State: "held"})
	go func() {
		wait()
		os.Exit(0)
	}()
	_, _, errno := unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // this thread, not the process: see init
	return errno
}

// copied starts a child that has the lock's open file, as every child has between fork and exec.
func copied(path string) (*exec.Cmd, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), roleVariable+"=wait")
	child.Stdin = os.Stdin
	for _, entry := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + entry.Name()); target == path {
			fd, err := strconv.Atoi(entry.Name())
			if err != nil {
				return nil, err
			}
			if fd, err = unix.Dup(fd); err != nil {
				return nil, err
			}
			file := os.NewFile(uintptr(fd), path)
			defer file.Close()
			child.ExtraFiles = append(child.ExtraFiles, file)
		}
	}
	return child, child.Start()
}

func TestLock_isTakenWhenADeadHoldersChildLetsGo(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	holder := start(t, "lock", base, "1m", "copy")
	said := holder.hear()
	child, err := proc.Default().Identify(said.PID)
	testkit.Check(t, err)
	holder.Signal(unix.SIGKILL)
	_, err = holder.Cmd.Process.Wait() // not cmd.Wait, which would end the child's stdin
	testkit.Check(t, err)
	takenAfter(t, open(t, base), holder, child)
}

func TestLock_isTakenWhenADyingHolderHasDied(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	holder := start(t, "headless", base)
	if said := holder.hear(); said.State != "held" {
		t.Fatalf("the other process: %+v", said)
	}
	holder.looksDead()
	id, err := proc.Default().Identify(holder.PID())
	testkit.Check(t, err)
	takenAfter(t, open(t, base), holder, id)
}

// looksDead waits until the first thread has ended, and others live.
func (o *other) looksDead() {
	o.t.Helper()
	testkit.Eventually(o.t, "its first thread has ended", func() bool {
		stat, err := proc.Default().Stat(o.PID())
		return err == nil && stat.State == 'Z' && !stat.Dead()
	})
}

// takenAfter asks for the lock, has who keeps it let go after some tries, and demands that it is had then.
func takenAfter(t *testing.T, l *ledger.Ledger, holder *other, keeper proc.Identity) {
	t.Helper()
	asked := 0
	lock, busy, err := l.TryTold("round", time.Minute, func(times int) {
		if asked = times; times == tries {
			holder.Release()
			testkit.Eventually(t, "who kept it is gone", func() bool {
				presence, _ := proc.Default().Look(keeper)
				return presence == proc.Gone || presence == proc.Zombie
			})
		}
	})
	testkit.Check(t, err)
	if lock == nil {
		t.Fatalf("after %d tries held by %v, who is dead", asked, busy)
	}
	if asked != tries {
		t.Fatalf("had after %d tries, not when it was free, after %d", asked, tries)
	}
	testkit.Check(t, lock.Unlock())
}

func TestTryLock_givesUpOnADyingHolder(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	holder := start(t, "headless", base)
	holder.hear()
	holder.looksDead()
	if _, busy := try(t, open(t, base)); busy == nil || busy.Identity.PID != holder.PID() {
		t.Errorf("a holder that never dies: %v, want pid %d", busy, holder.PID())
	}
}
