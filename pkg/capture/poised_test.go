package capture

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestPoised_readyForAnOnlyVisit(t *testing.T) {
	t.Parallel()
	sim, cam := start(t, camsim.Config{Temper: camsim.LateKeyFrame})
	w := newWorkbench(t)
	program, calls := testkit.CountCalls(t, testkit.FFmpegFor(t, "good"))
	source := w.rtsp(program, ffmpeg.Picturing{})
	done := make(chan Report, 1)
	go func() {
		_, report := capture(t, source, Visit{Camera: cam}, time.Minute)
		done <- report
	}()
	for began := time.Now(); calls() == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("it was not started")
		}
	}
	if c := sim.Counts(); c.Connections != 1 || c.Sessions != 1 { // and it reads until its end of file, so it cannot have ended
		t.Errorf("it was not started while the key frame was awaited: %+v", c)
	}
	if report := <-done; report.Err != nil {
		t.Fatal(report.Err)
	}
	if calls() != 1 {
		t.Errorf("%d processes for one picture", calls())
	}
	if given, err := os.ReadFile(filepath.Join(filepath.Dir(standInOf(t, program)), "ffmpeg-good.stdin")); err != nil || !bytes.HasPrefix(given, []byte{0, 0, 0, 1}) {
		t.Errorf("it was given %d bytes, %v", len(given), err)
	}
	if kinds := w.leases(t); len(kinds) > 0 {
		t.Errorf("leases %v", kinds)
	}
}

// standInOf reads from a counting program which one it becomes.
func standInOf(t *testing.T, program string) string {
	t.Helper()
	script, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(script), "exec '")
	path, _, _ := strings.Cut(rest, "'")
	return path
}

func TestAnFFmpegThatWasReadyInVainIsGone(t *testing.T) {
	t.Parallel()
	for _, behaviour := range []string{"good", "deaf", "hangs"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			_, cam := start(t, camsim.Config{Temper: camsim.SilentAfterPlay})
			w := newWorkbench(t)
			program, calls := testkit.CountCalls(t, testkit.FFmpegFor(t, behaviour))
			began := time.Now()
			_, report := capture(t, w.rtsp(program, ffmpeg.Picturing{}), Visit{Camera: cam}, 4*time.Second)
			if report.Err == nil || report.Err.Class != fault.Timeout || report.Err.Step != fault.Media {
				t.Errorf("%+v", report.Err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
			if calls() != 1 {
				t.Errorf("%d processes", calls())
			}
			for _, kind := range w.leases(t) {
				if kind != "cooling" {
					t.Errorf("a lease of kind %s", kind)
				}
			}
		})
	}
}

func TestPoised_notStartedForManyVisits(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	program, calls := testkit.CountCalls(t, testkit.FFmpegFor(t, "good"))
	source := w.rtsp(program, ffmpeg.Picturing{})
	var all, visits sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 3 {
		sim, cam := start(t, camsim.Config{Temper: camsim.SilentAfterPlay})
		all.Go(func() {
			for sim.Counts().Sessions == 0 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
		})
		source.decoder.Enter() // as if it had just begun
		visits.Go(func() {
			defer source.decoder.Leave()
			visit, end := context.WithTimeout(ctx, time.Minute)
			defer end()
			_, _ = source.Capture(visit, Visit{Camera: cam})
		})
	}
	all.Wait()
	if n := calls(); n != 0 {
		t.Errorf("%d were started", n)
	}
	cancel()
	visits.Wait()
}
