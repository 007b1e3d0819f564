package proc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Seen is one process of a Scan: its stat, and what its environment says of one variable.
type Seen struct {
	Stat

	Value  string // of the variable; empty when it is not set
	Set    bool   // the variable is set
	Closed bool   // a living process whose environment belongs to another user, or is protected
	Net    uint64 // of its network namespace, as NetworkOf has it; 0: not asked, or closed to us
}

// Scan reads the whole process table once, by ascending pid: of every process its stat, and of every living one that is no
// kernel thread the variable of its environment; none with variable "". Processors share the work, each with a buffer
// of its own. What ends meanwhile is left out. The error is that of All.
func (f FS) Scan(ctx context.Context, variable string) ([]Seen, error) {
	seen, err := f.stats(ctx)
	if seen == nil || variable == "" {
		return seen, err
	}
	if over := f.share(ctx, len(seen), many, func(r *reader, i int) { r.look(&seen[i], variable, false) }); over != nil {
		return nil, over
	}
	return seen, err
}

// Skim is Scan for a table that is too long to ask everybody: it also tells network namespaces, and leaves out whoever is
// in a process group whose leader lives and does not carry the variable. Environments are inherited, and so are groups; what
// leaves its group leads another. A namespace can be left out that way, of a process that entered it by itself.
func (f FS) Skim(ctx context.Context, variable string, wanted func(Stat) bool) ([]Seen, error) {
	seen, err := f.stats(ctx)
	if seen == nil {
		return nil, err
	}
	const nobody = -1
	leaders := make([]int, len(seen)) // of each one where its leader stands, unless that is itself
	var first, second []int
	for i := range seen {
		s := &seen[i]
		leaders[i] = nobody
		if s.PGRP != s.PID {
			at, found := slices.BinarySearchFunc(seen, s.PGRP, func(one Seen, pid int) int { return cmp.Compare(one.PID, pid) })
			if found && seen[at].PGRP == s.PGRP && !seen[at].Dead() {
				leaders[i] = at
			}
		}
		if leaders[i] == nobody || wanted(s.Stat) {
			first = append(first, i)
		}
	}
	over := f.share(ctx, len(first), many, func(r *reader, i int) { r.look(&seen[first[i]], variable, true) })
	for i, leader := range leaders {
		if leader != nobody && (seen[leader].Set || seen[leader].Closed) {
			second = append(second, i)
		}
	}
	if over == nil {
		over = f.share(ctx, len(second), many, func(r *reader, i int) { r.look(&seen[second[i]], variable, true) })
	}
	if over != nil {
		return nil, over
	}
	return seen, err
}

// stats reads the stat of every process.
func (f FS) stats(ctx context.Context) ([]Seen, error) {
	pids, err := f.pids()
	if err != nil {
		return nil, err
	}
	seen := make([]Seen, len(pids))
	problems := make([]error, len(pids))
	err = f.share(ctx, len(pids), many, func(r *reader, i int) {
		seen[i].Stat, problems[i] = r.stat(pids[i])
	})
	if err != nil {
		return nil, err
	}
	kept, failed := seen[:0], 0
	var first error
	for i, s := range seen {
		switch err := problems[i]; {
		case err == nil:
			kept = append(kept, s)
		case errors.Is(err, fs.ErrNotExist):
		case pids[i] == 1 && errors.Is(err, fs.ErrPermission): // hidepid=noaccess; the init process is nobody's capture
		default:
			failed++
			if first == nil {
				first = err
			}
		}
	}
	if failed > 0 {
		return kept, fmt.Errorf("%d of %d processes could not be read, first: %w", failed, len(pids), first)
	}
	return kept, nil
}

// How many processes a processor takes at a time. With many, a counter that is asked for each would be what they wait for;
// where each is much work, nobody shall have to wait for one that has several left.
const (
	many = 16
	each = 1
)

// share calls do for 0 to n-1, on as many processors as there are, each with a reader of its own, which takes batch at a time.
func (f FS) share(ctx context.Context, n, batch int, do func(r *reader, i int)) error {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+batch-1)/batch) {
		all.Go(func() {
			r := newReader(f)
			defer r.close()
			for ctx.Err() == nil {
				from := int(next.Add(int64(batch))) - batch
				if from >= n {
					return
				}
				for i := from; i < min(from+batch, n); i++ {
					do(r, i)
				}
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// reader reads small files of processes into one buffer.
type reader struct {
	fs   FS
	root int // the open process table, so that the kernel need not find it anew for each file; AT_FDCWD: it could not be opened
	data []byte
	path []byte
}

func newReader(f FS) *reader {
	r := &reader{fs: f, data: make([]byte, 0, 4096)}
	var err error
	if r.root, err = unix.Open(f.root(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		r.root = unix.AT_FDCWD
	}
	return r
}

func (r *reader) close() {
	if r.root != unix.AT_FDCWD {
		_ = unix.Close(r.root)
	}
}

// name is the path of a file of a process, below the open table.
func (r *reader) name(pid int, file string) string {
	r.path = r.path[:0]
	if r.root == unix.AT_FDCWD {
		r.path = append(append(r.path, r.fs.root()...), '/')
	}
	r.path = append(append(strconv.AppendInt(r.path, int64(pid), 10), '/'), file...)
	return string(r.path)
}

// read returns the content of a file of a process, until the next call.
func (r *reader) read(pid int, file string) ([]byte, error) {
	data, err := readAll(r.data[:0], r.root, r.name(pid, file), true)
	r.data = data[:0]
	if err != nil {
		return nil, vanished(pid, &fs.PathError{Op: "read", Path: r.fs.path(pid, file), Err: err})
	}
	return data, nil
}

// link returns the target of a symlink of a process.
func (r *reader) link(pid int, file string) (string, error) {
	buffer := r.data[:cap(r.data)]
	n, err := unix.Readlinkat(r.root, r.name(pid, file), buffer)
	if err != nil {
		return "", vanished(pid, &fs.PathError{Op: "readlink", Path: r.fs.path(pid, file), Err: err})
	}
	return string(buffer[:n]), nil
}

func (r *reader) stat(pid int) (Stat, error) {
	data, err := r.read(pid, "stat")
	if err != nil {
		return Stat{}, err
	}
	stat, err := parseStat(data)
	if err != nil {
		return Stat{}, fmt.Errorf("%s: %w", r.fs.path(pid, "stat"), err)
	}
	return stat, nil
}

// look adds what the environment of a process says, and with nets its network namespace.
func (r *reader) look(s *Seen, variable string, nets bool) {
	if s.Kernel || s.Dead() {
		return
	}
	if nets {
		s.Net, _ = r.fs.NetworkOf(s.PID)
	}
	data, err := r.read(s.PID, "environ")
	switch {
	case err == nil:
		s.Value, s.Set = lookupEnviron(data, variable)
	case errors.Is(err, fs.ErrNotExist): // it ended, and what its stat said was true a moment ago
	default:
		again, err := r.stat(s.PID) // a zombie closes its environment to all but root
		s.Closed = err == nil && !again.Dead()
	}
}
