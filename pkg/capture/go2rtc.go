package capture

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/streams"
)

// constructFor bounds the registering of a round's streams. It takes a few milliseconds each; a server that needs longer
// is left to the next source.
const constructFor = 15 * time.Second

// destructFor bounds the removing, with a flush of 6 s in it. The round's last look needs the rest of its 8 s.
const destructFor = 7 * time.Second

// Go2rtc is the source "go2rtc": a go2rtc server relays the camera, so that those who watch it and we share one
// connection. Its streams are registered for the round and removed after it; a camera that somebody watches is neither
// looked at nor dialled, but its picture taken from the stream that is watched.
type Go2rtc struct {
	streamed
	keeper   *streams.Keeper
	slots    slot.Table
	own      *RTSP // looks at cameras, reads go2rtc's RTSP port, and turns what comes into a picture
	restream bool
	agent    string

	mu       sync.Mutex
	known    map[string]*entry // by camera
	tally    StreamTally
	loans    []*streams.Loan // whose picture may still hang on somebody else's stream
	hanging  []string        // streams on which a picture of ours may hang
	occupied []occupied      // slots of connections that go2rtc may still hold for us

	viewing  sync.Mutex
	view     streams.View // what the server showed last
	viewedAt time.Time
}

// entry is the stream of one camera. Whoever visits the camera holds its lock.
type entry struct {
	mu         sync.Mutex
	registered streams.Registered
	asked      bool
}

// occupied is a slot with the time that its camera may keep a session which nobody ended.
type occupied struct {
	held    *ledger.Held
	session time.Duration
}

// StreamTally is what a source did with streams.
type StreamTally struct {
	Registered, Removed int
}

// NewGo2rtc returns the source. With restream it reads go2rtc's RTSP port by itself, else it asks for frame.jpeg. What it needs
// of the source rtsp, the looks at cameras and the decodes above all, is done by own, so that both hold to one measure.
func NewGo2rtc(keeper *streams.Keeper, restream bool, own *RTSP) *Go2rtc {
	return &Go2rtc{
		keeper: keeper, slots: own.slots, own: own, restream: restream, agent: keeper.Client.UserAgent(), known: map[string]*entry{},
	}
}

// Name is "go2rtc".
func (g *Go2rtc) Name() string { return "go2rtc" }

// Check always passes: whether the server answers is told by every visit, and the next source then has its turn.
func (g *Go2rtc) Check(ctx context.Context) error {
	if g.restream {
		return g.own.Check(ctx)
	}
	return nil
}

// Notices says, after Check, what this host lacks.
func (g *Go2rtc) Notices() []string { return g.own.Notices() }

// Construct registers the streams of the cameras whose address is known; the others follow when they are visited. The
// error is that of the server; what a single camera lacks, its visit tells.
func (g *Go2rtc) Construct(ctx context.Context, cameras []camera.Camera) error {
	ctx, cancel := context.WithTimeout(ctx, constructFor)
	defer cancel()
	var wishes []streams.Wish
	for _, cam := range cameras {
		password, err := cam.Password.Reveal()
		if err == nil && cam.Address.IsValid() && g.serves(cam) {
			wishes = append(wishes, streams.Wish{Camera: cam, Password: password})
		}
	}
	var first error
	for i, r := range g.keeper.Register(ctx, wishes...) {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && r.Err != nil {
			r.Err = fault.New(fault.Go2rtc, "", "go2rtc at %s did not take all streams within %s", g.keeper.Server(), constructFor).
				WithHint("is it overloaded? camwarden streams")
		}
		e := g.entry(wishes[i].Camera.ID)
		e.mu.Lock()
		g.note(e, r)
		e.mu.Unlock()
		if first == nil {
			first = r.Err
		}
	}
	return first
}

func (g *Go2rtc) entry(id string) *entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known[id] == nil {
		g.known[id] = &entry{}
	}
	return g.known[id]
}

// note takes in what became of a camera's stream.
func (g *Go2rtc) note(e *entry, r streams.Registered) {
	e.asked, e.registered = true, r
	if r.Created {
		g.mu.Lock()
		g.tally.Registered++
		g.mu.Unlock()
	}
}

// Destruct removes the streams that nobody watches, and leaves what is watched, or what it cannot end in time, in the
// ledger. With streams that are meant to stay it ends pictures of ours that hang.
func (g *Go2rtc) Destruct(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, destructFor)
	defer cancel()
	leases, _, err := g.slots.Ledger.Read()
	if err != nil {
		return err
	}
	g.mu.Lock()
	hanging, occupied, loans := g.hanging, g.occupied, g.loans
	g.hanging, g.occupied, g.loans = nil, nil, nil
	g.mu.Unlock()
	var over []ledger.Lease
	for _, l := range g.keeper.Leased(leases) {
		mine, hangs := l.Run == g.slots.Ledger.Run() && l.Note != streams.Borrowed, slices.Contains(hanging, l.Name)
		if mine && !g.keeper.Stays(l) || hangs && (g.keeper.Stays(l) || !g.slots.Ledger.Live(l)) {
			over = append(over, l)
		}
	}
	for _, loan := range loans {
		over = append(over, loan.Lease())
	}
	var problems []error
	if len(over) > 0 {
		for _, e := range g.keeper.End(ctx, hanging, over...) {
			problems = append(problems, e.Err)
			if e.Gone && e.Removed {
				g.tally.Removed++
			}
			if e.Stuck && !e.Gone {
				problems = append(problems, g.keeper.Accuse(e, over))
			}
		}
	}
	for _, o := range occupied {
		problems = append(problems, o.held.Cool(proc.BootTime()+o.session))
	}
	return errors.Join(problems...)
}

// Streams returns what was done with streams, after Destruct.
func (g *Go2rtc) Streams() StreamTally {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tally
}
