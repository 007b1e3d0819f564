package sweep

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
)

// How long a process gets between TERM and KILL, and how long KILL gets to show; facts of ffmpeg: TERM takes at most 0.2 s.
const (
	defaultGrace = 500 * time.Millisecond
	killBound    = 2 * time.Second
)

// Broom clears leftovers: the ledger that knows them and the process table they stand in.
type Broom struct {
	Ledger *ledger.Ledger
	FS     proc.FS
	Grace  time.Duration // between TERM and KILL; 0 is half a second
}

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

// Sweep looks, clears what is left, and looks again. The run named over counts as finished; with over empty
// only what dead and wedged owners left is cleared.
func (b Broom) Sweep(ctx context.Context, scope observe.Scope, over string) Result {
	first := observe.Look(ctx, b.Ledger, b.FS, scope)
	remnants := Find(first, over)
	if len(remnants) == 0 {
		return Result{Found: []Leftover{}, Last: first}
	}
	acted := b.endStreams(ctx, scope, first, remnants, over)
	for i := range remnants {
		b.end(ctx, &remnants[i])
		acted = acted || remnants[i].Stream == ""
	}
	if !acted {
		return Result{Found: judge(remnants, first, over), Last: first}
	}
	last := observe.Look(ctx, b.Ledger, b.FS, scope)
	return Result{Found: judge(remnants, last, over), Last: last}
}

// end kills the process of a remnant, if there is one, and strikes off its lease only after the process has been seen gone.
func (b Broom) end(ctx context.Context, r *Remnant) {
	if r.Process.PID > 0 {
		grace := b.Grace
		if grace <= 0 {
			grace = defaultGrace
		}
		result, err := b.FS.Kill(ctx, r.Process, grace, killBound)
		switch {
		case err != nil:
			r.Why += fmt.Sprintf("; could not be ended: %v", err)
			return
		case result.Outcome == proc.NotPermitted:
			r.Why += "; it belongs to another user, so ending it is not permitted"
			return
		case result.Outcome == proc.Stuck:
			r.Why += fmt.Sprintf("; did not die within %s of KILL (state %c)", killBound, result.State)
			return
		}
	}
	if r.Lease == nil {
		return
	}
	if err := b.settle(r); err != nil {
		r.Why += fmt.Sprintf("; its lease could not be struck off: %v", err)
	}
}

// settle strikes the lease off, or leaves a cooling one: how far the conversation of a killed process had come is not
// known, and a camera may keep the session of a client that vanished without TEARDOWN.
func (b Broom) settle(r *Remnant) error {
	l, held := r.Lease, b.Ledger.Adopt(*r.Lease)
	dialled := l.Child.PID > 0 || l.Kind == ledger.Connection
	if !dialled || !l.Address.IsValid() || l.SessionTimeout <= 0 {
		return held.Strike()
	}
	ended := proc.BootTime()
	if r.Process.PID == 0 {
		ended = min(ended, l.Deadline) // it was gone already, and its owner would not have let it live past its deadline
	}
	return held.Cool(ended + l.SessionTimeout)
}

// judge says of every remnant what the last look showed, and adds what only the last look found.
func judge(remnants []Remnant, last observe.Observation, over string) []Leftover {
	still := Find(last, over)
	found := make([]Leftover, 0, len(remnants))
	for _, r := range remnants {
		switch {
		case r.Stream != "" && last.Relayed != nil && last.Relayed.Err != nil:
			r.Outcome = Unverified
		case slices.ContainsFunc(still, func(s Remnant) bool { return same(r, s) }):
			r.Outcome = Survived
		case last.Unsighted:
			r.Outcome = Unverified
		default:
			r.Outcome = Gone
		}
		found = append(found, r.Leftover)
	}
	for _, s := range still {
		if !slices.ContainsFunc(remnants, func(r Remnant) bool { return same(r, s) }) {
			s.Outcome = Survived
			if s.Stream != "" && last.Relayed.Err != nil {
				s.Outcome = Unverified
			}
			found = append(found, s.Leftover)
		}
	}
	return found
}

func same(a, b Remnant) bool {
	switch {
	case a.Stream != "" || b.Stream != "":
		return a.Subject == b.Subject
	case a.Process.PID > 0 || b.Process.PID > 0:
		return a.Process == b.Process
	case a.Lease != nil && b.Lease != nil:
		return a.Lease.ID == b.Lease.ID
	default:
		return a.Kind == b.Kind && a.Local == b.Local && a.Remote == b.Remote
	}
}
