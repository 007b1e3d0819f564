package commands

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// How much of a report a screen gets at most, and how it is told that there is more.
const (
	mostCameraRows   = 10
	mostTimelineRows = 5
	moreIsAt         = "-v or -o json"
)

// shortPage is the part of a report that fits into so many lines: findings that are alike as one, and of the tables what is
// wrong, the worst first. What fits as a whole is shown as a whole.
func shortPage(p *page, r doctor.Report, room int) {
	groups(p, r, room)
	whole := p.beside()
	cameraTable(whole, doctor.Worst(r.Cameras))
	processTable(whole, r.Processes.List)
	timelineTable(whole, r.Timeline)
	if p.lines()+whole.lines() <= room {
		p.add(whole)
		return
	}
	cameras, leaked := wrongOf(r)
	events := r.Condensed()
	shown := min(len(events), mostTimelineRows)
	// A table takes its header, a rule, its rows and a line that tells of more; between two there is a blank one.
	const around = 4
	left := room - p.lines()
	timeline := p.beside()
	timelineTable(timeline, events[:shown])
	forEvents := 0
	if need := timeline.lines() + 1; shown > 0 && left >= 2*(around+2)+need {
		forEvents = need
	}
	left -= forEvents
	forCameras := min(len(cameras), mostCameraRows, max(0, left-around))
	if len(leaked) > 0 && left >= 2*(around+1) {
		forCameras = min(forCameras, max(1, left/2-around))
	}
	if forCameras > 0 {
		worstCameras(p, cameras[:forCameras])
		left -= around + forCameras
	}
	and(p, len(r.Cameras)-forCameras, forCameras, "camera")
	forProcesses := min(len(leaked), max(0, left-around))
	if forProcesses > 0 {
		p.tabled = forCameras > 0
		worstProcesses(p, leaked[:forProcesses])
	}
	if n := len(r.Processes.List) - forProcesses; n > 0 && (forProcesses > 0 || left > 0) {
		andMore(p, n)
	}
	if forEvents > 0 {
		p.line("")
		p.add(timeline)
	}
}

// and tells how many things are left out, behind a table of some of them or in its place.
func and(p *page, n, shown int, noun string) {
	switch {
	case n <= 0:
	case shown > 0:
		andMore(p, n)
	default:
		p.text(2, "%s: %s", sweep.Count(n, noun), moreIsAt)
	}
}

func andMore(p *page, n int) { p.text(2, "and %d more: %s", n, moreIsAt) }

// groups tells the findings, like ones as one; remarks and what is acknowledged only as a number.
func groups(p *page, r doctor.Report, room int) {
	told, left, remarks := 0, 0, 0
	for _, g := range r.Groups() {
		if g.Acknowledged || g.Severity == doctor.Info {
			remarks += g.Count
			continue
		}
		one := p.beside()
		group(one, g, r.Commands)
		if told > 0 && p.lines()+one.lines() > room*2/3 {
			left += g.Count
			continue
		}
		told++
		p.add(one)
	}
	and(p, left, told, "finding")
	if remarks > 0 {
		p.text(2, "%s: %s", sweep.Count(remarks, "remark"), moreIsAt)
	}
	if p.lines() > 0 {
		p.line("")
	}
}

func group(p *page, g doctor.Group, commands []string) {
	times := ""
	if g.Count > 1 {
		times = fmt.Sprintf(", %d times, the worst", g.Count)
	}
	p.text(2, "%s %s%s: %s: %s", severityOf(p, g.Finding), g.Code, times, g.Subject, g.Summary)
	if g.Count > 1 {
		others := "then " + strings.Join(g.Subjects[1:], ", ")
		if more := g.Count - len(g.Subjects); more > 0 {
			others += fmt.Sprintf(" and %d more", more)
		}
		p.text(2, "  %s", others)
	}
	covered := slices.ContainsFunc(commands, func(command string) bool {
		return command == g.Remedy || strings.Contains(command, "camwarden reap") && strings.Contains(g.Remedy, "camwarden reap") && !strings.Contains(g.Remedy, "--include silent")
	})
	if !covered {
		p.text(4, "  hint: %s", g.Remedy)
	}
}

// wrongOf is what of the tables is wrong, the worst first.
func wrongOf(r doctor.Report) (cameras []doctor.Camera, processes []doctor.Process) {
	for _, c := range doctor.Worst(r.Cameras) {
		if c.Wrong() {
			cameras = append(cameras, c)
		}
	}
	for _, one := range worstFirst(r.Processes.List) {
		if one.Verdict == "leaked" {
			processes = append(processes, one)
		}
	}
	return cameras, processes
}

func worstCameras(p *page, cameras []doctor.Camera) {
	var rows [][]string
	for _, c := range cameras {
		rows = append(rows, []string{c.Camera, slotsOf(c), strconv.Itoa(c.Leaked), sweep.Span(c.OldestAgeMS), paintState(p, c.State)})
	}
	slots := "SLOTS"
	if slices.ContainsFunc(cameras, func(c doctor.Camera) bool { return c.LimitAssumed }) {
		slots += " (?: assumed)"
	}
	p.table([]string{"CAMERA", slots, "LEAKED", "OLDEST", "STATE"}, rows, "OLDEST")
}

func worstProcesses(p *page, list []doctor.Process) {
	var rows [][]string
	for _, one := range list {
		silent := ""
		if one.SilentMS != nil {
			silent = sweep.Span(*one.SilentMS)
		}
		rows = append(rows, []string{
			strconv.Itoa(one.PID), one.Program, one.Camera, sweep.Span(one.AgeMS), silent, fmt.Sprintf("%s (%d)", one.Parent.Name, one.Parent.PID),
		})
	}
	p.table([]string{"LEAKED", "PROGRAM", "CAMERA", "AGE", "SILENT", "PARENT"}, rows, "SILENT", "PROGRAM")
}
