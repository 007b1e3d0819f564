package round

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
)

// wedgeSlack is what a round may take beyond its deadline before its lock counts as wedged: cleaning up, and a margin.
const wedgeSlack = cleanUpBound + 4*time.Second

// openEnded is the deadline of the lock of a round that has none of its own.
const openEnded = 24 * time.Hour

// guard is the right to make a round of a selection.
type guard struct{ lock *ledger.Lock }

func (g guard) release() {
	if g.lock != nil {
		_ = g.lock.Unlock() // the kernel releases it with the process at the latest
	}
}

// lock takes the round lock and waits out, skips or refuses as the plan says. A snapshot needs neither.
func (r *runner) lock(ctx context.Context) (guard, error) {
	if !r.plan.Exclusive {
		return guard{}, nil
	}
	limit := openEnded
	if r.plan.Deadline > 0 {
		limit = r.plan.Deadline + wedgeSlack
	}
	waiting := ctx
	if r.plan.IfBusy == Wait && r.plan.Deadline > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, r.plan.Deadline)
		defer cancel()
	}
	name := "round-" + r.plan.Selection.Key
	lock, holder, err := r.deps.Ledger.TryLock(name, limit)
	if err == nil && lock == nil && r.plan.IfBusy == Wait {
		r.tell(Event{Phase: Waiting, Message: "another round of this subnet is running: " + holder.String()})
		lock, holder, err = r.deps.Ledger.Lock(waiting, name, limit)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			err = nil // told below as what it is: still busy
		}
	}
	switch {
	case err != nil:
		return guard{}, fault.From(err, fault.Local, "")
	case lock == nil:
		return guard{}, fault.New(fault.Busy, "", "another round of this subnet is running: %s", holder).
			WithHint("wait for it with --if-busy wait, or let cron pass over it with --if-busy skip")
	}
	if err := r.awaitCool(waiting); err != nil {
		_ = lock.Unlock()
		return guard{}, err
	}
	return guard{lock}, nil
}

// awaitCool keeps the pause between two rounds of the same selection.
func (r *runner) awaitCool(ctx context.Context) error {
	left := loadTurn(r.deps.Ledger, r.plan.Selection.Key).cooling(r.plan.Cooldown, r.self.BootID)
	if left <= 0 {
		return nil
	}
	tooEarly := fault.New(fault.Cooling, "", "the cool-down has not passed: %s of %s are left", left.Round(time.Second/10), r.plan.Cooldown).
		WithHint("wait for it with --if-busy wait, or shorten it with --cooldown")
	if r.plan.IfBusy != Wait {
		return tooEarly
	}
	r.tell(Event{Phase: Waiting, Message: fmt.Sprintf("the cool-down ends in %s", left.Round(time.Second/10))})
	select {
	case <-time.After(left):
		return nil
	case <-ctx.Done():
		return tooEarly
	}
}

// skipAll reports every camera as not dialled because of why.
func (r *runner) skipAll(why error) {
	r.report.PassedOver = true
	for _, c := range r.cams {
		r.report.Visits = append(r.report.Visits, skipped(c, fault.From(why, fault.Busy, "")))
	}
}
