package observe

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/camwarden/camwarden/pkg/proc"
)

// own names who holds the connections: the candidates, whose descriptors have been read, then anybody.
func (l *looker) own(ctx context.Context) {
	sockets := 0
	for _, d := range l.details {
		sockets += len(d.Sockets)
	}
	holders := make(map[uint64]int, sockets)
	for pid, d := range l.details {
		for _, inode := range d.Sockets {
			if other, taken := holders[inode]; !taken || pid < other {
				holders[inode] = pid
			}
		}
	}
	var orphans []proc.Conn
	for i := range l.conns {
		c := &l.conns[i]
		if pid, ok := holders[c.Inode]; ok && c.Inode != 0 {
			stat, _ := l.stat(pid)
			c.PID, c.Program = pid, stat.Comm
		} else if c.Inode != 0 && (l.toCamera(c.Remote) || !l.scope.Limits.None()) {
			orphans = append(orphans, *c)
		}
	}
	if len(orphans) == 0 {
		return
	}
	var others []proc.Stat
	for stat := range l.newest() {
		if _, asked := l.details[stat.PID]; !asked {
			others = append(others, stat)
		}
	}
	owned := map[uint64]proc.Conn{}
	ourselves := func(stat proc.Stat) bool { return stat.PID == l.Self.PID }
	found, held := l.fs.OwnAmong(others, orphans, ourselves)
	for _, c := range found {
		owned[c.Inode] = c
	}
	var more []int
	for i := range l.conns {
		if c, ok := owned[l.conns[i].Inode]; ok && c.PID > 0 {
			l.conns[i].PID, l.conns[i].Program = c.PID, c.Program
			more = append(more, c.PID)
		}
	}
	if !l.scope.OnlyOurs {
		slices.Sort(more)
		l.ask(ctx, slices.Compact(more), held)
	}
}

// refresh forgets what processes hold, so that it is read again.
func (l *looker) refresh(ctx context.Context) {
	var pids []int
	for pid := range l.details {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	clear(l.details)
	l.ask(ctx, pids, nil)
	if all, err := l.fs.All(ctx); err == nil { // the owner may have been born since
		l.later = all
	}
}

// stat returns what the table says of a process; where there are two tables, the first that knows it.
func (l *looker) stat(pid int) (proc.Stat, bool) {
	if i, ok := slices.BinarySearchFunc(l.table, pid, func(one proc.Seen, pid int) int { return cmp.Compare(one.PID, pid) }); ok {
		return l.table[i].Stat, true
	}
	if i, ok := slices.BinarySearchFunc(l.later, pid, func(stat proc.Stat, pid int) int { return cmp.Compare(stat.PID, pid) }); ok {
		return l.later[i], true
	}
	for _, m := range l.marked { // a lease may name one that was born after the table was read
		if m.id.PID == pid {
			return m.stat, true
		}
	}
	return proc.Stat{}, false
}

// newest tells the processes of the last look at the table.
func (l *looker) newest() iter.Seq[proc.Stat] {
	if l.later != nil {
		return slices.Values(l.later)
	}
	return func(yield func(proc.Stat) bool) {
		for i := range l.table {
			if !yield(l.table[i].Stat) {
				return
			}
		}
	}
}
