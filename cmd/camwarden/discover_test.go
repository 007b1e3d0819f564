package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// TestOnvif_field asks the scripted devices of testdata/field/http as an operator does, and holds what comes back against
// expected.tsv: all 119 in a long run, else every tenth. Each runs with a log-in that is right; more than one that is refused, a
// dial to another host, a password in the output or in clear, and two connections at once fall short too.
func TestOnvif_field(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ", tool, ": ", err)
		}
	}
	folder := filepath.Join("..", "..", "testdata", "field", "http")
	list := exec.Command("python3", filepath.Join(folder, "onvif_cases.py"), "--tsv")
	list.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	text, err := list.Output()
	check(t, err)
	var names []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, "\t")
		names = append(names, name)
	}
	if len(names) != 119 {
		t.Fatalf("%d cases, want 119", len(names))
	}
	if !testkit.IsLong() {
		var some []string
		for i := 0; i < len(names); i += 10 {
			some = append(some, names[i])
		}
		names = some
	}
	binary := filepath.Join(t.TempDir(), "camwarden") // by this name the test binary is one, too
	check(t, os.Symlink(program(t), binary))
	run := exec.Command("python3", append([]string{filepath.Join(folder, "check_http.py"), binary, "-j", "3"}, names...)...)
	run.Env = append(os.Environ(), "FIELD_NET=127.42", "PYTHONDONTWRITEBYTECODE=1", "TMPDIR="+t.TempDir())
	said, err := run.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
