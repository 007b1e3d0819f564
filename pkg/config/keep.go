package config

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/archive"
)

// longestKept is the bound of keep.for, in the file: a hundred years are for ever, and do not overflow.
const longestKept = 100 * 365 * 24 * time.Hour

// keep reads which stills of output_dir are kept.
func (l *loader) keep(n *node) {
	m, ok := l.mapping(n)
	if !ok {
		return
	}
	k := &l.c.Keep
	m.each(map[string]func(*node){
		"for":   func(n *node) { l.kept(n, &k.For) },
		"most":  func(n *node) { l.number(n, 0, math.MaxInt32, &k.Most) },
		"bytes": func(n *node) { l.size(n, &k.Bytes) },
	})
}

func (l *loader) kept(n *node, into *time.Duration) {
	var text string
	if !l.text(n, &text) || text == "" {
		return
	}
	if d, err := time.ParseDuration(text); err == nil && d > Longest && d <= longestKept {
		*into = d
		return
	}
	l.duration(n, 0, into)
}

// size reads a number of bytes: 50GiB, 500MB, 1000000. "" is none.
func (l *loader) size(n *node, into *int64) {
	var text string
	if !l.text(n, &text) || text == "" {
		return
	}
	number := strings.TrimRight(text, "KMGTiB")
	factor, known := map[string]float64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}[text[len(number):]]
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if bytes := value * factor; known && err == nil && value >= 0 && bytes < 1<<62 {
		*into = int64(bytes)
		return
	}
	l.problem(n, "%s is not a number of bytes like 50GiB, 500MB or 1000000", l.shown.quote(text))
}

// outputName reads how the files of stills are named below output_dir.
func (l *loader) outputName(n *node) {
	var text string
	if !l.text(n, &text) || text == "" {
		return
	}
	name, err := archive.NewTemplate(text)
	if err != nil {
		l.problem(n, "%s", err)
		return
	}
	l.c.OutputName = name
}

// defaultName is the name that holds where the file says nothing.
func defaultName() archive.Template {
	name, err := archive.NewTemplate(archive.DefaultTemplate)
	if err != nil {
		panic(err) // a constant, and tested
	}
	return name
}
