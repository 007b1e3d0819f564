package round_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/slot"
)

// On a small or busy host many visits at once wait for their ffmpegs to be loaded. None of that is the cameras' time: here all
// places are taken, twice over, by ffmpegs that hang before their first word, and whoever comes last still has his whole time-out.
func TestRound_waitForFFmpegIsNoVisitTime(t *testing.T) {
	t.Parallel()
	const aPlaceIsKept = 2 * time.Second // by an ffmpeg that says nothing
	hang := 2 * 2 * runtime.GOMAXPROCS(0)
	tempers := make([]camsim.Temper, hang+1)
	for i := range tempers {
		tempers[i] = camsim.Healthy
	}
	b := setUp(t, subnet(t, tempers...)...)
	b.plan.Jobs, b.plan.Timeout = len(tempers), 2*aPlaceIsKept
	b.deps.Sources = []capture.Source{capture.NewFFmpeg(hangsAtFirst(t, hang), ffmpeg.Picturing{}, b.supervisor, slot.Table{Ledger: b.book, FS: b.deps.FS})}
	report := b.run()
	if report.Summary.OK != 1 || report.Summary.Failed != hang {
		t.Errorf("%+v", report.Summary)
	}
	for _, v := range report.Visits {
		if limit := b.plan.Timeout + time.Second; time.Duration(v.DurationMS)*time.Millisecond > limit {
			t.Errorf("%s took %d ms of %s", v.Camera, v.DurationMS, limit)
		}
		if v.Skipped {
			t.Errorf("%s was skipped: %v", v.Camera, v.Error)
		}
	}
	mustBeClean(t, report)
}

// hangsAtFirst is an ffmpeg of which the first so many that are to take a picture do nothing.
func hangsAtFirst(t *testing.T, count int) string {
	t.Helper()
	found, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`#!/bin/sh
case "$*" in
*pipe:1)
	n=0
	while [ $n -lt %d ]; do
		mkdir "$0.$n" 2>/dev/null && exec sleep 60
		n=$((n+1))
	done ;;
esac
exec %s "$@"
`, count, found)
	path := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
