package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// linesOf is what the name of a schema of lines ends with: "round-lines" is that of a line of camwarden round -o jsonl.
const linesOf = "-lines"

// lists are the keys whose items become lines with -o jsonl, by document.
func lists() map[string]string {
	return map[string]string{
		"round": "visits", "snapshot": "visits", "doctor": "findings", "reap": "outcomes", "streams": "streams", "discover": "devices",
		"config-check": "problems", "config": "cameras", "config-import": "reported",
	}
}

// lines derives the schema of the lines of a document from that of the document: each is an item of its list with the
// document's schema and run in front, and the last is the document without the list.
func lines(document []byte, list string) ([]byte, error) {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(document, &whole); err != nil {
		return nil, err
	}
	var properties map[string]json.RawMessage
	var title string
	var required []string
	err := errors.Join(json.Unmarshal(whole["properties"], &properties), json.Unmarshal(whole["title"], &title), json.Unmarshal(whole["required"], &required))
	if err != nil {
		return nil, err
	}
	item, err := itemOf(whole, properties[list])
	if err != nil {
		return nil, err
	}
	head := []string{}
	ofItem, _ := item["properties"].(map[string]any)
	needed, _ := item["required"].([]any)
	for _, key := range []string{"schema", "run"} {
		if text, ok := properties[key]; ok && slices.Contains(required, key) {
			head = append(head, key)
			ofItem[key] = text
			needed = append(needed, key)
		}
	}
	item["required"] = needed
	delete(properties, list)
	lines := map[string]any{
		"$schema": whole["$schema"], "title": "a line of " + title,
		"anyOf": []any{item, map[string]any{
			"type": "object", "properties": properties, "additionalProperties": false,
			"required": slices.DeleteFunc(required, func(key string) bool { return key == list }),
		}},
	}
	if defs, ok := whole["$defs"]; ok {
		lines["$defs"] = defs
	}
	if len(head) == 0 {
		return nil, fmt.Errorf("%s names no schema", title)
	}
	text, err := json.MarshalIndent(lines, "", " ")
	return append(text, '\n'), err
}

// itemOf is the schema of one item of a list, with its definition in place of a reference.
func itemOf(whole map[string]json.RawMessage, list json.RawMessage) (map[string]any, error) {
	var of struct {
		Items json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(list, &of); err != nil {
		return nil, err
	}
	var item map[string]any
	if err := json.Unmarshal(of.Items, &item); err != nil {
		return nil, err
	}
	if name, ok := item["$ref"].(string); ok {
		var defs map[string]map[string]any
		if err := json.Unmarshal(whole["$defs"], &defs); err != nil {
			return nil, err
		}
		item = defs[strings.TrimPrefix(name, "#/$defs/")]
	}
	if _, ok := item["properties"].(map[string]any); !ok {
		return nil, errors.New("its items are no objects")
	}
	return item, nil
}
