package sweep

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
)

// Decision is what the rules say of one thing that was seen, with the reason in words the operator reads.
type Decision struct {
	observe.Process // zero where it is about something else, or about a lease whose process is gone

	Kind    Kind
	Subject string // what it is about: "pid 4711 (ffmpeg)", "lease 01J...", "127.0.0.1:40112 -> 127.0.0.2:554 (ESTABLISHED)"
	Camera  string // by its name
	Leaked  bool
	Rule    Rule // why it is leaked; empty when it is kept
	Why     string

	plain   string         // Why, among things that are all ours; empty: it is the same
	address string         // of the camera; empty: not known
	stream  string         // the name of a stream
	ends    string         // of a connection, by which it is known again
	leases  []ledger.Lease // to be struck off once it has been seen gone
}

// Judge says of everything in an observation whether it must end or is kept, in the order process, lease without a process,
// connection, stream; of what is no process only what must end is told. It is pure: the same observation gives the same
// decisions.
func Judge(o observe.Observation, rules Rules) []Decision {
	decisions := Decide(o, rules)
	for _, n := range o.Leases {
		named := func(d Decision) bool {
			return d.Leaked && slices.ContainsFunc(d.leases, func(l ledger.Lease) bool { return l.ID == n.ID })
		}
		if n.Kind != ledger.Process && n.Kind != ledger.Connection || slices.ContainsFunc(decisions, named) {
			continue
		}
		if why := rules.expired(n); why != "" {
			decisions = append(decisions, ofLease(n, why))
		}
	}
	if rules.Over != "" {
		decisions = append(decisions, ownConnections(o)...)
	}
	return append(decisions, rules.streams(o)...)
}

// Decide is Judge for the processes alone.
func Decide(o observe.Observation, rules Rules) []Decision {
	outages := Outages(o, rules)
	decisions := make([]Decision, 0, len(o.Processes))
	for _, p := range o.Processes {
		d := Decision{Process: p, Kind: Process, Camera: o.CameraOf(p), address: p.Target()}
		d.Subject = fmt.Sprintf("pid %d (%s)", p.ID.PID, p.Name)
		ruled := rules.decide(o, p, outages)
		d.Rule, d.Why, d.plain = ruled.rule, ruled.why, ruled.plain
		d.Leaked = d.Rule != ""
		if n, ok := o.Lease(p.Lease); ok {
			d.leases = []ledger.Lease{n.Record}
			d.Camera = cmp.Or(n.Camera, d.Camera)
		}
		decisions = append(decisions, d)
	}
	return decisions
}

// expired says why nobody answers for a lease any more; empty while somebody does.
func (r Rules) expired(n observe.Lease) string {
	switch {
	case r.Over != "" && n.Run == r.Over:
		return "belongs to this run, which is over"
	case n.Standing == ledger.DeadOwner:
		return fmt.Sprintf("its run %s ended without cleaning up (camwarden pid %d is dead)", n.Run, n.Owner)
	case n.Standing == ledger.WedgedOwner:
		return fmt.Sprintf("its run %s is wedged: camwarden pid %d lives, but its lease ended %s ago", n.Run, n.Owner, Span(n.LateMS))
	default:
		return ""
	}
}

func ofLease(n observe.Lease, why string) Decision {
	d := Decision{Kind: Process, Leaked: true, Rule: Unleased, Why: why, Subject: "lease " + n.ID, Camera: n.Camera, leases: []ledger.Lease{n.Record}}
	if n.Child > 0 {
		d.Subject = fmt.Sprintf("pid %d", n.Child)
		d.Why += "; the process itself is gone"
	}
	if n.Kind == ledger.Connection {
		d.Kind = Connection
	}
	if n.Address.IsValid() {
		d.address = n.Address.String()
	}
	return d
}

// ownConnections are those this very process still holds although its run is over.
// Connections of leaked processes end with them, so they are not listed twice.
func ownConnections(o observe.Observation) []Decision {
	var found []Decision
	for _, c := range o.Connections {
		if c.PID == o.Self.PID && c.PID > 0 { // FIN_WAIT and its like have no owner: the kernel is finishing them alone
			found = append(found, ofConnection(c.Local, c.Remote, c.State, "this process still holds it although the run is over"))
		}
	}
	return found
}

func ofConnection(local, remote netip.AddrPort, state, why string) Decision {
	ends := fmt.Sprintf("%s -> %s", local, remote)
	return Decision{
		Kind: Connection, Leaked: true, Rule: Unleased, Why: why, ends: ends, Subject: fmt.Sprintf("%s (%s)", ends, state), Camera: remote.String(),
	}
}

// same reports whether two decisions, of two looks, are about the same thing.
func (d Decision) same(other Decision) bool {
	switch {
	case d.stream != "" || other.stream != "":
		return d.Subject == other.Subject
	case d.ID.PID > 0 || other.ID.PID > 0:
		return d.ID == other.ID
	case len(d.leases) > 0 && len(other.leases) > 0:
		return d.leases[0].ID == other.leases[0].ID
	default:
		return d.Kind == other.Kind && d.ends == other.ends
	}
}
