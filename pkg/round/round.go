// Package round takes one still from each of a set of cameras, leaves nothing behind, and proves it by looking.
package round

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// cleanUpBound is what destruct and verify together may take after the visits, however these ended.
const cleanUpBound = 8 * time.Second

// runner is one round on its way.
type runner struct {
	plan   Plan
	deps   Deps
	self   proc.Identity
	report Report
	cams   []camera.Camera // in the order of this round
	chain  capture.Chain
	warned []string // notices of the chain that were passed on
	tell   func(Event)
}

// Run makes one round: construct, visit, destruct, verify. Cancelling ctx ends the visits and nothing else: what was made
// is always taken down and looked for, within cleanUpBound. Events go to tell, which may be nil and must not block.
//
// The error is a *fault.Error of class usage, local or no-source when nothing was touched, or busy or cooling when another
// run is in the way and the plan says to fail. Else the report tells everything; its verdict and summary decide.
func Run(ctx context.Context, plan Plan, deps Deps, tell func(Event)) (Report, error) {
	r := &runner{plan: plan, deps: deps, tell: serial(tell), cams: plan.Selection.Cameras}
	if r.deps.Log == nil {
		r.deps.Log = slog.New(slog.DiscardHandler)
	}
	r.report = Report{
		Schema: plan.Schema, Run: deps.Run, Subnets: plan.Selection.Subnets, StartedAt: time.Now().UTC().Truncate(time.Millisecond),
		Visits: []Visit{}, Streams: Streams{Kept: []sweep.KeptStream{}},
		Recovered: []sweep.Leftover{}, Leftovers: []sweep.Leftover{}, Blind: []observe.Blind{}, Verdict: Unverified,
	}
	if err := r.prepare(); err != nil {
		return r.report, err
	}
	lock, err := r.lock(ctx)
	if err != nil {
		if plan.IfBusy != Skip {
			return r.report, err
		}
		r.skipAll(err)
		r.verify(context.WithoutCancel(ctx), "")
		return r.finish(), nil
	}
	defer lock.release()
	if r.chain, err = capture.NewChain(ctx, r.deps.Sources); err != nil {
		return r.report, err // this may have started a child to ask it what it can, but has dialled nothing
	}
	r.warn()
	if r.plan.Keeper != nil { // last: it makes folders, and until here nothing was touched
		if err := r.plan.Keeper.Prepare(); err != nil {
			return r.report, err
		}
		r.makeRoom(ctx)
	}
	r.round(ctx)
	r.prune(ctx)
	return r.finish(), nil
}

// prepare checks what can be checked before anything is touched.
func (r *runner) prepare() error {
	var err error
	if r.self, err = r.deps.FS.Self(); err != nil {
		return fault.New(fault.Local, "", "cannot read this process's own entry in the process table: %w", err).
			WithHint("camwarden needs /proc mounted: ls /proc/self")
	}
	if err = capture.StandBy(r.deps.Sources); err != nil {
		return err
	}
	return nil
}

// warn passes on the notices of the sources, each once.
func (r *runner) warn() {
	for _, notice := range r.chain.Notices() {
		if !slices.Contains(r.warned, notice) {
			r.warned = append(r.warned, notice)
			r.deps.Log.Warn(notice)
		}
	}
}

// round is everything that happens under the round lock. The deferred calls run even when a visit panics in a way
// that gets past its own recovery.
func (r *runner) round(ctx context.Context) {
	record := loadTurn(r.deps.Ledger, r.plan.Selection.Key)
	if r.plan.Exclusive {
		r.cams = rotate(r.cams, record.First)
		r.report.before = loadEndings(r.deps.Ledger, r.plan.Selection.Key)
	}
	r.recover(ctx)

	// Taking down must not be cancelled by what cancelled the visits, and still has an end.
	cleaning, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer r.verify(cleaning, r.deps.Run)
	defer r.destruct(cleaning, cancel)

	r.construct(ctx)
	r.visitAll(ctx)
}

func (r *runner) construct(ctx context.Context) {
	r.tell(Event{Phase: Constructing, Total: len(r.cams)})
	began := time.Now()
	for _, source := range r.chain.Sources() {
		if err := source.Construct(ctx, r.cams); err != nil {
			r.deps.Log.Warn("source not ready", "source", source.Name(), "error", err)
		}
	}
	r.report.Phases.ConstructMS = time.Since(began).Milliseconds()
}

// destruct takes down what the sources made. From here on the clock of cleanUpBound runs, for verify too.
func (r *runner) destruct(ctx context.Context, stop context.CancelFunc) {
	time.AfterFunc(cleanUpBound, stop)
	r.tell(Event{Phase: Destructing, Total: len(r.cams)})
	r.warn()
	began := time.Now()
	for _, source := range r.chain.Sources() {
		if err := source.Destruct(ctx); err != nil {
			r.deps.Log.Warn("source not taken down", "source", source.Name(), "error", err)
		}
	}
	r.countStreams()
	r.report.Phases.DestructMS = time.Since(began).Milliseconds()
	r.remember()
}

// remember writes when this round ended and where the next begins.
func (r *runner) remember() {
	if !r.plan.Exclusive {
		return
	}
	err := r.deps.Ledger.Save("turn-"+r.plan.Selection.Key, turn{
		EndedAt: time.Now().UTC(), EndedBoot: int64(proc.BootTime()), BootID: r.self.BootID, First: next(r.cams, r.report.Visits),
	})
	if err != nil {
		r.deps.Log.Warn("the cool-down cannot be kept: its record was not written", "error", err)
	}
	if err := r.deps.Ledger.Save("endings-"+r.plan.Selection.Key, endings(r.report.Visits)); err != nil {
		r.deps.Log.Warn("what changes until the next round cannot be told: its record was not written", "error", err)
	}
	var before Stills
	if _, err := r.deps.Ledger.Load(StillsRecord, &before); err != nil {
		r.deps.Log.Debug("the record of stills was not read", "error", err)
	}
	if err := r.deps.Ledger.Save(StillsRecord, stillsOf(before, r.report.Visits, time.Now())); err != nil {
		r.deps.Log.Debug("the record of sources was not written", "error", err)
	}
}

// scope is what this round may look at: the addresses of its cameras, and whatever its ledger holds.
func (r *runner) scope() observe.Scope {
	scope := observe.Scope{OnlyOurs: true, Keeper: r.deps.Streams}
	for _, c := range r.cams {
		if c.Address.IsValid() {
			scope.Limits.Addresses = append(scope.Limits.Addresses, c.Address)
		}
	}
	return scope
}

func (r *runner) broom() sweep.Broom {
	return sweep.Broom{Ledger: r.deps.Ledger, FS: r.deps.FS}
}

// recover finishes what an earlier run left: killed, or stopped for longer than its leases.
func (r *runner) recover(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpBound)
	defer cancel()
	result := r.broom().Sweep(ctx, r.scope(), "")
	r.report.Recovered = result.Found
	if n := len(result.Found); n > 0 {
		r.tell(Event{Phase: Recovering, Done: n, Total: n})
		for _, l := range result.Found {
			r.deps.Log.Info("recovered", "subject", l.Subject, "camera", l.Camera, "why", l.Why, "outcome", l.Outcome)
		}
	}
}

// verify reads the verdict from the kernel. The run named over is this one, which counts as finished; it is empty when
// another run holds the lock, and only the look itself is wanted.
func (r *runner) verify(ctx context.Context, over string) {
	r.tell(Event{Phase: Verifying, Total: len(r.cams)})
	began := time.Now()
	result := r.broom().Sweep(ctx, r.scope(), over)
	r.report.Phases.VerifyMS = time.Since(began).Milliseconds()
	r.report.Leftovers = result.Found
	r.report.Streams.Kept = sweep.StreamsKept(result.Last, over)
	r.report.Blind = append(r.report.Blind, result.Last.Blind...)
	for _, host := range r.plan.Selection.Blind {
		r.report.Blind = append(r.report.Blind, observe.Blind{Where: "name " + host, Why: "it does not resolve, so whether it lies in the subnet is unknown"})
	}
	r.report.Looked = Looked{
		Processes: result.Last.Table, Connections: open(result.Last.Connections), Leases: len(result.Last.Leases), By: result.Last.Method,
	}
	switch {
	case result.Left():
		r.report.Verdict = Left
	case result.Clean():
		r.report.Verdict = Clean
	default:
		r.report.Verdict = Unverified
	}
}

// open counts the connections that a camera may hold a slot for; those that the kernel is only closing are none.
func open(conns []observe.Connection) int {
	n := 0
	for _, c := range conns {
		switch c.State {
		case proc.SynSent, proc.Established, proc.CloseWait:
			n++
		}
	}
	return n
}

// finish counts, closes the books and returns the report.
func (r *runner) finish() Report {
	for _, v := range r.report.Visits {
		switch {
		case v.OK:
			r.report.Summary.OK++
		case v.Skipped:
			r.report.Summary.Skipped++
		default:
			r.report.Summary.Failed++
		}
	}
	r.report.Summary.Cameras = len(r.report.Visits)
	r.report.DurationMS = time.Since(r.report.StartedAt).Milliseconds()
	r.tell(Event{Phase: Done, Done: len(r.report.Visits), Total: len(r.report.Visits)})
	return r.report
}

// addressOf is how documents show where a camera is: resolved where that is known.
func addressOf(c camera.Camera) string {
	if c.Address.IsValid() {
		return c.Address.String()
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
}
