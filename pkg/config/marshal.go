package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

// MarshalYAML encodes a document as YAML with exactly the keys, the values and the order that encoding/json gives it.
func MarshalYAML(doc any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return nil, fmt.Errorf("cannot encode the document: %w", err)
	}
	d := json.NewDecoder(&text)
	d.UseNumber()
	root, err := nodeOf(d)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the document: %w", err)
	}
	var out bytes.Buffer
	y := yaml.NewEncoder(&out)
	y.SetIndent(2)
	if err := y.Encode(root); err != nil {
		return nil, fmt.Errorf("cannot encode the document: %w", err)
	}
	if err := y.Close(); err != nil {
		return nil, fmt.Errorf("cannot encode the document: %w", err)
	}
	return out.Bytes(), nil
}

// nodeOf reads the next JSON value. The JSON text is not given to the YAML parser, which refuses some characters that
// JSON allows, and takes time.
func nodeOf(d *json.Decoder) (*node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		kind := yaml.MappingNode
		if v == '[' {
			kind = yaml.SequenceNode
		}
		n := &node{Kind: kind}
		for d.More() {
			child, err := nodeOf(d)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := d.Token() // the closing one
		return n, err
	case string:
		return textNode(v), nil
	case json.Number:
		return &node{Kind: yaml.ScalarNode, Value: v.String()}, nil
	case bool:
		return &node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}, nil
	default:
		return &node{Kind: yaml.ScalarNode, Value: "null"}, nil
	}
}

// unquoted is what no reader of YAML, of any version, takes for anything but a string: words, IPv4 addresses, durations.
var unquoted = lazyre.New(`^([A-Za-z_/]([A-Za-z0-9 _./()+@,-]|:[A-Za-z0-9/])*|\d+(\.\d+){3}([:/]\d+)?|(\d+[hms])+)$`)

// notText are words that some version of YAML takes for a boolean, a number or nothing.
func notText() []string {
	return []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null", "_"}
}

func textNode(text string) *node {
	n := &node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if !unquoted.Get().MatchString(text) || strings.HasSuffix(text, " ") || slices.Contains(notText(), strings.ToLower(text)) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
