// Package streams keeps the streams that camwarden has in one go2rtc: under leases, from before they are made until they are
// seen gone. It knows which are ours, who watches them, and what must be done before one can be removed.
package streams

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// What the note of a stream's lease says beyond "ours": how it may end.
const (
	Standing = "standing" // it is meant to stay between rounds
	Borrowed = "borrowed" // it is somebody else's, and a picture of ours may still hang on it
)

// leaseFor is how long a stream may be in use by one run. A round of hours is possible; one whose process is gone is found
// at once, whatever its time.
const leaseFor = 24 * time.Hour

// Options say which server, and whose streams.
type Options struct {
	go2rtc.Options // Lock is set here

	Ledger   *ledger.Ledger
	FS       proc.FS
	Prefix   string // of the names of our streams
	Standing bool   // they stay between rounds
	Lookup   camera.Lookup
}

// Keeper keeps the streams of one server. It is safe for concurrent use.
type Keeper struct {
	Client *go2rtc.Client

	book     *ledger.Ledger
	fs       proc.FS
	prefix   string
	standing bool
	lookup   camera.Lookup
	run      string
	place    place

	mu       sync.Mutex
	resolved []netip.AddrPort
	listener proc.Listener // whose holder is known
	relay    *ledger.Relay
}

// New returns a Keeper; it asks nothing of the server. Its errors are usage faults.
func New(options Options) (*Keeper, error) {
	k := &Keeper{
		book: options.Ledger, fs: options.FS, prefix: options.Prefix, standing: options.Standing,
		lookup: options.Lookup, run: options.Run,
	}
	var err error
	if k.place, err = placeOf(options.URL); err != nil {
		return nil, err
	}
	options.Lock = k.lock
	if k.Client, err = go2rtc.New(options.Options); err != nil {
		return nil, err
	}
	return k, nil
}

// Close ends what is idle.
func (k *Keeper) Close() { k.Client.Close() }

// Server is how leases name the server: its URL, without log-in.
func (k *Keeper) Server() string { return k.Client.Where() }

// Run is the run that registers with this Keeper.
func (k *Keeper) Run() string { return k.run }

// Name is the name of a camera's stream.
func (k *Keeper) Name(id string) string { return k.prefix + camera.Slug(id) }

// Carries reports whether a name is one that a camwarden gives, this one or another.
func (k *Keeper) Carries(name string) bool { return strings.HasPrefix(name, k.prefix) }

// Stays reports whether the stream of a lease is meant to stay between rounds.
func (k *Keeper) Stays(l ledger.Lease) bool { return k.standing && l.Note == Standing }

// State is one stream as go2rtc and this ledger know it.
type State struct {
	Stream go2rtc.Stream
	Seen   go2rtc.Judgement
	Leases []ledger.Lease // of this ledger, those that only borrowed it left out
}

// Ours reports whether this ledger holds the stream.
func (s State) Ours() bool { return len(s.Leases) > 0 }

// View is what one look at the server showed.
type View struct {
	States  []State        // by name
	Missing []ledger.Lease // of streams that the server does not have
	Lent    []ledger.Lease // of pictures that still hang on somebody else's stream
	Runs    go2rtc.Runs
}

// State returns the stream of a name.
func (v View) State(name string) (State, bool) {
	i := slices.IndexFunc(v.States, func(s State) bool { return s.Stream.Name == name })
	if i < 0 {
		return State{}, false
	}
	return v.States[i], true
}

// Streams returns the streams alone.
func (v View) Streams() []go2rtc.Stream {
	list := make([]go2rtc.Stream, len(v.States))
	for i, s := range v.States {
		list[i] = s.Stream
	}
	return list
}

// Look asks the server for its streams, by one call unless names are masked, and sorts them by what the ledger knows.
func (k *Keeper) Look(ctx context.Context) (View, error) {
	leases, _, err := k.book.Read()
	if err != nil {
		return View{}, err
	}
	list, err := k.Client.List(ctx)
	if err != nil {
		return View{}, err
	}
	masked := slices.ContainsFunc(list, func(s go2rtc.Stream) bool { return s.Masked })
	for _, l := range k.Leased(leases) {
		has := slices.ContainsFunc(list, func(s go2rtc.Stream) bool { return s.Name == l.Name })
		if has || !masked {
			continue
		}
		s, exists, err := k.Client.Get(ctx, l.Name)
		if err != nil {
			return View{}, err
		}
		if exists {
			list = append(list, s)
		}
	}
	now := time.Now()
	view := View{Runs: k.runs(leases)}
	view.Runs.Seen = k.sight(list, now)
	for _, s := range list {
		state := State{Stream: s, Seen: go2rtc.Judge(s, view.Runs, now)}
		for _, l := range k.Leased(leases) {
			if l.Name == s.Name && l.Note != Borrowed {
				state.Leases = append(state.Leases, l)
			}
		}
		view.States = append(view.States, state)
	}
	for _, l := range k.Leased(leases) {
		s, exists := view.State(l.Name)
		switch {
		case l.Note == Borrowed && exists && hangs(s.Stream, l.Run):
			view.Lent = append(view.Lent, l)
		case l.Note == Borrowed || !exists:
			view.Missing = append(view.Missing, l)
		}
	}
	return view, nil
}

// Leased returns the leases of streams in this server.
func (k *Keeper) Leased(leases []ledger.Lease) []ledger.Lease {
	var found []ledger.Lease
	for _, l := range leases {
		if l.Kind == ledger.Stream && l.Server == k.Server() {
			found = append(found, l)
		}
	}
	return found
}

// hangs reports whether a run is still given the stream.
func hangs(s go2rtc.Stream, run string) bool {
	return slices.ContainsFunc(s.Consumers, func(c go2rtc.Consumer) bool {
		named, ok := go2rtc.RunOf(c.UserAgent)
		return ok && named == run
	})
}

// runs tells by the ledger which runs live and which have left something.
func (k *Keeper) runs(leases []ledger.Lease) go2rtc.Runs {
	runs := go2rtc.Runs{Mine: k.run}
	for _, l := range leases {
		if l.Run != k.run && l.Kind != ledger.Cooling && k.book.Live(l) && !slices.Contains(runs.Living, l.Run) {
			runs.Living = append(runs.Living, l.Run)
		}
	}
	for _, l := range leases {
		if l.Run != k.run && !slices.Contains(runs.Living, l.Run) && !slices.Contains(runs.Dead, l.Run) {
			runs.Dead = append(runs.Dead, l.Run)
		}
	}
	return runs
}

// sight remembers from run to run since when which picture is under way, so that one that never ends is known for it. It is
// written down only while there is one that is not ours to know better.
func (k *Keeper) sight(list []go2rtc.Stream, now time.Time) go2rtc.Sightings {
	record := "sightings-" + k.Server()
	var known go2rtc.Sightings
	had, err := k.book.Load(record, &known)
	if err != nil {
		return nil
	}
	pictures := slices.DeleteFunc(slices.Clone(list), func(s go2rtc.Stream) bool {
		return !slices.ContainsFunc(s.Consumers, func(c go2rtc.Consumer) bool { return c.Format == "keyframe" || c.Format == "" })
	})
	noted := known.Note(pictures, now)
	if len(noted) > 0 || had && len(known) > 0 {
		_ = k.book.Save(record, noted) // a stuck one is then known later
	}
	return noted
}
