package sweep

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/observe"
)

// ReapSchema names the document of a reap; a changed meaning gets a new number.
const ReapSchema = "camwarden.reap/1"

// Verdict is what is left of what should have ended.
type Verdict string

// The verdicts of a reap.
const (
	Clean          Verdict = "clean"
	SomethingLeft  Verdict = "left"
	CouldNotVerify Verdict = "unverified"
)

// Counts counts what was done.
type Counts struct {
	Killed       int `json:"killed"`
	Removed      int `json:"removed"`
	Kept         int `json:"kept"`
	Survived     int `json:"survived"`
	NotPermitted int `json:"not_permitted"`
	WouldKill    int `json:"would_kill"`   // of a dry run, as is the next
	WouldRemove  int `json:"would_remove"` //
}

// Reaping is the document of a reap, camwarden.reap/1.
type Reaping struct {
	Schema      string          `json:"schema"`
	DryRun      bool            `json:"dry_run"`
	OlderThanMS int64           `json:"older_than_ms"`
	Outcomes    []Outcome       `json:"outcomes"`
	Summary     Counts          `json:"summary"`
	Blind       []observe.Blind `json:"blind"`
	Verdict     Verdict         `json:"verdict"`
}

// Reap ends what the rules call leaked within the scope, and looks again; what it finds then that it had not seen before,
// the child of a script that it ended, say, it ends as well, once. Only with dry it just says what it would do.
func (b Broom) Reap(ctx context.Context, scope observe.Scope, rules Rules, dry bool) Reaping {
	r := Reaping{Schema: ReapSchema, DryRun: dry, OlderThanMS: rules.OlderThan.Milliseconds(), Outcomes: []Outcome{}}
	last := b.pass(ctx, scope, rules, &r)
	if !dry && ctx.Err() == nil && slices.ContainsFunc(r.Outcomes, func(o Outcome) bool { return o.Action == Killed }) {
		last = b.pass(ctx, scope, rules, &r)
	}
	r.Blind = last.Blind
	r.sum(last)
	return r
}

// pass looks once, and ends what is leaked and not yet among the outcomes. What somebody watches is told as kept.
func (b Broom) pass(ctx context.Context, scope observe.Scope, rules Rules, r *Reaping) observe.Observation {
	seen := observe.Look(ctx, b.Ledger, b.FS, scope)
	var todo []Outcome
	for _, d := range Judge(seen, rules) {
		i := slices.IndexFunc(r.Outcomes, func(known Outcome) bool { return known.of.same(d) })
		switch {
		case i < 0:
			todo = append(todo, outcomeOf(seen, d))
		case r.Outcomes[i].Action == Kept && d.Leaked:
			r.Outcomes[i].Why = d.Why // it has come of age since; the next reap ends it
		}
	}
	watched := todo[len(todo):]
	for _, kept := range StreamsKept(seen, "") {
		o := Outcome{
			Kind: Stream, Name: kept.Name, Camera: kept.Camera, Why: "no run of ours needs it any more, and it is watched: " + kept.Why, Action: Kept,
			of: Decision{Kind: Stream, stream: kept.Name, Subject: "stream " + kept.Name},
		}
		if !slices.ContainsFunc(r.Outcomes, func(known Outcome) bool { return known.of.same(o.of) }) {
			watched = append(watched, o)
		}
	}
	todo = append(todo, watched...)
	for i := range todo {
		if o := &todo[i]; o.Action == WouldRemove && seen.Relayed.Err != nil {
			o.Action = Kept
			o.say("go2rtc does not answer, so whether it is there cannot be told")
		}
	}
	if r.DryRun {
		for i := range todo {
			b.rehearse(&todo[i])
		}
	} else {
		b.execute(ctx, todo, manyBound)
		b.endStreams(ctx, scope.Keeper, todo)
	}
	r.Outcomes = append(r.Outcomes, todo...)
	return seen
}

// rehearse says of one thing in a dry run what would come of it.
func (b Broom) rehearse(o *Outcome) {
	switch {
	case o.Action != WouldKill:
	case o.PID == 0:
		o.Action = GoneAlready
	default:
		if may, err := b.FS.MayEnd(o.of.ID); err != nil {
			o.say(fmt.Sprintf("whether this user may end it cannot be told: %v", err))
		} else if !may {
			b.notPermitted(o)
		}
	}
}

// sum counts, and reads the verdict from what was seen.
func (r *Reaping) sum(last observe.Observation) {
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
		case WouldKill:
			r.Summary.WouldKill++
		case WouldRemove:
			r.Summary.WouldRemove++
		}
		switch d.Action {
		case Outlived, NotPermitted, WouldKill, WouldRemove:
			r.Verdict = SomethingLeft
		}
	}
}
