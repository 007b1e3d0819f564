package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// benchPage is docs/benchmarks.md on its way: what was measured, on what, by which command.
type benchPage struct {
	began   time.Time
	busy    string // load averages before the first measurement
	figures []figure
}

func newBenchPage() *benchPage {
	return &benchPage{began: time.Now(), busy: load()}
}

// add takes figures into the page; one that is not reached fails the test.
func (p *benchPage) add(t *testing.T, figures ...figure) {
	t.Helper()
	for _, f := range figures {
		t.Logf("%s: %s, promised %s\n%s", f.what, f.measured, f.promise, strings.Join(f.notes, "\n"))
		if !f.reached {
			t.Errorf("%s: %s, promised %s", f.what, f.measured, f.promise)
		}
	}
	p.figures = append(p.figures, figures...)
}

// write writes the page; it has only what was measured.
func (p *benchPage) write(path string) error {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by\n\n    make bench\n\n" +
		"which runs `CAMWARDEN_BENCH=docs/benchmarks.md go test -run '^TestBenchmarks$' ./cmd/camwarden` and fails if a promise is not kept.\n" +
		"Ratios are of medians within one run, the two sides taking turns, so they mean the same on another machine; plain figures do not.\n\n")
	fmt.Fprintf(&b, "Last run: %s, %s on %d processors, Linux %s, %s; load averages %s before and %s after, %s in all.\n\n",
		p.began.UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), kernel(), ffmpegVersion(), p.busy, load(), time.Since(p.began).Round(time.Second))
	b.WriteString("| what | measured | promised | |\n|---|---|---|---|\n")
	for _, f := range p.figures {
		word := "**not kept**"
		switch {
		case f.promise == nothing:
			word = ""
		case f.reached:
			word = "kept"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.what, f.measured, f.promise, word)
	}
	b.WriteString("\n## How\n\n")
	for _, f := range p.figures {
		fmt.Fprintf(&b, "- **%s.** %s\n", f.what, strings.Join(f.notes, " "))
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "unknown"
	}
	release, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	return release
}

func ffmpegVersion() string {
	out, _ := exec.Command("ffmpeg", "-version").Output()
	words := strings.Fields(string(out))
	if len(words) < 3 {
		return "ffmpeg of unknown version"
	}
	return strings.Join([]string{words[0], words[2]}, " ")
}
