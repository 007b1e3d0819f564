package supervise

import (
	"os"
	"strings"

	"github.com/camwarden/camwarden/pkg/ledger"
)

// passed are the variables a child gets from our environment. Everything else stays with us: our environment may hold
// camera passwords, and a child's environment is readable by its user for as long as it lives.
//   - where programs and files are: PATH HOME TMPDIR LD_LIBRARY_PATH (an ffmpeg with its own libraries)
//   - how texts look: LANG LANGUAGE LC_* TZ
//   - whom to trust over TLS: SSL_CERT_FILE SSL_CERT_DIR
//   - whose test it is: CAMWARDEN_TEST_RUN, by which a test run finds what it left behind
func passed(name string) bool {
	switch name {
	case "PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LANG", "LANGUAGE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "CAMWARDEN_TEST_RUN":
		return true
	}
	return strings.HasPrefix(name, "LC_")
}

// environment is what a child gets: the few of ours, the caller's, and the mark, which nobody overrides.
// Of settings with the same name os/exec keeps the last.
func environment(extra []string, mark ledger.Mark) []string {
	var env []string
	for _, setting := range os.Environ() {
		if name, _, ok := strings.Cut(setting, "="); ok && passed(name) {
			env = append(env, setting)
		}
	}
	env = append(env, extra...)
	return append(env, ledger.MarkVariable+"="+mark.String())
}
