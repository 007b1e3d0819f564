package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestSignal_endsTheVisitsNotTheReport(t *testing.T) {
	t.Parallel()
	for i, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		for _, uid := range eitherUser(i) {
			t.Run(fmt.Sprintf("%s uid %d", unix.SignalName(signal), uid), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, hanging(), asUser(uid))
				r := s.start(s.round("office", "--timeout", "5m", "-d", s.path("out"))...)
				s.busy(hang)
				// The healthy camera has been visited by then, or soon will be: its picture shows that it was not for nothing.
				eventually(t, func() error { _, err := os.Stat(s.path("out", "healthy", "latest.jpg")); return err })
				r.signal(signal)
				doc := s.clean(r, 128+int(signal))
				if doc.Signal != unix.SignalName(signal) || doc.Summary.Cameras != len(s.subnet.Cameras) || !doc.visit("healthy").OK {
					t.Errorf("the document: %+v", doc)
				}
				for _, v := range doc.Visits {
					if v.Camera != "healthy" && v.class() != "cancelled" {
						t.Errorf("%s ended as %q", v.Camera, v.class())
					}
				}
			})
		}
	}
}

// doctor knows three exit codes, and no signal gives it a fourth.
func TestADoctorThatIsInterruptedSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Name: "gate", Temper: camsim.MuteAtConnect}})
	r := s.start("camwarden", "doctor", "office", "--probe", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"))
	eventually(t, func() error {
		if counts := s.subnet.Camera("gate").Counts(); counts.Connections == 0 {
			return fmt.Errorf("it was not asked: %+v", counts)
		}
		return nil
	})
	r.signal(syscall.SIGTERM)
	r.ends(1)
	if !strings.Contains(r.stderr.String(), "ended by SIGTERM before the look was finished") {
		t.Errorf("it said %q", r.stderr.String())
	}
	eventually(t, func() error {
		if counts := s.subnet.Camera("gate").Counts(); counts.Connections > 0 {
			return fmt.Errorf("left: %+v", counts)
		}
		return nil
	})
}

func TestSignal_atEachPhaseLeavesNothing(t *testing.T) {
	t.Parallel()
	signalRounds(t, chance{}, 4)
}

func TestSoakSignal_atRandomMoments(t *testing.T) {
	testkit.Soak(t, "takes minutes")
	t.Parallel()
	signalRounds(t, drawn(t), 60)
}

// signalRounds signals rounds at moments of each phase. One that has not begun to listen yet dies of the signal, which is as good
// an ending: then it has made nothing. A second signal follows now and then, also when the first has just done its work.
func signalRounds(t *testing.T, random chance, moments int) {
	s := newSite(t, hanging())
	bySignal, byCode := 0, 0
	for i := range moments {
		r := s.start(s.round("office", "--timeout", "60s")...)
		s.awaitMoment(random, i)
		signal := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}[random.below(3, i)]
		r.signal(signal)
		twice := random.below(2, i) == 0
		if twice {
			random.pause(100 * time.Millisecond)
			_ = r.cmd.Process.Signal(signal)
		}
		switch code := r.end(); {
		case code == 128+int(signal):
			byCode++
			if text := r.stdout.String(); text != "" {
				if doc := r.document(); doc.Verdict != "clean" {
					t.Errorf("moment %d: %+v", i, doc)
				}
			} else if r.stderr.String() == "" {
				t.Errorf("moment %d: it ended without a word", i)
			}
		case i%4 == 0 && code == -1 && r.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == signal:
			bySignal++
			if left := s.leases(); len(left) > 0 {
				t.Errorf("moment %d: it had begun to work before it listened: %+v", i, left)
			}
		default:
			t.Errorf("moment %d: %s ended the round with %d:\n%s", i, unix.SignalName(signal), code, r.stderr)
		}
		eventually(t, func() error { return none("alive", s.alive(), markedBy(t, r.id), s.connections()) })
	}
	if doc := s.clean(s.start(s.round("well")...), 0); len(doc.Recovered) > 0 {
		t.Errorf("rounds that were signalled left %+v", doc.Recovered)
	}
	t.Logf("%d rounds signalled: %d reported it, %d had not begun to listen", moments, byCode, bySignal)
	if byCode < moments/2 {
		t.Errorf("only %d of %d rounds were signalled in their work", byCode, moments)
	}
}

// Whoever started camwarden under nohup, or with its signals ignored, meant it.
func TestSignal_ignoredStaysIgnored(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.SilentAfterPlay}})
	r := s.start(append([]string{"sh", "-c", `trap '' HUP; exec camwarden "$@"`}, s.round("office", "--timeout", "5m")...)...)
	s.busy(1)
	r.signal(syscall.SIGHUP)
	r.signal(syscall.SIGPIPE) // which is nobody's order
	r.signal(syscall.SIGTERM)
	if doc := s.clean(r, 143); doc.Signal != "SIGTERM" {
		t.Errorf("the round was ended by %s", doc.Signal)
	}
}

// deaf is an ffmpeg that ignores SIGTERM and everybody who wants it to end.
const deaf = `case "$*" in *demuxer=rtsp*|*pipe,data*) exec ffmpeg "$@";; esac
trap '' TERM INT HUP
echo deaf >>"$HOME/deaf"
exec sleep 600
`

func TestSignal_secondEndsTheChildrenAtOnce(t *testing.T) {
	t.Parallel()
	for _, uid := range eitherUser(1) {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.Healthy, Name: "yard"}}, asUser(uid), withFFmpeg(deaf))
			// The grace of children is 500 ms: a camwarden that does not hurry cannot ever take less. On a busy host one that
			// does may take longer now and then.
			const grace, tries = 450 * time.Millisecond, 10
			for try := 1; ; try++ {
				_ = os.Remove(s.path("deaf"))
				r := s.start(s.round("office", "--timeout", "5m")...)
				eventually(t, func() error {
					text, _ := os.ReadFile(s.path("deaf"))
					if strings.Count(string(text), "deaf") < 2 {
						return fmt.Errorf("the stand-ins do not run: %s", r.stderr)
					}
					return nil
				})
				first := time.Now()
				r.signal(syscall.SIGTERM)
				eventually(t, func() error {
					if !strings.Contains(r.stderr.String(), "SIGTERM") {
						return fmt.Errorf("the first signal is not heard of: %s", r.stderr)
					}
					return nil
				})
				r.signal(syscall.SIGINT)
				eventually(t, func() error {
					if found := s.alive(); len(found) > 1 {
						return fmt.Errorf("alive: %v", found)
					}
					return nil
				})
				took := time.Since(first)
				doc := s.clean(r, 143)
				if doc.Summary.Failed != 2 || doc.visit("yard").class() != "cancelled" {
					t.Errorf("the document: %+v", doc)
				}
				if took < grace {
					t.Logf("the children were gone after %s, try %d", took.Round(time.Millisecond), try)
					return
				}
				if try == tries {
					t.Fatalf("the children were never gone before their grace had passed, the last time after %s", took)
				}
			}
		})
	}
}

// A reader that goes away after one line, as head does, neither ends a round nor spoils its work.
func TestStdout_lostReaderChangesNothing(t *testing.T) {
	t.Parallel()
	const talkative = "exec ffmpeg \"$@\"\n" // a script, which is warned of at the start, before any camera is visited
	for name, line := range map[string]string{
		"head":             `(camwarden "$@"; echo $? >code) 2>&1 | head -1 >first`,
		"true":             `(camwarden "$@"; echo $? >code) 2>&1 | true`,
		"stdout closed":    `camwarden "$@" >&-; echo $? >code`,
		"both closed":      `camwarden "$@" >&- 2>&-; echo $? >code`,
		"all three closed": `camwarden "$@" <&- >&- 2>&-; echo $? >code`,
		"stderr full":      `camwarden "$@" 2>/dev/full >report; echo $? >code`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.SilentAfterPlay}}, withFFmpeg(talkative))
			r := s.start(append([]string{"sh", "-c", line}, s.round("office", "-d", s.path("out"))...)...)
			r.ends(0)
			s.worked(r, 1, "healthy")
			if first, err := os.ReadFile(s.path("first")); err == nil && !strings.Contains(string(first), "is a script") {
				t.Errorf("head read %q, which is not what comes first", first)
			}
			r = s.start(append([]string{"sh", "-c", line}, s.round("well", "--source", "rtsp", "-d", s.path("out"))...)...)
			r.ends(0)
			s.worked(r, 0, "healthy")
		})
	}
}

// A report that cannot be written for another reason is told, and turns a 0 into a 1. The work is done all the same.
func TestStdout_fullDiskIsToldAndTheWorkIsDone(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.SilentAfterPlay}}, byRTSP)
	for _, subnet := range []string{"well", "office"} {
		r := s.start(append([]string{"sh", "-c", `camwarden "$@" >/dev/full; echo $? >code`}, s.round(subnet, "-d", s.path("out"))...)...)
		r.ends(0)
		s.worked(r, 1, "healthy")
		if !strings.Contains(r.stderr.String(), "cannot write the report to standard output") {
			t.Errorf("stderr: %s", r.stderr)
		}
	}
}

// worked demands the exit code that a shell wrote down, new and whole pictures of the cameras, and that nothing is left.
func (s *site) worked(r *run, code int, cameras ...string) {
	s.t.Helper()
	text, err := os.ReadFile(s.path("code"))
	check(s.t, err)
	if got, _ := strconv.Atoi(strings.TrimSpace(string(text))); got != code {
		s.t.Errorf("exit code %d, want %d: %s%s", got, code, r.stdout, r.stderr)
	}
	check(s.t, os.Remove(s.path("code")))
	for _, camera := range cameras {
		jpeg, err := os.ReadFile(s.path("out", camera, "latest.jpg"))
		if err != nil || !isWhole(jpeg) {
			s.t.Errorf("the picture of %s: %d bytes, %v", camera, len(jpeg), err)
		}
		check(s.t, os.RemoveAll(s.path("out", camera)))
	}
	if scraps, _ := filepath.Glob(s.path("out", "*", ".camwarden-*")); len(scraps) > 0 {
		s.t.Errorf("scraps: %v", scraps)
	}
	s.nothingLeft(r)
}

// Cron gives next to nothing: no terminal, no HOME, a short PATH, no folder of one's own.
func TestRound_fromCron(t *testing.T) {
	t.Parallel()
	ffmpeg, _ := exec.LookPath("ffmpeg")
	for _, uid := range eitherUser(1) {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Digest, Username: "viewer", Password: "p@ss/w#rd%&'ü"}, {Temper: camsim.Healthy}}, asUser(uid), byRTSP)
			bare := func(cmd *exec.Cmd) {
				cmd.Dir = "/"
				cmd.Env = []string{"PATH=" + filepath.Dir(ffmpeg) + ":/usr/bin:/bin"}
			}
			line := `exec "$0" "$@" <&-`
			cmdline := s.round("office", "-d", s.path("out"))
			cmdline[0] = s.path("bin", "camwarden")
			r := s.startWith(bare, append([]string{"sh", "-c", line}, cmdline...)...)
			doc := s.clean(r, 0)
			if doc.Summary.OK != 2 || r.stderr.String() != "" {
				t.Errorf("%+v, stderr: %s", doc, r.stderr)
			}
			// The next one, which comes too early, is passed over without a word that cron would send by mail.
			cmdline = append(cmdline, "-q", "--if-busy", "skip", "--cooldown", "1h", "-o", "table")
			r = s.startWith(bare, append([]string{"sh", "-c", line}, cmdline...)...)
			r.ends(0)
			if r.stdout.String() != "" || r.stderr.String() != "" {
				t.Errorf("cron would send a mail: %s%s", r.stdout, r.stderr)
			}
		})
	}
}
