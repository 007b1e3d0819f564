package camsim_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// TestACameraThatFailsIsAnEmptyAnswer is the table of faults: what a picture of a failing camera costs, with the option
// that keeps go2rtc from asking for a loudspeaker, and without.
func TestACameraThatFailsIsAnEmptyAnswer(t *testing.T) {
	t.Parallel()
	const hurry = time.Second
	for temper, want := range map[camsim.Temper]struct {
		waits   int // in units of patience, with the option
		doubles int // how many connections there are without it
		leaks   bool
		says    string // the probe
	}{
		camsim.Refuses:         {0, 0, false, "streams: dial tcp ADDRESS: connect: connection refused\n"},
		camsim.DropsSYN:        {1, 0, false, "streams: dial tcp ADDRESS: i/o timeout\n"},
		camsim.MuteAtConnect:   {1, 2, true, "->ADDRESS: i/o timeout\n"},
		camsim.MuteAtDescribe:  {1, 2, true, "->ADDRESS: i/o timeout\n"},
		camsim.MuteAtSetup:     {1, 2, false, "->ADDRESS: i/o timeout\n"},
		camsim.ClosesAtConnect: {0, 2, false, "streams: "},
		camsim.WrongPassword:   {0, 2, true, "streams: wrong user/pass\n"},
		camsim.NotFound:        {0, 2, true, "streams: wrong response on DESCRIBE\n"},
		camsim.Unavailable:     {0, 2, true, "streams: wrong response on DESCRIBE\n"},
		camsim.GarbageAnswers:  {0, 2, true, "streams: "},
		camsim.BusyAtSetup:     {0, 2, false, "streams: wrong response on SETUP\n"},
	} {
		few := []camsim.Temper{camsim.Refuses, camsim.MuteAtDescribe, camsim.MuteAtSetup, camsim.WrongPassword, camsim.BusyAtSetup, camsim.GarbageAnswers}
		if !slices.Contains(testkit.Some(camsim.Tempers(), few...), temper) {
			continue
		}
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			for _, option := range []bool{true, false} {
				camera := start(t, camsim.Config{Temper: temper, Username: "user", Password: "secret"})
				// The answer to be read late is that of a machine that is busy, so nothing is said of too late.
				r := startRelay(t, camsim.Go2rtcConfig{Patience: hurry, Leak: 3 * time.Second})
				source, connections, waits := camera.LoginURL(), want.doubles, want.waits*max(1, want.doubles)
				if option {
					source, connections, waits = source+safe, (want.doubles+1)/2, want.waits
				}
				r.call(200, "PATCH", "/api/streams", "name", "cw-1", "src", source)
				began := time.Now()
				got := r.call(200, "GET", "/api/frame.jpeg", "src", "cw-1")
				took := time.Since(began)
				if got.body != "" || got.kind != "" || took < time.Duration(waits)*hurry {
					t.Errorf("with the option %v: %q of kind %q after %s, want nothing after %s", option, got.body, got.kind, took, time.Duration(waits)*hurry)
				}
				d := r.Dials(camera)
				failed := 0
				if temper == camsim.WrongPassword {
					failed = connections
				}
				leaked := 0
				if want.leaks {
					leaked = connections
				}
				if d.Ever != connections || d.LoginsFailed != failed || d.Leaked != leaked || d.Open != leaked {
					t.Errorf("with the option %v: it counts %+v, want %d connections, %d leaked, %d failed log-ins", option, d, connections, leaked, failed)
				}
				if c := camera.Counts(); c.LoginsFailed != failed {
					t.Errorf("with the option %v: the camera counts %+v", option, c)
				}
				if s := r.look("cw-1"); !idle(s) {
					t.Errorf("the stream is %+v: leaked sockets are not shown", s)
				}
				says := r.call(500, "GET", "/api/streams", "src", "cw-1", "video", "all").body
				if words := strings.ReplaceAll(want.says, "ADDRESS", camera.Address().String()); !strings.Contains(says, words) {
					t.Errorf("the probe says %q, want %q", says, words)
				}
				r.holdsUntil(camera, "the garbage collector has come", func(d camsim.Go2rtcDials) bool { return d.Open == 0 && d.Leaked == 0 })
			}
		})
	}
}

func TestAProbeConnectsAndLeaves(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{})
	for _, temper := range []camsim.Temper{camsim.Healthy, camsim.SilentAfterPlay, camsim.ClosesAtPlay} { // all are reachable
		camera := start(t, camsim.Config{Temper: temper})
		r.register("cw-1", camera)
		got := r.call(200, "GET", "/api/streams", "src", "cw-1", "video", "all").body
		if !strings.Contains(got, `"format_name": "probe"`) || !strings.Contains(got, `"remote_addr": "`+camera.Address().String()+`"`) {
			t.Errorf("%s: %s", temper, got)
		}
		eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 && c.ConnectionsTotal >= 1 })
		r.until("cw-1", "idle again", idle)
	}
	r.call(404, "GET", "/api/streams", "src", "nobody", "video", "all")
	if c := r.Counts(); c.Probes != 4 {
		t.Errorf("counts %+v", c)
	}
}

func TestDialsOfOneStreamWaitForEachOther(t *testing.T) {
	t.Parallel()
	const hurry = 300 * time.Millisecond
	camera := start(t, camsim.Config{Temper: camsim.MuteAtConnect})
	r := startRelay(t, camsim.Go2rtcConfig{Patience: hurry})
	r.register("cw-1", camera)
	began := time.Now()
	var asked sync.WaitGroup
	ctx, giveUp := context.WithCancel(t.Context())
	asked.Go(func() { r.try(ctx, "GET", "/api/frame.jpeg", "src", "cw-1") })
	r.counts("the first has come", func(c camsim.Go2rtcCounts) bool { return c.Frames == 1 })
	giveUp() // which does not shorten the queue
	for range 3 {
		asked.Go(func() { r.call(200, "GET", "/api/frame.jpeg", "src", "cw-1") })
	}
	if s := r.look("cw-1"); !idle(s) {
		t.Errorf("while it is dialled the stream is %+v", s)
	}
	asked.Wait()
	if took := time.Since(began); took < 4*hurry {
		t.Errorf("four dials took %s, want at least %s", took, 4*hurry)
	}
	if d := r.Dials(camera); d.Ever != 4 {
		t.Errorf("it counts %+v", d)
	}
}

func TestWithoutFFmpegOnlyMJPEGGivesPictures(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{NoFFmpeg: true})
	jpegs, h264 := start(t, camsim.Config{Temper: camsim.Healthy, Codec: camsim.MJPEG}), start(t, camsim.Config{Temper: camsim.Healthy})
	r.register("cw-1", jpegs)
	r.register("cw-2", h264)
	r.picture("cw-1", jpegs)
	if got := r.call(500, "GET", "/api/frame.jpeg", "src", "cw-2"); got.body != "fork/exec ffmpeg: no such file or directory\n" {
		t.Errorf("without ffmpeg: %q", got.body)
	}
	eventually(t, h264, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
}
