package commands

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/camwarden/camwarden/pkg/schema"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// TestJSONL_everyLineFollowsItsSchema: the schema is the one that "camwarden schema NAME-lines" prints.
func TestJSONL_everyLineFollowsItsSchema(t *testing.T) {
	t.Parallel()
	reaping := sweep.Reaping{
		Schema: sweep.ReapSchema, OlderThanMS: 300_000, Blind: nil, Verdict: sweep.SomethingLeft,
		Outcomes: []sweep.Outcome{{Kind: sweep.Process, PID: 4711, Name: "ffmpeg", Why: "a capture of one frame", Action: sweep.Kept}},
	}
	reaping.Blind = exampleExamination().Blind
	for name, text := range map[string]string{
		"round":  render(t, Terminal{}, inFormat(asJSONL)),
		"doctor": drawn(t, Terminal{}, inFormat(asJSONL), examinationDocument(exampleExamination())),
		"reap":   drawn(t, Terminal{}, inFormat(asJSONL), document{value: reaping, list: "outcomes"}),
	} {
		compiled := linesSchema(t, name)
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) < 2 {
			t.Errorf("%s: %d lines", name, len(lines))
		}
		for _, line := range lines {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
			if err == nil {
				err = compiled.Validate(value)
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, line)
			}
			broken, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.Replace(line, `"schema":`, `"scheme":`, 1)))
			if err != nil || compiled.Validate(broken) == nil {
				t.Errorf("%s: a line without its schema is taken: %v", name, err)
			}
		}
	}
}

// TestJSONL_everyListHasItsSchema compiles all that there are.
func TestJSONL_everyListHasItsSchema(t *testing.T) {
	t.Parallel()
	n := 0
	for _, name := range schema.Names() {
		if document, ok := strings.CutSuffix(name, "-lines"); ok {
			linesSchema(t, document)
			n++
		}
	}
	if n < 9 {
		t.Errorf("%d schemas of lines", n)
	}
}

func linesSchema(t *testing.T, document string) *jsonschema.Schema {
	t.Helper()
	text, err := schema.Text(document + "-lines")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(document+".json", value); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile(document + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}
