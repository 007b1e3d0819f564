package camsim_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// ffmpegRun is what ffmpeg made of a camera.
type ffmpegRun struct {
	exit    int // -1: ended by us
	took    time.Duration
	stderr  string
	picture string
}

// trial is how ffmpeg is run: it gives up by itself when it waits longer than patience for a byte, and is killed after limit.
type trial struct {
	transport       string
	patience, limit time.Duration
}

// fair is a trial that a camera which gives a picture passes, on however busy a machine.
func fair(transport string) trial { return trial{transport, 30 * time.Second, time.Minute} }

// ffmpeg takes one picture with ffmpeg.
func ffmpeg(t *testing.T, url string, trial trial) ffmpegRun {
	t.Helper()
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: apt-get install ffmpeg")
	}
	ctx, cancel := context.WithTimeout(t.Context(), trial.limit)
	defer cancel()
	run := ffmpegRun{picture: filepath.Join(t.TempDir(), "picture.jpg")}
	cmd := exec.CommandContext(ctx, program, "-nostdin", "-hide_banner", "-loglevel", "error",
		"-rtsp_transport", trial.transport, "-timeout", strconv.FormatInt(trial.patience.Microseconds(), 10), "-i", url, "-frames:v", "1", "-q:v", "2", "-f", "image2", run.picture)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	err = cmd.Run()
	run.took, run.stderr, run.exit = time.Since(began), stderr.String(), cmd.ProcessState.ExitCode()
	if err != nil && run.exit == 0 {
		t.Fatal(err)
	}
	return run
}

// bar returns the colour of the bar on top of a picture file.
func bar(t *testing.T, path string) color.RGBA {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	picture, err := jpeg.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := picture.Bounds().Size(), image.Pt(640, 360); got != want {
		t.Errorf("the picture is %v, want %v", got, want)
	}
	return color.RGBAModel.Convert(picture.At(320, 12)).(color.RGBA)
}

// near allows for what JPEG and limited range do to a pure colour.
func near(got color.RGBA, r, g, b int) bool {
	far := func(a uint8, b int) bool { return int(a)-b > 30 || b-int(a) > 30 }
	return !far(got.R, r) && !far(got.G, g) && !far(got.B, b)
}

func TestEachPictureOfAHealthyCameraIsToldByItsBar(t *testing.T) {
	t.Parallel()
	for picture, want := range [][3]int{{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}} {
		t.Run(fmt.Sprint(picture), func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: camsim.Healthy, Picture: picture})
			run := ffmpeg(t, camera.URL(), fair("tcp"))
			if run.exit != 0 {
				t.Fatalf("exit %d: %s", run.exit, run.stderr)
			}
			if got := bar(t, run.picture); !near(got, want[0], want[1], want[2]) {
				t.Errorf("the bar is %v, want %v", got, want)
			}
			eventually(t, camera, "nothing open, one TEARDOWN", func(c camsim.Counts) bool {
				return c.Connections == 0 && c.Sessions == 0 && c.Teardowns == 1
			})
		})
	}
}

// TestWhatFFmpegMakesOfEachTemper is why there are tempers: each shows ffmpeg in another trouble.
// A run that has to be ended by us is one that no time-out option of ffmpeg would have ended.
func TestWhatFFmpegMakesOfEachTemper(t *testing.T) {
	t.Parallel()
	const hangs = -1
	expected := map[camsim.Temper]struct {
		exit int
		says string
		wait time.Duration // ffmpeg's own time-out, where that ends it, or should
	}{
		camsim.Healthy:         {exit: 0},
		camsim.Digest:          {exit: 0},
		camsim.Basic:           {exit: 0},
		camsim.Slow:            {exit: 0},
		camsim.LateKeyFrame:    {exit: 0},
		camsim.LimitedSlots:    {exit: 0},
		camsim.LingeringSlots:  {exit: 0},
		camsim.LongGOP:         {exit: hangs, wait: 2 * time.Second},
		camsim.Refuses:         {exit: 1, says: "Connection refused"},
		camsim.DropsSYN:        {exit: 1, says: "failed: Connection timed out", wait: 2 * time.Second},
		camsim.ClosesAtConnect: {exit: 1, says: "Invalid data found"},
		camsim.MuteAtConnect:   {exit: 1, says: "Invalid data found", wait: time.Second},
		camsim.MuteAtOptions:   {exit: 1, says: "Invalid data found", wait: time.Second},
		camsim.MuteAtDescribe:  {exit: 1, says: "Invalid data found", wait: time.Second},
		camsim.MuteAtSetup:     {exit: 1, says: "Invalid data found", wait: time.Second},
		camsim.MuteAtPlay:      {exit: 1, says: ": Operation not permitted", wait: 2 * time.Second},
		camsim.ClosesAtPlay:    {exit: 1, says: ": Operation not permitted"},
		camsim.ResetsAtPlay:    {exit: 1, says: ": Operation not permitted"},
		camsim.SilentAfterPlay: {exit: 1, says: "does not contain any stream", wait: 2 * time.Second},
		camsim.RTCPOnly:        {exit: hangs, wait: 2 * time.Second},
		camsim.ResetsMidFrame:  {exit: 0, says: "error while decoding"}, // half a picture, and exit 0
		camsim.WrongPassword:   {exit: 1, says: "401 Unauthorized"},
		camsim.NotFound:        {exit: 1, says: "404 Not Found"},
		camsim.BusyAtSetup:     {exit: 1, says: "method SETUP failed: 453"},
		camsim.Unavailable:     {exit: 1, says: "failed: 503"},
		camsim.Redirects:       {exit: 0}, // it goes wherever a camera sends it
		camsim.GarbageMedia:    {exit: hangs, wait: 2 * time.Second},
		camsim.GarbageAnswers:  {exit: 1, says: "Invalid data found", wait: time.Second},
	}
	few := []camsim.Temper{camsim.Healthy, camsim.Digest, camsim.Refuses, camsim.MuteAtDescribe, camsim.ClosesAtPlay, camsim.ResetsMidFrame}
	for _, temper := range testkit.Some(camsim.Tempers(), few...) {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			want, known := expected[temper]
			if !known {
				t.Fatal("this temper has no line in the table")
			}
			config := camsim.Config{Temper: temper, Username: "user", Password: "secret"}
			if temper == camsim.LateKeyFrame {
				config.Delay = time.Second
			}
			camera := start(t, config)
			how := fair("tcp")
			if want.wait > 0 {
				how.patience = want.wait
			}
			if want.exit == hangs {
				how.limit = 5 * want.wait / 2
			}
			run := ffmpeg(t, camera.LoginURL(), how)
			if run.exit != want.exit || !strings.Contains(run.stderr, want.says) || run.took < want.wait*9/10 {
				t.Errorf("exit %d after %s: %s\nwant exit %d, %q, at least %s",
					run.exit, run.took, run.stderr, want.exit, want.says, want.wait)
			}
			eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 && c.Sessions == 0 })
			if counts := camera.Counts(); counts.ConnectionsMost > 1 || (temper == camsim.Redirects) != (counts.Followed == 1) {
				t.Errorf("one ffmpeg, counted %+v", counts)
			}
		})
	}
}
