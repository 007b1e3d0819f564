package observe

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// marked is a process that carries our mark, or that a lease names as its child.
type marked struct {
	id    proc.Identity
	stat  proc.Stat
	mark  ledger.Mark   // as the lease would have it when only a lease names the process
	owner proc.Presence // of the camwarden that started it
}

// addMarked adds the process that had the pid when its mark was read, and not whoever may have the number by now.
func (l *looker) addMarked(pid int, start uint64, mark ledger.Mark) {
	id, err := l.fs.Identify(pid)
	if err != nil {
		if !vanished(err) {
			l.blind(fmt.Sprintf("process %d", pid), err, true)
		}
		return
	}
	stat, err := l.fs.Stat(pid)
	if err != nil || id.Start != start || stat.Start != start {
		return // gone, or another process has the number by now
	}
	m := marked{id: id, stat: stat, mark: mark, owner: proc.Unknown}
	if mark.Owner.PID > 0 {
		m.owner = l.ownerOf(pid, mark)
	}
	l.marked = append(l.marked, m)
}

// ownerOf looks for the camwarden that a mark names. Its pid is the one that it has where it runs: of a process in a
// container that is a number of the container, and to find none of that number here proves nothing.
func (l *looker) ownerOf(pid int, mark ledger.Mark) proc.Presence {
	owner := mark.Owner
	owner.PIDNS = l.Self.PIDNS
	presence, _ := l.fs.Look(owner)
	if presence == proc.Running {
		return presence
	}
	if depth, err := l.fs.Depth(pid); err != nil || depth > 0 {
		return proc.Unknown
	}
	return presence
}

// readLeases reads the ledger, and adds the children it names whose environment did not tell.
func (l *looker) readLeases(book *ledger.Ledger) {
	if book != nil {
		l.readLedger(book)
	}
	known := func(m marked) bool {
		return slices.ContainsFunc(l.Leases, func(n Lease) bool { return n.ID == m.mark.Lease || n.Record.Child == m.id })
	}
	l.marked = slices.DeleteFunc(l.marked, func(m marked) bool {
		concerns := l.scope.covers(m.mark.Address) || l.scope.OnlyOurs && known(m)
		return !concerns
	})
	if !l.scope.OnlyOurs {
		l.Leases = slices.DeleteFunc(l.Leases, func(n Lease) bool { return !l.scope.Limits.Cover(n.Address) })
	}
}

func (l *looker) readLedger(book *ledger.Ledger) {
	leases, torn, err := book.Read()
	if err != nil {
		l.blind("ledger", err, true)
	}
	for _, t := range torn {
		// Not decisive: a process behind a lost lease still carries its mark, and was looked for.
		l.blind("ledger file "+t.Path, errors.New(t.Why), false)
	}
	for _, record := range leases {
		n := Lease{
			ID: record.ID, Kind: record.Kind, Run: record.Run, Camera: record.Camera, Address: record.Address, Name: record.Name,
			Owner: record.Owner.PID, Child: record.Child.PID, Standing: book.Standing(record), LateMS: (l.now - record.Deadline).Milliseconds(),
			Stays: l.scope.Standing && record.Note == streams.Standing, Borrowed: record.Note == streams.Borrowed, Record: record,
		}
		if record.Child.PID > 0 {
			n.Presence, err = l.fs.Look(record.Child)
			if err != nil {
				l.blind(fmt.Sprintf("process %d of lease %s", record.Child.PID, record.ID), err, true)
			}
			if n.Presence == proc.Running && !slices.ContainsFunc(l.marked, func(m marked) bool { return m.id == record.Child }) {
				l.addMarked(record.Child.PID, record.Child.Start, record.Mark())
			}
		}
		l.Leases = append(l.Leases, n)
	}
}

// mark notes whose the process is, if it is ours.
func (l *looker) mark(p *Process) bool {
	for _, n := range l.Leases {
		if n.Record.Child == p.ID {
			p.Lease = n.ID
		}
	}
	i := slices.IndexFunc(l.marked, func(m marked) bool { return m.id == p.ID })
	if i < 0 {
		return p.Lease != ""
	}
	m := l.marked[i]
	if p.Lease == "" {
		if n, ok := l.Lease(m.mark.Lease); ok {
			p.Lease = n.ID
		}
	}
	owner := m.mark.Owner
	p.Owner = &Owner{PID: owner.PID, Presence: m.owner, Self: owner.PID == l.Self.PID && owner.Start == l.Self.Start}
	if address := m.mark.Address; address.IsValid() {
		p.meets(address, true)
	}
	return true
}

func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}
