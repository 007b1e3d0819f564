package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// playLock takes a lock (limit from now), says how that went, and stays. With "patient" it waits for the lock,
// with "child" it starts a child that outlives it, with "copy" one that has a copy of the lock's descriptor too.
func playLock(args []string) error {
	l, err := openIn(args[0])
	if err != nil {
		return err
	}
	limit, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	if len(args) < 3 || args[2] != "patient" {
		cancel()
	}
	lock, _, err := l.Lock(ctx, "round", limit)
	cancel()
	if err != nil {
		return err
	}
	s := saying{State: "busy"}
	if lock != nil {
		s.State = "held"
	}
	if len(args) > 2 && args[2] == "child" {
		child := exec.Command("/proc/self/exe")
		child.Env = append(os.Environ(), roleVariable+"=sleep")
		if err := child.Start(); err != nil {
			return err
		}
		s.PID = child.Process.Pid
	}
	if len(args) > 2 && args[2] == "copy" {
		child, err := copied(filepath.Join(args[0], "run", "locks", "round.lock"))
		if err != nil {
			return err
		}
		s.PID = child.Process.Pid
	}
	say(s)
	wait()
	return lock.Unlock()
}

// playSleep outlives whoever started it, but not for long.
func playSleep([]string) error {
	time.Sleep(20 * time.Second)
	return nil
}

// playCount adds to a number in a file, many times, in a way that only a lock makes safe.
func playCount(args []string) error {
	l, err := openIn(args[0])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	say(saying{State: "counting"})
	for range times {
		lock, _, err := l.Lock(context.Background(), "round", time.Minute)
		if err != nil {
			return err
		}
		if err := add(args[1]); err != nil {
			return err
		}
		if err := lock.Unlock(); err != nil {
			return err
		}
		time.Sleep(rand.N(time.Millisecond))
	}
	say(saying{State: "done"})
	return nil
}

func add(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return fmt.Errorf("somebody else was writing: %w", err)
	}
	time.Sleep(rand.N(200 * time.Microsecond))
	return os.WriteFile(path, []byte(strconv.Itoa(n+1)), 0o600)
}

// try takes the lock "round" or says who holds it.
func try(t *testing.T, l *ledger.Ledger) (*ledger.Lock, *ledger.Holder) {
	t.Helper()
	lock, holder, err := l.TryLock("round", time.Minute)
	testkit.Check(t, err)
	if (lock == nil) == (holder == nil) {
		t.Fatalf("lock %v and holder %v: want exactly one", lock, holder)
	}
	return lock, holder
}

func TestALockIsHeldByOneAndNamesItsHolder(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	lock, _ := try(t, l)
	if _, busy := try(t, l); busy == nil || busy.Identity.PID != os.Getpid() || busy.Run != l.Run() || busy.Deadline == 0 || time.Since(busy.Since) > time.Minute {
		t.Errorf("within one process: holder %+v", busy)
	}
	if got := start(t, "lock", base, "1m").hear(); got.State != "busy" {
		t.Errorf("another process: %q, want busy", got.State)
	}
	another, _, err := l.TryLock("another", time.Minute)
	testkit.Check(t, err)
	if another == nil {
		t.Error("a lock of another name was busy")
	}
	testkit.Check(t, lock.Unlock())
	testkit.Check(t, lock.Unlock())
	testkit.Check(t, (*ledger.Lock)(nil).Unlock())
	if again, holder := try(t, l); again == nil {
		t.Errorf("after Unlock it is held by %v", holder)
	}
}

func TestAReleasedLockTellsNothingOfItsOldHolder(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	lock, _ := try(t, l)
	path := filepath.Join(base, "run", "locks", "round.lock")
	held, err := os.ReadFile(path)
	testkit.Check(t, err)
	if !strings.Contains(string(held), `"deadline_ns"`) {
		t.Fatalf("the held lock says %q", held)
	}
	testkit.Check(t, lock.Unlock())
	if left, err := os.ReadFile(path); err != nil || len(left) > 0 {
		t.Errorf("the released lock says %q (%v)", left, err)
	}
}

func TestALockedFileWithoutASignatureIsBusy(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	path := filepath.Join(base, "run", "locks", "round.lock")
	dead := start(t, "lock", base, "-1h")
	dead.hear()
	signature, err := os.ReadFile(path)
	testkit.Check(t, err)
	dead.Kill()
	// Half a text; none; and one by somebody who is dead and so cannot be who holds it, however wedged he looked.
	for _, content := range []string{`{"identity":{"boot_`, "", "\x00\xff", "null", string(signature)} {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_TRUNC, 0)
		testkit.Check(t, err)
		testkit.Check(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		_, err = f.WriteString(content)
		testkit.Check(t, err)
		if _, holder := try(t, l); holder == nil || !holder.Identity.IsZero() || holder.String() == "" {
			t.Errorf("a locked file with %q inside: holder %v, want an unknown one", content, holder)
		}
		testkit.Check(t, f.Close())
		lock, _ := try(t, l)
		if lock == nil {
			t.Fatalf("free, with %q inside: still busy", content)
		}
		testkit.Check(t, lock.Unlock())
	}
}

func TestAKilledHolderLetsGoThoughItsChildLives(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	holder := start(t, "lock", base, "1m", "child")
	said := holder.hear()
	child, err := os.FindProcess(said.PID)
	testkit.Check(t, err)
	t.Cleanup(func() { _ = child.Kill() })
	if said.State != "held" {
		t.Fatalf("the other process: %q", said.State)
	}
	if lock, _ := try(t, l); lock != nil {
		t.Fatal("the lock of a living holder was given out")
	}
	holder.Kill()
	// No wait: the kernel let go when it died, unless the child has the file open too.
	lock, busy := try(t, l)
	if lock == nil {
		t.Fatalf("held by %v after the holder was killed", busy)
	}
	if len(lock.Passed()) > 0 {
		t.Errorf("taken beside %v, but nobody was wedged", lock.Passed())
	}
	if err := child.Signal(syscall.Signal(0)); err != nil {
		t.Fatalf("the child did not outlive its parent (%v): nothing was tested", err)
	}
}

func TestLock_wedgedHolderIsPassed(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	late := start(t, "lock", base, "-55s")
	late.hear()
	late.stop()
	if _, busy := try(t, l); busy == nil || busy.Identity.PID != late.PID() {
		t.Fatalf("late by less than the margin, yet passed; holder %v", busy)
	}
	late.Kill()

	wedged := start(t, "lock", base, "-61s")
	wedged.hear()
	wedged.stop()
	lock, busy := try(t, l)
	if lock == nil {
		t.Fatalf("a wedged holder kept the lock: %v", busy)
	}
	if passed := lock.Passed(); len(passed) != 1 || passed[0].Identity.PID != wedged.PID() {
		t.Errorf("passed %v, want pid %d", passed, wedged.PID())
	}
	isOurs := func(when string) {
		t.Helper()
		if _, busy := try(t, l); busy == nil || busy.Identity.PID != os.Getpid() {
			t.Errorf("%s the holder is %v, want us", when, busy)
		}
	}
	isOurs("while it is stopped")
	wedged.Signal(syscall.SIGCONT)
	isOurs("while it goes on")
	wedged.Release()
	testkit.Check(t, wedged.Wait())
	isOurs("after it let go")
	testkit.Check(t, lock.Unlock())
	again, busy := try(t, l)
	if again == nil {
		t.Fatalf("after all let go it is held by %v", busy)
	}
	if len(again.Passed()) > 0 {
		t.Errorf("passed %v", again.Passed())
	}
}

func TestAHolderCanTellThatItsTimeIsUp(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	lock, _, err := l.TryLock("round", -time.Millisecond)
	testkit.Check(t, err)
	if !lock.Expired() {
		t.Error("past its limit, but not expired")
	}
	testkit.Check(t, lock.Unlock())
	lock, _, err = l.TryLock("round", time.Minute)
	testkit.Check(t, err)
	if lock.Expired() {
		t.Error("within its limit, but expired")
	}
}

func TestManyWedgedHoldersEndInAnError(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	for range 32 {
		lock, holder, err := l.TryLock("round", -time.Hour)
		testkit.Check(t, err)
		if lock == nil {
			t.Fatalf("held by %v", holder)
		}
		t.Cleanup(func() { testkit.Check(t, lock.Unlock()) })
	}
	_, _, err := l.TryLock("round", time.Minute)
	localWithHint(t, err, "wedged")
}

func TestLockWaitsForItsTurnAndNotLonger(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	lock, _ := try(t, l)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	none, holder, err := l.Lock(ctx, "round", time.Minute)
	testkit.Check(t, err)
	if none != nil || holder == nil || holder.Identity.PID != os.Getpid() {
		t.Fatalf("busy until the context ended: lock %v, holder %v", none, holder)
	}
	time.AfterFunc(50*time.Millisecond, func() { testkit.Check(t, lock.Unlock()) })
	mine, _, err := l.Lock(t.Context(), "round", time.Minute)
	testkit.Check(t, err)
	testkit.Check(t, mine.Unlock())
}

func TestGoroutinesExcludeEachOther(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	var inside atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				lock, _, err := l.Lock(t.Context(), "round", time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d inside", n)
				}
				inside.Add(-1)
				if err := lock.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// Four processes count under the lock while wedged holders of it come, wake, let go and are killed.
func TestLock_excludesWhileHoldersWedge(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	path := filepath.Join(base, "number")
	testkit.Check(t, os.WriteFile(path, []byte("0"), 0o600))
	const counters, times = 4, 150
	var all []*other
	for range counters {
		o := start(t, "count", base, path, strconv.Itoa(times))
		o.hear()
		all = append(all, o)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, o := range all {
			if line := o.Line(); !strings.Contains(line, "done") {
				t.Errorf("a counter said %q", line)
			}
		}
	}()
	var wedged atomic.Int32
	var comeAndGo sync.WaitGroup
	for range 2 { // here they wake and let go, after a while
		comeAndGo.Go(func() {
			for l := open(t, base); !over(done); {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				lock, _, err := l.Lock(ctx, "round", -time.Hour)
				cancel()
				if err != nil {
					t.Error(err)
				}
				if lock != nil {
					wedged.Add(1)
				}
				time.Sleep(rand.N(3 * time.Millisecond))
				if err := lock.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for !over(done) { // and these are killed
		killed := start(t, "lock", base, "-1h", "patient")
		if killed.hear().State == "held" {
			wedged.Add(1)
		}
		killed.Kill()
	}
	comeAndGo.Wait()
	content, err := os.ReadFile(path)
	testkit.Check(t, err)
	if want := strconv.Itoa(counters * times); string(content) != want {
		t.Errorf("counted to %s, want %s", content, want)
	}
	t.Logf("%d wedged holders came and went", wedged.Load())
	if generations := strings.Count(files(t, base), "round.lock"); generations > 4 {
		t.Errorf("%d generations of the lock, but never more than 3 wedged holders at a time", generations)
	}
	if wedged.Load() < 5 {
		t.Error("hardly a wedged holder got the lock: nothing was tested")
	}
}

func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
