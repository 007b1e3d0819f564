package commands

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
)

// page is what a person reads in place of a document: tables and lines, for a screen or for a pipe.
type page struct {
	out    bytes.Buffer
	tabled bool // it ends with a table
	screen bool
	colour bool
	ascii  bool // the terminal cannot be trusted to show more than ASCII
	width  int
	height int
}

func (c *cli) newPage() *page {
	p := &page{screen: c.world.Terminal.Stdout, colour: c.colour(), ascii: c.ascii(), width: c.world.Terminal.Width, height: c.world.Terminal.Height}
	if p.width <= 0 {
		p.width = 80
	}
	if p.height <= 0 {
		p.height = 24
	}
	return p
}

// line adds a line of text.
func (p *page) line(format string, args ...any) {
	p.tabled = false
	fmt.Fprintf(&p.out, format+"\n", args...)
}

// text adds a line that is folded where the screen ends; what follows stands below it by so many blanks.
func (p *page) text(indent int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !p.screen {
		p.line("%s", text)
		return
	}
	lead := text[:len(text)-len(strings.TrimLeft(text, " "))]
	at := len(lead)
	folded := lead
	for i, word := range strings.Fields(text) {
		n := tablewriter.DisplayWidth(word)
		switch {
		case i > 0 && at+1+n > p.width:
			folded += "\n" + strings.Repeat(" ", indent) + word
			at = indent + n
		case i > 0:
			folded += " " + word
			at += 1 + n
		default:
			folded += word
			at += n
		}
	}
	p.line("%s", folded)
}

// beside is an empty page of the same kind, to find out how long something becomes.
func (p *page) beside() *page {
	return &page{screen: p.screen, ascii: p.ascii, colour: p.colour, width: p.width, height: p.height}
}

// lines is how long the page is.
func (p *page) lines() int { return bytes.Count(p.out.Bytes(), []byte("\n")) }

// add adds another page.
func (p *page) add(other *page) {
	p.tabled = other.tabled
	p.out.Write(other.out.Bytes())
}

func (p *page) bytes() []byte { return p.out.Bytes() }

// table adds a table; nothing when there are no rows. On a screen its columns are ruled, and the last takes the room that the
// others leave; where that is too little, expendable columns, named by their headers, go first. In a pipe nothing goes and
// nothing is wrapped or ruled. A blank line parts two tables.
func (p *page) table(header []string, rows [][]string, expendable ...string) {
	if len(rows) == 0 {
		return
	}
	if p.screen {
		for ; len(expendable) > 0 && p.width-used(header, rows) < wordOfLast(rows); expendable = expendable[1:] {
			header, rows = without(header, rows, expendable[0])
		}
		room := max(leastForLast, p.width-used(header, rows))
		rows = wrapped(cutWords(rows, room), room)
	}
	if p.tabled {
		p.out.WriteString("\n")
	}
	p.tabled = true
	var b bytes.Buffer
	t := tablewriter.NewWriter(&b)
	t.SetAutoFormatHeaders(false)
	t.SetAutoWrapText(false)
	t.SetHeaderAlignment(tablewriter.ALIGN_LEFT)
	t.SetAlignment(tablewriter.ALIGN_LEFT)
	t.SetBorder(false)
	switch {
	case p.screen && p.ascii:
		t.SetColumnSeparator("|")
		t.SetRowSeparator("-")
		t.SetCenterSeparator("+")
	case p.screen:
		t.SetColumnSeparator("│")
		t.SetRowSeparator("─")
		t.SetCenterSeparator("┼")
	default:
		t.SetHeaderLine(false)
		t.SetNoWhiteSpace(true)
		t.SetTablePadding("  ")
	}
	t.SetHeader(header)
	t.AppendBulk(rows)
	t.Render()
	for line := range strings.Lines(b.String()) {
		if p.screen { // the column that a border would have
			line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(line, " "), "─"), "-")
		}
		p.out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

// leastForLast is how many columns of a screen the last column of a table gets, even if the table then is too wide.
const leastForLast = 28

// wordOfLast is how wide the last column must be at least: a path in it cannot be wrapped.
func wordOfLast(rows [][]string) int {
	widest := leastForLast
	for _, row := range rows {
		for word := range strings.FieldsSeq(row[len(row)-1]) {
			widest = max(widest, tablewriter.DisplayWidth(word))
		}
	}
	return widest
}

// wrapped returns rows whose last cell has lines of at most room columns, as far as its words allow.
func wrapped(rows [][]string, room int) [][]string {
	folded := make([][]string, len(rows))
	for i, row := range rows {
		last := len(row) - 1
		lines, _ := tablewriter.WrapString(row[last], room)
		folded[i] = append(slices.Clone(row[:last]), strings.Join(lines, "\n"))
	}
	return folded
}

// cutWords shortens words of the last column that are wider than the room for it, a path mostly, in the middle: how it begins and
// what the file is called says more than either end alone.
func cutWords(rows [][]string, room int) [][]string {
	const gap = "..."
	cut := make([][]string, len(rows))
	for i, row := range rows {
		last := len(row) - 1
		words := strings.Split(row[last], " ")
		for j, word := range words {
			letters := []rune(word)
			if tablewriter.DisplayWidth(word) <= room || len(letters) <= room || strings.ContainsRune(word, '\x1b') {
				continue
			}
			head := (room - len(gap)) / 3
			words[j] = string(letters[:head]) + gap + string(letters[len(letters)-(room-len(gap)-head):])
		}
		cut[i] = append(slices.Clone(row[:last]), strings.Join(words, " "))
	}
	return cut
}

// used is how wide a ruled table is without the text of its last column.
func used(header []string, rows [][]string) int {
	width := 3 * len(header) // a blank on either side of a cell, and a rule; after the last one another blank
	for column := range len(header) - 1 {
		widest := tablewriter.DisplayWidth(header[column])
		for _, row := range rows {
			widest = max(widest, tablewriter.DisplayWidth(row[column]))
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

// ascii reports whether the terminal cannot be trusted to show more than ASCII: it is dumb, or the locale is set and is not UTF-8
// (locale(7): the first of these variables that is not empty counts).
func (c *cli) ascii() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToLower(c.env(name)); locale != "" {
			return !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8") || c.env("TERM") == "dumb"
		}
	}
	return c.env("TERM") == "dumb"
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
