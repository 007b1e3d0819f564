package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
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
	Net    uint64 // number of its network namespace; 0: not asked, or closed to us
}

// Scan reads the whole process table once, by ascending pid: of every process its stat, of every living one that is
// no kernel thread the variable of its environment (none with variable ""), and with nets its network namespace.
// Processors share the work, each with a buffer of its own. What ends meanwhile is left out. The error is that of All.
func (f FS) Scan(ctx context.Context, variable string, nets bool) ([]Seen, error) {
	pids, err := f.pids()
	if err != nil {
		return nil, err
	}
	seen := make([]Seen, len(pids))
	problems := make([]error, len(pids))
	err = f.share(ctx, len(pids), func(r *reader, i int) {
		seen[i], problems[i] = r.look(pids[i], variable, nets)
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

// share calls do for 0 to n-1, on as many processors as there are, each with a reader of its own.
func (f FS) share(ctx context.Context, n int, do func(r *reader, i int)) error {
	const batch = 16 // a counter that is asked for every process would be what they wait for
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+batch-1)/batch) {
		all.Go(func() {
			r := &reader{fs: f, data: make([]byte, 0, 4096)}
			for ctx.Err() == nil {
				from := int(next.Add(batch)) - batch
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
	data []byte
	path []byte
}

// name is the path of a file of a process.
func (r *reader) name(pid int, file string) string {
	r.path = append(append(r.path[:0], r.fs.root()...), '/')
	r.path = append(append(strconv.AppendInt(r.path, int64(pid), 10), '/'), file...)
	return string(r.path)
}

// read returns the content of a file of a process, until the next call.
func (r *reader) read(pid int, file string) ([]byte, error) {
	path := r.name(pid, file)
	data, err := slurpInto(r.data[:0], path)
	r.data = data[:0]
	if err != nil {
		return nil, vanished(pid, &fs.PathError{Op: "read", Path: path, Err: err})
	}
	return data, nil
}

// link returns the target of a symlink of a process, until the next call.
func (r *reader) link(pid int, file string) (string, error) {
	path := r.name(pid, file)
	buffer := r.data[:cap(r.data)]
	n, err := again(func() (int, error) { return unix.Readlink(path, buffer) })
	if err != nil {
		return "", vanished(pid, &fs.PathError{Op: "readlink", Path: path, Err: err})
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

// look reads what Scan tells of one process.
func (r *reader) look(pid int, variable string, nets bool) (Seen, error) {
	stat, err := r.stat(pid)
	s := Seen{Stat: stat}
	if err != nil || stat.Kernel || stat.Dead() {
		return s, err
	}
	if nets {
		if link, err := r.link(pid, "ns/net"); err == nil {
			s.Net, _ = parseNamespace(link, "net")
		}
	}
	if variable == "" {
		return s, nil
	}
	data, err := r.read(pid, "environ")
	switch {
	case err == nil:
		s.Value, s.Set = lookupEnviron(data, variable)
	case errors.Is(err, fs.ErrNotExist): // it ended, and what its stat said was true a moment ago
	default:
		again, err := r.stat(pid) // a zombie closes its environment to all but root
		s.Closed = err == nil && !again.Dead()
	}
	return s, nil
}
