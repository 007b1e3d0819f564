package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"gopkg.in/yaml.v3"
)

// Tree is one value of a file that is not ours: a YAML or JSON document of another program, with the lines it was read
// from. Aliases are followed and merge keys are carried out, so that who reads it sees what that program sees.
type Tree struct {
	Line  int // where it is written; of an alias, where the alias stands
	Kind  TreeKind
	Text  string // of a scalar, as written
	Words bool   // the scalar is a text, and no number, truth value or null
	Tag   string // a tag that YAML does not define, like !secret; what it stands for is not known
	Items []*Tree
	Keys  []TreeKey // in the order of the file, those that a merge brought at the end
}

// TreeKey is one key of a mapping.
type TreeKey struct {
	Name  string
	Line  int
	Value *Tree
}

// TreeKind is what a value is.
type TreeKind int

// The kinds of values.
const (
	Null TreeKind = iota
	Scalar
	List
	Mapping
)

// mostMerged bounds what merge keys may copy: a file of a few lines could ask for more than any memory holds.
const mostMerged = 1 << 20

// ParseTree reads one YAML or JSON document; what begins with a brace is given to a JSON decoder first, since YAML's
// refuses some escapes of JSON. An error is a Problem without its file, quotes nothing of the content, and names both
// lines of a key that is given twice.
func ParseTree(content []byte) (*Tree, *Problem) {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	if trimmed := bytes.TrimLeft(content, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(content) {
		return parseJSON(content)
	}
	root, problem := parse(content)
	if problem != nil {
		return nil, problem
	}
	if root == nil {
		return &Tree{Kind: Null, Line: 1}, nil
	}
	g := grower{grown: map[*node]*Tree{}}
	return g.grow(root)
}

// Get returns the value below the keys, or nil where one of them is missing.
func (t *Tree) Get(keys ...string) *Tree {
	for _, key := range keys {
		if t == nil {
			return nil
		}
		i := slices.IndexFunc(t.Keys, func(k TreeKey) bool { return k.Name == key })
		if i < 0 {
			return nil
		}
		t = t.Keys[i].Value
	}
	return t
}

// Empty reports whether there is nothing: no value at all, or null.
func (t *Tree) Empty() bool { return t == nil || t.Kind == Null }

// grower turns YAML nodes into trees, each node once.
type grower struct {
	grown  map[*node]*Tree // nil while a node is being read
	merged int
}

func (g *grower) grow(n *node) (*Tree, *Problem) {
	if n.Kind == yaml.AliasNode {
		t, problem := g.grow(n.Alias)
		if problem != nil {
			return nil, problem
		}
		here := *t
		here.Line = n.Line
		return &here, nil
	}
	if t, begun := g.grown[n]; begun {
		if t == nil {
			return nil, &Problem{Line: n.Line, Text: "an anchor whose value holds an alias of itself"}
		}
		return t, nil
	}
	g.grown[n] = nil
	t := &Tree{Line: n.Line}
	if n.Tag != "" && n.Tag[0] == '!' && (len(n.Tag) < 2 || n.Tag[1] != '!') && n.Tag != "!" {
		t.Tag = n.Tag
	}
	var problem *Problem
	switch n.Kind {
	case yaml.SequenceNode:
		t.Kind = List
		for _, item := range n.Content {
			var child *Tree
			if child, problem = g.grow(item); problem != nil {
				return nil, problem
			}
			t.Items = append(t.Items, child)
		}
	case yaml.MappingNode:
		t.Kind = Mapping
		problem = g.mapping(n, t)
	default:
		t.Kind, t.Text, t.Words = Scalar, n.Value, n.Tag == "!!str" || t.Tag != ""
		if isNull(n) {
			t.Kind = Null
		}
	}
	if problem != nil {
		return nil, problem
	}
	g.grown[n] = t
	return t, nil
}

func (g *grower) mapping(n *node, t *Tree) *Problem {
	var merges []*Tree
	at := make(map[string]int, len(n.Content)/2) // the line of each key
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := target(n.Content[i])
		value, problem := g.grow(n.Content[i+1])
		if problem != nil {
			return problem
		}
		if key.Kind == yaml.ScalarNode && key.Tag == "!!merge" {
			merges = append(merges, value)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			continue // no program that is read here has such keys
		}
		line := n.Content[i].Line
		if first, twice := at[key.Value]; twice {
			return &Problem{Line: line, Text: fmt.Sprintf("the same key as in line %d; nobody can tell which one counts", first)}
		}
		at[key.Value] = line
		t.Keys = append(t.Keys, TreeKey{Name: key.Value, Line: line, Value: value})
	}
	for len(merges) > 0 {
		from := merges[0]
		merges = merges[1:]
		if from.Kind == List {
			merges = append(slices.Clone(from.Items), merges...)
			if g.merged += len(from.Items); g.merged > mostMerged {
				return &Problem{Line: n.Line, Text: "its merge keys copy more than any honest file does"}
			}
			continue
		}
		if g.merged += len(from.Keys); g.merged > mostMerged {
			return &Problem{Line: n.Line, Text: "its merge keys copy more than any honest file does"}
		}
		for _, k := range from.Keys {
			if _, own := at[k.Name]; !own {
				at[k.Name] = k.Line
				t.Keys = append(t.Keys, k)
			}
		}
	}
	return nil
}

// parseJSON reads what is known to be JSON.
func parseJSON(content []byte) (*Tree, *Problem) {
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	r := jsonReader{d: d, content: content, line: 1}
	t, problem := r.value()
	if problem != nil {
		return nil, problem
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, &Problem{Line: r.here(), Text: "something follows the JSON document"}
	}
	return t, nil
}

// jsonReader reads values and counts lines.
type jsonReader struct {
	d       *json.Decoder
	content []byte
	counted int // bytes of content whose lines are counted
	line    int
}

// here is the line of the token that was read last.
func (r *jsonReader) here() int {
	end := int(r.d.InputOffset())
	r.line += bytes.Count(r.content[r.counted:end], []byte("\n"))
	r.counted = end
	return r.line
}

// value reads the next value. json.Valid has bounded the depth.
func (r *jsonReader) value() (*Tree, *Problem) {
	token, err := r.d.Token()
	t := &Tree{Line: r.here()}
	if err != nil {
		return nil, &Problem{Line: t.Line, Text: "not readable as JSON"}
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '[' {
			t.Kind = List
			for r.d.More() {
				item, problem := r.value()
				if problem != nil {
					return nil, problem
				}
				t.Items = append(t.Items, item)
			}
		} else {
			t.Kind = Mapping
			if problem := r.object(t); problem != nil {
				return nil, problem
			}
		}
		_, _ = r.d.Token() // the closing one
	case string:
		t.Kind, t.Text, t.Words = Scalar, v, true
	case json.Number:
		t.Kind, t.Text = Scalar, v.String()
	case bool:
		t.Kind, t.Text = Scalar, fmt.Sprint(v)
	}
	return t, nil
}

func (r *jsonReader) object(t *Tree) *Problem {
	at := map[string]int{}
	for r.d.More() {
		token, err := r.d.Token()
		key, _ := token.(string)
		line := r.here()
		if err != nil {
			return &Problem{Line: line, Text: "not readable as JSON"}
		}
		if first, twice := at[key]; twice {
			return &Problem{Line: line, Text: fmt.Sprintf("the same key as in line %d; nobody can tell which one counts", first)}
		}
		at[key] = line
		value, problem := r.value()
		if problem != nil {
			return problem
		}
		t.Keys = append(t.Keys, TreeKey{Name: key, Line: line, Value: value})
	}
	return nil
}
