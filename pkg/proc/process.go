package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// Cmdline returns the argument list of a process, as the process left it there; nil for a zombie or a kernel thread.
// It may hold a password that somebody typed.
func (f FS) Cmdline(pid int) ([]string, error) {
	data, err := f.read(pid, "cmdline")
	if err != nil {
		return nil, err
	}
	return splitCmdline(data), nil
}

// splitCmdline keeps empty arguments. A process that rewrote its title may have left out the last NUL.
func splitCmdline(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// Environ returns one variable of the environment a process was started with, and whether it was set.
// For another user's process, and for a zombie unless we are root, the error matches fs.ErrPermission.
func (f FS) Environ(pid int, name string) (string, bool, error) {
	data, err := f.read(pid, "environ")
	if err != nil {
		return "", false, err
	}
	value, ok := lookupEnviron(data, name)
	return value, ok, nil
}

// lookupEnviron finds the first setting of name, which is the one getenv returns.
func lookupEnviron(data []byte, name string) (string, bool) {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		return "", false
	}
	for at := 0; ; at += len(name) {
		i := bytes.Index(data[at:], []byte(name))
		if i < 0 {
			return "", false
		}
		at += i
		value, ok := bytes.CutPrefix(data[at+len(name):], []byte("="))
		if ok && (at == 0 || data[at-1] == 0) {
			value, _, _ = bytes.Cut(value, []byte{0})
			return string(value), true
		}
	}
}

// Marked returns every process whose environment sets the variable, with its value, and how many living processes
// could not be asked because they belong to other users or are protected. Kernel threads and zombies do not count.
// An error that comes with a map is that of All: the map is not complete.
// A child shows its mark from its exec on: in the instant before, it shows the environment of its parent.
func (f FS) Marked(ctx context.Context, variable string) (marked map[int]string, unreadable int, err error) {
	seen, err := f.Scan(ctx, variable)
	if seen == nil {
		return nil, 0, err
	}
	marked = map[int]string{}
	for _, s := range seen {
		switch {
		case s.Set:
			marked[s.PID] = s.Value
		case s.Closed:
			unreadable++
		}
	}
	return marked, unreadable, err
}

// Dying reports whether a process is about to be no more: its first thread has ended or is ending, or SIGKILL waits for it.
// Until the last of its threads has ended it has its files open, and holds the locks on them. When there is no process the
// error matches fs.ErrNotExist.
func (f FS) Dying(pid int) (bool, error) {
	stat, err := f.Stat(pid)
	if err != nil {
		return false, err
	}
	if stat.exiting || stat.State == 'Z' || stat.State == 'X' || stat.State == 'x' {
		return true, nil
	}
	data, err := f.read(pid, "status")
	if err != nil {
		return false, err
	}
	// The kernel gives each thread a SIGKILL of its own, also where the whole process was meant (man 5 proc_pid_status).
	pending := statusFields(data, "SigPnd:")
	if len(pending) == 0 {
		return false, nil
	}
	mask, err := strconv.ParseUint(pending[0], 16, 64)
	return mask&(1<<(unix.SIGKILL-1)) != 0, err
}

// UID returns the effective user of a process.
func (f FS) UID(pid int) (uint32, error) {
	data, err := f.read(pid, "status")
	if err != nil {
		return 0, err
	}
	uid, err := parseUID(data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.path(pid, "status"), err)
	}
	return uid, nil
}

// parseUID reads "Uid: real effective saved filesystem".
func parseUID(status []byte) (uint32, error) {
	fields := statusFields(status, "Uid:")
	if len(fields) < 2 {
		return 0, errors.New("no user in it")
	}
	uid, err := strconv.ParseUint(fields[1], 10, 32)
	return uint32(uid), err
}

// statusFields returns what follows a label of /proc/PID/status. The name of the program, which stands above the others,
// cannot fake a line: the kernel escapes line ends in it (man 5 proc_pid_status).
func statusFields(status []byte, label string) []string {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, label); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// Children returns the processes whose parent is pid, zombies included, by ascending pid. When pid does not exist the
// error matches fs.ErrNotExist. Children that are born or end during the call may be missing: where that matters,
// ask again until the answer stays the same (man 5 proc_tid_children).
func (f FS) Children(pid int) ([]int, error) {
	threads, err := list(f.path(pid, "task"))
	if err != nil {
		return nil, vanished(pid, err)
	}
	children := []int{}
	answered := false
	for _, thread := range numbers(threads) {
		data, err := f.read(pid, "task/"+strconv.Itoa(thread)+"/children")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		answered = true
		children = append(children, numbers(strings.Fields(string(data)))...)
	}
	if !answered { // a kernel without CONFIG_PROC_CHILDREN, or gone
		return f.childrenByParent(pid)
	}
	slices.Sort(children)
	return children, nil
}

func (f FS) childrenByParent(pid int) ([]int, error) {
	if _, err := f.Stat(pid); err != nil {
		return nil, err
	}
	all, err := f.All(context.Background())
	if err != nil {
		return nil, err
	}
	children := []int{}
	for _, stat := range all {
		if stat.PPID == pid {
			children = append(children, stat.PID)
		}
	}
	return children, nil
}

// Printable keeps a text that a process may choose freely, its name for example, from speaking to the terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
