// Package schema holds the JSON Schemas (draft 2020-12) of the documents that camwarden writes.
package schema

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
)

//go:embed *.json
var files embed.FS

// Names returns the names of all schemas, sorted: "round" for the document camwarden.round/1, "round-lines" for the lines that
// -o jsonl makes of it.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil // an embedded folder can be read
	}
	var names []string
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), path.Ext(entry.Name()))
		names = append(names, name)
		if lists()[name] != "" {
			names = append(names, name+linesOf)
		}
	}
	slices.Sort(names)
	return names
}

// Text returns the schema of that name as JSON with a line end. The error is of class usage and lists the names.
func Text(name string) ([]byte, error) {
	if !slices.Contains(Names(), name) {
		return nil, fault.New(fault.Usage, "", "there is no schema %q", name).WithHint("the schemas are: %s", strings.Join(Names(), ", "))
	}
	document, isLines := strings.CutSuffix(name, linesOf)
	text, err := files.ReadFile(document + ".json")
	if err == nil && isLines {
		text, err = lines(text, lists()[document])
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the schema %s: %w", name, err)
	}
	return text, nil
}
