package testkit

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// CommandLine is one of testdata/commandlines.tsv: how somebody's program is really called, and what is right to think of it.
type CommandLine struct {
	Source string // the program, document or person it is from
	Shape  string // as documents name it
	Well   string // what becomes of it with a healthy camera: "done" (it ends by itself) or "runs"
	Sends  string // the verdict on an old one whose camera sends: "ended" or "kept"
	Mute   string // the same while its camera is mute; "silent": ended where --include silent is given
	Run    string // "both", "mute" (only with the mute camera), or "no:" and why not
	Text   string // with placeholders, see the head of the file
}

// CommandLines reads the table.
func CommandLines(t testing.TB) []CommandLine {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "..", "testdata", "commandlines.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var all []CommandLine
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 7 {
			t.Fatalf("%d fields in %q", len(f), line)
		}
		all = append(all, CommandLine{f[0], f[1], f[2], f[3], f[4], f[5], f[6]})
	}
	return all
}

// Args are the arguments, with the placeholders replaced. Quotes keep blanks together, as in a shell.
func (c CommandLine) Args(replace *strings.Replacer) []string {
	var args []string
	var word strings.Builder
	var quote rune
	begun := false
	for _, r := range c.Text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && r == ' ':
			if begun {
				args = append(args, replace.Replace(word.String()))
			}
			begun = false
			word.Reset()
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	if begun {
		args = append(args, replace.Replace(word.String()))
	}
	return args
}
