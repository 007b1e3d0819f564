package sweep

import (
	"cmp"
	"context"
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
	for _, l := range o.Relayed.Doubtful {
		s, watched := watchedBy(o.Relayed, l.Lease)
		if !watched || expired(l, over) == "" || slices.ContainsFunc(kept, func(k KeptStream) bool { return k.Name == l.Name }) {
			continue
		}
		kept = append(kept, KeptStream{Name: l.Name, Why: s.Seen.Words(), Camera: l.Camera})
	}
	return kept
}

// watchedBy returns the stream of a lease, and whether somebody watches it.
func watchedBy(r *observe.Relayed, l ledger.Lease) (streams.State, bool) {
	s, exists := r.View.State(l.Name)
	return s, exists && l.Note != streams.Borrowed && s.Seen.Watched()
}

// streamRemnants are the streams of ours that are over and that nobody watches, and the connections that go2rtc holds for
// nobody. The run named over counts as finished.
func streamRemnants(o observe.Observation, over string) []Remnant {
	if o.Relayed == nil {
		return nil
	}
	var found []Remnant
	for _, l := range o.Relayed.Doubtful {
		why := expired(l, over)
		if _, watched := watchedBy(o.Relayed, l.Lease); why == "" || watched {
			continue
		}
		r := Remnant{Stream: l.Name, Streams: []ledger.Lease{l.Lease}, Leftover: Leftover{
			Kind: Stream, Subject: "stream " + l.Name, Camera: l.Camera, Why: why, Outcome: Unverified,
		}}
		if s, exists := o.Relayed.View.State(l.Name); exists && l.Note != streams.Borrowed {
			if words := cmp.Or(streams.WhyLeft(l.Lease), s.Seen.Words()); words != "" {
				r.Why += "; " + words
			}
		}
		if l.Note == streams.Borrowed {
			r.Subject = "a picture of the stream " + l.Name
		}
		i := slices.IndexFunc(found, func(f Remnant) bool { return f.Subject == r.Subject })
		if i >= 0 {
			found[i].Streams = append(found[i].Streams, l.Lease)
			continue
		}
		found = append(found, r)
	}
	if over != "" {
		found = append(found, relayedConnections(o.Relayed)...)
	}
	return found
}

// relayedConnections are those that go2rtc holds beyond what its connected streams explain. They are not ours to close.
func relayedConnections(r *observe.Relayed) []Remnant {
	var found []Remnant
	for _, c := range r.Excess {
		found = append(found, Remnant{Local: c.Local.String(), Remote: c.Remote.String(), Leftover: Leftover{
			Kind: Connection, Subject: fmt.Sprintf("%s -> %s (%s)", c.Local, c.Remote, c.State), Camera: c.Remote.String(), Outcome: Unverified,
			Why: fmt.Sprintf("go2rtc (pid %d) holds it, and none of its connected streams explains it; it lets go of such within minutes; at once: "+
				"as root, ss -K src %s sport = %d, or restart go2rtc", c.PID, c.Local.Addr(), c.Local.Port()),
		}})
	}
	return found
}

// endStreams removes the streams of remnants, pictures that hang flushed first. The source that made those of the run that is
// over has tried already, so of these only what is idle or gone by now has another turn: go2rtc may have been restarted
// in between. It reports whether anything was tried.
func (b Broom) endStreams(ctx context.Context, scope observe.Scope, first observe.Observation, remnants []Remnant, over string) bool {
	keeper := scope.Streams
	var leases []ledger.Lease
	for _, r := range remnants {
		for _, l := range r.Streams {
			if s, exists := first.Relayed.View.State(l.Name); l.Run != over || first.Relayed.Err == nil && (!exists || s.Stream.Idle()) {
				leases = append(leases, l)
			}
		}
	}
	if len(leases) == 0 || keeper == nil {
		return false
	}
	for _, e := range keeper.End(ctx, nil, leases...) {
		for i := range remnants {
			r := &remnants[i]
			switch {
			case r.Stream != e.Name || e.Gone && e.Err == nil:
			case e.Err != nil:
				r.Why += fmt.Sprintf("; could not be removed: %v", e.Err)
			case e.Why != "":
				r.Why += "; " + e.Why
			}
		}
	}
	return true
}
