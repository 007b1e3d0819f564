package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// readProcesses lists every process that carries our mark.
func (o *Observation) readProcesses(ctx context.Context, table proc.FS) {
	seen, err := table.Scan(ctx, ledger.MarkVariable)
	o.noteProcesses(table, seen, err)
}

// noteProcesses takes in a reading of the process table. Unreadable environments are those of other users, and another
// user's process is not of this ledger.
func (o *Observation) noteProcesses(table proc.FS, seen []proc.Seen, err error) {
	if err != nil {
		o.blind("process table", err, true) // part of it may have been read, and is still worth a look
	}
	o.Table = len(seen)
	for _, s := range seen {
		if mark, ours := ledger.ParseMark(s.Value); ours && s.PID != o.Self.PID {
			o.addProcess(table, s.PID, s.Start, mark)
		}
	}
}

// addProcess adds the process that had the pid when its mark was read, and not whoever may have the number by now.
func (o *Observation) addProcess(table proc.FS, pid int, start uint64, mark ledger.Mark) {
	id, err := table.Identify(pid)
	if err != nil {
		if !vanished(err) {
			o.blind(fmt.Sprintf("process %d", pid), err, true)
		}
		return
	}
	stat, err := table.Stat(pid)
	if err != nil || id.Start != start || stat.Start != start {
		return // gone, or another process has the number by now
	}
	p := Process{ID: id, Stat: stat, Mark: mark, Owner: proc.Unknown}
	if mark.Owner.PID > 0 {
		p.Owner = o.ownerOf(table, pid, mark)
	}
	o.Processes = append(o.Processes, p)
}

// ownerOf looks for the camwarden that a mark names. Its pid is the one that it has where it runs: of a process in a
// container that is a number of the container, and to find none of that number here proves nothing.
func (o *Observation) ownerOf(table proc.FS, pid int, mark ledger.Mark) proc.Presence {
	owner := mark.Owner
	owner.PIDNS = o.Self.PIDNS
	presence, _ := table.Look(owner)
	if presence == proc.Running {
		return presence
	}
	if depth, err := table.Depth(pid); err != nil || depth > 0 {
		return proc.Unknown
	}
	return presence
}

// readLeases reads the ledger, and adds the children it names whose environment did not tell.
func (o *Observation) readLeases(book *ledger.Ledger, table proc.FS) {
	leases, torn, err := book.Read()
	if err != nil {
		o.blind("ledger", err, true)
	}
	for _, t := range torn {
		// Not decisive: a process behind a lost lease still carries its mark, and was looked for.
		o.blind("ledger file "+t.Path, errors.New(t.Why), false)
	}
	for _, l := range leases {
		seen := Lease{Lease: l, Standing: book.Standing(l)}
		if l.Child.PID > 0 {
			seen.Presence, err = table.Look(l.Child)
			if err != nil {
				o.blind(fmt.Sprintf("process %d of lease %s", l.Child.PID, l.ID), err, true)
			}
			if seen.Presence == proc.Running && !o.lists(l.Child) {
				o.addProcess(table, l.Child.PID, l.Child.Start, l.Mark())
			}
		}
		o.Leases = append(o.Leases, seen)
	}
}

func (o *Observation) lists(id proc.Identity) bool {
	return slices.ContainsFunc(o.Processes, func(p Process) bool { return p.ID == id })
}

// readConnections lists this host's connections to the addresses of the scope, with their owners where they can be seen.
func (o *Observation) readConnections(table proc.FS, scope Scope) {
	ports := scope.ports()
	if len(ports) == 0 {
		return
	}
	sockets, err := table.Connections(ports)
	if err != nil {
		o.blind("connections", err, true)
		return
	}
	o.Method = sockets.Method
	conns := slices.DeleteFunc(sockets.Conns, func(c proc.Conn) bool { return !scope.covers(c.Remote) })
	if len(conns) == 0 {
		return
	}
	owned, err := table.Own(conns, func(s proc.Stat) bool { return s.PID == o.Self.PID || o.hasPID(s.PID) })
	if err != nil {
		o.blind("owners of connections", err, true)
		if owned == nil {
			owned = conns
		}
	}
	o.Connections = owned
}

func (o *Observation) hasPID(pid int) bool {
	return slices.ContainsFunc(o.Processes, func(p Process) bool { return p.ID.PID == pid })
}

func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}
