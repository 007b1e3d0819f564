package commands

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/round"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// reportView is which visits the table of a report shows. The document always has all of them.
type reportView struct {
	order   []string // camera ids as the configuration has them; the order of the rows
	failed  bool     // only what failed or was skipped
	changes bool     // only what ended otherwise than in the last round
	quiet   bool     // as failed, and with changes nothing at all when there is none
}

// reportDocument shows a round or a snapshot.
func reportDocument(r round.Report, view reportView) document {
	return document{value: r, list: "visits", table: func(p *page) { reportPage(p, r, view) }}
}

// rows are the visits to show: those that succeeded in the order of the configuration, and then those that did not.
func (view reportView) rows(r round.Report) []round.Visit {
	var shown []round.Visit
	for _, v := range r.Visits {
		if (view.failed || view.quiet && !view.changes) && v.OK || view.changes && !r.Changed(v) {
			continue
		}
		shown = append(shown, v)
	}
	place := make(map[string]int, len(view.order))
	for i, id := range view.order {
		place[id] = i
	}
	slices.SortStableFunc(shown, func(a, b round.Visit) int {
		if a.OK != b.OK {
			if a.OK {
				return -1
			}
			return 1
		}
		return cmp.Compare(place[a.Camera], place[b.Camera])
	})
	return shown
}

func reportPage(p *page, r round.Report, view reportView) {
	if r.PassedOver && r.Verdict == round.Clean {
		p.line("nothing was done: %s", r.Visits[0].Error.Message)
		return
	}
	visits := view.rows(r)
	if view.quiet && view.changes && len(visits) == 0 && r.Verdict == round.Clean && r.NotKept == "" {
		return
	}
	var rows [][]string
	for _, v := range visits {
		rows = append(rows, visitRow(p, v))
	}
	p.table([]string{"CAMERA", "ADDRESS", "RESULT", "SOURCE", "SIZE", "TIME", "FILE, OR WHY NOT"}, rows, "SIZE", "SOURCE", "ADDRESS")
	for _, hint := range hints(visits) {
		p.line("hint: %s", hint)
	}
	leftoverTable(p, "RECOVERED", r.Recovered)
	leftoverTable(p, "LEFT", r.Leftovers)
	for _, b := range r.Blind {
		p.line("could not look: %s: %s", b.Where, b.Why)
	}
	for _, k := range r.Streams.Kept {
		p.line("kept stream %s: %s", k.Name, k.Why)
	}
	if r.NotKept != "" {
		p.line("pictures not kept: %s", r.NotKept)
	}
	s := r.Summary
	p.line("%s in %s: %d ok, %d failed, %d skipped", sweep.Count(s.Cameras, "camera"), span(r.DurationMS), s.OK, s.Failed, s.Skipped)
	p.line("verdict: %s (%s)", paintVerdict(p, r.Verdict), lookedAt(r.Looked))
}

func visitRow(p *page, v round.Visit) []string {
	size, detail := "", cmp.Or(v.File, "not kept")
	if v.Width > 0 {
		size = fmt.Sprintf("%dx%d", v.Width, v.Height)
	}
	result := p.paint(good, "ok")
	switch {
	case v.Skipped:
		result = p.paint(odd, "skipped")
	case !v.OK:
		result = p.paint(bad, "failed")
	}
	if v.Error != nil {
		detail = errorText(v.Error)
	}
	return []string{v.Camera, v.Address, result, v.Source, size, span(v.DurationMS), detail}
}

// errorText is an error in one line: "timeout at media: the camera sent no video in time".
func errorText(e *fault.Error) string {
	if e.Step == "" {
		return fmt.Sprintf("%s: %s", e.Class, e.Message)
	}
	return fmt.Sprintf("%s at %s: %s", e.Class, e.Step, e.Message)
}

// hints are the hints of the visits that failed, each once with the cameras that it is for, in their order.
func hints(visits []round.Visit) []string {
	var texts []string
	cameras := map[string][]string{}
	for _, v := range visits {
		if v.Error == nil || v.Error.Hint == "" {
			continue
		}
		if cameras[v.Error.Hint] == nil {
			texts = append(texts, v.Error.Hint)
		}
		cameras[v.Error.Hint] = append(cameras[v.Error.Hint], v.Camera)
	}
	for i, text := range texts {
		texts[i] = fmt.Sprintf("%s: %s", someOf(cameras[text]), text)
	}
	return texts
}

// someOf names the first few: "gate, yard, attic and 4 more".
func someOf(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func leftoverTable(p *page, title string, list []sweep.Leftover) {
	var rows [][]string
	for _, l := range list {
		colour := good
		if l.Outcome != sweep.Gone {
			colour = bad
		}
		rows = append(rows, []string{l.Subject, l.Camera, p.paint(colour, string(l.Outcome)), l.Why})
	}
	p.table([]string{title, "CAMERA", "OUTCOME", "WHY"}, rows, "CAMERA")
}

func paintVerdict(p *page, v round.Verdict) string {
	if v == round.Clean {
		return p.paint(good, string(v))
	}
	return p.paint(bad, string(v))
}

// lookedAt says what a verdict rests on, so that "clean" is not just a word.
func lookedAt(l round.Looked) string {
	text := fmt.Sprintf("looked at %s, %s to these cameras, %s", sweep.Processes(l.Processes), sweep.Count(l.Connections, "open connection"), sweep.Count(l.Leases, "lease"))
	if l.By != "" {
		text += " by " + l.By
	}
	return text
}
