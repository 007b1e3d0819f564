package streams

import (
	"context"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// flushFor is how long pictures that hang are waited for: a camera that says nothing is dialled again every 5 s. It leaves
// room for the rest of what may take cleanUpBound of a round.
const flushFor = 6 * time.Second

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

// End takes down the streams of leases: those that nobody watches are removed, pictures of ours that hang are flushed first.
// A lease is struck off when its stream has been seen gone, and stays with one that is kept or left. It never cuts a viewer.
func (k *Keeper) End(ctx context.Context, leases ...ledger.Lease) []Ended {
	all, _, err := k.book.Read()
	runs := k.runs(all)
	results, names := []Ended{}, []string{}
	for _, l := range k.Leased(leases) {
		if l.Note == Borrowed {
			results = append(results, k.giveBack(ctx, l))
			continue
		}
		if slices.Contains(names, l.Name) {
			continue
		}
		if err == nil && k.needed(all, leases, l.Name) {
			results = append(results, Ended{Name: l.Name, Camera: l.Camera, Kept: true, Why: "another run of ours uses it, and removes it", Err: k.strike(leases, l.Name)})
			continue
		}
		names = append(names, l.Name)
		results = append(results, Ended{Name: l.Name, Camera: l.Camera, Err: err})
	}
	if len(names) == 0 || err != nil {
		return results
	}
	hanging := k.remove(ctx, runs, results, names)
	if len(hanging) > 0 {
		k.flush(ctx, runs, results, hanging)
	}
	for i := range results {
		if r := &results[i]; r.Gone && r.Err == nil && slices.Contains(names, r.Name) {
			r.Err = k.strike(leases, r.Name)
		}
	}
	return results
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
func (k *Keeper) remove(ctx context.Context, runs go2rtc.Runs, results []Ended, names []string) (hanging []string) {
	removals, err := k.Client.Remove(ctx, runs, names...)
	for i := range results {
		r := &results[i]
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
		r.Gone, r.Removed, r.Why, r.Err = one.Gone, one.Gone && one.Why == "", one.Why, one.Err
		switch {
		case one.Gone || one.Err != nil:
		case one.Kept.Watched():
			r.Kept = true
		case len(one.Kept.Stuck)+len(one.Kept.Ours) > 0:
			r.Stuck = true
			hanging = append(hanging, r.Name)
		}
	}
	return hanging
}

// flush ends the pictures that hang, and then removes their streams.
func (k *Keeper) flush(ctx context.Context, runs go2rtc.Runs, results []Ended, hanging []string) {
	limited, cancel := context.WithTimeout(ctx, flushFor)
	defer cancel()
	sources := make([]go2rtc.Source, len(hanging)) // without a URL: they are removed, not restored
	for i, name := range hanging {
		sources[i].Name = name
	}
	flushed, err := k.Client.Flush(limited, runs, sources...)
	var free []string
	for i := range results {
		r := &results[i]
		at := slices.IndexFunc(flushed, func(one go2rtc.Flushed) bool { return one.Name == r.Name })
		switch {
		case !slices.Contains(hanging, r.Name):
		case err != nil:
			r.Err = err
		case at >= 0 && flushed[at].Done:
			free = append(free, r.Name)
		case at >= 0:
			r.Err = flushed[at].Err
			r.Why += "; not flushed: " + flushed[at].Why + "; try again: camwarden streams flush " + r.Name
		}
	}
	if len(free) > 0 {
		_ = k.remove(ctx, runs, results, free)
	}
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

// Flush ends the pictures that hang on a stream and gives it its source back.
func (k *Keeper) Flush(ctx context.Context, w Wish) (go2rtc.Flushed, error) {
	leases, _, err := k.book.Read()
	if err != nil {
		return go2rtc.Flushed{}, err
	}
	runs := k.runs(leases)
	flushed, err := k.Client.Flush(ctx, runs, k.source(w))
	if err != nil {
		return go2rtc.Flushed{}, err
	}
	return flushed[0], nil
}
