package observe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/proc"
)

// looks bounds how often the sockets are read again because one had no owner: it may have been closed, or passed on,
// between the list of sockets and the search for the owner.
const looks = 4

func (l *looker) readSockets(ctx context.Context) {
	if len(l.ports) == 0 {
		return
	}
	ports := tidy(append(slices.Clone(l.ports), l.also...))
	if l.anyPort() {
		ports = everyPort()
	}
	for look := 1; ; look++ {
		last := look == looks || ctx.Err() != nil
		l.conns, l.unread = l.sockets(ports)
		l.own(ctx)
		unsettled := func(c proc.Conn) bool {
			return c.PID == 0 && c.Inode != 0 && (l.UID == 0 || int(c.UID) == l.UID) && !c.Elsewhere && l.toCamera(c.Remote)
		}
		if last || !slices.ContainsFunc(l.conns, unsettled) {
			break
		}
		time.Sleep(5 * time.Millisecond << look)
		l.refresh(ctx)
	}
	for _, u := range l.unread {
		l.blind(u.where, u.err, u.matters)
	}
	l.conns = slices.DeleteFunc(l.conns, func(c proc.Conn) bool { return !l.toCamera(c.Remote) && !l.readsFrom(c) })
}

// toCamera reports whether an address is a camera's whoever speaks to it.
func (l *looker) toCamera(remote netip.AddrPort) bool {
	_, found := slices.BinarySearch(l.ports, remote.Port())
	return found || l.exact[remote]
}

// readsFrom reports whether a connection to an address that is no camera's by itself is the input of its candidate: it does not
// say where it reads from, and its other end is within the limits, or near where there are none; or it says a name.
func (l *looker) readsFrom(c proc.Conn) bool {
	line := l.lines[c.PID]
	limited := !l.scope.Limits.None()
	near := limited || cmdline.Near(c.Remote.Addr())
	hidden := line.Hidden && (limited || len(line.Pushes) == 0) // else it may be where the process sends something to
	return near && (hidden || slices.ContainsFunc(line.Cameras, func(t cmdline.Target) bool {
		return t.Exact && !t.Address.IsValid() && t.Port == c.Remote.Port()
	}))
}

// anyPort reports whether a candidate does not say where it reads from: then a connection of it may count whatever its port.
func (l *looker) anyPort() bool {
	if l.scope.OnlyOurs {
		return false
	}
	for _, line := range l.lines {
		if line.Hidden {
			return true
		}
	}
	return false
}

func everyPort() []uint16 {
	ports := make([]uint16, 0, 1<<16-1)
	for port := 1; port < 1<<16; port++ {
		ports = append(ports, uint16(port))
	}
	return ports
}

// unread is a table that could not be read.
type unread struct {
	where   string
	err     error
	matters bool
}

func ofNamespace(pid int, err error) unread {
	return unread{fmt.Sprintf("connections of the network namespace of pid %d", pid), err, false}
}

// sockets lists the connections to the ports, in our network namespace and in every other one that we can see, once each,
// and what it could not read.
func (l *looker) sockets(ports []uint16) ([]proc.Conn, []unread) {
	var missing []unread
	list := func() (proc.Sockets, error) { return l.fs.Connections(ports) }
	if l.ahead != nil {
		list, l.ahead = l.ahead, nil
	}
	here, err := list()
	if err != nil {
		missing = append(missing, unread{"connections", err, true})
	}
	if here.Why != nil && !l.scope.OnlyOurs {
		missing = append(missing, unread{"how long connections are silent", here.Why, false})
	}
	l.Method = here.Method
	known := make(map[uint64]bool, len(here.Conns)) // the kernel may tell of one twice, and so may two processes of one namespace
	again := func(c proc.Conn) bool {
		before := len(known)
		known[c.Inode] = true
		return c.Inode != 0 && len(known) == before
	}
	unwanted := func(c proc.Conn) bool { return !l.scope.Limits.Cover(c.Remote) || again(c) }
	all := slices.DeleteFunc(here.Conns, unwanted)
	others, untold := l.elsewhere()
	missing = append(missing, untold...)
	l.others, l.from = others, map[uint64]int{}
	for _, pid := range l.others {
		there, err := l.fs.ConnectionsIn(pid, ports)
		switch {
		case err == nil:
			found := slices.DeleteFunc(there.Conns, unwanted)
			for _, c := range found {
				l.from[c.Inode] = pid
			}
			all = append(all, found...)
		case !vanished(err):
			missing = append(missing, ofNamespace(pid, err))
		}
	}
	return all, missing
}

// elsewhere returns one process for each network namespace but ours that a candidate, or the leader of a process group, lives
// in, and what could not be told of candidates.
func (l *looker) elsewhere() ([]int, []unread) {
	if l.scope.OnlyOurs {
		return nil, nil // what we start stays in our namespace
	}
	if l.Self.PID == 0 {
		return nil, nil // which is told already
	}
	ours, err := l.fs.NetworkOf(l.Self.PID)
	switch {
	case vanished(err): // a picture of a process table, without namespaces
		return nil, nil
	case err != nil:
		return nil, []unread{{"connections of other network namespaces", err, false}}
	}
	var pids []int
	var missing []unread
	known := map[uint64]bool{ours: true, 0: true}
	for _, one := range l.table {
		_, candidate := l.details[one.PID]
		if candidate && one.Net == 0 && !one.Dead() {
			if one.Net, err = l.fs.NetworkOf(one.PID); err != nil && !vanished(err) {
				missing = append(missing, ofNamespace(one.PID, err))
			}
		}
		if !known[one.Net] {
			known[one.Net] = true
			pids = append(pids, one.PID)
		}
	}
	return pids, missing
}

// connection is a connection as an observation has it.
func connection(c proc.Conn) Connection {
	noted := Connection{
		Local: c.Local, Remote: c.Remote, State: c.State, UID: c.UID, ReceiveQueue: c.RecvQueue,
		PID: c.PID, Program: proc.Printable(c.Program), Held: c.Inode != 0, Container: c.Elsewhere,
	}
	if c.SilentKnown {
		ms := c.Silent.Milliseconds()
		noted.SilentMS = &ms
	}
	if c.ReceivedKnown {
		bytes := int64(c.Received)
		noted.Received = &bytes
	}
	return noted
}

// datagrams counts the UDP sockets of the processes that stream, for their media may come by them.
func (l *looker) datagrams() map[int]int {
	counts := map[int]int{}
	tables := map[uint64]map[uint64]bool{}
	whatever := func(Connection) bool { return true }
	for _, one := range l.table {
		d, asked := l.details[one.PID]
		if !asked || d.FDs < 0 || !l.Holds(one.PID, whatever) {
			continue
		}
		table, read := tables[one.Net]
		if !read || one.Net == 0 {
			var err error
			if table, err = l.fs.Datagrams(one.PID); err != nil {
				continue
			}
			tables[one.Net] = table
		}
		counts[one.PID] = 0
		for _, inode := range d.Sockets {
			if table[inode] {
				counts[one.PID]++
			}
		}
	}
	return counts
}
