package capture

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/supervise"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// odd is a password of everything that has ever broken a URL, a script or a shell.
const odd = `p@ss/w#rd%25&'quo"te\ =пароль密`

// workbench is a ledger of the test's own with a supervisor.
type workbench struct {
	ledger     *ledger.Ledger
	slots      slot.Table
	supervisor *supervise.Supervisor
}

func newWorkbench(t *testing.T) workbench {
	t.Helper()
	dir := t.TempDir()
	l, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}, proc.Default(), "test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := supervise.New(proc.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return workbench{ledger: l, slots: slot.Table{Ledger: l, FS: proc.Default()}, supervisor: s}
}

func (w workbench) source(program string) *FFmpeg {
	return NewFFmpeg(program, ffmpeg.Picturing{}, w.supervisor, w.slots)
}

// leases returns the kinds of what the ledger holds.
func (w workbench) leases(t *testing.T) []ledger.Kind {
	t.Helper()
	leases, torn, err := w.ledger.Read()
	if err != nil || len(torn) > 0 {
		t.Errorf("ledger: %v, torn %v", err, torn)
	}
	kinds := []ledger.Kind{}
	for _, l := range leases {
		kinds = append(kinds, l.Kind)
	}
	return kinds
}

// nowhere is a camera that no stand-in dials.
func nowhere() camera.Camera {
	return camera.Camera{
		ID: "gate", Host: "127.45.67.89", Port: 8554, Address: netip.MustParseAddrPort("127.45.67.89:8554"), Scheme: "rtsp",
		Path: "/stream1", Username: "viewer", MaxConnections: 2, Timeout: 10 * time.Second, SessionTimeout: time.Minute,
	}
}

func (w workbench) visit(t *testing.T, program string, v Visit, limit time.Duration) (Still, Report) {
	t.Helper()
	source := w.source(program)
	if err := source.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return source.Capture(ctx, v)
}

func TestFFmpeg_exitZeroIsNotTrusted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		behaviour string
		strict    bool
		class     fault.Class
	}{
		{"good", true, ""},
		{"half", false, fault.NotJPEG},
		{"twice", false, fault.NotJPEG},
		{"hole", true, fault.NotJPEG},
		{"empty", false, fault.NotJPEG},
		{"corrupt", false, fault.Decode},
		{"floods-stdout", false, fault.NotJPEG},
		{"floods-stderr", false, fault.Protocol},
		{"crashes", false, fault.Local},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorkbench(t)
			still, report := w.visit(t, testkit.FFmpegFor(t, c.behaviour), Visit{Camera: nowhere(), Password: odd, Strict: c.strict}, 5*time.Minute) // a flood takes seconds with the race detector
			if c.class == "" {
				if report.Err != nil || still.Width != 320 || still.Height != 180 || still.CapturedAt.IsZero() || still.Waited <= 0 {
					t.Errorf("%+v, %v", still, report.Err)
				}
			} else if report.Err == nil || report.Err.Class != c.class || !report.Dialled || len(still.JPEG) > 0 {
				t.Errorf("class %q, want %q (%+v)", fault.ClassOf(report.Err), c.class, report)
			}
			for _, kind := range w.leases(t) {
				if kind != ledger.Cooling || c.behaviour != "crashes" {
					t.Errorf("a lease of kind %s is left", kind)
				}
			}
		})
	}
}

func TestFFmpeg_ignoresTERMAndItsSlotCools(t *testing.T) {
	t.Parallel()
	for limit := time.Second; ; limit *= 3 {
		w, program := newWorkbench(t), testkit.FFmpegFor(t, "deaf")
		began := time.Now()
		_, report := w.visit(t, program, Visit{Camera: nowhere()}, limit)
		took := time.Since(began)
		if _, err := os.Stat(program + ".deaf"); err != nil && limit < time.Minute {
			continue // on a busy host it was told to end before it had come to ignore that
		}
		if took > limit+20*time.Second {
			t.Errorf("took %s", took)
		}
		if report.Err == nil || report.Err.Class != fault.Timeout || !report.Dialled {
			t.Errorf("%+v", report)
		}
		if kinds := w.leases(t); len(kinds) != 1 || kinds[0] != ledger.Cooling {
			t.Errorf("leases %v, want one that cools: nobody knows how far it had come", kinds)
		}
		return
	}
}

func TestACancelledVisitIsNotCalledATimeout(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	source := w.source(testkit.FFmpegFor(t, "deaf"))
	if err := source.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	time.AfterFunc(500*time.Millisecond, cancel)
	if _, report := source.Capture(ctx, Visit{Camera: nowhere()}); report.Err == nil || report.Err.Class != fault.Cancelled {
		t.Errorf("%+v", report)
	}
}

func TestFFmpeg_passwordByStdinAndNowhereElse(t *testing.T) {
	t.Parallel()
	for _, behaviour := range testkit.Some([]string{"tells", "floods-stderr", "half"}, "tells", "half") {
		w := newWorkbench(t)
		program := testkit.FFmpegFor(t, behaviour)
		_, report := w.visit(t, program, Visit{Camera: nowhere(), Password: odd}, 20*time.Second)
		if report.Err == nil {
			t.Fatalf("%s: no error", behaviour)
		}
		told, err := os.ReadFile(program + ".args")
		if err != nil {
			t.Fatal(err)
		}
		stdin, err := os.ReadFile(program + ".stdin")
		if err != nil || !strings.Contains(string(stdin), "viewer:") {
			t.Fatalf("%s: the log-in is not in the script: %v", behaviour, err)
		}
		for where, text := range map[string]string{"arguments or environment": string(told), "message": report.Err.Message, "hint": report.Err.Hint} {
			for _, spelling := range []string{odd, "p@ss", "p%40ss", "w%23rd", "%D0%BF", "пароль", "quo"} {
				if strings.Contains(text, spelling) {
					t.Errorf("%s: %q stands in the %s", behaviour, spelling, where)
				}
			}
		}
	}
}

func TestFFmpeg_oldGetsTheURLAsAnArgument(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	program := testkit.FFmpegFor(t, "old")
	source := w.source(program)
	if err := source.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if notices := strings.Join(source.Notices(), "\n"); !strings.Contains(notices, "argument list") || !strings.Contains(notices, "9.9-standin") {
		t.Errorf("notices %q", notices)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, report := source.Capture(ctx, Visit{Camera: nowhere(), Password: odd})
	told, _ := os.ReadFile(program + ".args")
	if !strings.Contains(string(told), "-stimeout ") || strings.Contains(string(told), " -timeout ") || !strings.Contains(string(told), "-i rtsp://viewer:") {
		t.Errorf("arguments %s", told)
	}
	if report.Err == nil || report.Err.Class != fault.NotFound || strings.Contains(report.Err.Message+report.Err.Hint, "p%40ss") {
		t.Errorf("%+v", report.Err)
	}
}

func TestAModernFFmpegGivesNoCauseForANotice(t *testing.T) {
	t.Parallel()
	source := newWorkbench(t).source(testkit.FFmpegFor(t, "good"))
	if err := source.Check(t.Context()); err != nil || len(source.Notices()) != 0 {
		t.Errorf("%v, notices %q", err, source.Notices())
	}
}

func TestAWrapperScriptAndASetUIDFFmpegAreNoticed(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec '"+testkit.FFmpegFor(t, "good")+"' \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	setUID := filepath.Join(t.TempDir(), "ffmpeg-good")
	copyFile(t, self, setUID)
	if err := os.Chmod(setUID, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	for path, word := range map[string]string{script: "script", setUID: "set-uid"} {
		w := newWorkbench(t)
		source := w.source(path)
		if err := source.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if notices := strings.Join(source.Notices(), "\n"); !strings.Contains(notices, word) || !strings.Contains(notices, path) {
			t.Errorf("%s: notices %q", word, notices)
		}
		if _, report := w.visit(t, path, Visit{Camera: nowhere()}, 20*time.Second); report.Err != nil {
			t.Errorf("%s: %v", word, report.Err)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNoFFmpegIsNoSource(t *testing.T) {
	t.Parallel()
	for _, program := range []string{filepath.Join(t.TempDir(), "absent"), "no-such-ffmpeg-in-path", t.TempDir(), testkit.FFmpegFor(t, "not")} {
		w := newWorkbench(t)
		err := fault.From(w.source(program).Check(t.Context()), "", "")
		if err == nil || err.Class != fault.NoSource && err.Class != fault.Local || err.Hint == "" {
			t.Errorf("%s: %+v", program, err)
		}
		if _, err := NewChain(t.Context(), []Source{w.source(program)}); fault.ClassOf(err) != fault.NoSource {
			t.Errorf("%s: the chain says %v", program, err)
		}
		if _, report := w.source(program).Capture(t.Context(), Visit{Camera: nowhere()}); report.Err == nil || report.Dialled {
			t.Errorf("%s: %+v", program, report)
		}
		if kinds := w.leases(t); len(kinds) > 0 {
			t.Errorf("%s: leases left: %v", program, kinds)
		}
	}
}

func TestACheckThatWasCutShortIsMadeAgain(t *testing.T) {
	t.Parallel()
	source := newWorkbench(t).source(testkit.FFmpegFor(t, "good"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := source.Check(ctx); fault.ClassOf(err) != fault.Cancelled {
		t.Errorf("cancelled check: %v", err)
	}
	if err := source.Check(t.Context()); err != nil {
		t.Errorf("next check: %v", err)
	}
}
