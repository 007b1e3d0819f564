package streams

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// flushFor is how long pictures that hang are waited for: a camera that says nothing is dialled again every 5 s. It leaves
// room for the rest of what a round may take to clean up.
const flushFor = 5800 * time.Millisecond

// Ended is what became of a stream of ours that is over.
type Ended struct {
	Name, Camera string
	Gone         bool   // seen: the server has it no more, or nothing of ours hangs on it
	Removed      bool   // by us, just now
	Kept         bool   // somebody watches, or another run needs it: it is left as it is, for a later run
	Stuck        bool   // a picture of ours hangs on it
	Why          string // it was kept or is left, and what ends it
	Err          error
}

// End takes down the streams of leases: those that nobody watches are removed, pictures of ours that hang are flushed
// first. Where it is known that one may hang, hanging names its stream, which spares the wait for what ends by itself.
// A lease is struck off when its stream has been seen gone, and stays with one that is kept or left. No viewer is cut.
func (k *Keeper) End(ctx context.Context, hanging []string, leases ...ledger.Lease) []Ended {
	unlock, err := k.alone(ctx)
	if err != nil {
		var results []Ended
		for _, l := range k.Leased(leases) {
			results = append(results, Ended{Name: l.Name, Camera: l.Camera, Err: err})
		}
		return results
	}
	defer unlock()
	return k.end(ctx, hanging, leases...)
}

// end is End for who is alone.
func (k *Keeper) end(ctx context.Context, hanging []string, leases ...ledger.Lease) []Ended {
	all, _, err := k.book.Read()
	e := ending{Keeper: k, runs: k.runs(all), leases: leases}
	for _, l := range k.Leased(leases) {
		if l.Note == Borrowed {
			e.results = append(e.results, k.giveBack(ctx, l))
			continue
		}
		if slices.Contains(e.names, l.Name) {
			continue
		}
		if err == nil && k.needed(all, leases, l.Name) {
			e.results = append(e.results, Ended{Name: l.Name, Camera: l.Camera, Kept: true, Why: "another run of ours uses it, and removes it", Err: k.strike(leases, l.Name)})
			continue
		}
		e.names = append(e.names, l.Name)
		e.results = append(e.results, Ended{Name: l.Name, Camera: l.Camera, Err: err})
	}
	if len(e.names) == 0 || err != nil {
		return e.results
	}
	e.run(ctx, hanging)
	e.settle()
	return e.results
}

// ending is one call of End.
type ending struct {
	*Keeper
	runs    go2rtc.Runs
	leases  []ledger.Lease
	names   []string // of the streams to be removed
	results []Ended
}

func (e *ending) run(ctx context.Context, hanging []string) {
	hanging = slices.DeleteFunc(slices.Clone(hanging), func(name string) bool { return !slices.Contains(e.names, name) })
	if len(hanging) > 0 {
		e.flush(ctx, hanging)
		e.remove(ctx, e.names)
	} else if hanging = e.remove(ctx, e.names); len(hanging) > 0 {
		if free := e.flush(ctx, hanging); len(free) > 0 {
			e.remove(ctx, free)
		}
	}
	if late := e.connected(); len(late) > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(probeFor):
			e.remove(ctx, late)
		}
	}
}

// probeFor is what go2rtc needs to give up on a camera, for which it waits 5 s, after we have given up on go2rtc's answer.
const probeFor = 2500 * time.Millisecond

// connected are the streams that are given to nobody and still have a connection.
func (e *ending) connected() []string {
	var names []string
	for _, r := range e.results {
		if slices.Contains(e.names, r.Name) && !r.Gone && !r.Kept && !r.Stuck && r.Err == nil {
			names = append(names, r.Name)
		}
	}
	return names
}

// settle strikes the leases of what is gone, and writes down why the rest is not.
func (e *ending) settle() {
	for i := range e.results {
		r := &e.results[i]
		switch {
		case !slices.Contains(e.names, r.Name):
		case r.Gone && r.Err == nil:
			r.Err = e.strike(e.leases, r.Name)
		case !r.Kept && r.Why != "":
			for _, l := range of(e.leases, r.Name) {
				if !e.Stays(l) {
					_ = e.book.Adopt(l).Update(func(l *ledger.Lease) { l.Note = left + r.Why }) // words for the operator; the lease itself stands
				}
			}
		}
	}
}

// left begins the note of a lease whose stream could not be ended: why, and what ends it.
const left = "left: "

// WhyLeft is why an earlier try could not end the stream of a lease; empty when there was none.
func WhyLeft(l ledger.Lease) string {
	why, _ := strings.CutPrefix(l.Note, left)
	if why == l.Note {
		return ""
	}
	return why
}

// needed reports whether a living run outside the list has a lease of the stream.
func (k *Keeper) needed(all, leases []ledger.Lease, name string) bool {
	return slices.ContainsFunc(of(k.Leased(all), name), func(l ledger.Lease) bool {
		listed := slices.ContainsFunc(leases, func(one ledger.Lease) bool { return one.ID == l.ID })
		return !listed && k.book.Live(l) && !k.Stays(l)
	})
}

func (k *Keeper) strike(leases []ledger.Lease, name string) error {
	for _, l := range of(leases, name) {
		if err := k.book.Adopt(l).Strike(); err != nil {
			return err
		}
	}
	return nil
}

// giveBack strikes the note of a borrowed stream once nothing of that run hangs on it.
func (k *Keeper) giveBack(ctx context.Context, l ledger.Lease) Ended {
	r := Ended{Name: l.Name, Camera: l.Camera}
	s, exists, err := k.Client.Get(ctx, l.Name)
	switch {
	case err != nil:
		r.Err = err
	case exists && hangs(s, l.Run):
		r.Stuck = true
		r.Why = "a picture of ours hangs on this stream, which is not ours to flush; it ends with the next key frame of the camera, or when go2rtc is restarted"
	default:
		r.Gone, r.Err = true, k.book.Adopt(l).Strike()
	}
	return r
}

// remove asks for the removal of the names, and returns those on which only pictures of ours hang.
func (e *ending) remove(ctx context.Context, names []string) (hanging []string) {
	removals, err := e.Client.Remove(ctx, e.runs, names...)
	for i := range e.results {
		r := &e.results[i]
		at := slices.IndexFunc(removals, func(one go2rtc.Removal) bool { return one.Name == r.Name })
		switch {
		case !slices.Contains(names, r.Name):
			continue
		case err != nil:
			r.Err = err
			continue
		case at < 0:
			continue
		}
		one := removals[at]
		r.Gone, r.Removed, r.Err = one.Gone, one.Gone && one.Why == "", one.Err
		switch {
		case one.Gone:
			r.Stuck, r.Why = false, ""
		case one.Err != nil:
		case one.Kept.Watched():
			r.Kept, r.Stuck, r.Why = true, false, one.Why
		case len(one.Kept.Stuck)+len(one.Kept.Ours) > 0:
			r.Stuck = true
			hanging = append(hanging, r.Name)
			if r.Why == "" {
				r.Why = one.Why
			}
		default:
			r.Why = one.Why + "; the next run tries again, or restart go2rtc"
		}
	}
	return hanging
}

// flush ends the pictures that hang, and returns the streams on which none hangs any more.
func (e *ending) flush(ctx context.Context, hanging []string) (free []string) {
	limited, cancel := context.WithTimeout(ctx, flushFor)
	defer cancel()
	sources := make([]go2rtc.Source, len(hanging)) // without a URL: they are removed, not restored
	for i, name := range hanging {
		sources[i] = go2rtc.Source{Name: name, Testing: func() { e.breakOff(limited, of(e.leases, name)) }}
	}
	flushed, err := e.Client.Flush(limited, e.runs, sources...)
	for i := range e.results {
		r := &e.results[i]
		at := slices.IndexFunc(flushed, func(one go2rtc.Flushed) bool { return one.Name == r.Name })
		switch {
		case !slices.Contains(hanging, r.Name):
		case err != nil:
			r.Err = err
		case at >= 0 && flushed[at].Done:
			free = append(free, r.Name)
		case at >= 0:
			r.Err = flushed[at].Err
			r.Why = "a picture of ours hangs on it: " + flushed[at].Why + "; try again: camwarden streams flush " + r.Name
		}
	}
	return free
}

// breakOff ends go2rtc's connection to the camera of a stream that shows the test picture, so that go2rtc dials anew at
// once and not when the camera has been silent for 5 s, or never while it goes on sending. Only root may, and only where
// go2rtc has no other connection to that address, which might be somebody's: without it the flush takes its time. The one
// connection that is there may be somebody's too, while go2rtc waits before it dials for ours again; its list tells.
func (k *Keeper) breakOff(ctx context.Context, leases []ledger.Lease) {
	relay := k.Relay()
	if len(leases) == 0 || relay == nil || relay.ID.PID == 0 {
		return
	}
	address := proc.Plain(leases[0].Address)
	sockets, err := k.fs.Connections([]uint16{address.Port()})
	if err != nil {
		return
	}
	conns := slices.DeleteFunc(sockets.Conns, func(c proc.Conn) bool { return c.Remote != address || c.State != proc.Established })
	conns, _ = k.fs.Own(conns, func(s proc.Stat) bool { return s.PID == relay.ID.PID })
	conns = slices.DeleteFunc(conns, func(c proc.Conn) bool { return c.PID != relay.ID.PID })
	if len(conns) != 1 {
		return
	}
	if list, err := k.Client.List(ctx); err == nil && nobodyElse(list, leases[0].Name, address) {
		_ = k.fs.Disconnect(conns[0])
	}
}

// nobodyElse reports whether no other stream than the named one is connected to an address, as far as go2rtc tells.
func nobodyElse(list []go2rtc.Stream, name string, address netip.AddrPort) bool {
	for _, s := range list {
		if s.Name == name {
			continue
		}
		for _, p := range s.Producers {
			first, _, _ := strings.Cut(p.RemoteAddr, " ")
			remote, err := netip.ParseAddrPort(first)
			if p.Connected() && (err != nil || proc.Plain(remote) == address) {
				return false
			}
		}
	}
	return true
}

// Accuse makes sure that the ledger names this run as the one whose picture hangs on a stream. The lease of a stream that
// stays is older than the run.
func (k *Keeper) Accuse(e Ended, leases []ledger.Lease) error {
	for _, l := range of(leases, e.Name) {
		if l.Run == k.run {
			return nil
		}
	}
	for _, l := range leases {
		if l.Name == e.Name && l.Note != Borrowed {
			l.Note, l.Deadline = "", proc.BootTime()+leaseFor
			_, err := k.book.Write(l)
			return err
		}
	}
	return nil
}
