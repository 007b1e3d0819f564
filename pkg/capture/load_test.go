package capture

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// A dozen that are started at once would all be ready at the same late moment. Once loaded, they wait for their cameras together.
func TestLoad_twoFFmpegsForEachProcessor(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	program := testkit.FFmpegFor(t, "loads")
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
	if loads, most := testkit.MostAtOnce(t, program, "load"); loads != 4*places || most > places {
		t.Errorf("%d were loaded, %d at once, where %d may be", loads, most, places)
	}
	if _, most := testkit.MostAtOnce(t, program, "life"); most <= places {
		t.Errorf("only %d waited for their cameras at once", most)
	}
}

func TestLoad_noPlaceInTimeIsNotTried(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	source := w.source(testkit.FFmpegFor(t, "good"))
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
	ended, cancel := context.WithTimeout(t.Context(), time.Minute)
	time.AfterFunc(50*time.Millisecond, cancel)
	check(ended, fault.Cancelled)
	if kinds := w.leases(t); len(kinds) != 0 {
		t.Errorf("leases are left: %v", kinds)
	}
}

// Whoever never says a word must not keep the rest from their cameras.
func TestLoad_silentFFmpegKeepsItsPlaceAWhile(t *testing.T) {
	t.Parallel()
	source := newWorkbench(t).source("ffmpeg")
	ctx, cancel := context.WithTimeout(t.Context(), 10*loadLimit)
	defer cancel()
	for range cap(source.loading) + 1 {
		if _, entered := source.enter(ctx); !entered {
			t.Fatal("no place became free")
		}
	}
}

// Who was let in before the visit began does not wait once more.
func TestAVisitThatHasItsRoomNeedsNoOther(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	source := w.source(testkit.FFmpegFor(t, "good"))
	chain, err := NewChain(t.Context(), []Source{source, w.rtsp("ffmpeg", ffmpeg.Picturing{})})
	if err != nil {
		t.Fatal(err)
	}
	room, _ := source.enter(t.Context())
	room.unused = time.AfterFunc(time.Hour, room.leave)
	for range cap(source.loading) - 1 { // others have the rest
		source.loading <- struct{}{}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if none := chain.Room(ended); none.leave != nil {
		t.Error("there was room for one more")
	}
	var next sync.WaitGroup
	next.Go(func() { source.loading <- struct{}{} }) // and stays, so whoever waits once more gets none
	result := chain.Visit(t.Context(), Visit{Camera: nowhere(), Timeout: 20 * time.Second, Room: room})
	if result.Err != nil || result.Source != "ffmpeg" {
		t.Errorf("%+v", result)
	}
	next.Wait()
	room.Leave() // again
	if taken := len(source.loading); taken != cap(source.loading) {
		t.Error("a place was given back twice")
	}
}

// A camera whose name does not resolve must not keep others from theirs.
func TestARoomThatIsNotUsedIsGivenToOthers(t *testing.T) {
	t.Parallel()
	source := newWorkbench(t).source("ffmpeg")
	chain := Chain{sources: []Source{source}}
	room := chain.Room(t.Context())
	for began := time.Now(); len(source.loading) > 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second { // the slot may come free only in a minute
			t.Fatal("it is kept")
		}
	}
	if room.use() {
		t.Error("what was given back may be used")
	}
}

func TestASourceThatStartsNothingHeavyNeedsNoRoom(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	source := w.source(testkit.FFmpegFor(t, "good"))
	chain, err := NewChain(t.Context(), []Source{w.rtsp("ffmpeg", ffmpeg.Picturing{}), source})
	if err != nil {
		t.Fatal(err)
	}
	room := chain.Room(t.Context())
	room.Leave()
	Chain{}.Room(t.Context()).Leave()
	if taken := len(source.loading); taken != 0 {
		t.Errorf("%d places are taken for a source that may never be tried", taken)
	}
}

// A recorder has many channels behind one address. Those that wait for one of its connections must not keep other cameras
// from theirs.
func TestLoad_waitingForASlotGivesRoom(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	program := testkit.FFmpegFor(t, "loads")
	source := w.source(program)
	if err := source.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	chain, err := NewChain(t.Context(), []Source{source})
	if err != nil {
		t.Fatal(err)
	}
	cam := nowhere()
	cam.MaxConnections = 1
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			result := chain.Visit(t.Context(), Visit{Camera: cam, Timeout: time.Minute, Room: chain.Room(t.Context())})
			if result.Err != nil {
				t.Error(result.Err)
			}
		})
	}
	for len(w.leases(t)) == 0 {
		time.Sleep(time.Millisecond)
	}
	for began := time.Now(); len(source.loading) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 10*unusedLimit {
			t.Error("the one that waits for the slot keeps its room")
			break
		}
	}
	both.Wait()
	if loads, most := testkit.MostAtOnce(t, program, "load"); loads != 2 || most > 1 {
		t.Errorf("%d were loaded, %d at once", loads, most)
	}
}
