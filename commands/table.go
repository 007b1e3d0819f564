package commands

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// page is what a person reads in place of a document: tables and lines, for a screen or for a pipe.
type page struct {
	out    bytes.Buffer
	tabled bool // it ends with a table
	screen bool
	colour bool
	width  int
}

func (c *cli) newPage() *page {
	p := &page{screen: c.world.Terminal.Stdout, colour: c.colour(), width: c.world.Terminal.Width}
	if p.width <= 0 {
		p.width = 80
	}
	return p
}

// line adds a line of text.
func (p *page) line(format string, args ...any) {
	p.tabled = false
	fmt.Fprintf(&p.out, format+"\n", args...)
}

func (p *page) bytes() []byte { return p.out.Bytes() }

// table adds a table; nothing when there are no rows. On a screen the last column takes the room that the others leave;
// where that is too little, expendable columns, named by their headers, go first. In a pipe nothing goes, and as nothing is
// framed there, a blank line parts two tables.
func (p *page) table(header []string, rows [][]string, expendable ...string) {
	if len(rows) == 0 {
		return
	}
	options := p.plain()
	if p.screen {
		for ; len(expendable) > 0 && p.width-used(header, rows) < wordOfLast(rows); expendable = expendable[1:] {
			header, rows = without(header, rows, expendable[0])
		}
		options = p.framed(header, rows)
	}
	if p.tabled && !p.screen {
		p.out.WriteString("\n")
	}
	p.tabled = true
	var b bytes.Buffer
	t := tablewriter.NewTable(&b, append(options,
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAlignment(tw.AlignLeft),
		tablewriter.WithRowAlignment(tw.AlignLeft),
	)...)
	t.Header(header)
	if err := t.Bulk(rows); err == nil {
		_ = t.Render() // into memory: cannot fail
	}
	for line := range strings.Lines(b.String()) {
		p.out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

func (p *page) plain() []tablewriter.Option {
	return []tablewriter.Option{
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithPadding(tw.Padding{Right: "  ", Overwrite: true}),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
	}
}

// leastForLast is how many columns of a screen the last column of a table gets, even if the table then is too wide.
const leastForLast = 28

// wordOfLast is how wide the last column must be at least: a path in it cannot be wrapped.
func wordOfLast(rows [][]string) int {
	widest := leastForLast
	for _, row := range rows {
		for word := range strings.FieldsSeq(row[len(row)-1]) {
			widest = max(widest, twwidth.Width(word))
		}
	}
	return widest
}

func (p *page) framed(header []string, rows [][]string) []tablewriter.Option {
	room := tw.NewMapper[int, int]()
	room.Set(len(header)-1, 2+max(leastForLast, p.width-used(header, rows))) // the blanks beside a text belong to its column
	return []tablewriter.Option{
		tablewriter.WithConfig(tablewriter.Config{Row: tw.CellConfig{ColMaxWidths: tw.CellWidth{PerColumn: room}}}),
		tablewriter.WithRowAutoWrap(tw.WrapNormal),
	}
}

// used is how wide a framed table is without the text of its last column.
func used(header []string, rows [][]string) int {
	width := 1 + 3*len(header) // borders and the blanks beside them
	for column := range len(header) - 1 {
		widest := twwidth.Width(header[column])
		for _, row := range rows {
			widest = max(widest, twwidth.Width(row[column]))
		}
		width += widest
	}
	return width
}

// without returns copies that lack one column.
func without(header []string, rows [][]string, name string) ([]string, [][]string) {
	column := slices.Index(header, name)
	if column < 0 {
		return header, rows
	}
	drop := func(cells []string) []string { return slices.Delete(slices.Clone(cells), column, column+1) }
	fewer := make([][]string, len(rows))
	for i, row := range rows {
		fewer[i] = drop(row)
	}
	return drop(header), fewer
}

// The colours, by what they mean.
const (
	good = "32"
	bad  = "31"
	odd  = "33"
)

func (p *page) paint(colour, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// span is a duration in milliseconds as a person says it: 812ms, 9.1s, 4m10s.
func span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return d.String()
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// count is a number with its noun: "1 camera", "17 cameras".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// colour decides whether a page may be painted; the rules stand at the top of output.go.
func (c *cli) colour() bool {
	switch {
	case c.flags.color == "always":
		return true
	case c.flags.color == "never", c.env("NO_COLOR") != "":
		return false
	case c.env("CLICOLOR_FORCE") != "" && c.env("CLICOLOR_FORCE") != "0":
		return true
	default:
		return c.world.Terminal.Stdout && c.env("TERM") != "dumb"
	}
}
