package round

import (
	"context"
	"testing"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
)

type namedSource struct {
	capture.Source
	name string
}

func (s namedSource) Name() string                { return s.name }
func (s namedSource) Check(context.Context) error { return nil }

func TestJobs_auto(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		asked, cameras int
		source         string
		want           int
	}{
		"one camera":           {0, 1, "rtsp", 1},
		"twenty":               {0, 20, "rtsp", 20},
		"two hundred":          {0, 200, "rtsp", 64},
		"by HTTP first":        {0, 200, "http", 64},
		"an ffmpeg each":       {0, 200, "ffmpeg", 8},
		"go2rtc's ffmpeg each": {0, 200, "go2rtc", 8},
		"as many as asked for": {300, 10, "ffmpeg", 300},
	} {
		chain, err := capture.NewChain(t.Context(), []capture.Source{namedSource{name: c.source}})
		if err != nil {
			t.Fatal(err)
		}
		r := &runner{plan: Plan{Jobs: c.asked}, chain: chain, cams: make([]camera.Camera, c.cameras)}
		if got := r.jobs(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// The open files that are allowed hold it down, never to none.
func TestJobs_openFiles(t *testing.T) {
	t.Parallel()
	for files, want := range map[uint64]int{0: 1, 64: 1, 88: 2, 256: 16, 1024: 64, 1 << 63: 64} {
		if got := within(files); got != want {
			t.Errorf("%d files: %d visits, want %d", files, got, want)
		}
	}
}
