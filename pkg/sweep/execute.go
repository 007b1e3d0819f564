package sweep

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// How long a process gets between TERM and KILL, and how long KILL gets to show. A child of ours takes at most 0.2 s after
// TERM; hundreds that end together wait for each other's processors, and a busy host gives them few.
const (
	defaultGrace = 500 * time.Millisecond
	childBound   = 2 * time.Second
	manyBound    = 10 * time.Second
)

// atOnce bounds how many processes are ended at the same time: each costs a file descriptor.
const atOnce = 400

// Broom ends what is leaked: the ledger that knows what is ours, and the process table it stands in.
type Broom struct {
	Ledger *ledger.Ledger
	FS     proc.FS
	Grace  time.Duration // between TERM and KILL; 0 is half a second
}

// execute ends the processes that are to be ended, all at the same time, since one that ignores its signal costs its own
// grace and nobody else's; then it strikes off the leases of what is gone. Bound is how long KILL gets to show.
func (b Broom) execute(ctx context.Context, outcomes []Outcome, bound time.Duration) {
	var all sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range outcomes {
		if outcomes[i].Action != WouldKill || outcomes[i].PID == 0 {
			continue
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			b.endProcess(ctx, &outcomes[i], bound)
		})
	}
	all.Wait()
	for i := range outcomes {
		o := &outcomes[i]
		if o.Action == WouldKill { // no process is left of it
			o.Action = GoneAlready
			if len(o.of.leases) == 0 { // nor anything else that we could end
				o.Action = Outlived
			}
		}
		if o.Action != Killed && o.Action != GoneAlready || o.of.stream != "" {
			continue
		}
		for _, l := range o.of.leases {
			if err := b.settle(l, o.PID > 0); err != nil {
				if o.PID == 0 {
					o.Action = Outlived
				}
				o.say(fmt.Sprintf("its lease could not be struck off: %v", err))
			}
		}
	}
}

// endProcess ends one process, and says what was seen.
func (b Broom) endProcess(ctx context.Context, o *Outcome, bound time.Duration) {
	grace := b.Grace
	if grace <= 0 {
		grace = defaultGrace
	}
	result, err := b.FS.Kill(ctx, o.of.ID, grace, bound)
	o.TookMS = result.Took.Milliseconds()
	if result.Signal != 0 {
		o.Signal = signalName(result.Signal)
	}
	switch {
	case err != nil:
		o.Action = Outlived
		o.say(fmt.Sprintf("could not be ended: %v", err))
	case result.Outcome == proc.Ended:
		o.Action = Killed
	case result.Outcome == proc.NotPermitted:
		b.notPermitted(o)
	case result.Outcome == proc.Stuck:
		o.Action = Outlived
		o.say(fmt.Sprintf("%s after KILL it is still there (%s)", bound, stateText(result.State)))
	case result.Outcome == proc.NotSame:
		o.Action = GoneAlready
		o.say("it ended by itself, its pid belongs to another process now, and nothing was sent")
	default:
		o.Action = GoneAlready
		o.say("it ended by itself before it was signalled")
	}
}

// notPermitted says what it takes to end a process that this user may not end.
func (b Broom) notPermitted(o *Outcome) {
	o.Action = NotPermitted
	if os.Geteuid() == 0 {
		o.say(fmt.Sprintf("it belongs to another user, so ending it is not permitted: this user 0 lacks %s", strings.Join(b.FS.Lacking(), ", ")))
		return
	}
	o.say("it belongs to another user, so ending it is not permitted: try as root")
}

// settle strikes the lease off, or leaves a cooling one: how far the conversation of a killed process had come is not
// known, and a camera may keep the session of a client that vanished without TEARDOWN.
func (b Broom) settle(l ledger.Lease, process bool) error {
	held := b.Ledger.Adopt(l)
	dialled := l.Child.PID > 0 || l.Kind == ledger.Connection
	if !dialled || !l.Address.IsValid() || l.SessionTimeout <= 0 {
		return held.Strike()
	}
	ended := proc.BootTime()
	if !process {
		ended = min(ended, l.Deadline) // it was gone already, and its owner would not have let it live past its deadline
	}
	return held.Cool(ended + l.SessionTimeout)
}

// endStreams removes the streams that are to be removed, pictures that hang flushed first; then it gives back the borrowed ones.
// They go in two calls, for a stream of ours and one that we borrow may have one name.
func (b Broom) endStreams(ctx context.Context, keeper *streams.Keeper, outcomes []Outcome) {
	if keeper == nil {
		return
	}
	for _, borrowed := range []bool{false, true} {
		var todo []*Outcome
		var leases []ledger.Lease
		for i := range outcomes {
			if o := &outcomes[i]; o.Action == WouldRemove && (o.of.leases[0].Note == streams.Borrowed) == borrowed {
				todo, leases = append(todo, o), append(leases, o.of.leases...)
			}
		}
		if len(leases) == 0 {
			continue
		}
		for _, ended := range keeper.End(ctx, nil, leases...) {
			for _, o := range todo {
				if o.of.stream == ended.Name {
					o.took(ended)
				}
			}
		}
	}
}

// took takes in what became of a stream.
func (o *Outcome) took(e streams.Ended) {
	switch {
	case e.Err != nil:
		o.Action = Outlived
		o.say("could not be removed: " + e.Err.Error())
	case e.Gone && e.Removed:
		o.Action = Removed
	case e.Gone:
		o.Action = GoneAlready
	case e.Kept:
		o.Action = Kept
		o.say(e.Why)
	default:
		o.Action = Outlived
		o.say(e.Why)
	}
}
