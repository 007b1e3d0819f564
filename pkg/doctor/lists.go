package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// processes lists every process that was looked at.
func (e *examination) processes() {
	p := &e.report.Processes
	p.List = make([]Process, 0, len(e.decisions))
	for _, d := range e.decisions {
		if d.Dead() {
			p.Zombies++
		}
		if d.Shape != cmdline.NoCamera {
			p.Total++
		}
		p.List = append(p.List, e.process(d))
	}
	for _, d := range e.wide {
		if d.Rule == sweep.Overdue {
			p.Overdue++
		}
	}
}

func (e *examination) process(d sweep.Decision) Process {
	p := Process{
		PID: d.ID.PID, PIDNS: "host", StartedAt: d.StartedAt, AgeMS: d.AgeMS, State: d.State, Program: d.Name,
		Parents: []string{}, Camera: e.seen.CameraOf(d.Process), Target: d.Target(), Shape: string(d.Shape), Owner: "foreign",
		SilentMS: sweep.SilentMS(e.seen, d.Process), RSSBytes: d.Memory, CPUMS: d.CPUMS, FDs: d.FDs, Command: d.Command,
		Verdict: "kept", Why: d.Why,
	}
	if d.Container {
		p.PIDNS = "other"
	}
	if d.Leaked {
		p.Verdict = "leaked"
	}
	switch {
	case d.Lease != "" || d.Owner != nil || d.Name == "camwarden":
		p.Owner = "camwarden"
	case d.Go2rtc:
		p.Owner = "go2rtc"
	}
	for i, parent := range d.Parents {
		if i == 0 {
			p.Parent = Parent{PID: parent.PID, Name: parent.Name}
		}
		p.Parents = append(p.Parents, parent.Name)
	}
	for c := range e.seen.Held(d.ID.PID) {
		if c.Takes() {
			p.Connections++
		}
	}
	return p
}

// connections lists those that a process holds, or that a camera still counts.
func (e *examination) connections() {
	e.report.Connections.List = make([]Connection, 0, len(e.seen.Connections))
	for _, c := range e.seen.Connections {
		if !c.Takes() && c.State != proc.CloseWait {
			continue // the kernel is finishing it alone
		}
		e.report.Connections.Total++
		e.report.Connections.List = append(e.report.Connections.List, Connection{
			Local: c.Local.String(), Remote: c.Remote.String(), State: c.State, SilentMS: c.SilentMS, PID: c.PID, Program: c.Program,
		})
	}
}

func (e *examination) leases() {
	for _, n := range e.seen.Leases {
		switch n.Standing {
		case ledger.Live:
			e.report.Leases.Live++
		case ledger.DeadOwner, ledger.WedgedOwner:
			if n.Kind != ledger.Stream {
				e.report.Leases.Orphaned++
			}
		}
	}
}

// cameras lists those of the inventory, and every other address that this host is connected to.
func (e *examination) cameras() {
	e.report.Cameras = []Camera{}
	listed := map[netip.AddrPort]bool{}
	for _, c := range e.seen.Cameras {
		camera := Camera{Camera: c.ID, Address: c.Host, Model: c.Model, Limit: c.Limit, LimitAssumed: c.LimitAssumed, at: c.Address}
		if c.Address.IsValid() {
			camera.Address = c.Address.String()
			listed[c.Address] = true
		}
		e.report.Cameras = append(e.report.Cameras, camera)
	}
	var others []netip.AddrPort
	other := func(at netip.AddrPort) {
		if at.IsValid() && !listed[at] {
			listed[at] = true
			others = append(others, at)
		}
	}
	for _, c := range e.seen.Connections {
		if c.Takes() || c.State == proc.CloseWait {
			other(c.Remote)
		}
	}
	for _, d := range e.decisions {
		for _, t := range d.Targets {
			other(t.Address)
		}
	}
	for _, p := range e.seen.Facts.Probes {
		other(p.Address)
	}
	for _, l := range e.seen.Leases {
		if l.Kind == ledger.Cooling {
			other(l.Address)
		}
	}
	slices.SortFunc(others, netip.AddrPort.Compare)
	for _, at := range others {
		e.report.Cameras = append(e.report.Cameras, Camera{
			Camera: at.String(), Address: at.String(), Limit: e.terms.DefaultLimit, LimitAssumed: true, at: at,
		})
	}
	for i := range e.report.Cameras {
		c := &e.report.Cameras[i]
		if c.Server = c.at.IsValid() && e.seen.IsServer(c.at); c.Server && c.LimitAssumed {
			c.Limit, c.LimitAssumed = 0, false
		}
		e.fill(c)
	}
}

// fill counts what holds a camera, and says how it stands.
func (e *examination) fill(c *Camera) {
	c.State = "unknown"
	if !c.at.IsValid() {
		return
	}
	for _, conn := range e.seen.Connections {
		if conn.Remote == c.at && conn.Takes() {
			c.Connections++
		}
	}
	c.Leaked = e.leakedAt(*c)
	for _, d := range e.holders(c.at) {
		c.Processes++
		c.OldestAgeMS = max(c.OldestAgeMS, d.AgeMS)
	}
	if c.Connections > 0 {
		c.State = "ok"
	}
	for _, p := range e.seen.Facts.Probes {
		if p.Address == c.at && (p.Camera == c.Camera || c.RTTMS == nil && c.Error == nil) {
			c.RTTMS, c.Error = p.RTTMS, p.Error
			c.State, c.Note = stateOf(p), noteOf(p)
		}
	}
	if at, ok := e.gave(*c); ok && c.State == "unknown" {
		c.State, c.Note = "ok", fmt.Sprintf("it gave a still at %s UTC, %s before this look", at.UTC().Format("15:04:05"), sweep.Span(e.seen.TakenAt.Sub(at).Milliseconds()))
	}
	switch {
	case e.exhausted(*c):
		c.State = "exhausted"
	case e.cooling(c.at) > 0:
		c.State = "cooling"
	}
}

// gave tells when a camera gave a still to a round, if that is at most an hour ago.
func (e *examination) gave(c Camera) (time.Time, bool) {
	for _, g := range e.seen.Facts.Given {
		if ago := e.seen.TakenAt.Sub(g.At); g.Camera == c.Camera && g.Address == c.Address && ago >= 0 && ago <= time.Hour {
			return g.At, true
		}
	}
	return time.Time{}, false
}

// exhausted reports whether no slot is free. A limit that is only assumed is not believed against a camera that sends on
// every one of its connections.
func (e *examination) exhausted(c Camera) bool {
	if c.Limit <= 0 || c.Connections < c.Limit {
		return false
	}
	return !c.LimitAssumed || e.sending(c.at) < c.Connections
}

// sending counts the connections of streams on which a camera was heard a moment ago. Silence is counted from the dial when
// nothing ever came, so a young process, and a capture of one frame, prove nothing.
func (e *examination) sending(at netip.AddrPort) int {
	const moment = 10_000
	n := 0
	for _, d := range e.holders(at) {
		if d.Shape == cmdline.OneFrame || d.AgeMS < moment {
			continue
		}
		for c := range e.seen.Held(d.ID.PID) {
			if c.Remote == at && c.State == proc.Established && c.SilentMS != nil && *c.SilentMS < moment {
				n++
			}
		}
	}
	return n
}

func (e *examination) cooling(at netip.AddrPort) int {
	n := 0
	for _, l := range e.seen.Leases {
		if l.Kind == ledger.Cooling && l.Standing == ledger.CoolingDown && l.Address == at {
			n++
		}
	}
	return n
}

// holders are the living processes that have to do with a camera, oldest first.
func (e *examination) holders(at netip.AddrPort) []sweep.Decision {
	var found []sweep.Decision
	for _, d := range e.decisions {
		if !d.Dead() && d.Shape != cmdline.NoCamera && slices.ContainsFunc(d.Targets, func(t observe.Target) bool { return t.Address == at }) {
			found = append(found, d)
		}
	}
	slices.SortStableFunc(found, func(a, b sweep.Decision) int { return cmp.Compare(b.AgeMS, a.AgeMS) })
	return found
}

// timeline tells the leak from the start times of its processes.
func (e *examination) timeline() {
	var leaked []sweep.Decision
	for _, d := range e.decisions {
		if d.Leaked {
			leaked = append(leaked, d)
		}
	}
	if len(leaked) == 0 {
		return
	}
	slices.SortStableFunc(leaked, func(a, b sweep.Decision) int { return cmp.Compare(b.AgeMS, a.AgeMS) })
	tell := func(at time.Time, event, camera string, pid int) {
		e.report.Timeline = append(e.report.Timeline, Event{at, event, camera, pid})
	}
	parents := map[int]bool{}
	for _, d := range leaked {
		if len(d.Parents) > 0 && d.Parents[0].PID > 1 && !parents[d.Parents[0].PID] {
			parents[d.Parents[0].PID] = true
			tell(d.Parents[0].StartedAt, d.Parents[0].Name+" started", "", d.Parents[0].PID)
		}
	}
	first, last := leaked[0], leaked[len(leaked)-1]
	tell(first.StartedAt, "first hung capture", e.seen.CameraOf(first.Process), first.ID.PID)
	for _, c := range e.report.Cameras {
		holders := e.holders(c.at)
		hung := slices.DeleteFunc(slices.Clone(holders), func(d sweep.Decision) bool { return !d.Leaked })
		if len(hung) > 1 && hung[0].ID.PID != first.ID.PID {
			tell(hung[0].StartedAt, "captures begin to pile up", c.Camera, hung[0].ID.PID)
		}
		if len(hung) > 0 && e.exhausted(c) && len(holders) >= c.Limit {
			full := holders[c.Limit-1]
			tell(full.StartedAt, "no slot is free from here on", c.Camera, full.ID.PID)
		}
	}
	if last.ID.PID != first.ID.PID {
		tell(last.StartedAt, "latest hung capture", e.seen.CameraOf(last.Process), last.ID.PID)
	}
	slices.SortStableFunc(e.report.Timeline, func(a, b Event) int { return a.At.Compare(b.At) })
	tell(e.seen.TakenAt, "looked", "", 0)
}
