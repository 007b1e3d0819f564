package commands

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/doctor"
)

// examinationPage is what a person reads of a doctor's report: first what is wrong and what to type, then what it rests on.
func examinationPage(p *page, r doctor.Report) {
	for _, f := range r.Findings {
		p.line("%s %s: %s: %s", p.paint(colourOf(f.Severity), strings.ToUpper(string(f.Severity))), f.Code, f.Subject, f.Summary)
		p.line("  %s", f.Evidence)
		p.line("  hint: %s", f.Remedy)
	}
	if len(r.Findings) > 0 {
		p.line("")
	}
	cameraTable(p, r.Cameras)
	processTable(p, r.Processes.List)
	var events [][]string
	for _, e := range r.Timeline {
		pid := ""
		if e.PID > 0 {
			pid = strconv.Itoa(e.PID)
		}
		events = append(events, []string{e.At.UTC().Format("2006-01-02 15:04:05"), pid, e.Camera, e.Event})
	}
	p.table([]string{"WHEN (UTC)", "PID", "CAMERA", "WHAT"}, events, "PID")
	if g := r.Go2rtc; g != nil {
		state := "does not answer"
		if g.Reachable {
			state = fmt.Sprintf("%s: %s, %d watched, %d connected, %d ours, %d stray, %d stuck; stills of the last round: %d by go2rtc, %d by rtsp, %d by ffmpeg",
				g.Version, count(g.Streams, "stream"), g.Watched, g.Connected, g.Ours, g.Stray, g.Stuck, g.StillsBy.Go2rtc, g.StillsBy.RTSP, g.StillsBy.FFmpeg)
		}
		p.line("go2rtc %s %s", g.URL, state)
	}
	p.line("%s with a camera, %d overdue, %s, %s to cameras, %s (%d orphaned)", processes(r.Processes.Total), r.Processes.Overdue,
		zombies(r.Processes.Zombies), count(r.Connections.Total, "connection"), count(r.Leases.Live+r.Leases.Orphaned, "lease"), r.Leases.Orphaned)
	p.line("status: %s", paintStatus(p, r.Status))
}

func cameraTable(p *page, cameras []doctor.Camera) {
	var rows [][]string
	for _, c := range cameras {
		limit := strconv.Itoa(c.Limit)
		if c.LimitAssumed {
			limit += "?"
		}
		slots := fmt.Sprintf("%d/%s", c.Connections, limit)
		if c.Server && c.Limit == 0 {
			slots = fmt.Sprintf("%d, server", c.Connections)
		} else if p.screen {
			slots = bar(p, c) + " " + slots
		}
		oldest, rtt, why := "", "", c.Note
		if c.OldestAgeMS > 0 {
			oldest = span(c.OldestAgeMS)
		}
		if c.RTTMS != nil {
			rtt = span(*c.RTTMS)
		}
		if c.Error != nil && why == "" {
			why = errorText(c.Error)
		}
		rows = append(rows, []string{c.Camera, c.Address, slots, strconv.Itoa(c.Processes), oldest, rtt, paintState(p, c.State), why})
	}
	header := []string{"CAMERA", "ADDRESS", "SLOTS", "PROCESSES", "OLDEST", "RTT", "STATE", "WHY"}
	header, rows = withoutEmpty(header, rows, "RTT", "WHY")
	p.table(header, rows, "OLDEST", "PROCESSES", "ADDRESS")
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
	used, limit := min(c.Connections, widest), min(c.Limit, widest)
	within := min(used, limit)
	drawn := p.paint(good, strings.Repeat("█", within))
	if used >= limit {
		drawn = p.paint(bad, strings.Repeat("█", used))
	}
	drawn += strings.Repeat("░", limit-within)
	if c.Connections > widest {
		drawn += "+"
	}
	return drawn
}

func processTable(p *page, list []doctor.Process) {
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b doctor.Process) int { // the leaked first, the oldest of them first
		if a.Verdict != b.Verdict {
			return strings.Compare(b.Verdict, a.Verdict)
		}
		return int(min(1, max(-1, b.AgeMS-a.AgeMS)))
	})
	var rows [][]string
	for _, proc := range sorted {
		silent := ""
		if proc.SilentMS != nil {
			silent = span(*proc.SilentMS)
		}
		verdict := proc.Verdict
		if verdict == "leaked" {
			verdict = p.paint(bad, verdict)
		}
		rows = append(rows, []string{strconv.Itoa(proc.PID), proc.Program, proc.Camera, proc.Shape, span(proc.AgeMS), silent, proc.Parent.Name, verdict, proc.Why})
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
