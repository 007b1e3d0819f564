package proc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file do not tell the Go scheduler that they are system calls. Telling it costs more than they take, and
// on a busy host it hands the processor over to another thread in the middle of each; with thousands of files that took half of
// the time. They must be calls that never wait: reading what the kernel makes up on the spot, of a process that is not
// asked for its memory. The environment and the command line of a process are its memory.

func rawOpen(dir int, path *byte) (int, error) {
	return again(func() (int, error) {
		return rawResult(unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(path)), uintptr(unix.O_RDONLY|unix.O_CLOEXEC), 0, 0, 0)) //nolint:gosec // path ends in NUL and lives until the call returns
	})
}

func rawRead(fd int, into []byte) (int, error) {
	return again(func() (int, error) {
		return rawResult(unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)))) //nolint:gosec // the length is that of the slice
	})
}

func rawReadlink(dir int, path *byte, into []byte) (int, error) {
	return rawResult(unix.RawSyscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)), 0, 0)) //nolint:gosec // as above, both
}

func rawClose(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func rawResult(n, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
