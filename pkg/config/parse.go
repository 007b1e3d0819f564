package config

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

// node is one value of the file.
type node = yaml.Node

// parse reads one YAML document; nil without a problem means that there is nothing in it.
func parse(content []byte) (root *node, problem *Problem) {
	if at := badByte(content); at >= 0 {
		return nil, &Problem{Line: 1 + bytes.Count(content[:at], []byte("\n")), Text: "a byte that no text in UTF-8 holds"}
	}
	defer func() {
		if recover() != nil { // the parser is somebody else's, and a file can be anything
			root, problem = nil, &Problem{Text: "not readable as YAML"}
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var first, second node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntax(err, content)
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, syntax(err, content)
	default:
		return nil, &Problem{Line: second.Line, Text: "a second document begins here; only the first would count"}
	}
	if len(first.Content) == 0 || isNull(first.Content[0]) {
		return nil, nil
	}
	return first.Content[0], nil
}

func isNull(n *node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// badByte is the offset of the first byte that is not UTF-8 or that YAML does not allow; -1: none.
func badByte(content []byte) int {
	for i := 0; i < len(content); {
		r, size := utf8.DecodeRune(content[i:])
		switch {
		case r == utf8.RuneError && size <= 1, r < ' ' && r != '\t' && r != '\n' && r != '\r',
			r >= 0x7f && r <= 0x9f && r != 0x85, r == 0xfeff, r == 0xfffe, r == 0xffff:
			return i
		}
		i += size
	}
	return -1
}

var yamlError = lazyre.New(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax turns an error of the YAML library into a problem. Its texts are fixed, save that of an unknown anchor,
// which quotes what may be a password that begins with an asterisk.
func syntax(err error, content []byte) *Problem {
	found := yamlError.Get().FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if found == nil {
		return &Problem{Text: "not readable as YAML"}
	}
	line, _ := strconv.Atoi(found[1]) // without one it is the first
	text := found[2]
	switch {
	case strings.HasPrefix(text, "unknown anchor"):
		name, _, _ := strings.Cut(strings.TrimPrefix(text, "unknown anchor '"), "' referenced")
		at := max(bytes.Index(content, []byte("*"+name)), 0)
		return &Problem{Line: 1 + bytes.Count(content[:at], []byte("\n")), Text: "not YAML: a value that begins with * needs quotes"}
	case strings.HasPrefix(text, "did not find expected"), strings.HasPrefix(text, "found duplicate %"), strings.HasPrefix(text, "found undefined tag"):
		// The library counts these lines from 0 and the others from 1, and names now where a part begins, now where it breaks.
		return &Problem{Line: line + 1, Text: "not YAML around here: " + text}
	}
	if strings.HasPrefix(text, "found a tab character that violates") {
		line = tabLine(content, line) // the library names where the value before it begins
	}
	if tab := tabLine(content, max(line, 1)); tab == max(line, 1) && indentedByTab(content, tab) {
		return &Problem{Line: tab, Text: "not YAML: the line is indented with a tab; YAML wants blanks"}
	}
	return &Problem{Line: max(line, 1), Text: "not YAML: " + text + advice(text)}
}

// indentedByTab reports whether there is a tab before the first letter of that line, counted from 1.
func indentedByTab(content []byte, number int) bool {
	n := 0
	for line := range bytes.Lines(content) {
		if n++; n == number {
			return bytes.ContainsRune(line[:len(line)-len(bytes.TrimLeft(line, " \t"))], '\t')
		}
	}
	return false
}

// tabLine is the first line from that one on that is indented with a tab, or that one.
func tabLine(content []byte, from int) int {
	n := 0
	for line := range bytes.Lines(content) {
		n++
		if indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]; n >= from && bytes.ContainsRune(indent, '\t') {
			return n
		}
	}
	return from
}

// advice names the slips that most often lead to an error of the parser.
func advice(text string) string {
	switch text {
	case "mapping values are not allowed in this context":
		return "; look at the indentation, and quote a value that holds a colon and a blank"
	case "found character that cannot start any token":
		return "; indent with blanks, and quote a value that begins with @, % or a backquote"
	default:
		return ""
	}
}
