package sweep

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
)

// ReapSchema names the document of a reap; a changed meaning gets a new number.
const ReapSchema = "camwarden.reap/1"

// Action is what was done about one thing.
type Action string

// The actions, as documents name them.
const (
	Killed       Action = "killed"        // signalled, and seen gone
	WouldKill    Action = "would-kill"    // a dry run
	Kept         Action = "kept"          // by the rules
	Outlived     Action = "survived"      // it is still there
	NotPermitted Action = "not-permitted" // it belongs to another user
	GoneAlready  Action = "gone"          // there was nothing left to signal
	Removed      Action = "removed"       // a stream, seen gone
	WouldRemove  Action = "would-remove"  // a dry run
)

// Verdict is what is left of what should have ended.
type Verdict string

// The verdicts of a reap.
const (
	Clean          Verdict = "clean"
	SomethingLeft  Verdict = "left"
	CouldNotVerify Verdict = "unverified"
)

// Done is what became of one thing that was looked at: a process, or a stream of go2rtc.
type Done struct {
	Kind   Kind   `json:"kind"`
	PID    int    `json:"pid"` // 0: no process, but a lease whose process is gone
	Name   string `json:"name"`
	Camera string `json:"camera"`
	Target string `json:"target"`
	AgeMS  int64  `json:"age_ms"`
	Why    string `json:"why"`
	Action Action `json:"action"`
	Signal string `json:"signal"` // the last one sent, without SIG; empty: none
	TookMS int64  `json:"took_ms"`

	id proc.Identity
}

// Counts counts what was done.
type Counts struct {
	Killed       int `json:"killed"`
	Removed      int `json:"removed"`
	Kept         int `json:"kept"`
	Survived     int `json:"survived"`
	NotPermitted int `json:"not_permitted"`
}

// Reaping is the document of a reap, camwarden.reap/1.
type Reaping struct {
	Schema      string          `json:"schema"`
	DryRun      bool            `json:"dry_run"`
	OlderThanMS int64           `json:"older_than_ms"`
	Outcomes    []Done          `json:"outcomes"`
	Summary     Counts          `json:"summary"`
	Blind       []observe.Blind `json:"blind"`
	Verdict     Verdict         `json:"verdict"`
}

// endBound is how long KILL gets to show. It is longer than for one child of ours: hundreds that end together wait for each
// other's processors, and a busy host gives them few.
const endBound = 10 * time.Second

// atOnce bounds how many processes are ended at the same time: each costs a file descriptor.
const atOnce = 400

// Reap ends what the rules call leaked within the terms, and looks again; what it finds then that it had not seen before,
// the child of a script that it ended, say, it ends as well, once. Only with dry it just says what it would do.
func (b Broom) Reap(ctx context.Context, terms observe.Terms, rules Rules, dry bool) Reaping {
	r := Reaping{Schema: ReapSchema, DryRun: dry, OlderThanMS: rules.OlderThan.Milliseconds(), Outcomes: []Done{}}
	last := b.pass(ctx, terms, rules, &r)
	if !dry && ctx.Err() == nil && slices.ContainsFunc(r.Outcomes, func(d Done) bool { return d.Action == Killed }) {
		last = b.pass(ctx, terms, rules, &r)
	}
	r.Blind = last.Blind
	r.sum(last)
	return r
}

// pass looks once, and ends what is leaked and not yet among the outcomes.
func (b Broom) pass(ctx context.Context, terms observe.Terms, rules Rules, r *Reaping) observe.Survey {
	s := observe.LookWide(ctx, b.Ledger, b.FS, terms)
	remnants := Find(s.Ours, "")
	var todo []Done
	for _, d := range Decide(s, rules) {
		done := outcome(s, d)
		i := slices.IndexFunc(r.Outcomes, func(known Done) bool { return known.id == done.id })
		switch {
		case i < 0:
			todo = append(todo, done)
		case r.Outcomes[i].Action == Kept && d.Leaked:
			r.Outcomes[i].Why = d.Why // it has come of age since; the next reap ends it
		}
	}
	if !r.DryRun {
		b.endAll(ctx, todo, remnants)
	}
	r.Outcomes = append(r.Outcomes, todo...)
	for i := range remnants {
		b.strikeOff(&remnants[i], r)
	}
	b.reapStreams(ctx, terms.Keeper, s.Ours, remnants, r)
	return s
}

// outcome is a decision before anything was done.
func outcome(s observe.Survey, d Decision) Done {
	done := Done{
		Kind: Process, PID: d.ID.PID, Name: d.Name, Camera: s.CameraOf(d.Suspect), Target: d.Target(), AgeMS: d.AgeMS,
		Why: d.Why, Action: Kept, id: d.ID,
	}
	if d.Leaked {
		done.Action = WouldKill
	}
	return done
}

// endAll ends all at the same time: one that ignores its signal costs its own grace and nobody else's.
func (b Broom) endAll(ctx context.Context, todo []Done, remnants []Remnant) {
	var all sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range todo {
		if todo[i].Action != WouldKill {
			continue
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			b.endOne(ctx, &todo[i])
		})
	}
	all.Wait()
	for i := range todo {
		if todo[i].Action != Killed && todo[i].Action != GoneAlready {
			continue
		}
		for j := range remnants {
			if remnants[j].Process == todo[i].id && remnants[j].Lease != nil {
				if err := b.settle(&remnants[j]); err != nil {
					todo[i].Why += fmt.Sprintf("; its lease could not be struck off: %v", err)
				}
			}
		}
	}
}

// endOne ends one process, and says what was seen.
func (b Broom) endOne(ctx context.Context, d *Done) {
	grace := b.Grace
	if grace <= 0 {
		grace = defaultGrace
	}
	result, err := b.FS.Kill(ctx, d.id, grace, endBound)
	d.TookMS = result.Took.Milliseconds()
	if result.Signal != 0 {
		d.Signal = signalName(result.Signal)
	}
	switch {
	case err != nil:
		d.Action = Outlived
		d.Why += fmt.Sprintf("; could not be ended: %v", err)
	case result.Outcome == proc.Ended:
		d.Action = Killed
	case result.Outcome == proc.NotPermitted:
		d.Action = NotPermitted
		d.Why += "; it belongs to another user, so ending it is not permitted: try as root"
	case result.Outcome == proc.Stuck:
		d.Action = Outlived
		d.Why += fmt.Sprintf("; %s after KILL it is still there (%s)", endBound, stateText(result.State))
	case result.Outcome == proc.NotSame:
		d.Action = GoneAlready
		d.Why += "; it ended by itself, its pid belongs to another process now, and nothing was sent"
	default:
		d.Action = GoneAlready
		d.Why += "; it ended by itself before it was signalled"
	}
}

// strikeOff strikes the lease of a remnant that has no process any more.
func (b Broom) strikeOff(r *Remnant, reaping *Reaping) {
	known := func(d Done) bool { return d.PID == 0 && d.Name == r.Subject }
	if r.Process.PID > 0 || r.Lease == nil || slices.ContainsFunc(reaping.Outcomes, known) {
		return
	}
	d := Done{Kind: Process, Name: r.Subject, Camera: r.Camera, Why: r.Why, Action: GoneAlready}
	if r.Lease.Address.IsValid() {
		d.Target = r.Lease.Address.String()
	}
	if !reaping.DryRun {
		if err := b.settle(r); err != nil {
			d.Action = Outlived
			d.Why += fmt.Sprintf("; its lease could not be struck off: %v", err)
		}
	}
	reaping.Outcomes = append(reaping.Outcomes, d)
}

// sum counts, and reads the verdict from what was seen.
func (r *Reaping) sum(last observe.Survey) {
	r.Verdict = Clean
	if last.Unsighted || last.Hides(time.Duration(r.OlderThanMS)*time.Millisecond) {
		r.Verdict = CouldNotVerify
	}
	for _, d := range r.Outcomes {
		switch d.Action {
		case Killed:
			r.Summary.Killed++
		case Removed:
			r.Summary.Removed++
		case Kept:
			r.Summary.Kept++
		case Outlived:
			r.Summary.Survived++
		case NotPermitted:
			r.Summary.NotPermitted++
		}
		switch d.Action {
		case Outlived, NotPermitted, WouldKill, WouldRemove:
			r.Verdict = SomethingLeft
		}
	}
}
