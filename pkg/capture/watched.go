package capture

import (
	"context"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// viewFor is how long a list of streams is believed when somebody is connected to a camera. A list is a call that may meet
// other clients' calls, so it is not made for every camera of a device.
const viewFor = time.Second

// watched returns the stream through which somebody watches the camera now; nil when nobody does. go2rtc is asked only
// where the kernel shows a connection to the camera, or where go2rtc's connections cannot be seen.
func (r *relayedVisit) watched(ctx context.Context) (*go2rtc.Watching, error) {
	if r.keeper.Relay() != nil && !r.anybody() {
		return nil, nil
	}
	view, err := r.streamsNow(ctx)
	if err != nil {
		return nil, err
	}
	cam := r.v.Camera
	found := go2rtc.Watched(view.Streams(), streams.TargetOf(cam), view.Runs, time.Now())
	var best *go2rtc.Watching
	for i, w := range found {
		switch {
		case w.Stream.Name == r.keeper.Name(cam.ID): // ours, if there is a choice
			return &found[i], nil
		case best == nil || !askable(best.Stream):
			best = &found[i]
		}
	}
	return best, nil
}

// anybody reports whether anybody of this host has a connection to the camera, or may have one.
func (r *relayedVisit) anybody() bool {
	address := proc.Plain(r.v.Camera.Address)
	sockets, err := r.slots.FS.Connections([]uint16{address.Port()})
	if err != nil {
		return true
	}
	for _, c := range sockets.Conns {
		if c.Remote == address && c.State == proc.Established {
			return true
		}
	}
	return false
}

// streamsNow is the list of streams, at most viewFor old.
func (g *Go2rtc) streamsNow(ctx context.Context) (streams.View, error) {
	g.viewing.Lock()
	defer g.viewing.Unlock()
	if time.Since(g.viewedAt) <= viewFor {
		return g.view, nil
	}
	limited, cancel := context.WithTimeout(ctx, 2*go2rtc.CallTimeout)
	defer cancel()
	view, err := g.keeper.Look(limited)
	if err != nil {
		return streams.View{}, err
	}
	g.view, g.viewedAt = view, time.Now()
	return view, nil
}

// askable reports whether a picture can be asked of the stream by its name.
func askable(s go2rtc.Stream) bool {
	return !s.Masked && s.Name != "" && !strings.Contains(s.Name, ":")
}

// fromWatched takes the picture from a stream that is watched. No slot is taken, since nobody dials.
func (r *relayedVisit) fromWatched(ctx context.Context, w go2rtc.Watching) (Still, *fault.Error) {
	name := w.Stream.Name
	if !askable(w.Stream) {
		return Still{}, fault.New(fault.Go2rtc, "", "the camera is watched through the stream %q of go2rtc, of which no picture can be asked by name", name).
			WithHint("give it a name without a colon in go2rtc.yaml")
	}
	codec := ""
	for _, p := range w.Stream.Producers {
		if codec == "" {
			codec = p.Codec
		}
	}
	if codec == "h265" {
		codec = "hevc"
	}
	if r.holds(name) {
		return r.still(ctx, name, codec)
	}
	loan, err := r.keeper.Borrow(r.v.Camera, name)
	if err != nil {
		return Still{}, fault.From(err, fault.Local, "")
	}
	still, problem := r.borrowed(ctx, name, codec)
	if problem != nil && problem.Class != fault.NoVideo && problem.Class != fault.NotJPEG {
		// A picture of ours may hang there: whether it does is looked at when all else is over.
		r.mu.Lock()
		r.loans = append(r.loans, loan)
		r.mu.Unlock()
		return Still{}, problem
	}
	if err := loan.Return(); err != nil && problem == nil {
		problem = fault.From(err, fault.Local, "")
	}
	return still, problem
}

// borrowed takes the picture of a stream that is not ours: it is neither registered again nor asked why it fails, because
// both would change what its viewers have.
func (r *relayedVisit) borrowed(ctx context.Context, name, codec string) (Still, *fault.Error) {
	still, err := r.take(ctx, name, codec)
	return still, fault.From(err, fault.Go2rtc, "")
}

// holds reports whether the ledger holds the stream.
func (r *relayedVisit) holds(name string) bool {
	leases, _, err := r.slots.Ledger.Read()
	if err != nil {
		return false
	}
	for _, l := range r.keeper.Leased(leases) {
		if l.Name == name && l.Note != streams.Borrowed {
			return true
		}
	}
	return false
}
