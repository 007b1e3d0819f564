package commands

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// examinationPage is what a person reads of a doctor's report: first what is wrong, then what it rests on, and last the
// verdict and what to type. A screen gets what is worst, so that all of it is seen without scrolling; a pipe, and who asks
// for it, gets all rows.
func examinationPage(p *page, r doctor.Report, all bool) {
	foot := p.beside()
	ending(foot, r, all || !p.screen)
	if all || !p.screen {
		findings(p, r)
		cameraTable(p, r.Cameras)
		processTable(p, r.Processes.List)
		timelineTable(p, r.Timeline)
	} else {
		shortPage(p, r, p.height-1-foot.lines()) // below the last line stands the prompt
	}
	p.add(foot)
}

func findings(p *page, r doctor.Report) {
	for _, f := range r.Findings {
		p.line("%s %s: %s: %s", severityOf(p, f), f.Code, f.Subject, f.Summary)
		p.line("  %s", f.Evidence)
		p.line("  hint: %s", f.Remedy)
	}
	if len(r.Findings) > 0 {
		p.line("")
	}
}

func severityOf(p *page, f doctor.Finding) string {
	if f.Acknowledged {
		return "ACKNOWLEDGED"
	}
	return p.paint(colourOf(f.Severity), strings.ToUpper(string(f.Severity)))
}

func timelineTable(p *page, timeline []doctor.Event) {
	var events [][]string
	for _, e := range timeline {
		pid := ""
		if e.PID > 0 {
			pid = strconv.Itoa(e.PID)
		}
		events = append(events, []string{e.At.UTC().Format("2006-01-02 15:04:05"), pid, e.Camera, e.Event})
	}
	p.table([]string{"WHEN (UTC)", "PID", "CAMERA", "WHAT"}, events, "PID")
}

// ending is the last lines: what was counted, the verdict, and what to type.
func ending(p *page, r doctor.Report, all bool) {
	if g := r.Go2rtc; g != nil {
		switch {
		case !g.Reachable:
			p.text(2, "go2rtc %s does not answer", g.URL)
		case all:
			p.line("go2rtc %s %s: %s, %d watched, %d connected, %d ours, %d stray, %d stuck; stills of the last round: %d by go2rtc, %d by rtsp, %d by ffmpeg",
				g.URL, g.Version, sweep.Count(g.Streams, "stream"), g.Watched, g.Connected, g.Ours, g.Stray, g.Stuck, g.StillsBy.Go2rtc, g.StillsBy.RTSP, g.StillsBy.FFmpeg)
		default:
			p.text(2, "go2rtc %s %s: %s, %d watched, %d ours, %d stuck", g.URL, g.Version, sweep.Count(g.Streams, "stream"), g.Watched, g.Ours, g.Stuck)
		}
	}
	p.text(2, "%s with a camera, %d overdue, %s, %s to cameras, %s (%d orphaned)", sweep.Processes(r.Processes.Total), r.Processes.Overdue,
		zombies(r.Processes.Zombies), sweep.Count(r.Connections.Total, "connection"), sweep.Count(r.Leases.Live+r.Leases.Orphaned, "lease"), r.Leases.Orphaned)
	if r.Status == doctor.OK || r.Summary == "" {
		p.line("status: %s", paintStatus(p, r.Status))
	} else {
		p.text(2, "status: %s: %s", paintStatus(p, r.Status), r.Summary)
	}
	for _, command := range r.Commands {
		if strings.HasSuffix(command, " --dry-run") {
			command += "    # then without --dry-run"
		}
		p.line("%s", command)
	}
}

func cameraTable(p *page, cameras []doctor.Camera) {
	var rows [][]string
	for _, c := range cameras {
		slots := slotsOf(c)
		if p.screen && c.Limit > 0 {
			slots = bar(p, c) + " " + slots
		}
		oldest, rtt, why := "", "", c.Note
		if c.OldestAgeMS > 0 {
			oldest = sweep.Span(c.OldestAgeMS)
		}
		if c.RTTMS != nil {
			rtt = span(*c.RTTMS)
		}
		if c.Error != nil && why == "" {
			why = strings.Replace(errorText(c.Error), c.Address+": ", "", 1) // it stands in the row
		}
		rows = append(rows, []string{c.Camera, c.Address, slots, strconv.Itoa(c.Processes), oldest, rtt, paintState(p, c.State), why})
	}
	header := []string{"CAMERA", "ADDRESS", "SLOTS", "PROCESSES", "OLDEST", "RTT", "STATE", "WHY"}
	header, rows = withoutEmpty(header, rows, "RTT", "WHY")
	p.table(header, rows, "OLDEST", "PROCESSES", "ADDRESS")
	legend(p, cameras)
}

// slotsOf is how many connections of how many: "22/2", "0/2?" where the limit is assumed.
func slotsOf(c doctor.Camera) string {
	switch {
	case c.Server && c.Limit == 0:
		return fmt.Sprintf("%d, server", c.Connections)
	case c.LimitAssumed:
		return fmt.Sprintf("%d/%d?", c.Connections, c.Limit)
	default:
		return fmt.Sprintf("%d/%d", c.Connections, c.Limit)
	}
}

func legend(p *page, cameras []doctor.Camera) {
	if slices.ContainsFunc(cameras, func(c doctor.Camera) bool { return c.LimitAssumed }) {
		p.text(2, "?: the limit is assumed; max_connections of the camera says it")
		p.tabled = true
	}
}

// withoutEmpty drops those of the named columns that hold nothing.
func withoutEmpty(header []string, rows [][]string, names ...string) ([]string, [][]string) {
	for _, name := range names {
		column := slices.Index(header, name)
		if !slices.ContainsFunc(rows, func(row []string) bool { return row[column] != "" }) {
			header, rows = without(header, rows, name)
		}
	}
	return header, rows
}

// bar draws the slots of an address: a full block for each that is used, those beyond the limit in red.
func bar(p *page, c doctor.Camera) string {
	const widest = 16
	full, free := "█", "░"
	if p.ascii {
		full, free = "#", "."
	}
	used, limit := min(c.Connections, widest), min(c.Limit, widest)
	within := min(used, limit)
	drawn := p.paint(good, strings.Repeat(full, within))
	if used >= limit {
		drawn = p.paint(bad, strings.Repeat(full, used))
	}
	drawn += strings.Repeat(free, limit-within)
	if c.Connections > widest {
		drawn += "+"
	}
	return drawn
}

// worstFirst sorts processes: the leaked first, the oldest of them first.
func worstFirst(list []doctor.Process) []doctor.Process {
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b doctor.Process) int {
		return cmp.Or(strings.Compare(b.Verdict, a.Verdict), cmp.Compare(b.AgeMS, a.AgeMS))
	})
	return sorted
}

func processTable(p *page, list []doctor.Process) {
	var rows [][]string
	for _, proc := range worstFirst(list) {
		silent := ""
		if proc.SilentMS != nil {
			silent = sweep.Span(*proc.SilentMS)
		}
		verdict := proc.Verdict
		if verdict == "leaked" {
			verdict = p.paint(bad, verdict)
		}
		rows = append(rows, []string{strconv.Itoa(proc.PID), proc.Program, proc.Camera, proc.Shape, sweep.Span(proc.AgeMS), silent, proc.Parent.Name, verdict, proc.Why})
	}
	p.table([]string{"PID", "PROGRAM", "CAMERA", "SHAPE", "AGE", "SILENT", "PARENT", "VERDICT", "WHY"}, rows, "SILENT", "SHAPE", "PROGRAM", "PARENT", "AGE")
}

func zombies(n int) string {
	if n == 1 {
		return "1 zombie"
	}
	return fmt.Sprintf("%d zombies", n)
}

func colourOf(s doctor.Severity) string {
	switch s {
	case doctor.Critical:
		return bad
	case doctor.Warning:
		return odd
	default:
		return good
	}
}

func paintState(p *page, state string) string {
	switch state {
	case "ok":
		return p.paint(good, state)
	case "unknown":
		return state
	case "cooling":
		return p.paint(odd, state)
	default:
		return p.paint(bad, state)
	}
}

func paintStatus(p *page, s doctor.Status) string {
	switch s {
	case doctor.OK:
		return p.paint(good, string(s))
	case doctor.InDanger:
		return p.paint(bad, string(s))
	default:
		return p.paint(odd, string(s))
	}
}
