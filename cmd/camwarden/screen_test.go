package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// onScreen runs a command in a terminal of that size, and returns what is on it.
func (s *site) onScreen(width, height int, args ...string) string {
	s.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	check(s.t, err)
	defer master.Close()
	check(s.t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	check(s.t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	check(s.t, err)
	check(s.t, unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(height), Col: uint16(width)}))
	r := s.startWith(func(cmd *exec.Cmd) { cmd.Stdout = slave }, args...)
	slave.Close()
	var screen bytes.Buffer
	_, err = io.Copy(&screen, master) // EIO when nobody has the other end any more
	if err != nil && !errors.Is(err, syscall.EIO) {
		s.t.Fatal(err)
	}
	r.end()
	return regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(strings.ReplaceAll(screen.String(), "\r", ""), "")
}

// TestScreen_commandEndsTheLeak looks at real leaks in a real terminal, beside recorders and captures that are young, and types
// what its last line says.
func TestScreen_commandEndsTheLeak(t *testing.T) {
	t.Parallel()
	sizes := map[int][2]int{1: {80, 24}, 25: {100, 30}}
	if testkit.IsLong() {
		sizes[300] = [2]int{80, 24}
	}
	for leaks, size := range sizes {
		t.Run(fmt.Sprint(leaks), func(t *testing.T) {
			t.Parallel()
			var cameras []camsim.Config
			for i := range min(leaks, 60)/5 + 1 {
				cameras = append(cameras, camsim.Config{Temper: camsim.MuteAtConnect, Name: fmt.Sprintf("cam%d", i)})
			}
			s := newSite(t, append(cameras, camsim.Config{Temper: camsim.Healthy, Name: "recorder"}, camsim.Config{Temper: camsim.Healthy, Name: "lapse"}))
			innocent := []*run{s.ffmpegOn("recorder", overTCP, record), s.ffmpegOn("lapse", overTCP, "-f image2 img%05d.jpg")}
			var hung []*run
			for i := range leaks {
				hung = append(hung, s.ffmpegOn(cameras[i%len(cameras)].Name, overTCP, oneFrame))
			}
			s.busy(leaks + len(innocent))
			config, err := os.ReadFile(s.path("cameras.yaml"))
			check(t, err)
			check(t, os.WriteFile(s.path("cameras.yaml"), append(config, "reap: {older_than: 10ms}\n"...), 0o600))

			screen := s.onScreen(size[0], size[1], "camwarden", "doctor", "office", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"))
			lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
			if len(lines) >= size[1] {
				t.Errorf("%d lines on a screen of %d:\n%s", len(lines), size[1], screen)
			}
			command, _, _ := strings.Cut(lines[len(lines)-1], "    #")
			if want := filepath.Base(os.Args[0]); !strings.Contains(screen, fmt.Sprintf("%d process", leaks)) || !strings.Contains(screen, want[:min(15, len(want))]) || !strings.HasPrefix(command, "camwarden ") {
				t.Fatalf("count, cause or command are not on the screen:\n%s", screen)
			}
			typed := func(line string) reaping {
				r := s.start("sh", "-c", line+" -o json")
				r.ends(0)
				var doc reaping
				conforms(t, "reap", r.stdout.String(), r.stderr.String(), &doc)
				return doc
			}
			if dry := typed(command); !dry.DryRun || dry.Verdict != "left" {
				t.Errorf("%s: %+v", command, dry)
			}
			if done := typed(strings.TrimSuffix(command, " --dry-run")); done.Summary.Killed != leaks || done.Verdict != "clean" {
				t.Errorf("%s: %+v, want %d killed", command, done.Summary, leaks)
			}
			for _, r := range hung {
				r.end()
			}
			for _, r := range innocent {
				r.lives()
			}
			if screen := s.onScreen(size[0], size[1], "camwarden", "doctor", "office", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state")); !strings.HasSuffix(screen, "status: ok\n") {
				t.Errorf("afterwards:\n%s", screen)
			}
		})
	}
}
