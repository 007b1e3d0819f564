package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/sweep"
)

// conclude says in one sentence how the host stands, and what to type. It comes last.
func (e *examination) conclude() {
	r := &e.report
	r.Commands = []string{}
	var open []Finding
	for _, f := range r.Findings {
		if !f.Acknowledged && f.Severity != Info {
			open = append(open, f)
		}
	}
	leaks := e.leaks()
	switch {
	case len(open) == 0 && len(r.Findings) == 0:
		r.Summary = "nothing was found to be wrong"
	case len(open) == 0:
		r.Summary = "nothing was found to be wrong that is not known or a remark"
	case len(leaks) > 0 && slices.ContainsFunc(open, func(f Finding) bool { return f.Code == "process-overdue" || f.Code == "process-unleased" }):
		r.Summary = e.sentence(leaks)
		r.Commands = e.reaps(leaks)
	default:
		r.Summary = fmt.Sprintf("%s: %s", open[0].Subject, open[0].Summary)
		if more := len(open) - 1; more > 0 {
			r.Summary += fmt.Sprintf("; and %s more", sweep.Count(more, "finding"))
		}
		r.Commands = append(r.Commands, open[0].Remedy)
	}
}

// leaks are the processes that a reap would end, those in containers too, whose findings nobody has acknowledged.
func (e *examination) leaks() []sweep.Decision {
	var leaks []sweep.Decision
	for _, d := range e.wide {
		code := map[sweep.Rule]string{sweep.Overdue: "process-overdue", sweep.Unleased: "process-unleased"}[d.Rule]
		known := func(f Finding) bool { return f.Code == code && f.Subject == subjectOf(d) && f.Acknowledged }
		if code != "" && !slices.ContainsFunc(e.report.Findings, known) {
			leaks = append(leaks, d)
		}
	}
	return leaks
}

// sentence tells a leak: how many processes, where, since when, and whose.
func (e *examination) sentence(leaks []sweep.Decision) string {
	oldest := slices.MaxFunc(leaks, func(a, b sweep.Decision) int { return cmp.Compare(a.AgeMS, b.AgeMS) })
	cameras, by := map[string]bool{}, map[string]int{}
	for _, d := range leaks {
		cameras[d.Target()] = true
		by[starter(d)]++
	}
	var starters []string
	for who := range by {
		starters = append(starters, who)
	}
	slices.SortFunc(starters, func(a, b string) int { return cmp.Or(cmp.Compare(by[b], by[a]), cmp.Compare(a, b)) })
	text := fmt.Sprintf("%s leaked at %s, the oldest %s ago", sweep.Processes(len(leaks)), sweep.Count(len(cameras), "camera"), sweep.Span(oldest.AgeMS))
	switch {
	case len(leaks) == 1:
		text = fmt.Sprintf("1 process leaked at %s, %s ago, started by %s", cmp.Or(oldest.Target(), "no camera that is known"), sweep.Span(oldest.AgeMS), starters[0])
	case len(starters) == 1:
		text += ", all started by " + starters[0]
	default:
		text += fmt.Sprintf(", %d started by %s", by[starters[0]], starters[0])
	}
	full := 0
	for _, f := range e.report.Findings {
		if f.Code == "camera-exhausted" {
			full++
		}
	}
	if full > 0 {
		text += fmt.Sprintf("; %s no free connection", have(full, "camera"))
	}
	return text
}

func starter(d sweep.Decision) string {
	if len(d.Parents) == 0 {
		return "nobody that can be seen"
	}
	if d.Parents[0].PID == 1 {
		return fmt.Sprintf("a process that is gone (now under %s, pid 1)", d.Parents[0].Name)
	}
	return fmt.Sprintf("%s (pid %d)", d.Parents[0].Name, d.Parents[0].PID)
}

func have(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " has"
	}
	return fmt.Sprintf("%d %ss have", n, noun)
}

// Group is findings that are alike, told as one.
type Group struct {
	Finding // the worst

	Count    int
	Subjects []string // the worst few, from the worst on
}

// fewSubjects is how many subjects of a group are named.
const fewSubjects = 3

// Groups puts findings that are alike together: those of one code and severity, by the order of the report.
func (r Report) Groups() []Group {
	var groups []Group
	members := map[int][]Finding{}
	for _, f := range r.Findings {
		i := slices.IndexFunc(groups, func(g Group) bool {
			return g.Code == f.Code && g.Severity == f.Severity && g.Acknowledged == f.Acknowledged
		})
		if i < 0 {
			i, groups = len(groups), append(groups, Group{})
			groups[i].Finding = f
		}
		members[i] = append(members[i], f)
	}
	for i := range groups {
		of := members[i]
		slices.SortStableFunc(of, func(a, b Finding) int { return cmp.Compare(b.weight, a.weight) })
		groups[i].Finding, groups[i].Count = of[0], len(of)
		for _, f := range of[:min(fewSubjects, len(of))] {
			groups[i].Subjects = append(groups[i].Subjects, f.Subject)
		}
	}
	return groups
}

// Condensed is the timeline with events that are alike told once, the first of them, with how many more there were.
func (r Report) Condensed() []Event {
	var events []Event
	more := map[string]int{}
	for _, e := range r.Timeline {
		if slices.ContainsFunc(events, func(known Event) bool { return known.Event == e.Event }) {
			more[e.Event]++
			continue
		}
		events = append(events, e)
	}
	for i := range events {
		if n := more[events[i].Event]; n > 0 {
			events[i].Event += fmt.Sprintf(" (and %d times more)", n)
		}
	}
	return events
}

// Wrong reports whether a camera is one to look at.
func (c Camera) Wrong() bool { return c.State != "ok" && c.State != "unknown" || c.Leaked > 0 }

// Worst sorts cameras: those that are wrong first, by how many processes they have leaked, then by how full they are.
func Worst(cameras []Camera) []Camera {
	sorted := slices.Clone(cameras)
	slices.SortStableFunc(sorted, func(a, b Camera) int {
		return cmp.Or(cmp.Compare(rank(b), rank(a)), cmp.Compare(b.Leaked, a.Leaked), cmp.Compare(b.Connections, a.Connections))
	})
	return sorted
}

func rank(c Camera) int {
	switch {
	case c.State == "exhausted":
		return 2
	case c.Wrong():
		return 1
	}
	return 0
}

// sudo is what goes before a command that ends processes of others.
func (e *examination) sudo(of []sweep.Decision) string {
	if e.seen.UID != 0 && slices.ContainsFunc(of, func(d sweep.Decision) bool { return int(d.UID) != e.seen.UID }) {
		return "sudo "
	}
	return ""
}

// asRoot is how to look with all that it takes: by root, or, for a user 0 without capabilities, with those that are missing.
func (e *examination) asRoot(command string) string {
	switch {
	case e.seen.UID != 0:
		return "sudo " + command
	case len(e.seen.Lacks) > 0:
		return command + "    # with " + strings.Join(e.seen.Lacks, ", ") + ", which this user 0 lacks"
	default:
		return command + "    # on the host itself, where this is a container"
	}
}

func (e *examination) leakedAt(c Camera) int {
	n := 0
	for _, d := range e.wide {
		if (d.Rule == sweep.Overdue || d.Rule == sweep.Unleased) && strings.TrimSpace(d.Target()) == c.at.String() {
			n++
		}
	}
	return n
}
