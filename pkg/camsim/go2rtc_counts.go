package camsim

import (
	"maps"
	"net/netip"
	"sync"
)

// Go2rtcCounts is what a go2rtc has been asked, and what it does to cameras, over all its lives.
type Go2rtcCounts struct {
	Lists   int `json:"lists"`   // GET /api/streams
	Gets    int `json:"gets"`    // of one stream
	Probes  int `json:"probes"`  // GET of one stream that connects
	Patches int `json:"patches"` // with a source; those without are lists
	Puts    int `json:"puts"`
	Deletes int `json:"deletes"`
	Frames  int `json:"frames"`
	Infos   int `json:"infos"`  // GET /api
	Others  int `json:"others"` // anything else, also what was not let in

	InFlight     int `json:"in_flight"`      // answers that are not finished, those nobody waits for any more among them
	InFlightMost int `json:"in_flight_most"` // at once, at most
	CallsMost    int `json:"calls_most"`     // at once, at most, frame.jpeg and viewers left out
	FramesMost   int `json:"frames_most"`    // frame.jpeg at once, at most

	Deaths   int `json:"deaths"` // of calls that overlapped
	Restarts int `json:"restarts"`

	Streams int `json:"streams"` // names, now
	Ghosts  int `json:"ghosts"`  // consumers of streams that have no name any more, now

	Cameras map[netip.AddrPort]Go2rtcDials `json:"cameras"` // by the address that was dialled; refused ones have none
}

// Go2rtcDials is what one camera address has seen of a go2rtc.
type Go2rtcDials struct {
	Open   int `json:"open"`   // connections now, leaked ones included
	Leaked int `json:"leaked"` // of these, left open by a failed DESCRIBE
	Most   int `json:"most"`   // at once, at most
	Ever   int `json:"ever"`

	Logins       int `json:"logins"`
	LoginsFailed int `json:"logins_failed"`
}

// callTally is a Go2rtcCounts that many calls write to, and which of them are under way that must not meet.
type callTally struct {
	mu      sync.Mutex
	counts  Go2rtcCounts
	calls   int
	frames  int
	cameras map[netip.AddrPort]Go2rtcDials
}

func (t *callTally) add(change func(*Go2rtcCounts)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.counts)
}

func (t *callTally) dialled(camera netip.AddrPort, change func(*Go2rtcDials)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dials := t.cameras[camera]
	change(&dials)
	t.cameras[camera] = dials
}

// began counts a call that is being answered; ended is for its end.
func (t *callTally) began(kind call) (ended func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &t.counts
	*kind.counter(n)++
	n.InFlight++
	n.InFlightMost = max(n.InFlightMost, n.InFlight)
	running := &t.calls
	switch kind {
	case callFrame:
		running = &t.frames
	case callViewer:
		running = new(int)
	}
	*running++
	n.FramesMost, n.CallsMost = max(n.FramesMost, t.frames), max(n.CallsMost, t.calls)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		n.InFlight--
		*running--
	}
}

// counter is where a kind of call is counted.
func (kind call) counter(n *Go2rtcCounts) *int {
	switch kind {
	case callList:
		return &n.Lists
	case callGet:
		return &n.Gets
	case callProbe:
		return &n.Probes
	case callPatch:
		return &n.Patches
	case callPut:
		return &n.Puts
	case callDelete:
		return &n.Deletes
	case callFrame:
		return &n.Frames
	case callInfo:
		return &n.Infos
	default:
		return &n.Others
	}
}

// Counts returns what has happened so far.
func (g *Go2rtc) Counts() Go2rtcCounts {
	g.mu.Lock()
	living := g.life
	g.mu.Unlock()
	names, ghosts := 0, 0
	if living != nil {
		names, ghosts = living.census()
	}
	g.calls.mu.Lock()
	defer g.calls.mu.Unlock()
	counts := g.calls.counts
	counts.Streams, counts.Ghosts = names, ghosts
	counts.Cameras = maps.Clone(g.calls.cameras)
	return counts
}

// Dials returns what the address of a camera has seen of this go2rtc.
func (g *Go2rtc) Dials(camera *Camera) Go2rtcDials {
	g.calls.mu.Lock()
	defer g.calls.mu.Unlock()
	return g.calls.cameras[camera.Address()]
}
