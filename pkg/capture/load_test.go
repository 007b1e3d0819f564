package capture

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// A dozen that are started at once would all be ready at the same late moment. Once loaded, they wait for their cameras together.
func TestOfManyFFmpegsOnlyTwoForEachProcessorAreLoadedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	program := standInFor(t, "loads")
	source := w.source(program)
	places := 2 * runtime.GOMAXPROCS(0)
	cam := nowhere()
	cam.MaxConnections = 4 * places
	var all sync.WaitGroup
	for range 4 * places {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, report := source.Capture(ctx, Visit{Camera: cam}); report.Err != nil {
				t.Error(report.Err)
			}
		})
	}
	all.Wait()
	if loads, most := mostAtOnce(t, program, "load"); loads != 4*places || most > places {
		t.Errorf("%d were loaded, %d at once, where %d may be", loads, most, places)
	}
	if _, most := mostAtOnce(t, program, "life"); most <= places {
		t.Errorf("only %d waited for their cameras at once", most)
	}
}

func TestAVisitThatFindsNoPlaceToLoadItsFFmpegInTimeIsNotTried(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	source := w.source(standInFor(t, "good"))
	check := func(ctx context.Context, want fault.Class) {
		t.Helper()
		_, report := source.Capture(ctx, Visit{Camera: nowhere()})
		if report.Err == nil || report.Err.Class != want || report.Dialled {
			t.Errorf("%+v, want class %s", report, want)
		}
	}
	if err := source.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range cap(source.loading) { // others have all of them
		source.loading <- struct{}{}
	}
	late, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	check(late, fault.Deadline)
	over, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("the round is over"))
	defer cancel()
	check(over, fault.Deadline)
	ended, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	check(ended, fault.Cancelled)
	if kinds := w.leases(t); len(kinds) != 0 {
		t.Errorf("leases are left: %v", kinds)
	}
}

// Whoever never says a word must not keep the rest from their cameras.
func TestAnFFmpegThatSaysNothingKeepsItsPlaceForAWhileOnly(t *testing.T) {
	t.Parallel()
	source := newWorkbench(t).source("ffmpeg")
	ctx, cancel := context.WithTimeout(t.Context(), 10*loadLimit)
	defer cancel()
	for range cap(source.loading) + 1 {
		if _, problem := source.load(ctx); problem != nil {
			t.Fatal(problem)
		}
	}
}
