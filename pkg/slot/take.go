package slot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// How long to wait between two counts while our own leases hold every slot: between shortest and longest, at random.
const (
	shortestWait = 30 * time.Millisecond
	longestWait  = 90 * time.Millisecond
)

// Take takes one slot of the camera's address: under the lock of the address it counts, and writes the lease if a slot is free.
// Strike or cool the lease once the connection has been seen gone. Check Held.Expired before dialling: a process that was
// stopped in between for long has lost its slot.
//
// When there is none, the *fault.Error says why: exhausted, at once, when others hold so many that ours make no difference,
// with the holders' names; cooling, at once, when not enough sessions cool down before ctx ends; busy, when ctx ended while leases of
// ours held it, with the name of the run; cancelled, when ctx was cancelled. Deadline means that the request's own has passed.
func (t Table) Take(ctx context.Context, request Request) (*ledger.Held, error) {
	cam := request.Camera
	if !cam.Address.IsValid() {
		return nil, fault.New(fault.Local, "", "the address of camera %s is not known yet", cam.ID).WithHint("resolve its host first")
	}
	if request.Kind != ledger.Process && request.Kind != ledger.Connection {
		return nil, fault.New(fault.Local, "", "a lease of kind %q takes no slot", request.Kind).WithHint("ask for a process or a connection")
	}
	address := proc.Plain(cam.Address)
	if cam.MaxConnections <= cam.Reserve {
		return nil, fault.New(fault.Exhausted, "", "%s: of %d connections %d are reserved for others, which leaves none",
			address, cam.MaxConnections, cam.Reserve).WithHint("lower reserve, or raise max_connections, of camera %s", cam.ID)
	}
	for {
		if proc.BootTime() >= request.Deadline {
			return nil, fault.New(fault.Deadline, "", "no time is left to connect to %s", address).WithHint("allow more time with --timeout")
		}
		held, seen, err := t.try(ctx, request, address)
		if held != nil || err != nil {
			return held, err
		}
		patience := request.Deadline - proc.BootTime()
		if end, bounded := ctx.Deadline(); bounded {
			patience = min(patience, time.Until(end))
		}
		if err := seen.hopeless(address, patience); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, seen.late(ctx, address)
		case <-time.After(shortestWait + rand.N(longestWait-shortestWait)):
		}
	}
}

// try takes a slot if one is free now; when none is, the tally tells what was seen.
func (t Table) try(ctx context.Context, request Request, address netip.AddrPort) (*ledger.Held, tally, error) {
	limit := t.lockFor
	if limit == 0 {
		limit = lockFor
	}
	lock, holder, err := t.Ledger.Lock(ctx, "slot-"+address.String(), limit)
	if err != nil {
		return nil, tally{}, err
	}
	if lock == nil {
		return nil, tally{}, ended(ctx, "%s: still waiting to count its connections, which %s does", address, holder)
	}
	defer func() { _ = lock.Unlock() }() // what can fail in it does no harm: closing the file lets go
	seen, err := t.count(address, request.Camera.MaxConnections, request.Camera.Reserve)
	if err == nil && seen.Free() == 0 && request.Camera.LimitAssumed && t.isServer(ctx, address) {
		seen.Limit = seen.Used() + seen.Reserve + 1
	}
	if err != nil || seen.Free() == 0 {
		return nil, seen, err
	}
	held, err := t.Ledger.Write(ledger.Lease{
		Kind: request.Kind, Camera: request.Camera.ID, Address: address,
		Deadline: request.Deadline, SessionTimeout: request.Camera.SessionTimeout, Relay: seen.beside(request.Relay),
	})
	if err != nil {
		return nil, seen, err
	}
	if lock.Expired() {
		// We were stopped for so long that somebody may have counted beside us, without this lease.
		return nil, seen, held.Strike()
	}
	return held, seen, nil
}

// hopeless says why waiting that long would not free a slot; nil when it may.
func (s tally) hopeless(address netip.AddrPort, patience time.Duration) error {
	if s.usable() <= 0 {
		return fault.New(fault.Exhausted, "", "%s takes %s, and others have %d: %s",
			address, s.limit(), s.Foreign, s.names(false)).
			WithHint("look at them: ss -tnp dst %s; end those that leaked, or raise max_connections if the camera allows more%s", address, s.unhide())
	}
	still := 0
	for _, cool := range s.cools {
		if cool-proc.BootTime() > patience {
			still++
		}
	}
	if still > 0 && still >= s.usable() {
		return s.cooling(address)
	}
	return nil
}

// late is the failure when ctx ended before a slot was free.
func (s tally) late(ctx context.Context, address netip.AddrPort) error {
	if s.Free() > 0 {
		return ended(ctx, "%s has a free connection, but this process was stopped for too long to take it safely", address)
	}
	if s.Own == 0 && s.Cooling > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return s.cooling(address)
	}
	return ended(ctx, "%s takes %s, and all are in use by our own %s: %s", address, s.limit(), strings.Join(s.whose(), ", "), s.names(true))
}

func (s tally) cooling(address netip.AddrPort) error {
	wait := time.Duration(0)
	if len(s.cools) > 0 {
		wait = max(0, s.cools[0]-proc.BootTime())
	}
	return fault.New(fault.Cooling, "", "%s takes %s, and may still keep %d of sessions that ended without a word; the next is over in %s",
		address, s.limit(), s.Cooling, wait.Round(100*time.Millisecond)).
		WithHint("try again then; if the camera forgets such sessions sooner, lower its session_timeout")
}

// ended is busy when ctx ran out of time, and cancelled when it was cancelled.
func ended(ctx context.Context, format string, args ...any) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.New(fault.Cancelled, "", "cancelled while waiting: "+format, args...)
	}
	return fault.New(fault.Busy, "", format, args...).WithHint("try again later, or allow more time with --timeout")
}

func (s tally) limit() string {
	text := fmt.Sprintf("%d connections", s.Limit)
	if s.Limit == 1 {
		text = "1 connection"
	}
	if s.Reserve > 0 {
		text += fmt.Sprintf(" (%d reserved)", s.Reserve)
	}
	return text
}

func (s tally) whose() []string {
	runs := make([]string, len(s.runs))
	for i, run := range s.runs {
		runs[i] = "run " + run
	}
	return runs
}

// names lists holders, the first few of them.
func (s tally) names(ours bool) string {
	const most = 5
	var names []string
	for _, h := range s.Holders {
		if ours || !h.Ours {
			names = append(names, h.String())
		}
	}
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// unhide is what to do when an owner could not be seen.
func (s tally) unhide() string {
	for _, h := range s.Holders {
		if h.PID == 0 {
			return "; as root you can see hidden owners"
		}
	}
	return ""
}

// isServer reports whether an address is no camera, but one where a process of this host listens, and none that only
// forwards: nobody has said how many may connect to it, and it takes as many as come.
func (t Table) isServer(ctx context.Context, address netip.AddrPort) bool {
	listener, found, err := t.FS.Listening(address)
	if err != nil || !found {
		return false
	}
	forwarders, err := t.FS.Forwarders(ctx, nil)
	return err == nil && !forwarders.Hold(listener)
}
