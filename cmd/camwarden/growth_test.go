package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// held is what testdata/manyrounds says about itself. Sizes are in bytes.
type held struct {
	Round, Pictures, Failures          int
	Goroutines, Threads, FDs, Children int
	Files                              int
	Heap, Resident                     int64
}

// TestSoakGrowth_twoHundredRounds looks at one process after 20 and after 200 rounds of eight cameras, of which two
// fail and one hangs.
func TestSoakGrowth_twoHundredRounds(t *testing.T) {
	testkit.Soak(t, "takes minutes")
	t.Parallel()
	for _, source := range []string{"ffmpeg", "rtsp"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			first, last := rounds(t, newWorkshop(t), source, 5, "20", "200")
			mustNotGrow(t, first, last)
		})
	}
}

// TestGrowth_sixRoundsHoldNoMoreThanThree is the same for those who have no time. It has more in a long run.
func TestGrowth_sixRoundsHoldNoMoreThanThree(t *testing.T) {
	t.Parallel()
	few, many := "3", "6"
	if testkit.IsLong() {
		few, many = "4", "9"
	}
	first, last := rounds(t, newWorkshop(t), "ffmpeg", 2, few, many)
	mustNotGrow(t, first, last)
}

func mustNotGrow(t *testing.T, first, last held) {
	t.Helper()
	t.Logf("after %d rounds: %+v", first.Round, first)
	t.Logf("after %d rounds: %+v", last.Round, last)
	for what, counts := range map[string][2]int{
		"goroutines": {first.Goroutines, last.Goroutines}, "open files": {first.FDs, last.FDs},
		"children": {0, last.Children}, "files of the ledger": {first.Files, last.Files},
	} {
		if counts[1] > counts[0] {
			t.Errorf("%s grew from %d to %d", what, counts[0], counts[1])
		}
	}
	// The runtime keeps a thread for whatever blocked at once, and the heap's edge moves by what a collection left half full.
	// A leak of a kilobyte, or of a thread, a round would show all the same.
	if last.Threads > first.Threads+8 {
		t.Errorf("threads grew from %d to %d", first.Threads, last.Threads)
	}
	if last.Heap > first.Heap+160<<10 {
		t.Errorf("the heap grew from %d to %d bytes", first.Heap, last.Heap)
	}
	if last.Resident > first.Resident*5/4+4<<20 {
		t.Errorf("memory grew from %d to %d bytes", first.Resident, last.Resident)
	}
}

// rounds makes rounds in one process, of so many healthy cameras and three others, and returns what it held after the first
// and the last number of them.
func rounds(t *testing.T, w *workshop, source string, healthy int, few, many string) (first, last held) {
	t.Helper()
	config := w.cameras(fmt.Sprintf("gate*%d=healthy,locked=digest:viewer:secret,shut=refuses,hung=mute", healthy))
	cmd := w.command(w.build("testdata/manyrounds"), config, w.path("state"), w.path("pictures"), source, few, many)
	cmd.Stderr = os.Stderr
	began := time.Now()
	out, err := cmd.Output()
	check(t, err)
	t.Logf("%s rounds in %s", many, time.Since(began).Round(time.Second))
	answers := json.NewDecoder(strings.NewReader(string(out)))
	check(t, answers.Decode(&first))
	check(t, answers.Decode(&last))
	if last.Failures != 2*last.Round || last.Pictures != (healthy+1)*last.Round {
		t.Errorf("%d pictures and %d failures in %d rounds of %d cameras, of which two always fail", last.Pictures, last.Failures, last.Round, healthy+3)
	}
	return first, last
}
