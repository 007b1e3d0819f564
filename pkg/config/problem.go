package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Problem is one thing that is wrong with a configuration file. Its texts hold no secret.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"` // counted from 1; 0 stands for the file as a whole
	Text string `json:"text"`
	Hint string `json:"hint"` // what to type about this one; mostly ""

	column int
	secret string // that is missing, by its name
	apart  bool   // of one camera's secret: it keeps nobody else from being dialled
}

// String is the problem as compilers write it: file:line: text.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems are all that is wrong with a file, in the order of its lines. The *fault.Error of Load wraps them.
type Problems []Problem

// mostShown keeps the wrong file of somebody else from filling the screen.
const mostShown = 30

// Error is one line for each problem, with the number of them in front when there are several.
func (ps Problems) Error() string {
	var lines []string
	if len(ps) > 1 {
		lines = append(lines, fmt.Sprintf("%d problems in %s:", len(ps), ps[0].File))
	}
	for _, p := range ps[:min(len(ps), mostShown)] {
		lines = append(lines, p.String())
	}
	if more := len(ps) - mostShown; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Or(a.Line-b.Line, a.column-b.column) })
	return ps
}

// fault is nil without a problem. The hints of the problems come first, then what helps against all of them.
func (ps Problems) fault(otherwise string) error {
	if len(ps) == 0 {
		return nil
	}
	var hints []string
	for _, p := range ps {
		if p.Hint != "" && !slices.Contains(hints, p.Hint) {
			hints = append(hints, p.Hint)
		}
	}
	if len(hints) == 0 {
		hints = []string{otherwise}
	}
	return fault.New(fault.Usage, "", "%w", ps).WithHint("%s", strings.Join(hints, "; "))
}
