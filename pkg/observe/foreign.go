package observe

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// tick is the unit of CPU time in /proc (man 5 proc_pid_stat; USER_HZ is 100 wherever Go runs Linux).
const tick = 10 * time.Millisecond

// surveyor is one survey on its way.
type surveyor struct {
	Survey

	fs    proc.FS
	terms Terms
	now   time.Duration // on the boot-time clock

	table   []proc.Seen // by ascending pid, as is later
	later   []proc.Stat // of a second look, when there was one
	details map[int]proc.Detail
	lines   map[int]cmdline.Line
	ports   []uint16
	ahead   func() (proc.Sockets, error) // the connections to the ports of terms, which are listed while the table is read
	conns   []proc.Conn
	unread  []unread
}

// LookWide reads the process table, the sockets of every network namespace it can see, the ledger, and go2rtc. Book is
// nil when there is no ledger. It changes nothing and never fails: what it could not read it lists as blind.
func LookWide(ctx context.Context, book *ledger.Ledger, fs proc.FS, terms Terms) Survey {
	s := &surveyor{
		fs: fs, terms: terms, now: proc.BootTime(),
		details: map[int]proc.Detail{}, lines: map[int]cmdline.Line{},
	}
	s.Survey = Survey{
		Schema: Schema, Host: fs.HostName(), TakenAt: time.Now().UTC().Truncate(time.Millisecond), UID: os.Geteuid(),
		Limits: terms.Limits, Cameras: terms.Cameras, Suspects: []Suspect{}, Connections: []Connection{}, Leases: []Note{}, Blind: []Blind{},
	}
	if s.Cameras == nil {
		s.Cameras = []Camera{}
	}
	s.Ours = Observation{TakenAt: s.TakenAt}
	s.Blind = append(s.Blind, terms.Blind...)
	if terms.Ledger != nil {
		s.blind("ledger", terms.Ledger, true)
	}
	s.Ours.readSelf(fs)
	s.listAhead()
	s.readTable(ctx, book)
	if terms.Server != nil { // that something of ours is left there is possible only where a lease says so
		s.blind("go2rtc", terms.Server, slices.ContainsFunc(s.Leases, func(n Note) bool {
			return n.Kind == ledger.Stream && n.Standing != ledger.Live && !n.Stays
		}))
	}
	s.readCandidates(ctx)
	s.readSockets(ctx)
	s.Ours.lookAtStreams(ctx, fs, Scope{Streams: terms.Keeper})
	s.note()
	s.readServer(ctx)
	return s.Survey
}

// readTable reads the process table before the ledger, as Look does and for the same reason.
func (s *surveyor) readTable(ctx context.Context, book *ledger.Ledger) {
	seen, err := s.fs.Skim(ctx, ledger.MarkVariable, s.configured)
	s.Ours.noteProcesses(s.fs, seen, err)
	s.table = seen
	if s.HidesOthers = s.fs.PidHidden(); s.HidesOthers {
		s.blind("processes of other users", errors.New("this /proc is mounted with hidepid: look as root"), false)
	}
	if book != nil {
		s.Ours.readLeases(book, s.fs)
	}
	limits := s.terms.Limits
	s.Ours.Processes = slices.DeleteFunc(s.Ours.Processes, func(p Process) bool { return !limits.Cover(p.Mark.Address) })
	s.Ours.Leases = slices.DeleteFunc(s.Ours.Leases, func(l Lease) bool { return !limits.Cover(l.Address) })
	for _, l := range s.Ours.Leases {
		s.Leases = append(s.Leases, Note{
			ID: l.ID, Kind: l.Kind, Run: l.Run, Camera: l.Camera, Address: l.Address, Name: l.Name, Owner: l.Owner.PID,
			Child: l.Lease.Child.PID, Standing: l.Standing, Presence: l.Presence, LateMS: (s.now - l.Deadline).Milliseconds(),
			Stays: s.terms.Standing && l.Note == streams.Standing, Borrowed: l.Note == streams.Borrowed,
		})
	}
}

func (s *surveyor) blind(where string, err error, matters bool) { s.Ours.blind(where, err, matters) }

// configured reports whether a process calls itself by the name of a program that is looked at. The kernel keeps 15 bytes.
func (s *surveyor) configured(stat proc.Stat) bool {
	return slices.ContainsFunc(s.terms.Programs, func(name string) bool {
		return stat.Comm == name || len(name) > 15 && stat.Comm == name[:15]
	})
}

// readCandidates asks the processes that are looked at whatever they hold.
func (s *surveyor) readCandidates(ctx context.Context) {
	var pids []int
	for _, one := range s.table {
		if one.Kernel || one.PID == s.Ours.Self.PID {
			continue
		}
		if s.configured(one.Stat) || s.Ours.hasPID(one.PID) {
			pids = append(pids, one.PID)
		}
	}
	s.ask(ctx, pids)
	// What is listed ahead, and the ports in the candidates' own URLs.
	known := len(s.ports)
	for _, line := range s.lines {
		for _, target := range line.Cameras {
			s.ports = append(s.ports, target.Port)
		}
	}
	if s.ports = tidy(s.ports); len(s.ports) > known || s.anyPort() {
		s.ahead = nil // it answers a smaller question
	}
}

// listAhead begins to list the connections to 554, and to the ports of the inventory and of the arguments. The kernel
// takes as long to list thousands as the process table takes to read. Who holds a connection is asked later, so that
// one which ends meanwhile is found to have no owner, and is looked for again.
func (s *surveyor) listAhead() {
	s.ports = []uint16{camera.DefaultPort}
	for _, c := range s.terms.Cameras {
		s.ports = append(s.ports, c.Port)
	}
	for _, a := range s.terms.Limits.Addresses {
		s.ports = append(s.ports, a.Port())
	}
	s.ports = tidy(s.ports)
	ports, done := slices.Clone(s.ports), make(chan struct{})
	var sockets proc.Sockets
	var err error
	go func() {
		defer close(done)
		sockets, err = s.fs.Connections(ports)
	}()
	s.ahead = func() (proc.Sockets, error) {
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

// ask fills in the details of processes that have not been asked yet.
func (s *surveyor) ask(ctx context.Context, pids []int) {
	pids = slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { _, known := s.details[pid]; return known })
	details, err := s.fs.Details(ctx, pids)
	if err != nil {
		s.blind("command lines of processes", err, true)
		return
	}
	for i, pid := range pids {
		s.details[pid] = details[i]
		s.lines[pid] = cmdline.Read(details[i].Args)
	}
}

// looks bounds how often the sockets are read again because one had no owner: it may have been closed, or passed on,
// between the list of sockets and the search for the owner.
const looks = 4

func (s *surveyor) readSockets(ctx context.Context) {
	ports := s.ports
	if s.anyPort() {
		ports = everyPort()
	}
	for look := 1; ; look++ {
		last := look == looks || ctx.Err() != nil
		s.conns, s.unread = s.sockets(ports)
		s.own(ctx)
		unsettled := func(c proc.Conn) bool {
			return c.PID == 0 && c.Inode != 0 && (s.UID == 0 || int(c.UID) == s.UID) && !c.Elsewhere
		}
		if last || !slices.ContainsFunc(s.conns, unsettled) {
			break
		}
		time.Sleep(5 * time.Millisecond << look)
		s.refresh(ctx)
	}
	for _, u := range s.unread {
		s.blind(u.where, u.err, u.matters)
	}
	s.conns = slices.DeleteFunc(s.conns, func(c proc.Conn) bool {
		_, camera := slices.BinarySearch(s.ports, c.Remote.Port())
		return !camera && !s.lines[c.PID].Hidden // of a port that is no camera's by itself
	})
}

// anyPort reports whether a candidate does not say where it reads from, and the limits say what a camera is: then a
// connection into them counts whatever its port.
func (s *surveyor) anyPort() bool {
	if s.terms.Limits.None() {
		return false
	}
	for _, line := range s.lines {
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

// sockets lists the connections to the ports, in our network namespace and in every other one that we can see, once each,
// and what it could not read.
func (s *surveyor) sockets(ports []uint16) ([]proc.Conn, []unread) {
	var missing []unread
	list := func() (proc.Sockets, error) { return s.fs.Connections(ports) }
	if s.ahead != nil {
		list, s.ahead = s.ahead, nil
	}
	here, err := list()
	if err != nil {
		missing = append(missing, unread{"connections", err, true})
	}
	if here.Why != nil {
		missing = append(missing, unread{"how long connections are silent", here.Why, false})
	}
	s.Method = here.Method
	known := make(map[uint64]bool, len(here.Conns)) // the kernel may tell of one twice, and so may two processes of one namespace
	again := func(c proc.Conn) bool {
		before := len(known)
		known[c.Inode] = true
		return c.Inode != 0 && len(known) == before
	}
	unwanted := func(c proc.Conn) bool { return !s.terms.Limits.Cover(c.Remote) || again(c) }
	all := slices.DeleteFunc(here.Conns, unwanted)
	for _, pid := range s.elsewhere() {
		there, err := s.fs.ConnectionsIn(pid, ports)
		switch {
		case err == nil:
			all = append(all, slices.DeleteFunc(there.Conns, unwanted)...)
		case !vanished(err):
			missing = append(missing, unread{"connections of another network namespace", err, false})
		}
	}
	return all, missing
}

// elsewhere returns one process for each network namespace but ours, and the candidates in a container whose namespace
// is closed to us: their tables are open.
func (s *surveyor) elsewhere() []int {
	const most = 64 // containers of others whose namespaces cannot be told apart
	var pids []int
	var ours uint64
	for _, one := range s.table {
		if one.PID == s.Ours.Self.PID {
			ours = one.Net
		}
	}
	known, closed := map[uint64]bool{ours: true, 0: true}, 0
	for _, one := range s.table {
		switch {
		case ours != 0 && !known[one.Net]:
			known[one.Net] = true
			pids = append(pids, one.PID)
		case one.Net == 0 && s.details[one.PID].Depth > 0 && closed < most:
			closed++
			pids = append(pids, one.PID)
		}
	}
	return pids
}

// own names who holds the connections: the candidates, whose descriptors have been read, then anybody.
func (s *surveyor) own(ctx context.Context) {
	sockets := 0
	for _, d := range s.details {
		sockets += len(d.Sockets)
	}
	holders := make(map[uint64]int, sockets)
	for pid, d := range s.details {
		for _, inode := range d.Sockets {
			if other, taken := holders[inode]; !taken || pid < other {
				holders[inode] = pid
			}
		}
	}
	var orphans []proc.Conn
	for i := range s.conns {
		c := &s.conns[i]
		if pid, ok := holders[c.Inode]; ok && c.Inode != 0 {
			stat, _ := s.process(pid)
			c.PID, c.Program = pid, stat.Comm
		} else if c.Inode != 0 {
			orphans = append(orphans, *c)
		}
	}
	if len(orphans) == 0 {
		return
	}
	var others []proc.Stat
	for stat := range s.newest() {
		if _, asked := s.details[stat.PID]; !asked {
			others = append(others, stat)
		}
	}
	owned := map[uint64]proc.Conn{}
	for _, c := range s.fs.OwnAmong(others, orphans, nil) {
		owned[c.Inode] = c
	}
	var more []int
	for i := range s.conns {
		if c, ok := owned[s.conns[i].Inode]; ok && c.PID > 0 {
			s.conns[i].PID, s.conns[i].Program = c.PID, c.Program
			more = append(more, c.PID)
		}
	}
	slices.Sort(more)
	s.ask(ctx, slices.Compact(more))
}

// refresh forgets what processes hold, so that it is read again.
func (s *surveyor) refresh(ctx context.Context) {
	var pids []int
	for pid := range s.details {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	clear(s.details)
	s.ask(ctx, pids)
	if all, err := s.fs.All(ctx); err == nil { // the owner may have been born since
		s.later = all
	}
}

// process returns what the table says of a process; where there are two tables, the first that knows it.
func (s *surveyor) process(pid int) (proc.Stat, bool) {
	if i, ok := slices.BinarySearchFunc(s.table, pid, func(one proc.Seen, pid int) int { return cmp.Compare(one.PID, pid) }); ok {
		return s.table[i].Stat, true
	}
	if i, ok := slices.BinarySearchFunc(s.later, pid, func(stat proc.Stat, pid int) int { return cmp.Compare(stat.PID, pid) }); ok {
		return s.later[i], true
	}
	return proc.Stat{}, false
}

// newest tells the processes of the last look at the table.
func (s *surveyor) newest() iter.Seq[proc.Stat] {
	if s.later != nil {
		return slices.Values(s.later)
	}
	return func(yield func(proc.Stat) bool) {
		for i := range s.table {
			if !yield(s.table[i].Stat) {
				return
			}
		}
	}
}

// note turns what was read into the survey.
func (s *surveyor) note() {
	s.Connections = slices.Grow(s.Connections, len(s.conns))
	for _, c := range s.conns {
		noted := Connection{
			Local: c.Local, Remote: c.Remote, State: c.State, UID: c.UID, ReceiveQueue: c.RecvQueue,
			PID: c.PID, Program: printable(c.Program), Held: c.Inode != 0, Container: c.Elsewhere,
		}
		if c.SilentKnown {
			ms := c.Silent.Milliseconds()
			noted.SilentMS = &ms
		}
		s.Connections = append(s.Connections, noted)
	}
	datagrams := s.datagrams()
	for pid, d := range s.details {
		if suspect, ok := s.suspect(pid, d); ok {
			if n, known := datagrams[pid]; known {
				suspect.Datagrams = n
			}
			s.Suspects = append(s.Suspects, suspect)
		}
	}
	slices.SortFunc(s.Suspects, func(a, b Suspect) int { return cmp.Compare(a.ID.PID, b.ID.PID) })
	slices.SortStableFunc(s.Connections, func(a, b Connection) int {
		return cmp.Or(a.Remote.Compare(b.Remote), cmp.Compare(a.PID, b.PID), a.Local.Compare(b.Local))
	})
	s.Blind = append(s.Blind, s.Ours.Blind...)
	s.Table, s.Unsighted = s.Ours.Table, s.Ours.Unsighted
}

// datagrams counts the UDP sockets of the processes that stream, for their media may come by them.
func (s *surveyor) datagrams() map[int]int {
	counts := map[int]int{}
	tables := map[uint64]map[uint64]bool{}
	whatever := func(Connection) bool { return true }
	for _, one := range s.table {
		d, asked := s.details[one.PID]
		if !asked || d.FDs < 0 || !s.Holds(one.PID, whatever) {
			continue
		}
		table, read := tables[one.Net]
		if !read || one.Net == 0 {
			var err error
			if table, err = s.fs.Datagrams(one.PID); err != nil {
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

// printable keeps a text that a process may choose freely from speaking to the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// resolve gives a target its address, from its own text or from the inventory.
func (s *surveyor) resolve(t cmdline.Target) Target {
	target := Target{Address: t.Address, Name: t.String()}
	for _, c := range s.terms.Cameras {
		if !target.Address.IsValid() && strings.EqualFold(c.Host, t.Host) && c.Address.IsValid() {
			target.Address = netip.AddrPortFrom(c.Address.Addr(), t.Port)
		}
	}
	return target
}
