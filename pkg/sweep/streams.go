package sweep

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/streams"
)

// KeptStream is a stream of ours that is left as it is, because somebody watches.
type KeptStream struct {
	Name   string `json:"name"`
	Why    string `json:"why"`
	Camera string `json:"-"`
}

// StreamsKept are the streams of ours that are over and watched. They are no leftovers: a later run removes them.
func StreamsKept(o observe.Observation, over string) []KeptStream {
	kept := []KeptStream{}
	if o.Relayed == nil {
		return kept
	}
	rules := Rules{Over: over}
	for _, n := range o.Relayed.Doubtful {
		s, watched := watchedBy(o.Relayed, n)
		if !watched || rules.expired(n) == "" || slices.ContainsFunc(kept, func(k KeptStream) bool { return k.Name == n.Name }) {
			continue
		}
		kept = append(kept, KeptStream{Name: n.Name, Why: s.Seen.Words(), Camera: n.Camera})
	}
	return kept
}

// watchedBy returns the stream of a lease, and whether somebody watches it.
func watchedBy(r *observe.Relayed, n observe.Lease) (streams.State, bool) {
	s, exists := r.View.State(n.Name)
	return s, exists && !n.Borrowed && s.Seen.Watched()
}

// streams are those of ours that are over and that nobody watches, and the connections that go2rtc holds for nobody.
func (r Rules) streams(o observe.Observation) []Decision {
	if o.Relayed == nil {
		return nil
	}
	var found []Decision
	for _, n := range o.Relayed.Doubtful {
		why := r.expired(n)
		if _, watched := watchedBy(o.Relayed, n); why == "" || watched {
			continue
		}
		d := Decision{
			Kind: Stream, Leaked: true, Rule: Unleased, Why: why, stream: n.Name, Subject: "stream " + n.Name, Camera: n.Camera,
			leases: []ledger.Lease{n.Record},
		}
		if n.Address.IsValid() {
			d.address = n.Address.String()
		}
		if s, exists := o.Relayed.View.State(n.Name); exists && !n.Borrowed {
			if words := cmp.Or(streams.WhyLeft(n.Record), s.Seen.Words()); words != "" {
				d.Why += "; " + words
			}
		}
		if n.Borrowed {
			d.Subject = "a picture of the stream " + n.Name
		}
		if i := slices.IndexFunc(found, d.same); i >= 0 {
			found[i].leases = append(found[i].leases, n.Record)
			continue
		}
		found = append(found, d)
	}
	if r.Over != "" {
		found = append(found, relayedConnections(o.Relayed)...)
	}
	return found
}

// relayedConnections are those that go2rtc holds beyond what its connected streams explain. They are not ours to close.
func relayedConnections(r *observe.Relayed) []Decision {
	var found []Decision
	for _, c := range r.Excess {
		found = append(found, ofConnection(c.Local, c.Remote, c.State, fmt.Sprintf(
			"go2rtc (pid %d) holds it, and none of its connected streams explains it; it lets go of such within minutes; at once: "+
				"as root, ss -K src %s sport = %d, or restart go2rtc", c.PID, c.Local.Addr(), c.Local.Port())))
	}
	return found
}
