package archive

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// DefaultTemplate is how a round names its stills: a folder a camera, the time of capture in UTC with milliseconds.
const DefaultTemplate = "{camera}/{datetime}.jpg"

// Latest is the name of the symlink to a camera's newest still.
const Latest = "latest.jpg"

// cameraField is the placeholder of the camera's id, the only one whose width is not fixed.
const cameraField = "camera"

// layoutOf is the layout of a placeholder that stands for a time, in the words of package time; "" for any other word.
func layoutOf(field string) string {
	switch field {
	case "datetime":
		return "20060102T150405.000Z"
	case "date":
		return "2006-01-02"
	case "time":
		return "150405.000Z"
	case "year":
		return "2006"
	case "month":
		return "01"
	case "day":
		return "02"
	case "hour":
		return "15"
	}
	return ""
}

// Template names the file of a still below a folder, and reads camera and time back from such a name.
type Template struct {
	text   string
	before []part // of the camera; all have a fixed width
	after  []part
}

// part is either literal text or a layout of a time.
type part struct{ literal, layout string }

// NewTemplate reads a template such as "{camera}/{date}/{time}.jpg". Its placeholders are {camera}, {datetime}
// (20060102T150405.000Z), {date} (2006-01-02), {time} (150405.000Z), {year}, {month}, {day} and {hour}, all UTC. It must hold
// the camera once, a time to the millisecond, and end in .jpg. The error is of class usage.
func NewTemplate(text string) (Template, error) {
	t := Template{text: text}
	fields, err := t.parse()
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(fields, name) })
	}
	switch {
	case err != nil:
	case strings.HasPrefix(text, "/") || slices.ContainsFunc(strings.Split(text, "/"), func(p string) bool { return p == "" || p[0] == '.' }):
		err = fmt.Errorf("it must be a path below the folder, with no part that is empty or begins with a dot")
	case !strings.HasSuffix(text, ".jpg"):
		err = fmt.Errorf("it must end in .jpg")
	case !has(cameraField):
		err = fmt.Errorf("it must hold {camera}, else cameras overwrite each other")
	case !has("datetime") && !has("date", "time") && !has("year", "month", "day", "time"):
		err = fmt.Errorf("it must hold {datetime}, or {time} and a whole date, else stills overwrite each other")
	}
	if err != nil {
		return Template{}, fault.New(fault.Usage, "", "the file name %q: %w", text, err).WithHint("for example {camera}/{date}/{time}.jpg")
	}
	return t, nil
}

// parse cuts the text into parts and returns the names of its placeholders.
func (t *Template) parse() (fields []string, err error) {
	for rest := t.text; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		if strings.ContainsAny(literal, "}\x00") {
			return nil, fmt.Errorf("it holds a } without a {, or a NUL")
		}
		t.add(fields, part{literal: literal})
		if !found {
			return fields, nil
		}
		field, end, closed := strings.Cut(after, "}")
		layout := layoutOf(field)
		switch {
		case !closed:
			return nil, fmt.Errorf("it holds a { without a }")
		case slices.Contains(fields, field):
			return nil, fmt.Errorf("{%s} stands twice", field)
		case layout == "" && field != cameraField:
			return nil, fmt.Errorf("there is no {%s}; there are {camera}, {datetime}, {date}, {time}, {year}, {month}, {day}, {hour}", field)
		}
		t.add(fields, part{layout: layout})
		fields, rest = append(fields, field), end
	}
	return fields, nil
}

func (t *Template) add(fields []string, p part) {
	switch {
	case p == part{}:
	case slices.Contains(fields, cameraField):
		t.after = append(t.after, p)
	default:
		t.before = append(t.before, p)
	}
}

// String is the template as it was written.
func (t Template) String() string { return t.text }

// Equal reports whether both give the same names.
func (t Template) Equal(other Template) bool { return t.text == other.text }

// Path is the name of the still that camera gave at that time, relative to the folder.
func (t Template) Path(camera string, at time.Time) string {
	at = at.UTC()
	name := make([]byte, 0, len(t.text)+len(camera)+32)
	write := func(parts []part) {
		for _, p := range parts {
			name = append(name, p.literal...)
			if p.layout != "" {
				name = at.AppendFormat(name, p.layout)
			}
		}
	}
	write(t.before)
	name = append(name, camera...)
	write(t.after)
	return string(name)
}

// Parse reads camera and time back from a name relative to the folder. ok is false for a name that Path would not give.
// It is called for each of perhaps a million names, so it makes no garbage.
func (t Template) Parse(name string) (camera string, at time.Time, ok bool) {
	var c clock
	rest := name
	for _, p := range t.before {
		width := p.width()
		if len(rest) < width || !p.read(rest[:width], &c) {
			return "", time.Time{}, false
		}
		rest = rest[width:]
	}
	for i := len(t.after) - 1; i >= 0; i-- {
		from := len(rest) - t.after[i].width()
		if from < 0 || !t.after[i].read(rest[from:], &c) {
			return "", time.Time{}, false
		}
		rest = rest[:from]
	}
	at, ok = c.time()
	return rest, at, ok && rest != "" && strings.IndexByte(rest, '/') < 0
}

func (p part) width() int { return len(p.literal) + len(p.layout) } // one of them is empty; layouts are as wide as what they give

// clock is the digits of a time by the two letters that package time has for each: year, month, day, hour, minute, second,
// millisecond. A field that is not known is -1 less than its value, so that the zero clock knows none.
type clock [7]int

func (p part) read(text string, c *clock) bool {
	if p.layout == "" {
		return text == p.literal
	}
	for at := 0; at < len(p.layout); {
		field, width := fieldAt(p.layout[at:])
		if width == 0 {
			if text[at] != p.layout[at] {
				return false
			}
			at++
			continue
		}
		value := 0
		for _, digit := range []byte(text[at : at+width]) {
			if digit < '0' || digit > '9' {
				return false
			}
			value = 10*value + int(digit-'0')
		}
		if c[field] != 0 && c[field] != value+1 {
			return false // {date} and {datetime} disagree
		}
		c[field] = value + 1
		at += width
	}
	return true
}

// fieldAt says which field a layout has at its beginning, and how wide it is; width 0 for what stands for itself.
func fieldAt(layout string) (field, width int) {
	for i, digits := range [7]string{"2006", "01", "02", "15", "04", "05", "000"} {
		if strings.HasPrefix(layout, digits) {
			return i, len(digits)
		}
	}
	return 0, 0
}

func (c clock) time() (time.Time, bool) {
	for i := range c {
		c[i]--
	}
	at := time.Date(c[0], time.Month(c[1]), c[2], c[3], c[4], c[5], c[6]*int(time.Millisecond), time.UTC)
	return at, at.Year() == c[0] && int(at.Month()) == c[1] && at.Day() == c[2] && at.Hour() == c[3] && at.Minute() == c[4] && at.Second() == c[5]
}

// LatestPath is where the symlink to the camera's newest still stands, relative to the folder: in the camera's own folder
// where the template begins with one, else in a folder "latest".
func (t Template) LatestPath(camera string) string {
	if strings.HasPrefix(t.text, "{camera}/") {
		return camera + "/" + Latest
	}
	return "latest/" + camera + ".jpg"
}
