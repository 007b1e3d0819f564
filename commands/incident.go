package commands

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// incidentReport is a doctor's report as a page that can be filed: what happened, when, what was seen, which cameras are
// hit, and what to do.
func incidentReport(r doctor.Report) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Incident report: cameras of %s", cell(r.Host))
	line("")
	line("**Taken at**: %s  ", r.TakenAt.UTC().Format(time.RFC3339))
	line("**Scope**: %s, %s  ", sweep.Count(len(r.Cameras), "camera"), sweep.Processes(r.Processes.Total))
	line("**Severity**: %s", r.Status)
	line("")
	line("## 1. Overview")
	line("")
	if r.Summary != "" {
		line("%s.", cell(strings.ToUpper(r.Summary[:1])+r.Summary[1:]))
		line("")
	}
	for _, f := range r.Findings {
		line("- **%s** (%s) %s: %s", f.Code, severityWord(f), cell(f.Subject), cell(f.Summary))
	}
	line("")
	line("## 2. Timeline")
	line("")
	table(line, []string{"Time (UTC)", "Event", "Camera", "PID"}, len(r.Timeline), func(i int) []string {
		e := r.Timeline[i]
		return []string{e.At.UTC().Format("2006-01-02 15:04:05"), e.Event, e.Camera, number(e.PID)}
	})
	line("## 3. Diagnostic data")
	line("")
	part := 0
	section := func(title string) {
		part++
		line("### 3.%d %s", part, title)
	}
	section("Processes by camera")
	line("")
	line("```")
	for _, c := range byProcesses(r.Cameras) {
		line("%6d  %s  %s", c.Processes, c.Address, c.State)
	}
	line("%6d  in all, %d overdue, %s", r.Processes.Total, r.Processes.Overdue, zombies(r.Processes.Zombies))
	line("```")
	line("")
	if oldest, ok := oldestOf(r.Processes.List); ok {
		section("The oldest process")
		line("")
		line("```")
		line("PID %d, started %s", oldest.PID, oldest.StartedAt.UTC().Format("2006-01-02 15:04:05"))
		line("Parent: %d (%s)", oldest.Parent.PID, oldest.Parent.Name)
		line("Target: %s", oldest.Target)
		line("Running time: %s", sweep.Span(oldest.AgeMS))
		line("Command: %s", oldest.Command)
		line("Verdict: %s: %s", oldest.Verdict, oldest.Why)
		line("```")
		line("")
	}
	section("Connections to cameras")
	line("")
	table(line, []string{"Local", "Remote", "State", "Silent", "PID", "Program"}, len(r.Connections.List), func(i int) []string {
		c, silent := r.Connections.List[i], ""
		if c.SilentMS != nil {
			silent = sweep.Span(*c.SilentMS)
		}
		return []string{c.Local, c.Remote, c.State, silent, number(c.PID), c.Program}
	})
	if len(r.Blind) > 0 {
		section("What could not be looked at")
		line("")
		for _, blind := range r.Blind {
			line("- %s: %s", cell(blind.Where), cell(blind.Why))
		}
		line("")
	}
	line("## 4. Affected cameras")
	line("")
	table(line, []string{"Camera", "Address", "Connections", "Limit", "Processes", "State", "Why"}, len(r.Cameras), func(i int) []string {
		c, limit, why := r.Cameras[i], fmt.Sprint(r.Cameras[i].Limit), r.Cameras[i].Note
		if c.LimitAssumed {
			limit += " (assumed)"
		}
		if c.Error != nil && why == "" {
			why = strings.Replace(errorText(c.Error), c.Address+": ", "", 1) // it stands in the row
		}
		if c.Server && c.Limit == 0 {
			limit = "none (server)"
		}
		return []string{c.Camera, c.Address, fmt.Sprint(c.Connections), limit, fmt.Sprint(c.Processes), c.State, why}
	})
	line("## 5. Remedies")
	line("")
	told := slices.Clone(r.Commands)
	for _, f := range r.Findings {
		if f.Acknowledged {
			continue
		}
		if f.Remedy != "" && !slices.Contains(told, f.Remedy) {
			told = append(told, f.Remedy)
		}
	}
	if len(told) == 0 {
		line("None is needed.")
		return b.String()
	}
	line("```sh")
	for _, remedy := range told {
		line("%s", remedy)
	}
	line("```")
	return b.String()
}

func severityWord(f doctor.Finding) string {
	if f.Acknowledged {
		return "acknowledged"
	}
	return string(f.Severity)
}

// table writes a table of Markdown, or that there is nothing in it.
func table(line func(string, ...any), header []string, n int, row func(int) []string) {
	if n == 0 {
		line("None.")
		line("")
		return
	}
	line("| %s |", strings.Join(header, " | "))
	line("|%s", strings.Repeat("---|", len(header)))
	for i := range n {
		cells := row(i)
		for j := range cells {
			cells[j] = cell(cells[j])
		}
		line("| %s |", strings.Join(cells, " | "))
	}
	line("")
}

// cell keeps a text from being read as Markdown where it stands in a line or in a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "`", "'", "<", "&lt;", "*", `\*`, "_", `\_`).Replace(text)
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func byProcesses(cameras []doctor.Camera) []doctor.Camera {
	var held []doctor.Camera
	for _, c := range cameras {
		if c.Processes > 0 || c.Connections > 0 {
			held = append(held, c)
		}
	}
	slices.SortStableFunc(held, func(a, b doctor.Camera) int { return b.Processes - a.Processes })
	return held
}

// oldestOf is the oldest leaked process, or else the oldest one with a camera.
func oldestOf(list []doctor.Process) (doctor.Process, bool) {
	var oldest doctor.Process
	found := false
	for _, p := range list {
		better := !found || p.Verdict == "leaked" && oldest.Verdict != "leaked" || p.Verdict == oldest.Verdict && p.AgeMS > oldest.AgeMS
		if p.Target != "" && better {
			oldest, found = p, true
		}
	}
	return oldest, found
}
