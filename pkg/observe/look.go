// Package observe takes one reading of what on this host has to do with cameras: processes, connections, leases, go2rtc.
package observe

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// tick is the unit of CPU time in /proc (man 5 proc_pid_stat; USER_HZ is 100 wherever Go runs Linux).
const tick = 10 * time.Millisecond

// looker is one look on its way.
type looker struct {
	Observation

	fs    proc.FS
	scope Scope
	now   time.Duration // on the boot-time clock

	table   []proc.Seen // by ascending pid, as is later
	later   []proc.Stat // of a second look, when there was one
	marked  []marked    // what the table and the ledger say is ours
	details map[int]proc.Detail
	lines   map[int]cmdline.Line

	ports  []uint16                     // where whoever is spoken to is a camera
	also   []uint16                     // where some are, and others are not
	exact  map[netip.AddrPort]bool      // these are
	ahead  func() (proc.Sockets, error) // the connections to the ports of the scope, which are listed while the table is read
	conns  []proc.Conn
	from   map[uint64]int // of connections in other network namespaces, by inode: a process there
	others []int          // one process of each other network namespace that was looked into
	unread []unread
}

// Look reads the process table, the ledger, the sockets of every network namespace it can see, and go2rtc, as far as they are
// in the scope. Book is nil when there is no ledger. It changes nothing but the ledger's own tidying of void leases, and
// never fails: what it could not read it lists as blind.
func Look(ctx context.Context, book *ledger.Ledger, fs proc.FS, scope Scope) Observation {
	l := &looker{
		fs: fs, scope: scope, now: proc.BootTime(), details: map[int]proc.Detail{}, lines: map[int]cmdline.Line{}, exact: map[netip.AddrPort]bool{},
		Observation: Observation{
			Schema: Schema, Host: fs.HostName(), TakenAt: time.Now().UTC().Truncate(time.Millisecond), UID: os.Geteuid(),
			Limits: scope.Limits, Cameras: scope.Cameras, Processes: []Process{}, Connections: []Connection{}, Leases: []Lease{}, Blind: []Blind{},
		},
	}
	if l.Cameras == nil {
		l.Cameras = []Camera{}
	}
	l.Blind = append(l.Blind, scope.Blind...)
	if scope.Ledger != nil {
		l.blind("ledger", scope.Ledger, true)
	}
	l.readSelf()
	if l.UID == 0 && !scope.OnlyOurs {
		l.Lacks = fs.Lacking()
	}
	l.listAhead()
	// The table before the ledger: a lease is written before its process exists and struck after it is gone,
	// so a process of a living run that shows up in between always finds its lease in the later reading.
	l.readTable(ctx)
	l.readLeases(book)
	if scope.Server != nil { // that something of ours is left there is possible only where a lease says so
		l.blind("go2rtc", scope.Server, slices.ContainsFunc(l.Leases, func(n Lease) bool {
			return n.Kind == ledger.Stream && n.Standing != ledger.Live && !n.Stays
		}))
	}
	l.readCandidates(ctx)
	l.readSockets(ctx)
	l.readServers(ctx)
	l.lookAtStreams(ctx)
	l.note()
	l.readServer(ctx)
	return l.Observation
}

func (l *looker) blind(where string, err error, matters bool) {
	l.Blind = append(l.Blind, Blind{Where: where, Why: err.Error()})
	l.Unsighted = l.Unsighted || matters
}

func (l *looker) readSelf() {
	self, err := l.fs.Self()
	if err != nil {
		l.blind("own process", err, true)
		return
	}
	l.Self = self
}

// readTable reads the process table, and of each process whether it carries our mark. Unreadable environments are those of
// other users, and another user's process is not of this ledger. Who looks at everybody need not ask everybody: see Skim.
func (l *looker) readTable(ctx context.Context) {
	var err error
	if l.scope.OnlyOurs {
		l.table, err = l.fs.Scan(ctx, ledger.MarkVariable)
	} else {
		l.table, err = l.fs.Skim(ctx, ledger.MarkVariable, l.configured)
	}
	if err != nil {
		l.blind("process table", err, true) // part of it may have been read, and is still worth a look
	}
	l.Table = len(l.table)
	for _, s := range l.table {
		if mark, ours := ledger.ParseMark(s.Value); ours && s.PID != l.Self.PID {
			l.addMarked(s.PID, s.Start, mark)
		}
	}
	if !l.scope.OnlyOurs && l.fs.PidHidden() {
		l.HidesOthers = true
		l.blind("processes of other users", errors.New("this /proc is mounted with hidepid: look as root"), false)
	}
	if !l.scope.OnlyOurs {
		l.noteConfinement()
	}
}

// noteConfinement notes that there is a host around us, of which not all can be seen. Where only loopback addresses are in
// question, a network that has others beside is as good as the host's: they are its own.
func (l *looker) noteConfinement() {
	confined := l.fs.Confinement()
	if confined.PIDs != nil && !confined.Alone && l.scope.Limits.loopback() {
		return
	}
	if confined.Network != nil {
		l.blind("connections of the host", confined.Network, false)
	}
	if confined.PIDs != nil {
		l.blind("processes of the host", confined.PIDs, false)
	}
}

// readCandidates asks the processes that are looked at whatever they hold.
func (l *looker) readCandidates(ctx context.Context) {
	var pids []int
	for _, m := range l.marked {
		pids = append(pids, m.id.PID)
	}
	if l.scope.OnlyOurs {
		l.ask(ctx, pids, nil)
		return
	}
	for _, one := range l.table {
		if !one.Kernel && one.PID != l.Self.PID && l.configured(one.Stat) {
			pids = append(pids, one.PID)
		}
	}
	slices.Sort(pids)
	l.ask(ctx, slices.Compact(pids), nil)
	// What is listed ahead, and the ports in the candidates' own URLs.
	known := len(l.ports)
	for _, line := range l.lines {
		for _, target := range line.Cameras {
			if !target.Exact {
				l.ports = append(l.ports, target.Port)
				continue
			}
			l.also = append(l.also, target.Port)
			if at := l.resolve(target).Address; at.IsValid() {
				l.exact[at] = true
			}
		}
	}
	if l.ports = tidy(l.ports); len(l.ports) > known || len(l.also) > 0 || l.anyPort() {
		l.ahead = nil // it answers a smaller question
	}
}

// listAhead begins to list the connections to 554, and to the ports of the inventory and of the limits. The kernel
// takes as long to list thousands as the process table takes to read. Who holds a connection is asked later, so that
// one which ends meanwhile is found to have no owner, and is looked for again.
func (l *looker) listAhead() {
	for _, a := range l.scope.Limits.Addresses {
		l.ports = append(l.ports, a.Port())
	}
	if l.scope.OnlyOurs { // what is ours may be made until the ledger is read
		l.ports = tidy(l.ports)
		return
	}
	l.ports = append(l.ports, camera.DefaultPort)
	for _, c := range l.scope.Cameras {
		l.ports = append(l.ports, c.Port)
	}
	l.ports = tidy(l.ports)
	ports, done := slices.Clone(l.ports), make(chan struct{})
	var sockets proc.Sockets
	var err error
	go func() {
		defer close(done)
		sockets, err = l.fs.Connections(ports)
	}()
	l.ahead = func() (proc.Sockets, error) {
		<-done
		return sockets, err
	}
}

// tidy sorts ports, without 0, which stands for any.
func tidy(ports []uint16) []uint16 {
	ports = slices.DeleteFunc(ports, func(port uint16) bool { return port == 0 })
	slices.Sort(ports)
	return slices.Compact(ports)
}

// ask fills in the details of processes that have not been asked yet. Held is what is known already that some hold.
func (l *looker) ask(ctx context.Context, pids []int, held map[int]proc.Held) {
	if l.scope.OnlyOurs {
		ctx = context.WithoutCancel(ctx) // they are few, and who cleans up has to know them
	}
	pids = slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { _, known := l.details[pid]; return known })
	details, err := l.fs.DetailsBut(ctx, pids, held)
	if err != nil {
		l.blind("command lines of processes", err, true)
		return
	}
	for i, pid := range pids {
		l.details[pid] = details[i]
		stat, _ := l.stat(pid)
		l.lines[pid] = cmdline.Read(details[i].Args, details[i].Program, stat.Comm)
	}
}

// note turns what was read into the observation.
func (l *looker) note() {
	l.Connections = slices.Grow(l.Connections, len(l.conns))
	for _, c := range l.conns {
		l.Connections = append(l.Connections, connection(c))
	}
	datagrams := l.datagrams()
	for pid, d := range l.details {
		if p, ok := l.process(pid, d); ok {
			if n, known := datagrams[pid]; known {
				p.Datagrams = n
			}
			l.Processes = append(l.Processes, p)
		}
	}
	slices.SortFunc(l.Processes, func(a, b Process) int { return cmp.Compare(a.ID.PID, b.ID.PID) })
	slices.SortStableFunc(l.Connections, func(a, b Connection) int {
		return cmp.Or(a.Remote.Compare(b.Remote), cmp.Compare(a.PID, b.PID), a.Local.Compare(b.Local))
	})
}
