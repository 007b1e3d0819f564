package ledger

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// hostDir is where locks stand that all users of a host share (FHS 3.0, section 5.9).
const hostDir = "/run/lock"

// LockHost takes a lock that runs of all users of this host keep against each other, whatever their state directories, so
// that root's cron and a user's shell exclude each other. It waits until ctx ends, as Lock does. Where the host has no
// folder that everybody may write to, and root has not made the lock there before, it is a lock of this ledger alone.
func (l *Ledger) LockHost(ctx context.Context, name string, limit time.Duration) (*Lock, *Holder, error) {
	base, open := filepath.Join(l.host, "camwarden-"+fileName(name)+".lock"), openShared
	if !shareable(base) {
		base, open = filepath.Join(l.locks, fileName(name)+".lock"), l.openLock
	}
	return retry(ctx, func() (*Lock, *Holder, error) { return l.tryAt(ctx, base, limit, open) })
}

// shareable reports whether the file is there or can be made there. One that is there and cannot be opened is an error
// to tell, not a reason to lock something else beside it.
func shareable(path string) bool {
	if _, err := os.Lstat(path); err == nil {
		return true
	}
	return unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK) == nil
}

// openShared opens a lock file for everybody. It is opened without O_CREAT where it exists: in a folder that is sticky and
// open to all the kernel refuses even root to "create" a file that another user has made there (sysctl fs.protected_regular).
func openShared(path string) (*os.File, error) {
	const flags = os.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK
	const tries = 5
	for try := 1; ; try++ {
		f, err := os.OpenFile(path, flags, 0)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o666)
			if err == nil {
				err = f.Chmod(0o666) // whatever the umask
			}
		}
		if err == nil {
			return regular(f)
		}
		// Somebody was quicker to make it, or has made it and not yet opened it to us.
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrPermission) || try == tries {
			return nil, err
		}
		time.Sleep(shortestRetry)
	}
}

// regular refuses what is no file: in a folder that everybody may write to, it may have been put in our way.
func regular(f *os.File) (*os.File, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotAFile
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
