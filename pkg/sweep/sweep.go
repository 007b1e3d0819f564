package sweep

import (
	"context"
	"slices"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
)

// Result is what a sweep found and what the last look showed.
type Result struct {
	Found []Leftover          // everything found on the way, with what became of it
	Last  observe.Observation // the last look
}

// Clean reports whether the last look could see, and nothing found is left.
func (r Result) Clean() bool {
	return !r.Last.Unsighted && !slices.ContainsFunc(r.Found, func(l Leftover) bool { return l.Outcome != Gone })
}

// Left reports whether something was seen to survive.
func (r Result) Left() bool {
	return slices.ContainsFunc(r.Found, func(l Leftover) bool { return l.Outcome == Survived })
}

// Sweep looks for what is ours in the scope, ends what is left, and looks again. The run named over counts as finished; with
// over empty only what dead and wedged owners left is ended.
func (b Broom) Sweep(ctx context.Context, scope observe.Scope, over string) Result {
	rules := Rules{Over: over}
	scope.OnlyOurs = true
	last := observe.Look(ctx, b.Ledger, b.FS, scope)
	var outcomes []Outcome
	acted := false
	for _, d := range Judge(last, rules) {
		if !d.Leaked {
			continue
		}
		o := outcomeOf(last, d)
		if d.stream != "" && !another(last, d, over) {
			o.Action = Outlived
		}
		acted = acted || o.Action == WouldKill && d.Kind != Stream || o.Action == WouldRemove && scope.Keeper != nil
		outcomes = append(outcomes, o)
	}
	if acted {
		b.endStreams(ctx, scope.Keeper, outcomes)
		b.execute(ctx, outcomes, childBound)
		last = observe.Look(ctx, b.Ledger, b.FS, scope)
	}
	return Result{Found: verify(outcomes, last, rules), Last: last}
}

// another reports whether a stream gets another turn. The source that made those of the run that is over has tried already, so
// of these only what is idle or gone by now has: go2rtc may have been restarted in between.
func another(o observe.Observation, d Decision, over string) bool {
	s, exists := o.Relayed.View.State(d.stream)
	return slices.ContainsFunc(d.leases, func(l ledger.Lease) bool { return l.Run != over }) || o.Relayed.Err == nil && (!exists || s.Stream.Idle())
}

// verify says of every outcome what the last look showed, and adds what only the last look found.
func verify(outcomes []Outcome, last observe.Observation, rules Rules) []Leftover {
	var still []Decision
	for _, d := range Judge(last, rules) {
		if d.Leaked {
			still = append(still, d)
		}
	}
	unasked := last.Relayed != nil && last.Relayed.Err != nil
	found := make([]Leftover, 0, len(outcomes))
	for _, o := range outcomes {
		ending := Gone
		switch {
		case o.of.stream != "" && unasked:
			ending = Unverified
		case slices.ContainsFunc(still, func(d Decision) bool { return o.of.same(d) }):
			ending = Survived
		case last.Unsighted:
			ending = Unverified
		}
		found = append(found, o.leftover(ending))
	}
	for _, d := range still {
		if slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.of.same(d) }) {
			continue
		}
		o, ending := outcomeOf(last, d), Survived
		if d.stream != "" && unasked {
			ending = Unverified
		}
		found = append(found, o.leftover(ending))
	}
	return found
}
