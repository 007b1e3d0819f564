package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/camera"
)

// Longest is the bound of a duration, in the file and on the command line: sums of a few with the boot-time clock must not overflow.
const Longest = 365 * 24 * time.Hour

// problem notes what is wrong with the value at a place of the file, after the keys that lead there.
func (l *loader) problem(at *node, format string, args ...any) {
	text := strings.Join(append(slices.Clone(l.trail), fmt.Sprintf(format, args...)), ": ")
	l.problems = append(l.problems, Problem{File: l.c.Path, Line: at.Line, Text: text, column: at.Column})
}

// within reads a part of the file whose problems are told under that name.
func (l *loader) within(name string, read func()) {
	l.trail = append(l.trail, name)
	read()
	l.trail = l.trail[:len(l.trail)-1]
}

// mapping is a mapping of the file whose keys are scalars, each there once.
type mapping struct {
	l    *loader
	flow bool
	keys []*node
	vals []*node
}

// mapping reads n, which may be left empty. The second value is false, and a problem noted, when it is something else.
func (l *loader) mapping(n *node) (mapping, bool) {
	m := mapping{l: l}
	if n == nil {
		return m, true
	}
	n = target(n)
	m.flow = n.Style&yaml.FlowStyle != 0
	switch {
	case isNull(n) && n.Style&yaml.TaggedStyle == 0:
		return m, true
	case n.Kind != yaml.MappingNode:
		l.problem(n, "keys with values are needed here, like port: 554")
		return m, false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		m.add(n.Content[i], n.Content[i+1])
	}
	return m, true
}

func (m *mapping) add(key, value *node) {
	switch {
	case key.Kind == yaml.ScalarNode && key.Tag == "!!merge":
		m.l.problem(key, "<< is not supported; values for all cameras go under defaults")
		return
	case key.Kind != yaml.ScalarNode || isNull(key):
		m.l.problem(key, "a key must be a plain word")
		return
	}
	if i := slices.IndexFunc(m.keys, func(k *node) bool { return k.Value == key.Value }); i >= 0 {
		m.l.problem(key, "the key %s is already given in line %d", m.l.shown.key(key, value, nil), m.keys[i].Line)
		return
	}
	m.keys, m.vals = append(m.keys, key), append(m.vals, value)
}

// value returns the value of a key, or nil.
func (m *mapping) value(key string) *node {
	for i, k := range m.keys {
		if k.Value == key {
			return m.vals[i]
		}
	}
	return nil
}

// each calls the reader of every key that is there, in the order of the file. A nil reader leaves the key for later.
func (m *mapping) each(readers map[string]func(*node)) {
	known := make([]string, 0, len(readers))
	for key := range readers {
		known = append(known, key)
	}
	slices.Sort(known)
	for i, key := range m.keys {
		read, ok := readers[key.Value]
		switch {
		case !ok:
			m.unknown(i, known)
		case read != nil:
			m.l.within(key.Value, func() { read(m.vals[i]) })
		}
	}
}

func (m *mapping) unknown(i int, known []string) {
	key := m.keys[i]
	text := "there is no key " + m.l.shown.key(key, m.vals[i], known)
	near := camera.Nearest(strings.ReplaceAll(key.Value, "-", "_"), known)
	switch {
	case len(near) > 0:
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	case m.flow && isNull(m.vals[i]):
		text += "; a value with a comma in it needs quotes"
	default:
		text += "; there are " + strings.Join(known, ", ")
	}
	m.l.problem(key, "%s", text)
}

// target follows an alias to what it stands for.
func target(n *node) *node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// text reads a scalar as it is written: an id of 007 stays 007.
func (l *loader) text(n *node, into *string) bool {
	n = target(n)
	switch {
	case n.Kind != yaml.ScalarNode:
		l.problem(n, "one value is needed here, not several")
	case n.Style&yaml.TaggedStyle != 0:
		l.problem(n, "tags like !!str are not supported; use quotes")
	case isNull(n):
		l.problem(n, `the value is missing; leave the key out for the default, or write ""`)
	case strings.ContainsFunc(n.Value, unicode.IsControl):
		l.problem(n, "the value holds a line break or another control character")
	default:
		*into = n.Value
		return true
	}
	return false
}

// word is one item of a list.
type word struct {
	node *node
	text string
}

// words reads a list that is not empty and says nothing twice.
func (l *loader) words(n *node) ([]word, bool) {
	n = target(n)
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		l.problem(n, "a list is needed here, of at least one item, like [a, b]")
		return nil, false
	}
	var list []word
	for _, item := range n.Content {
		w := word{node: target(item)}
		if !l.text(item, &w.text) {
			continue
		}
		if w.text == "" {
			l.problem(item, "an item of the list is empty")
			continue
		}
		if slices.ContainsFunc(list, func(other word) bool { return other.text == w.text }) {
			l.problem(item, "%s is in the list twice", l.shown.quote(w.text))
			continue
		}
		list = append(list, w)
	}
	return list, true
}

func (l *loader) duration(n *node, least time.Duration, into *time.Duration) {
	var text string
	if !l.text(n, &text) {
		return
	}
	d, err := time.ParseDuration(text)
	switch _, isNumber := strconv.ParseFloat(text, 64); {
	case err != nil && isNumber == nil:
		l.problem(n, "%s has no unit; write it like 500ms, 10s or 5m", l.shown.quote(text))
	case err != nil:
		l.problem(n, "%s is not a duration like 500ms, 10s or 5m", l.shown.quote(text))
	case d < 0:
		l.problem(n, "%s is negative", l.shown.quote(text))
	case d < least:
		l.problem(n, "%s must be more than 0", l.shown.quote(text))
	case d > Longest:
		l.problem(n, "%s is longer than a year (8760h)", l.shown.quote(text))
	default:
		*into = d
	}
}

func (l *loader) number(n *node, least, most int, into *int) bool {
	var text string
	if !l.text(n, &text) {
		return false
	}
	i, err := strconv.Atoi(text)
	if err != nil || i < least || i > most {
		l.problem(n, "%s is not a number from %d to %d", l.shown.quote(text), least, most)
		return false
	}
	*into = i
	return true
}

func (l *loader) oneOf(n *node, known []string, into *string) {
	var text string
	if !l.text(n, &text) {
		return
	}
	if slices.Contains(known, text) {
		*into = text
		return
	}
	said := fmt.Sprintf("%s is none of %s", l.shown.quote(text), strings.Join(known, ", "))
	if near := camera.Nearest(text, known); len(near) > 0 {
		said += fmt.Sprintf("; did you mean %s?", near[0])
	}
	l.problem(n, "%s", said)
}

// path reads the name of a file or folder; "" stays "".
func (l *loader) path(n *node, into *string) bool {
	var text string
	if !l.text(n, &text) {
		return false
	}
	switch {
	case text == "":
	case text == "~" || strings.HasPrefix(text, "~/"):
		l.problem(n, "~ is not expanded here; write the path in full")
		return false
	case !filepath.IsAbs(text):
		text = filepath.Join(l.dir, text)
	}
	*into = text
	return true
}

// program reads a path, or a name to be found in $PATH.
func (l *loader) program(n *node, into *string) {
	var text string
	switch {
	case !l.text(n, &text):
	case text == "":
		l.problem(n, "the name of the program is empty")
	case strings.Contains(text, "/"):
		l.path(n, into)
	default:
		*into = text
	}
}

// cmpNode returns the first of the nodes that is there, else one without a line.
func cmpNode(nodes ...*node) *node {
	for _, n := range nodes {
		if n != nil {
			return n
		}
	}
	return &node{}
}
