package capture

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// A dozen that are started at once would all be ready at the same late moment. Once loaded, they wait for their cameras together.
func TestAsManyFFmpegsAreLoadedAtOnceAsThereAreProcessors(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	program := standInFor(t, "loads")
	source := w.source(program)
	processors := cap(source.loading)
	cam := nowhere()
	cam.MaxConnections = 4 * processors
	var all sync.WaitGroup
	for range 4 * processors {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, report := source.Capture(ctx, Visit{Camera: cam}); report.Err != nil {
				t.Error(report.Err)
			}
		})
	}
	all.Wait()
	if loads, most := mostAtOnce(t, program, "load"); loads != 4*processors || most > processors {
		t.Errorf("%d were loaded, %d at once, where %d may be", loads, most, processors)
	}
	if _, most := mostAtOnce(t, program, "life"); most <= processors {
		t.Errorf("only %d waited for their cameras at once", most)
	}
}

func TestAnFFmpegThatFindsNoProcessorInTimeIsNotStarted(t *testing.T) {
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
	check(late, fault.Timeout)
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
