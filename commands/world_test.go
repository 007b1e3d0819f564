package commands_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/camwarden/camwarden/commands"
)

// result is what one run of the command line gave.
type result struct {
	code           int
	stdout, stderr string
}

// run runs the command line in a world without a terminal, an environment or a configuration of its own.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return runIn(t, nil, args...)
}

// runIn is run with a world that the test changes first.
func runIn(t *testing.T, change func(*commands.World), args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	nowhere := t.TempDir()
	environment := map[string]string{"XDG_CONFIG_HOME": nowhere, "HOME": nowhere}
	world := commands.World{
		Stdin: bytes.NewReader(nil), Stdout: &stdout, Stderr: &stderr,
		Getenv:  func(name string) (string, bool) { value, set := environment[name]; return value, set },
		Signals: func(chan<- os.Signal, ...os.Signal) func() { return func() {} },
		Build:   commands.Build{Version: "v1.2.3", Commit: "0123abc", Date: "2026-01-05T22:00:00Z", Go: "go1.26.0", OS: "linux", Arch: "amd64"},
	}
	if change != nil {
		change(&world)
	}
	code := commands.Main(world, args)
	return result{code, stdout.String(), stderr.String()}
}

// with returns a change of the world that sets one environment variable.
func with(name, value string) func(*commands.World) {
	return func(w *commands.World) {
		before := w.Getenv
		w.Getenv = func(asked string) (string, bool) {
			if asked == name {
				return value, true
			}
			return before(asked)
		}
	}
}
