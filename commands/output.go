// Package commands is the command line of camwarden: the only place that knows flags, tables, terminals and exit codes.
package commands

// The rules of the terminal interface.
//
//   - stdout is data: one document a command, written once, at the end, in one piece. stderr is conversation.
//   - In a pipe a table has no borders, no colour and no cuts, and is the same bytes for the same report every day.
//     On a terminal it has borders, colour, and fits the screen; its last column is the one that wraps.
//   - json, yaml, jsonl and markdown never depend on who looks.
//   - Colour: --color decides; else NO_COLOR (set and not empty) forbids, CLICOLOR_FORCE (set and not 0) demands,
//     TERM=dumb forbids, and a terminal on stdout allows.
//   - Whatever is said on stderr is a sentence that begins with "camwarden:"; what to type next stands on its own line
//     as "hint:". With --log-format json each is one JSON object, with -o json a fatal error is a camwarden.error/1.
//   - Progress is drawn on stderr, only when that is a terminal, and wiped when the work is done.
//   - -q drops the table when all is well, and everything on stderr that is neither warning nor error. It never drops a document.
//   - Binary goes to a pipe or a file, never to a terminal.
//   - A reader that went away (EPIPE) is nobody's error. Any other failure to write is said on stderr,
//     and turns an exit code 0 into 1. Neither changes what is done.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/config"
)

// The formats of -o.
const (
	asTable = "table"
	asJSON  = "json"
	asYAML  = "yaml"
	asJSONL = "jsonl"

	asMarkdown = "markdown" // of doctor alone
)

func formats() []string { return []string{asTable, asJSON, asYAML, asJSONL, asMarkdown} }

// formatsOf are the formats that a command has.
func formatsOf(cmd *cobra.Command) []string {
	if cmd.Name() == "doctor" {
		return formats()
	}
	return slices.DeleteFunc(formats(), func(format string) bool { return format == asMarkdown })
}

// document is what a command found, ready to be shown in any format.
type document struct {
	value any         // the whole, as -o json shows it
	list  string      // the key of its list; with -o jsonl each item of it becomes a line
	table func(*page) // the same for a person

	markdown func() string // the same as a page to be filed; nil: there is none
}

// show writes the document of a command that ends well.
func (c *cli) show(d document) error { return c.showWith(d, Done) }

// showWith writes the document and returns the exit code as an error, so that a command can end with it.
func (c *cli) showWith(d document, code ExitCode) error {
	text, err := c.render(d, code)
	if err != nil {
		return err
	}
	if code = c.deliver("the report", text, code); code != Done {
		return ended(code)
	}
	return nil
}

func (c *cli) render(d document, code ExitCode) ([]byte, error) {
	switch c.flags.output {
	case asJSON:
		return marshal(d.value, "  ")
	case asYAML:
		return config.MarshalYAML(d.value)
	case asJSONL:
		return jsonLines(d.value, d.list)
	case asMarkdown:
		return []byte(d.markdown()), nil
	default:
		if c.flags.quiet && code == Done {
			return nil, nil
		}
		p := c.newPage()
		d.table(p)
		return p.bytes(), nil
	}
}

// deliver writes data to stdout in one piece. Failing to is reported, and changes nothing but a code that said all was well.
func (c *cli) deliver(what string, data []byte, code ExitCode) ExitCode {
	if !c.write(what, data) && code == Done {
		return CameraFailed
	}
	return code
}

// write writes data to stdout in one piece. What fails but for a reader that went away is reported, and false returned.
func (c *cli) write(what string, data []byte) bool {
	if len(data) == 0 {
		return true
	}
	_, err := c.world.Stdout.Write(data)
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		return true
	}
	c.log.Error(fmt.Sprintf("cannot write %s to standard output: %v", what, err))
	return false
}

// marshal is JSON as a person may want to read it: & < > stay themselves, which URLs are full of.
func marshal(value any, indent string) ([]byte, error) {
	b := indented{indent: indent}
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, fmt.Errorf("cannot encode the document: %w", err)
	}
	return b.Bytes(), nil
}

// indented is where an encoder writes a document that it has in one piece. With an indent of its own, the encoder lets a
// long document grow and be copied many times over.
type indented struct {
	bytes.Buffer

	indent string
}

func (b *indented) Write(whole []byte) (int, error) {
	if b.indent == "" {
		return b.Buffer.Write(whole)
	}
	b.Grow(2 * len(whole))
	return len(whole), json.Indent(&b.Buffer, whole, "", b.indent)
}

// jsonLines is one line for each item of the document's list, with the document's schema and run in front,
// and then one line with the rest of the document.
func jsonLines(value any, list string) ([]byte, error) {
	whole, err := marshal(value, "")
	if err != nil {
		return nil, err
	}
	var fields orderedObject
	if err := json.Unmarshal(whole, &fields); err != nil {
		return nil, fmt.Errorf("cannot split the document into lines: %w", err)
	}
	var out bytes.Buffer
	var items []orderedObject
	var head, rest orderedObject
	for _, f := range fields {
		switch f.key {
		case list:
			if err := json.Unmarshal(f.value, &items); err != nil {
				return nil, fmt.Errorf("cannot split %s into lines: %w", list, err)
			}
			continue
		case "schema", "run":
			head = append(head, f)
		}
		rest = append(rest, f)
	}
	for _, item := range items {
		append(head[:len(head):len(head)], item...).write(&out)
	}
	rest.write(&out)
	return out.Bytes(), nil
}

// orderedObject is a JSON object that keeps the order of its keys, which a map would lose.
type orderedObject []field

type field struct {
	key   string
	value json.RawMessage
}

// UnmarshalJSON reads one object.
func (o *orderedObject) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		f := field{key: fmt.Sprint(key)}
		if err := d.Decode(&f.value); err != nil {
			return err
		}
		*o = append(*o, f)
	}
	return nil
}

func (o orderedObject) write(out *bytes.Buffer) {
	for i, f := range o {
		if i == 0 {
			out.WriteByte('{')
		} else {
			out.WriteByte(',')
		}
		fmt.Fprintf(out, "%q:", f.key)
		out.Write(f.value)
	}
	out.WriteString("}\n")
}
