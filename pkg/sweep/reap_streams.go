package sweep

import (
	"context"
	"slices"

	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/streams"
)

// reapStreams ends the streams of ours that no living run answers for and that nobody watches, and names those that are
// watched. It may be called again: a stream that is among the outcomes is not asked for twice.
func (b Broom) reapStreams(ctx context.Context, keeper *streams.Keeper, o observe.Observation, remnants []Remnant, r *Reaping) {
	if keeper == nil {
		return
	}
	add := func(d Done) *Done {
		if slices.ContainsFunc(r.Outcomes, func(known Done) bool { return known.Kind == Stream && known.Name == d.Name }) {
			return nil
		}
		r.Outcomes = append(r.Outcomes, d)
		return &r.Outcomes[len(r.Outcomes)-1]
	}
	for _, kept := range StreamsKept(o, "") {
		add(Done{Kind: Stream, Name: kept.Name, Camera: kept.Camera, Why: "no run of ours needs it any more, and it is watched: " + kept.Why, Action: Kept})
	}
	for _, remnant := range remnants {
		if remnant.Stream == "" {
			continue
		}
		d := Done{Kind: Stream, Name: remnant.Stream, Camera: remnant.Camera, Why: remnant.Why, Action: WouldRemove}
		if address := remnant.Streams[0].Address; address.IsValid() {
			d.Target = address.String()
		}
		if o.Relayed.Err != nil {
			d.Action, d.Why = Kept, d.Why+"; go2rtc does not answer, so whether it is there cannot be told"
			add(d)
			continue
		}
		if done := add(d); done != nil && !r.DryRun {
			for _, ended := range keeper.End(ctx, nil, remnant.Streams...) {
				done.took(ended)
			}
		}
	}
}

// took takes in what became of a stream.
func (d *Done) took(e streams.Ended) {
	switch {
	case e.Err != nil:
		d.Action = Outlived
		d.Why += "; could not be removed: " + e.Err.Error()
	case e.Gone && e.Removed:
		d.Action = Removed
	case e.Gone:
		d.Action = GoneAlready
	case e.Kept:
		d.Action = Kept
		d.Why += "; " + e.Why
	default:
		d.Action = Outlived
		d.Why += "; " + e.Why
	}
}
