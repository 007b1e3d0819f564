package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// behaves is the beginning of a stand-in: what camwarden asks before it dials is answered by the real ffmpeg.
const behaves = `case "$*" in *demuxer=rtsp*|*pipe,data*) exec ffmpeg "$@";; esac
`

// dials opens a connection to the camera that the script on stdin names, as fd 9, and leaves its URL in $url.
const dials = behaves + `while IFS= read -r line; do case "$line" in "file '"*) url=${line#file \'}; url=${url%\'};; esac; done
where=${url##*@}; where=${where#rtsp://}; where=${where%%/*}
exec 9<>"/dev/tcp/${where%:*}/${where##*:}"
`

// withStandIn makes a bash script the site's ffmpeg: bash can dial, and sh cannot.
func withStandIn(script string) option {
	return func(s *site) {
		s.t.Helper()
		bash, err := exec.LookPath("bash")
		if err != nil {
			s.t.Skip("needs bash: ", err)
		}
		s.ffmpeg = s.path("bin", "stand-in-ffmpeg")
		check(s.t, os.WriteFile(s.ffmpeg, []byte("#!"+bash+"\n"+script), 0o755))
	}
}

// misbehaviours are ffmpegs at their worst, and the class that a visit of theirs must end with; "" where it depends on the load.
func misbehaviours() []struct{ name, script, class string } {
	return []struct{ name, script, class string }{
		{"ignores TERM", dials + "trap '' TERM INT HUP\nwhile :; do sleep 600; done\n", "timeout"},
		{"leaves a grandchild on the pipe", dials + "sleep 600 &\nexit 0\n", "not-jpeg"},
		{"hangs with grandchildren on the pipe", dials + "trap '' TERM\nfor i in 1 2 3; do (trap '' TERM; sleep 600; sleep 600) & done\nwait\n", "timeout"},
		{"leaves its session", dials + "setsid sleep 600 &\nsetsid sh -c 'trap \"\" TERM; setsid sleep 600 & sleep 600' &\nwhile :; do sleep 600; done\n", "timeout"},
		{"becomes a daemon", dials + "(setsid sleep 600 >/dev/null 2>&1 </dev/null &)\nexit 0\n", "not-jpeg"},
		{"floods stdout", dials + "exec head -c 1G /dev/zero\n", "not-jpeg"},
		{"floods stderr", dials + "yes 'the camera is fine, do not worry' >&2 &\nwait\n", "timeout"},
		{"floods stderr and fails", dials + "yes 'the camera is fine' | head -c 2M >&2\nexit 1\n", ""},
		{"stops itself", dials + "kill -STOP $$\nsleep 600\n", "timeout"},
		{"stops its whole group", dials + "sleep 600 &\nkill -STOP 0\nwait\n", "timeout"},
		{"gives half a JPEG", behaves + "ffmpeg \"$@\" | head -c 3000\nexit 0\n", "not-jpeg"},
		{"gives a JPEG and more", behaves + "ffmpeg \"$@\"\necho more\nexit 0\n", "not-jpeg"},
		{"gives nothing", dials + "exit 0\n", "not-jpeg"},
		{"kills itself", dials + "kill -KILL $$\n", "local"},
		{"closes its streams and hangs", dials + "exec 0<&- 1>&- 2>&-\nsleep 600\n", "timeout"},
		{"keeps moving from session to session", dials + `export n=0 hop='sleep 0.02; n=$((n+1)); [ $n -lt 2000 ] && exec setsid -f sh -c "$hop"'; setsid -f sh -c "$hop"; sleep 600` + "\n", "timeout"},
	}
}

// Whatever an ffmpeg does, its visit ends in time and with a reason, the other camera's picture comes, and nothing is left.
func TestFFmpeg_misbehavingNeverOutlivesARound(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second // of the one that misbehaves until it has passed; the others have all the time they need
	for i, m := range misbehaviours() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			uid := users()[i/2%len(users())]
			// At the camera "yard" it is what it should be: one visit's trouble is nobody else's.
			good := `input=$(cat); case "$input" in *stream2*) exec ffmpeg "$@" <<<"$input";; esac` + "\n"
			script := behaves + good + `exec "$0.bad" "$@" <<<"$input"` + "\n"
			s := newSite(t, []camsim.Config{
				{Temper: camsim.Healthy, Name: "gate"}, {Temper: camsim.Healthy, Name: "yard", Path: "/stream2"},
			}, asUser(uid), asReleased, withStandIn(script), func(s *site) {
				check(t, os.WriteFile(s.ffmpeg+".bad", []byte("#!/bin/bash\n"+m.script), 0o755))
			})
			if m.class == "timeout" {
				s.configured(0o600, "timeout: 1m", "timeout: "+timeout.String()) // that of the gate, which stands first
			}
			commands := [][]string{
				s.round("office", "-d", s.path("out")),
				{"camwarden", "snapshot", "gate", "yard", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json", "-d", s.path("out")},
			}
			if !testkit.IsLong() { // what visits, ends and looks is the same in both
				commands = commands[i%2:][:1]
			}
			for _, command := range commands {
				r := s.start(command...)
				r.ends(1)
				doc := detailed(t, command[1], r)
				gate, yard := doc.visit("gate"), doc.visit("yard")
				if doc.Verdict != "clean" || len(doc.Leftovers)+len(doc.Blind) > 0 || !yard.OK {
					t.Errorf("%s: %s", command[1], r.stdout)
				}
				// On an idle host one second more is enough for TERM, grace, KILL and the look afterwards; here the floods of all these
				// tests are read and cleaned at once, with the race detector on.
				if took := time.Duration(gate.DurationMS) * time.Millisecond; m.class == "timeout" && took > timeout+within {
					t.Errorf("%s: the visit took %s of %s", command[1], took, timeout)
				}
				if gate.OK || gate.Skipped || gate.File != "" || gate.Error.Message == "" || m.class != "" && gate.Error.Class != m.class {
					t.Errorf("%s: gate is %+v, %+v, want class %q", command[1], gate, gate.Error, m.class)
				}
				s.nothingLeft(r)
				s.scrapless("gate")
				if n := strings.Count(r.stderr.String(), "is a script"); n != 1 {
					t.Errorf("%s warned %d times of a script: %s", command[1], n, r.stderr)
				}
				s.thaw()
			}
			if most := s.subnet.Camera("gate").Counts().ConnectionsMost; most > s.limit {
				t.Errorf("%d connections at once", most)
			}
		})
	}
}

// detail is what these tests read of a visit beyond the harness.
type detail struct {
	visit
	DurationMS int64 `json:"duration_ms"`
}

type details struct {
	report
	Visits []detail
	Blind  []struct{ Where, Why string }
}

func (d details) visit(camera string) detail {
	for _, v := range d.Visits {
		if v.Camera == camera {
			return v
		}
	}
	return detail{visit: visit{Error: &failure{Class: "not in the document"}}}
}

func detailed(t *testing.T, schema string, r *run) details {
	t.Helper()
	var doc details
	conforms(t, schema, r.stdout.String(), r.stderr.String(), &doc)
	for i := range doc.Visits {
		if doc.Visits[i].Error == nil {
			doc.Visits[i].Error = &failure{}
		}
	}
	return doc
}

// scrapless demands that a camera which gave no picture left no file, and that nobody left half of one.
func (s *site) scrapless(camera string) {
	s.t.Helper()
	check(s.t, filepath.Walk(s.dir, func(path string, info os.FileInfo, err error) error {
		name := filepath.Base(path)
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(name, ".tmp"), strings.HasPrefix(name, ".camwarden-"):
			s.t.Errorf("half a file: %s", path)
		case strings.Contains(path, "/"+camera+"/") && strings.HasSuffix(name, ".jpg"), name == camera+".jpg":
			s.t.Errorf("a picture that should not be: %s, %d bytes", path, info.Size())
		}
		return nil
	}))
}

// thaw forgets the sessions that cool down, so that the next run dials at once.
func (s *site) thaw() {
	s.t.Helper()
	found, err := filepath.Glob(s.path("state", "run", "leases", "*.json"))
	check(s.t, err)
	for _, path := range found {
		check(s.t, os.Remove(path))
	}
}

// An ffmpeg that misbehaves before anything is dialled is no source: exit code 4, within the bound of the questions.
func TestAnFFmpegThatDoesNotSayWhatItIsIsNoSource(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ script, says string }{
		"is something else":      {"exit 0\n", "is not an ffmpeg"},
		"fails":                  {"echo 'Segmentation fault' >&2\nexit 139\n", "is not an ffmpeg"},
		"floods stdout":          {"exec yes\n", "does not say what it can do"},
		"is deaf, with children": {"trap '' TERM\nsleep 600 & setsid sleep 600 & wait\n", "does not say what it can do"},
		"has no interpreter":     {"", "cannot start"},
	}
	if testkit.IsLong() { // the deaf one hangs as well
		cases["hangs"] = struct{ script, says string }{"sleep 600\n", "does not say what it can do"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}, withStandIn(c.script))
			if c.script == "" {
				check(t, os.WriteFile(s.ffmpeg, []byte("#!/nowhere/bash\n"), 0o755))
			}
			r := s.start(s.round("office", "-d", s.path("out"))...)
			r.ends(4)
			if e := r.failed(); e.Class != "no-source" || !strings.Contains(e.Message, c.says) || !strings.Contains(e.Message, s.ffmpeg) || e.Hint == "" {
				t.Errorf("%+v", e)
			}
			s.untouched(r)
		})
	}
}

// untouched demands that no camera was dialled and nothing was made.
func (s *site) untouched(r *run) {
	s.t.Helper()
	for _, c := range s.subnet.Cameras {
		if n := c.Counts().ConnectionsTotal; n > 0 {
			s.t.Errorf("%s was dialled %d times: %s", c.Name(), n, r.stderr)
		}
	}
	s.nothingLeft(r)
	for _, c := range s.subnet.Cameras {
		s.scrapless(c.Name())
	}
}

// A set-uid program is not killed by the kernel when we are: that is said, once, and the next run finds what was left.
func TestASetUIDFFmpegIsNoticedAndRecovered(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to make a set-uid program of another user")
	}
	for _, uid := range users() {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.MuteAtConnect, Name: "mute"}}, asUser(uid), func(s *site) {
				program, err := exec.LookPath("ffmpeg")
				check(t, err)
				s.ffmpeg = s.path("bin", "ffmpeg-with-s-bit")
				copyFile(t, program, s.ffmpeg)
			})
			var mount unix.Statfs_t
			check(t, unix.Statfs(s.dir, &mount))
			if mount.Flags&unix.ST_NOSUID != 0 {
				t.Skip("the temporary folder is mounted nosuid: ", s.dir)
			}
			owner := nobody - uid // as root one of nobody, as nobody one of root: its ids change either way
			check(t, os.Chown(s.ffmpeg, owner, owner))
			check(t, os.Chmod(s.ffmpeg, 0o755|os.ModeSetuid))

			r := s.start(s.round("office", "--timeout", "4s")...)
			doc := s.clean(r, 1)
			if !doc.visit("healthy").OK || doc.visit("mute").class() != "timeout" {
				t.Errorf("%+v", doc)
			}
			if text := r.stderr.String(); strings.Count(text, "set-uid") != 1 || !strings.Contains(text, s.ffmpeg) || !strings.Contains(text, "ffmpeg.path") {
				t.Errorf("the s-bit is not warned of once, by name and with what to do: %s", text)
			}

			s.thaw()
			r = s.start(s.round("office", "--timeout", "60s")...)
			s.busy(1)
			eventually(t, func() error {
				if !s.childNoted("mute") {
					return fmt.Errorf("no lease names the child at mute: %s", r.stderr)
				}
				return nil
			})
			check(t, r.cmd.Process.Kill())
			r.end()
			orphans := len(s.alive())
			doc = s.clean(s.start(s.round("well")...), 0)
			if len(doc.Recovered) == 0 || doc.Recovered[0].Outcome != "gone" {
				t.Errorf("%d orphans, recovered %+v", orphans, doc.Recovered)
			}
			if orphans == 0 {
				t.Log("the kernel killed it all the same: this shows only that it was noticed")
			}
		})
	}
}

func (s *site) childNoted(camera string) bool {
	for _, l := range s.leases() {
		if l.Camera == camera && l.Child.PID > 0 {
			return true
		}
	}
	return false
}

func copyFile(t *testing.T, from, to string) {
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

// A wrapper that ends in exec is as good as the program; that it is a script is said all the same, once.
func TestAWrapperScriptIsNoticedAndWorks(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.Healthy, Name: "yard"}}, withFFmpeg("exec nice -n 1 ffmpeg \"$@\"\n"))
	for _, format := range []string{"text", "json"} {
		r := s.start(s.round("office", "--log-format", format)...)
		if doc := s.clean(r, 0); doc.Summary.OK != 2 {
			t.Errorf("%+v", doc)
		}
		if text := r.stderr.String(); strings.Count(text, "is a script") != 1 || !strings.Contains(text, s.ffmpeg) {
			t.Errorf("not warned once: %s", text)
		}
		for line := range strings.Lines(r.stderr.String()) {
			if format == "json" && !json.Valid([]byte(line)) {
				t.Errorf("not JSON: %s", line)
			}
		}
	}
}
