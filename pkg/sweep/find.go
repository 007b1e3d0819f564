package sweep

import (
	"fmt"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
)

// Remnant is a leftover together with what is needed to end it.
type Remnant struct {
	Leftover

	Process proc.Identity // to be ended; the zero Identity when there is no process any more
	Lease   *ledger.Lease // to be struck off once the process has been seen gone; nil when no lease names it
	Local   string        // our end of a leftover connection
	Remote  string        // the camera's end
	Stream  string        // the name of a leftover stream; its leases are in Streams
	Streams []ledger.Lease
}

// Find returns what in the observation is ours and not live, in the order process, lease without a process, connection, stream.
// Leases of the run named over count as not live even while their owner does: that run says it is finished.
// Find is pure: the same observation gives the same remnants.
func Find(o observe.Observation, over string) []Remnant {
	var found []Remnant
	for _, p := range o.Processes {
		if why := condemned(o, p, over); why != "" {
			found = append(found, ofProcess(o, p, why))
		}
	}
	for _, l := range o.Leases {
		why := lapsed(l, over)
		if why == "" || slices.ContainsFunc(found, func(r Remnant) bool { return r.Lease != nil && r.Lease.ID == l.ID }) {
			continue
		}
		if l.Kind == ledger.Process || l.Kind == ledger.Connection {
			found = append(found, ofLease(l, why))
		}
	}
	if over != "" {
		found = append(found, ownConnections(o)...)
	}
	return append(found, streamRemnants(o, over)...)
}

// condemned says why a process of ours must end; empty when it may live.
func condemned(o observe.Observation, p observe.Process, over string) string {
	if p.Stat.Dead() {
		return "" // dead already: it holds nothing, and only its parent can collect it
	}
	for _, l := range o.Leases {
		if l.ID == p.Mark.Lease || l.Lease.Child == p.ID {
			return lapsed(l, over)
		}
	}
	switch {
	case p.Owner == proc.Gone || p.Owner == proc.Zombie:
		return fmt.Sprintf("carries our mark, its lease is lost, and the camwarden that started it (pid %d) is dead", p.Mark.Owner.PID)
	case over != "" && p.Mark.Owner.PID == o.Self.PID && p.Mark.Owner.Start == o.Self.Start:
		return "was started by this run, which is over, and its lease is struck off"
	default:
		return "" // another camwarden, with a ledger of its own, answers for it
	}
}

// lapsed says why a lease is not live any more; empty while it is, and for those that need no owner.
func lapsed(l observe.Lease, over string) string {
	if l.Kind == ledger.Cooling || l.Kind == ledger.Stream {
		return ""
	}
	return expired(l, over)
}

// expired says why nobody answers for a lease any more.
func expired(l observe.Lease, over string) string {
	switch {
	case over != "" && l.Run == over:
		return "belongs to this run, which is over"
	case l.Standing == ledger.DeadOwner:
		return fmt.Sprintf("its run %s ended without cleaning up (camwarden pid %d is dead)", l.Run, l.Owner.PID)
	case l.Standing == ledger.WedgedOwner:
		return fmt.Sprintf("its run %s is wedged: camwarden pid %d lives, but its lease ended %s ago",
			l.Run, l.Owner.PID, (proc.BootTime() - l.Deadline).Round(time.Second))
	default:
		return ""
	}
}

func ofProcess(o observe.Observation, p observe.Process, why string) Remnant {
	r := Remnant{Process: p.ID, Leftover: Leftover{
		Kind: Process, Subject: fmt.Sprintf("pid %d (%s)", p.ID.PID, p.Stat.Comm), Why: why, Outcome: Unverified,
	}}
	for _, l := range o.Leases {
		if l.ID == p.Mark.Lease || l.Lease.Child == p.ID {
			r.Lease, r.Camera = &l.Lease, l.Camera
		}
	}
	if r.Camera == "" && p.Mark.Address.IsValid() {
		r.Camera = p.Mark.Address.String()
	}
	return r
}

func ofLease(l observe.Lease, why string) Remnant {
	subject := "lease " + l.ID
	if l.Lease.Child.PID > 0 {
		subject = fmt.Sprintf("pid %d", l.Lease.Child.PID)
		why += "; the process itself is gone"
	}
	kind := Process
	if l.Kind == ledger.Connection {
		kind = Connection
	}
	return Remnant{Lease: &l.Lease, Leftover: Leftover{Kind: kind, Subject: subject, Camera: l.Camera, Why: why, Outcome: Unverified}}
}

// ownConnections are those this very process still holds although its run is over.
// Connections of leftover processes end with them, so they are not listed twice.
func ownConnections(o observe.Observation) []Remnant {
	var found []Remnant
	for _, c := range o.Connections {
		if c.PID != o.Self.PID {
			continue // FIN_WAIT and its like have no owner: the kernel is finishing them alone
		}
		found = append(found, Remnant{Local: c.Local.String(), Remote: c.Remote.String(), Leftover: Leftover{
			Kind: Connection, Subject: fmt.Sprintf("%s -> %s (%s)", c.Local, c.Remote, c.State), Camera: c.Remote.String(),
			Why: "this process still holds it although the run is over", Outcome: Unverified,
		}})
	}
	return found
}
