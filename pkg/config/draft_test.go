package config_test

import (
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/config"
)

// A comment is one line, whatever somebody else has written into it.
func TestDraft_commentsOfOneLine(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029", "\x00", "\x1b[2J", "\xff"} {
		d := config.Draft{Head: []string{"could not look: x" + end + "notify: {exec: [reboot]}"}, Cameras: []config.DraftCamera{{ID: "gate", Host: "127.0.0.5", Note: "y" + end + "notify: z"}}}
		text, err := d.YAML()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune("\n\r\u0085\u2028\u2029", r) })
		for i, line := range lines[:3] {
			if begins := []string{"# could", "# gate: y", "cameras:"}[i]; !strings.HasPrefix(line, begins) {
				t.Errorf("%q: line %d is %q", end, i+1, line)
			}
		}
		tree, problem := config.ParseTree(text)
		if problem != nil || len(tree.Keys) != 1 || tree.Keys[0].Name != "cameras" {
			t.Errorf("%q gives\n%s", end, text)
		}
	}
}
