package proc

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Detail is what one process is asked beside its stat. What is closed to us stays at its zero value, or at -1.
type Detail struct {
	Args    []string // the whole command line, which may hold a password; nil for a zombie
	Program string   // the file it runs, without the kernel's " (deleted)"; empty: closed to us
	UID     uint32   // effective user
	Depth   int      // how many pid namespaces below ours it lives in; 0: in ours
	FDs     int      // open descriptors; -1: closed to us
	Sockets []uint64 // inodes of its sockets of every kind
	Waits   string   // the kernel function it sleeps in (wchan); empty when it runs, or the kernel does not tell
	Gone    bool     // it ended while it was asked
}

// Details asks the processes of these pids, on as many processors as there are; the answers are in their order.
func (f FS) Details(ctx context.Context, pids []int) ([]Detail, error) {
	return f.DetailsBut(ctx, pids, nil)
}

// DetailsBut is Details for processes of some of which it is known what they hold, by pid.
func (f FS) DetailsBut(ctx context.Context, pids []int, known map[int]Held) ([]Detail, error) {
	details := make([]Detail, len(pids))
	err := f.share(ctx, len(pids), each, func(r *reader, i int) {
		held, seen := known[pids[i]]
		if details[i] = r.detail(pids[i], !seen); seen && !details[i].Gone {
			details[i].FDs, details[i].Sockets = held.FDs, held.Sockets
		}
	})
	return details, err
}

func (r *reader) detail(pid int, held bool) Detail {
	var d Detail
	data, err := r.read(pid, "cmdline")
	if errors.Is(err, fs.ErrNotExist) {
		return Detail{Gone: true, FDs: -1}
	}
	d.Args = splitCmdline(data)
	if link, err := r.link(pid, "exe"); err == nil {
		d.Program = strings.TrimSuffix(link, " (deleted)")
	}
	if data, err = r.read(pid, "status"); err == nil {
		d.UID, _ = parseUID(data)
		d.Depth = depth(data)
	}
	if held {
		d.FDs = r.sockets(pid, func(inode uint64) { d.Sockets = append(d.Sockets, inode) })
	}
	if data, err = r.read(pid, "wchan"); err == nil && string(data) != "0" {
		d.Waits = string(data)
	}
	return d
}

// Depth returns how many pid namespaces below ours process pid lives in; 0: in ours. When it does not exist the error
// matches fs.ErrNotExist.
func (f FS) Depth(pid int) (int, error) {
	status, err := f.read(pid, "status")
	return depth(status), err
}

// depth counts the pids of a status: from the namespace of this /proc down to the process's own (man 5 proc_pid_status).
func depth(status []byte) int { return max(0, len(statusFields(status, "NSpid:"))-1) }

// Datagrams returns the inodes of the UDP sockets in the network namespace that process pid is in: those that a camera's
// media may come by (/proc/PID/net/udp and udp6, open to every user).
func (f FS) Datagrams(pid int) (map[uint64]bool, error) {
	inodes := map[uint64]bool{}
	for _, name := range []string{"udp", "udp6"} {
		path := f.path(pid, "net", name)
		data, err := slurp(path)
		if name == "udp6" && errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, vanished(pid, &fs.PathError{Op: "read", Path: path, Err: err})
		}
		number := 0
		for line := range strings.Lines(string(data)) {
			if number++; number == 1 {
				continue // the names of the columns
			}
			// The columns are those of the table of TCP.
			conn, _, err := parseNetTCPLine(line)
			if err != nil {
				return nil, &fs.PathError{Op: "understand", Path: path, Err: err}
			}
			inodes[conn.Inode] = true
		}
	}
	return inodes, nil
}

// PidHidden reports whether the kernel keeps the processes of other users from us (hidepid, man 5 proc): the process
// with number 1 is always there. From who has CAP_SYS_PTRACE it keeps none, or that one at most.
func (f FS) PidHidden() bool {
	if f.real() && !slices.Contains(f.Lacking(), "CAP_SYS_PTRACE") {
		return false
	}
	if _, err := f.Stat(1); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if !f.real() {
		return false // a picture may well leave it out
	}
	_, err := f.second(1)
	return !errors.Is(err, fs.ErrNotExist)
}

// HostName returns the name of this host, as the kernel has it.
func (f FS) HostName() string {
	data, err := slurp(filepath.Join(f.root(), "sys/kernel/hostname"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
