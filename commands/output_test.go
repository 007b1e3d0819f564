package commands_test

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/camwarden/camwarden/commands"
)

func TestVersionInEveryFormat(t *testing.T) {
	t.Parallel()
	got := run(t, "version")
	if want := "camwarden v1.2.3\ncommit 0123abc of 2026-01-05T22:00:00Z\ngo1.26.0 linux/amd64\n"; got.stdout != want {
		t.Errorf("table:\n%swant:\n%s", got.stdout, want)
	}
	if got := run(t, "--version"); got.stdout != "camwarden v1.2.3\n" {
		t.Errorf("--version: %q", got.stdout)
	}
	got = run(t, "version", "-o", "json")
	commands.Validate(t, "version", []byte(got.stdout))
	got = run(t, "version", "-o", "jsonl")
	commands.Validate(t, "version", []byte(got.stdout))
	if strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("jsonl of one object is one line: %q", got.stdout)
	}
	got = run(t, "version", "-o", "yaml")
	if !strings.HasPrefix(got.stdout, "schema: camwarden.version/1\nversion: v1.2.3\n") {
		t.Errorf("yaml keeps the keys and their order: %q", got.stdout)
	}
}

func TestQuiet_dropsTheTableNoDocument(t *testing.T) {
	t.Parallel()
	if got := run(t, "version", "-q"); got.stdout != "" || got.code != 0 {
		t.Errorf("%+v", got)
	}
	if got := run(t, "version", "-q", "-o", "json"); got.stdout == "" {
		t.Error("-q dropped a document")
	}
}

// brokenWriter is a stdout that cannot be written to.
type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "/dev/stdout", Err: b.err}
}

func TestALostStdoutIsToldUnlessItsReaderWentAway(t *testing.T) {
	t.Parallel()
	stdout := func(err error) func(*commands.World) {
		return func(w *commands.World) { w.Stdout = brokenWriter{err} }
	}
	if got := runIn(t, stdout(syscall.EPIPE), "version"); got.code != 0 || got.stderr != "" {
		t.Errorf("closed pipe: %+v", got)
	}
	for _, args := range [][]string{{"version"}, {"--version"}, {"help"}, {"--help"}, {"snapshot", "--help"}, {"config", "init", "-h"}} {
		if got := runIn(t, stdout(syscall.ENOSPC), args...); got.code != 1 || strings.Count(got.stderr, "no space left") != 1 {
			t.Errorf("full disk: %v: %+v", args, got)
		}
		if got := runIn(t, stdout(syscall.EPIPE), args...); got.code != 0 || got.stderr != "" {
			t.Errorf("closed pipe: %v: %+v", args, got)
		}
	}
	if got := runIn(t, func(w *commands.World) { w.Stderr = brokenWriter{errors.New("gone")} }, "bogus"); got.code != 2 {
		t.Errorf("lost stderr changed the exit code to %d", got.code)
	}
}

func TestLogs_areJSONWhereAskedFor(t *testing.T) {
	t.Parallel()
	got := run(t, "--log-format", "json", "bogus")
	if !strings.HasPrefix(got.stderr, `{"time":`) || !strings.Contains(got.stderr, `"hint":`) {
		t.Errorf("stderr %q", got.stderr)
	}
}

func TestCommandLine_secretIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"table", "json"} {
		got := run(t, "-o", format, "bogus-rtsp://viewer:hunter2@192.168.1.1/x")
		if strings.Contains(got.stderr, "hunter2") || got.code != 2 {
			t.Errorf("%+v", got)
		}
	}
}

func TestAPanicIsReportedAndCountsAsUnverified(t *testing.T) {
	t.Parallel()
	got := runIn(t, func(w *commands.World) {
		w.Stdout = panicWriter{}
	}, "version")
	if got.code != 3 || !strings.Contains(got.stderr, "internal error: no stdout today") {
		t.Errorf("%+v", got)
	}
}

type panicWriter struct{}

func (panicWriter) Write([]byte) (int, error) { panic("no stdout today") }

func TestCompletionsOfEveryShell(t *testing.T) {
	t.Parallel()
	for shell, sign := range map[string]string{"bash": "complete -o", "fish": "complete -c camwarden", "zsh": "#compdef camwarden"} {
		if got := run(t, "completion", shell); got.code != 0 || !strings.Contains(got.stdout, sign) {
			t.Errorf("%s: exit code %d, and no %q", shell, got.code, sign)
		}
	}
	got := run(t, "__complete", "version", "--output", "")
	if !strings.HasPrefix(got.stdout, "table\njson\nyaml\njsonl\n") {
		t.Errorf("words of --output: %q", got.stdout)
	}
}
