// Package observe takes one reading of what of camwarden's can be seen on this host: processes, connections, leases.
package observe

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// Scope limits an observation: connections to these addresses, and processes that speak to them.
// What this ledger holds is always in scope, because nobody else will finish it.
type Scope struct {
	Addresses  []netip.AddrPort
	Streams    *streams.Keeper // of the go2rtc to ask; nil: none
	AllStreams bool            // ask it even where nothing of ours can be in question
}

func (s Scope) covers(address netip.AddrPort) bool {
	return slices.Contains(s.Addresses, address)
}

func (s Scope) ports() []uint16 {
	var ports []uint16
	for _, a := range s.Addresses {
		ports = append(ports, a.Port())
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// Process is one process that carries our mark, or that a lease names as its child.
type Process struct {
	ID    proc.Identity
	Stat  proc.Stat
	Mark  ledger.Mark   // the zero Mark when only a lease names the process
	Owner proc.Presence // of the camwarden that started it
}

// Lease is one lease with what could be seen of it.
type Lease struct {
	ledger.Lease

	Standing string        // live, dead-owner, wedged-owner or cooling, as ledger.Standing says
	Presence proc.Presence // of the child it names; empty when it names none
}

// Observation is one reading of everything of ours within a scope.
// What could not be read stands in Blind; a list that is empty there means that there was nothing.
type Observation struct {
	TakenAt     time.Time
	Self        proc.Identity
	Processes   []Process
	Connections []proc.Conn // to the scope's addresses, whoever owns them
	Leases      []Lease
	Relayed     *Relayed // nil when no go2rtc is in the scope
	Blind       []Blind

	Table     int    // processes in the table that was read
	Method    string // netlink or procfs
	Unsighted bool   // what matters for a verdict, the process table or the sockets, could not be read
}

// Look reads the process table, the sockets and the ledger. It changes nothing but the ledger's own tidying of void leases,
// and never fails: what it could not read it lists as blind.
func Look(ctx context.Context, book *ledger.Ledger, fs proc.FS, scope Scope) Observation {
	o := Observation{TakenAt: time.Now()}
	o.readSelf(fs)
	// The table before the ledger: a lease is written before its process exists and struck after it is gone,
	// so a process of a living run that shows up in between always finds its lease in the later reading.
	o.readProcesses(ctx, fs)
	o.readLeases(book, fs)
	o.Processes = slices.DeleteFunc(o.Processes, func(p Process) bool { return !o.known(p) && !scope.covers(p.Mark.Address) })
	o.readConnections(fs, scope)
	o.lookAtStreams(ctx, fs, scope)
	slices.SortFunc(o.Processes, func(a, b Process) int { return cmp.Compare(a.ID.PID, b.ID.PID) })
	return o
}

// Leased returns the lease of that id.
func (o Observation) Leased(id string) (Lease, bool) {
	i := slices.IndexFunc(o.Leases, func(l Lease) bool { return l.ID == id })
	if i < 0 {
		return Lease{}, false
	}
	return o.Leases[i], true
}

// known reports whether this ledger has the lease that the process carries or is named by.
func (o *Observation) known(p Process) bool {
	return slices.ContainsFunc(o.Leases, func(l Lease) bool { return l.ID == p.Mark.Lease || l.Lease.Child == p.ID })
}

func (o *Observation) blind(where string, err error, matters bool) {
	o.Blind = append(o.Blind, Blind{Where: where, Why: err.Error()})
	o.Unsighted = o.Unsighted || matters
}

func (o *Observation) readSelf(fs proc.FS) {
	self, err := fs.Self()
	if err != nil {
		o.blind("own process", err, true)
		return
	}
	o.Self = self
}
