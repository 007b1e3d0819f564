package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// TestStills_field asks the scripted cameras of testdata/field/http for stills by the source http, and holds what comes back against
// expected.tsv: all 221 in a long run, else every tenth. A still is right when its tables and scans equal the served JPEG's byte for
// byte. More than one log-in that is refused, a dial to another host, a password in the output or in clear, two connections at once
// and more than 8.5 s fall short too.
func TestStills_field(t *testing.T) {
	t.Parallel()
	fieldHolds(t, "http_cases.py", 221, "127.43", "-s", "http")
}

// fieldHolds runs the cases of a script, or every tenth of them, against this camwarden, in a loopback net of their own.
func fieldHolds(t *testing.T, script string, count int, net string, more ...string) {
	t.Helper()
	for _, tool := range []string{"python3", "openssl", "ffmpeg"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ", tool, ": ", err)
		}
	}
	folder := filepath.Join("..", "..", "testdata", "field", "http")
	list := exec.Command("python3", filepath.Join(folder, script), "--tsv")
	list.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	text, err := list.Output()
	check(t, err)
	var names []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, "\t")
		names = append(names, name)
	}
	if len(names) != count {
		t.Fatalf("%d cases, want %d", len(names), count)
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
	args := append([]string{filepath.Join(folder, "check_http.py"), binary, "-j", "3"}, more...)
	run := exec.Command("python3", append(args, names...)...)
	run.Env = append(os.Environ(), "FIELD_NET="+net, "PYTHONDONTWRITEBYTECODE=1", "TMPDIR="+t.TempDir())
	said, err := run.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
