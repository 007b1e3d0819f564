package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
)

// heldBy is what these tests read of doctor's processes, by pid.
type heldBy struct {
	PID, Connections       int
	Program, Shape, Target string
	Verdict, Why, Command  string
	AgeMS                  int64 `json:"age_ms"`
	Parent                 struct {
		PID  int
		Name string
	}
}

func (s *site) examine(more ...string) map[int]heldBy {
	s.t.Helper()
	r := s.start(append([]string{"camwarden", "doctor", s.subnet.Prefix.String(), "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json"}, more...)...)
	r.end()
	var doc struct{ Processes struct{ List []heldBy } }
	conforms(s.t, "doctor", r.stdout.String(), r.stderr.String(), &doc)
	found := map[int]heldBy{}
	for _, p := range doc.Processes.List {
		found[p.PID] = p
	}
	return found
}

// connected waits until each of the processes holds a connection that doctor sees.
func (s *site) connected(all ...*run) {
	s.t.Helper()
	eventually(s.t, func() error {
		seen := s.examine()
		for _, r := range all {
			if seen[r.pid()].Connections == 0 {
				return fmt.Errorf("%s has no connection: %s", r.cmd, r.stderr)
			}
		}
		return nil
	})
}

// quick makes what is old and silent after seconds count.
func quick(s *site) {
	s.more = "reap: {older_than: 1s, silent_for: 2s, programs: [ffmpeg, ffprobe, python3]}\n"
}

// Whatever holds a camera is listed, with pid, parent, age and command; what would free it is said; and a program that is
// named is ended for silence alone.
func TestHolders_listedAndExplained(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "silent"}}, quick)
	url := s.subnet.Camera("silent").URL()
	withLogin := strings.Replace(url, "rtsp://", "rtsp://viewer:S3cretPass@", 1)
	check(t, os.WriteFile(s.path("x.py"), []byte(holder), 0o644))
	kept := []*run{s.start("curl", "-s", "-u", "viewer:S3cretPass", url)}
	if _, err := exec.LookPath("mplayer"); err == nil {
		kept = append(kept, s.start("mplayer", "-really-quiet", "-vo", "null", "-ao", "null", withLogin))
	}
	python := s.start("/usr/bin/python3", "x.py", withLogin)
	s.connected(append(kept, python)...)
	eventually(t, func() error {
		if why := s.reaped(0, "-n", "--include", "silent").of(python.pid()); !strings.HasPrefix(why, "would-kill") {
			return fmt.Errorf("the script that is named is %s", why)
		}
		return nil
	})
	seen, plain := s.examine(), s.reaped(0, "--dry-run")
	for _, r := range append(kept, python) {
		p := seen[r.pid()]
		if p.Parent.PID != os.Getpid() || p.AgeMS < 1000 || p.Shape != "unknown" || strings.Contains(p.Command, "S3cretPass") ||
			p.Program != "curl" && !strings.Contains(p.Command, "***") { // curl wipes its own log-in
			t.Errorf("%s: %+v", r.cmd, p)
		}
		want := "kept: " + p.Program + " is none of the programs that are looked at (reap: programs); its connection is freed when pid " + strconv.Itoa(r.pid()) +
			" ends, which was started by " + p.Parent.Name + " (pid " + strconv.Itoa(os.Getpid()) + ")"
		if r == python {
			want = "--include silent ends it"
		}
		if why := plain.of(r.pid()); !strings.Contains(why, want) {
			t.Errorf("%s\n is %s\n want %s", r.cmd, why, want)
		}
	}
	s.reaped(0, "--include", "silent")
	python.ends(-1)
	for _, r := range kept {
		r.lives()
		check(t, r.cmd.Process.Kill())
		r.end()
	}
}

// Builds of ffmpeg have many names. What holds a camera under one of them, and cannot be at work any more, is ended.
func TestHolders_buildsOfFFmpeg(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "silent"}, {Temper: camsim.RTCPOnly, Name: "reports"}}, quick)
	program, err := exec.LookPath("ffmpeg")
	check(t, err)
	capture := []string{"-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", s.subnet.Camera("silent").URL(), "-frames:v", "1", "-y", "one.jpg"}
	var leaks []*run
	for _, name := range []string{"ffmpeg7", "ffmpeg.real", ".ffmpeg-wrapped", "ffmpeg-linux-x86_64-v7.0.2"} {
		copied(t, program, s.path("bin", name))
		leaks = append(leaks, s.start(append([]string{s.path("bin", name)}, capture...)...))
	}
	copied(t, program, s.path("bin", "ffmpeg-exporter"))
	other := s.start(append([]string{s.path("bin", "ffmpeg-exporter")}, capture...)...)
	check(t, os.Symlink(program, s.path("bin", "take-a-picture")))
	leaks = append(leaks, s.start(append([]string{s.path("bin", "take-a-picture")}, capture...)...)) // by the file it runs
	leaks = append(leaks,
		s.start(append([]string{"ffmpeg", "-user_agent", "go2rtc/ffmpeg"}, capture...)...), // an orphan with go2rtc's words
		s.start("ffprobe", "-v", "quiet", s.subnet.Camera("silent").URL()),
		s.start("ffmpeg", "-nostdin", "-loglevel", "quiet", "-i", s.subnet.Camera("silent").URL()),
		s.start("ffmpeg", "-nostdin", "-loglevel", "quiet", "-f", "lavfi", "-i", "movie="+strings.ReplaceAll(s.subnet.Camera("silent").URL(), ":", `\\:`), "-frames:v", "1", "a.jpg"),
		s.start("ffmpeg", "-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", s.subnet.Camera("reports").URL(), "-vf", "thumbnail=n=1000", "-frames:v", "1", "b.jpg"),
		s.start("ffmpeg", "-nostdin", "-loglevel", "quiet", "-i", "http://"+s.subnet.Camera("silent").Address().String()+"/v", "-frames:v", "1", "c.jpg"),
	)
	copied(t, "/bin/bash", s.path("bin", "go2rtc-watchdog"))
	watchdog := s.start(s.path("bin", "go2rtc-watchdog"), "-c", "ffmpeg "+strings.Join(capture, " ")+"; :")
	child := s.childOf(watchdog)
	s.connected(append(leaks, other)...)
	eventually(t, func() error {
		doc := s.reaped(0, "--dry-run")
		for _, r := range leaks {
			if why := doc.of(r.pid()); !strings.HasPrefix(why, "would-kill") {
				return fmt.Errorf("%s\n is %s", r.cmd, why)
			}
		}
		if why := doc.of(child); !strings.HasPrefix(why, "would-kill") {
			return fmt.Errorf("whose parent only has go2rtc in its name: %s", why)
		}
		return nil
	})
	if why := s.reaped(0).of(other.pid()); !strings.HasPrefix(why, "kept: ffmpeg-exporter is none of the programs") {
		t.Errorf("another program whose name begins with that of ffmpeg: %s", why)
	}
	for _, r := range leaks {
		r.end()
	}
	watchdog.end()
	check(t, other.cmd.Process.Kill())
	other.end()
}

// A capture that reads a pipe holds no camera. Who fills it does, and is named.
func TestHolders_whoFillsAPipe(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "silent"}}, quick)
	check(t, os.WriteFile(s.path("x.py"), []byte(holder), 0o644))
	shell := s.start("sh", "-c", "/usr/bin/python3 x.py "+s.subnet.Camera("silent").URL()+" | ffmpeg -nostdin -loglevel quiet -f h264 -i pipe:0 -frames:v 1 fed.jpg; :")
	fed := s.childOf(shell)
	eventually(t, func() error {
		p, listed := s.examine()[fed]
		if !listed || p.Target == "" || p.Shape != "one-frame" || !strings.Contains(p.Why, "it reads what python3 (pid ") {
			return fmt.Errorf("listed %v: %+v", listed, p)
		}
		why := s.reaped(0, "--dry-run", "--include", "silent").of(fed)
		if !strings.HasPrefix(why, "kept: it reads what python3") {
			return fmt.Errorf("reap: %s", why)
		}
		return nil
	})
	eventually(t, func() error { // the one that holds the camera, by its silence; then the capture has nothing to read
		s.reaped(0, "--include", "silent")
		if presence, _ := proc.Default().Stat(fed); presence.PID != 0 && !presence.Dead() {
			return fmt.Errorf("the capture is still there")
		}
		return nil
	})
	shell.end()
}

func copied(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	check(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	check(t, err)
	_, err = io.Copy(out, in)
	check(t, err)
	check(t, out.Close())
}
