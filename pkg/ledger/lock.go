package ledger

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/proc"
)

// mostGenerations bounds how many wedged holders of one lock may pile up before we say so instead of going on.
const mostGenerations = 32

// How long to wait between two tries for a busy lock: between shortest and longest, at random.
const (
	shortestRetry = 5 * time.Millisecond
	longestRetry  = 25 * time.Millisecond
)

// mostTries bounds how often one lock file is tried that nobody alive says he holds; with the waits between them they take
// three quarters of a second. The first of them are quick: mostly it is a matter of microseconds.
const (
	quickTries = 4
	mostTries  = 50
)

// Lock is a lock that this process holds. The kernel releases it when the process dies, however it dies (flock(2)).
//
// A lock is a file that is never removed: with the name gone, a second holder could lock a new file of that name.
// A holder that is wedged (see Margin) cannot be made to let go, so others lock the next generation of the file, name.lock.1
// and so on, beside it. Who takes the lock takes, in order, every generation that no wedged holder keeps, and then looks at the
// passed ones again: of two that go past a wedged holder just as it ends, one on its old place and one beside it, one sees the
// other. Then one generation is enough to keep: everybody else must come past it. Keeping all would make one more of them
// whenever a holder wedges, for as long as the folder lasts.
type Lock struct {
	files    []*os.File
	passed   []Holder
	deadline time.Duration
	open     func(path string) (*os.File, error) // how its files are opened, and made where they are missing
}

// TryLock takes the lock of that name if it is free. When it is busy the lock is nil and the holder is not.
// A holder that has died, or is about to, is waited for, about a second at most: see take.
// Limit is how long we mean to hold it: past it Expired is true, and Margin later another may take the lock beside us.
// The error is a *fault.Error of class local.
func (l *Ledger) TryLock(name string, limit time.Duration) (*Lock, *Holder, error) {
	return l.tryAt(context.Background(), filepath.Join(l.locks, fileName(name)+".lock"), limit, l.openLock)
}

func (l *Ledger) tryAt(ctx context.Context, base string, limit time.Duration, open func(string) (*os.File, error)) (*Lock, *Holder, error) {
	lock := &Lock{deadline: proc.BootTime() + limit, open: open}
	busy, err := l.takeAll(ctx, lock, base)
	if err == nil && busy == nil {
		err = lock.keepFirst()
	}
	if err == nil && busy == nil {
		me := Holder{Identity: l.self, Run: l.run, Since: time.Now().UTC(), Deadline: lock.deadline}
		if err = lock.sign(me); err != nil {
			err = trouble("write into the lock", base, err)
		}
	}
	if err != nil || busy != nil {
		_ = lock.release() // the error that matters is already there
		return nil, busy, err
	}
	return lock, nil, nil
}

// takeAll takes every generation that no wedged holder keeps, or says who lives and holds one.
func (l *Ledger) takeAll(ctx context.Context, lock *Lock, base string) (*Holder, error) {
	var passed []string
	for generation := 0; ; generation++ {
		path := base
		if generation > 0 {
			path += "." + strconv.Itoa(generation)
		}
		if len(lock.files) > 0 {
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		if generation == mostGenerations {
			return nil, fault.New(fault.Local, "", "%d wedged processes hold the lock %s", generation, base).
				WithHint("end them: the first is pid %d", lock.passed[0].Identity.PID)
		}
		holder, err := l.take(ctx, lock, path)
		switch {
		case err != nil:
			return nil, err
		case holder == nil:
		case !l.wedged(*holder):
			return holder, nil
		default:
			lock.passed, passed = append(lock.passed, *holder), append(passed, path)
		}
	}
	for _, path := range passed {
		if holder, err := l.take(ctx, lock, path); err != nil || holder != nil && !l.wedged(*holder) {
			return holder, err
		}
	}
	return nil, nil
}

// take locks one file, or says who holds it.
//
// Who lives and says that he holds it does. Nobody else is believed at once: a holder signs in the next moment, one that only
// looks lets go in the next moment, and a dead one has let go, or will. The kernel drops a lock with the last descriptor of the
// open file. After SIGKILL those are closed when the last thread of the process has ended, while its first one may be a zombie
// already; and a child that it was just starting holds a copy until its exec, or until the parent-death signal has ended it.
func (l *Ledger) take(ctx context.Context, lock *Lock, path string) (*Holder, error) {
	for try := 1; ; try++ {
		f, err := lock.open(path)
		if err != nil {
			return nil, trouble("open the lock", path, err)
		}
		err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil && stands(f, path):
			// Whatever a dead holder left inside must not speak for us.
			if err := f.Truncate(0); err != nil {
				f.Close()
				return nil, trouble("write into the lock", path, err)
			}
			lock.files = append(lock.files, f)
			return nil, nil
		case err != nil && !errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, trouble("lock", path, err)
		}
		holder := l.read(f)
		f.Close()
		if !holder.Identity.IsZero() && !l.dying(holder.Identity) || try == mostTries {
			return &holder, nil
		}
		pause := shortestRetry + rand.N(longestRetry-shortestRetry)
		if try <= quickTries {
			pause = shortestRetry / quickTries
		}
		select {
		case <-ctx.Done():
			return &holder, nil
		case <-time.After(pause):
		}
	}
}

// openLock opens a lock file for us alone: without O_CLOEXEC, which os.OpenFile sets, every child would hold the lock too.
func (l *Ledger) openLock(path string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW | unix.O_NONBLOCK
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := l.prepare(); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, flags, 0o600)
	}
	return f, err
}

// stands reports whether the locked file is still the one of that name. A cleaner may have removed it after we opened it,
// and then somebody else may lock its successor.
func stands(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(ours, named)
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Lock takes the lock of that name, and tries again while it is busy until ctx ends; it tries at least once.
// When it stayed busy the lock is nil and the holder is not. The error is a *fault.Error of class local.
func (l *Ledger) Lock(ctx context.Context, name string, limit time.Duration) (*Lock, *Holder, error) {
	base := filepath.Join(l.locks, fileName(name)+".lock")
	return retry(ctx, func() (*Lock, *Holder, error) { return l.tryAt(ctx, base, limit, l.openLock) })
}

func retry(ctx context.Context, try func() (*Lock, *Holder, error)) (*Lock, *Holder, error) {
	for {
		lock, holder, err := try()
		if lock != nil || err != nil {
			return lock, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, holder, nil
		case <-time.After(shortestRetry + rand.N(longestRetry-shortestRetry)):
		}
	}
}

// Expired reports whether our own limit has passed, so that somebody may have taken the lock beside us.
// What was done under the lock counts only if it is false afterwards.
func (k *Lock) Expired() bool { return proc.BootTime() > k.deadline }

// Passed returns the wedged holders beside which the lock was taken.
func (k *Lock) Passed() []Holder { return k.passed }

// Unlock lets go. A second time, and for a nil Lock, it does nothing.
func (k *Lock) Unlock() error {
	if k == nil {
		return nil
	}
	return k.release()
}

func (k *Lock) keepFirst() error {
	rest := Lock{files: k.files[1:]}
	k.files = k.files[:1]
	return rest.release()
}

func (k *Lock) release() error {
	var all error
	for _, f := range k.files {
		// Emptied while it is still ours: what we wrote must not speak for the next holder, and we may live on for long.
		all = errors.Join(all, f.Truncate(0))
		// Unlocked, not only closed: a child between fork and exec has this file open for a moment too.
		all = errors.Join(all, flock(f, unix.LOCK_UN), f.Close())
	}
	k.files = nil
	if all != nil {
		return fault.From(all, fault.Local, "")
	}
	return nil
}
