package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every command pays for what packages set up before main, "camwarden version" and a completion in the shell too. Ours set up
// nothing: what they need is laid out by the compiler, or made when it is first asked for (pkg/lazyre).
func TestNothingOfOursRunsBeforeMain(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	program := os.Getenv(released)
	if program == "" {
		program = w.build(".")
	}
	cmd := w.command(program, "version")
	cmd.Env = append(cmd.Env, "GODEBUG=inittrace=1") // package runtime, "Environment Variables"
	var trace strings.Builder
	cmd.Stderr = &trace
	check(t, cmd.Run())
	if !strings.Contains(trace.String(), "init net/http @") {
		t.Fatalf("that is no trace:\n%s", trace.String())
	}
	if ours := regexp.MustCompile(`(?m)^init github\.com/camwarden/.*$`).FindAllString(trace.String(), -1); ours != nil {
		t.Errorf("set up before main:\n%s", strings.Join(ours, "\n"))
	}
}
