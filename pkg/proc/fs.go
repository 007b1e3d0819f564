// Package proc reads the process table and the TCP connections of this host, says who a process is, and ends one safely.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
)

// mount is where Linux keeps the process table of the running kernel.
const mount = "/proc"

// FS is a process table: everything in this package that reads files reads them under Root.
// The zero FS reads the real one. A Root elsewhere is a picture of a process table: it can be read, and nothing in it can be killed.
type FS struct {
	Root string

	learnt *learnt
}

// Default returns the process table of the running kernel, "/proc". What cannot change while this process lives, it and its
// copies ask only once.
func Default() FS { return FS{Root: mount, learnt: &learnt{}} }

// learnt is what has been seen of the running kernel.
type learnt struct {
	// The boot and the pid namespace, neither of which a process ever leaves. With unshare and setns it decides for its
	// children alone (man 7 pid_namespaces).
	place atomic.Pointer[Identity]
	// That sock_diag tells of TCP connections. A module that does is not unloaded by itself.
	tells atomic.Bool
}

func (f FS) root() string {
	if f.Root == "" {
		return mount
	}
	return f.Root
}

// real says whether the pids of f are those that system calls understand.
func (f FS) real() bool { return filepath.Clean(f.root()) == mount }

func (f FS) path(pid int, names ...string) string {
	return filepath.Join(append([]string{f.root(), strconv.Itoa(pid)}, names...)...)
}

// vanished gives one face to the two ways in which a process disappears under a reader:
// ENOENT before its file was open and ESRCH after (man 5 proc). Both match fs.ErrNotExist.
func vanished(pid int, err error) error {
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d ended while it was read: %w", pid, fs.ErrNotExist)
	}
	return err
}

// read returns a whole file of a process. It asks the kernel directly: package os offers every file it opens to the poller,
// which refuses those of /proc, and that took more time than the reading.
func (f FS) read(pid int, name string) ([]byte, error) {
	path := f.path(pid, name)
	data, err := slurp(path)
	if err != nil {
		return nil, vanished(pid, &fs.PathError{Op: "read", Path: path, Err: err})
	}
	return data, nil
}

func slurp(path string) ([]byte, error) {
	data, err := slurpInto(make([]byte, 0, 1024), path)
	if err != nil {
		return nil, err
	}
	return data, nil
}

// slurpInto appends the content of a file to data, which it also returns with an error, for its room.
func slurpInto(data []byte, path string) ([]byte, error) {
	return readAll(data, unix.AT_FDCWD, path, false)
}

// readAll appends the content of a file. With brief, a read that leaves room has come to the end: that holds for the files
// of one process, which the kernel writes as a whole, and not for tables.
func readAll(data []byte, dir int, path string, brief bool) ([]byte, error) {
	fd, err := again(func() (int, error) { return unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return data, err
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		if len(data) == cap(data) {
			data = slices.Grow(data, max(cap(data), 512))
		}
		n, err := again(func() (int, error) { return unix.Read(fd, data[len(data):cap(data)]) })
		if err != nil {
			return data, err
		}
		data = data[:len(data)+n]
		if n == 0 || brief && len(data) < cap(data) {
			return data, nil
		}
	}
}

// again repeats a call that a signal interrupted: the Go runtime sends itself signals all the time.
func again(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// pids lists the processes in ascending order.
func (f FS) pids() ([]int, error) {
	names, err := list(f.root())
	if err != nil {
		return nil, fmt.Errorf("process table: %w", err)
	}
	pids := numbers(names)
	slices.Sort(pids)
	return pids, nil
}

// list names the entries of a directory, without asking for the status of each entry.
func list(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

func numbers(names []string) []int {
	found := make([]int, 0, len(names))
	for _, name := range names {
		// Names with a sign or a leading zero are not process directories.
		if n, err := strconv.Atoi(name); err == nil && n > 0 && strconv.Itoa(n) == name {
			found = append(found, n)
		}
	}
	return found
}

// All returns every process there is, by ascending pid. Those that end while the table is read are left out.
// When some could not be read although they are there, the others are returned together with an error that counts them:
// such a list is not complete. Processes that the kernel hides from this user (hidepid, man 5 proc) leave no trace here.
func (f FS) All(ctx context.Context) ([]Stat, error) {
	seen, err := f.Scan(ctx, "")
	if seen == nil {
		return nil, err
	}
	stats := make([]Stat, len(seen))
	for i, s := range seen {
		stats[i] = s.Stat
	}
	return stats, err
}

// BootID returns the kernel's random name for this boot (man 4 random).
// It tells a pid of now from the same pid before a restart of the machine.
func (f FS) BootID() (string, error) {
	data, err := os.ReadFile(filepath.Join(f.root(), "sys/kernel/random/boot_id"))
	if _, missing := os.Stat(filepath.Join(f.root(), "sys")); errors.Is(err, fs.ErrNotExist) && errors.Is(missing, fs.ErrNotExist) && f.real() {
		return "", fault.New(fault.Local, "", "this /proc shows processes and nothing else (mount option subset=pid, ProcSubset=pid of a unit): the boot id is hidden").
			WithHint("set ProcSubset=all in the unit")
	}
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	id := strings.TrimSpace(string(data))
	if id == "" {
		return "", fmt.Errorf("boot id: %s/sys/kernel/random/boot_id is empty", f.root())
	}
	return id, nil
}
