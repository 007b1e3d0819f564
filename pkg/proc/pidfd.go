package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pinned is a process held by a pidfd: its number cannot come to mean another process for us.
type pinned struct {
	fd   int
	file *os.File // owns fd; lets the runtime's poller wait for it, so that a wait costs no thread
	raw  syscall.RawConn
}

// open pins the process that has the pid now. Without one, the outcome says what that means.
func open(pid int) (*pinned, Outcome, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, Gone, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		// EINVAL, in later kernels ENOENT: the number now belongs to a thread of some process.
		return nil, NotSame, nil
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return nil, "", noPidfd("pidfd_open", err)
	case err != nil:
		return nil, "", fmt.Errorf("pidfd_open: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // what makes os.NewFile hand it to the poller
		unix.Close(fd)
		return nil, "", fmt.Errorf("pidfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // better to learn before the first signal that waiting is impossible
	}
	if err != nil {
		file.Close()
		return nil, "", fmt.Errorf("pidfd: %w", err)
	}
	return &pinned{fd: fd, file: file, raw: raw}, "", nil
}

// wait reports whether the process has ended, as soon as it has, at the latest after limit or when ctx ends.
func (p *pinned) wait(ctx context.Context, limit time.Duration) (bool, error) {
	if limit <= 0 {
		return readable(p.fd)
	}
	if err := p.file.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return false, err
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		_ = p.file.SetReadDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-cut // or it would cut the next wait short
		}
	}()
	var ended bool
	var failure error
	err := p.raw.Read(func(fd uintptr) bool {
		ended, failure = readable(int(fd))
		return ended || failure != nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return readable(p.fd) // it may have ended while the deadline passed
	}
	return ended, errors.Join(err, failure)
}

// readable asks a pidfd, without waiting, whether its process has ended: all of its threads, reaped or not.
func readable(fd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false, fmt.Errorf("poll pidfd: %w", err)
		}
		return n > 0 && fds[0].Revents&(unix.POLLIN|unix.POLLHUP) != 0, nil
	}
}

// PidfdInode returns the number by which the kernel tells the process from every other of this boot, even from one that
// got the same pid within the same clock tick; 0 where the kernel has no such numbers (before 6.9, man 2 pidfd_open).
func PidfdInode(pid int) (uint64, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	defer unix.Close(fd)
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		return 0, fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	if system.Type != unix.PID_FS_MAGIC { // one inode for all: says nothing
		return 0, nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	return stat.Ino, nil
}
