package ffmpeg

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// crowd decodes the frames at a moment when each finds all places taken and all others waiting, and returns what each got.
func crowd(t *testing.T, d *Decoder, limit time.Duration, frames map[string][]byte) (map[string][]byte, map[string]*fault.Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	d.free = 0
	var all sync.WaitGroup
	var mu sync.Mutex
	pictures, errs := map[string][]byte{}, map[string]*fault.Error{}
	for name, frame := range frames {
		all.Go(func() {
			picture, err := d.Decode(ctx, name, "h264", frame)
			mu.Lock()
			defer mu.Unlock()
			pictures[name], errs[name] = picture, err
		})
	}
	waiting := func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.queue) == len(frames)
	}
	for began := time.Now(); !waiting(); time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("they do not wait")
		}
	}
	d.freeOne()
	all.Wait()
	return pictures, errs
}

// freeOne frees a place, as if whoever had it were done.
func (d *Decoder) freeOne() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free++
	d.begin()
}

func TestBatch_eachFrameGetsItsOwnPicture(t *testing.T) {
	t.Parallel()
	ffmpeg, calls := testkit.CountCalls(t, testkit.RealFFmpeg(t))
	w := newWorkbench(t)
	d := w.decoder(ffmpeg)
	frames := map[string][]byte{}
	for i := range batchMost + 2 { // each of a size of its own
		frames[fmt.Sprintf("cam%d", i)] = colouredFrame(t, 64+16*i, 48+16*i)
	}
	pictures, errs := crowd(t, d, time.Minute, frames)
	for name, frame := range frames {
		alone, err := w.decoder(ffmpeg).Decode(t.Context(), name, "h264", frame)
		if errs[name] != nil || err != nil || !bytes.Equal(pictures[name], alone) {
			t.Errorf("%s: together %d bytes, %v; alone %d bytes, %v", name, len(pictures[name]), errs[name], len(alone), err)
		}
	}
	if n := calls() - len(frames); n != 2 {
		t.Errorf("%d frames were decoded by %d processes, want 2", len(frames), n)
	}
	if kinds := w.leases(t); len(kinds) > 0 {
		t.Errorf("leases %v", kinds)
	}
}

func TestAFrameThatIsWrongSpoilsNobodyElsesPicture(t *testing.T) {
	t.Parallel()
	good := colouredFrame(t, 320, 240)
	for name, wrong := range map[string][]byte{
		"garbage":            bytes.Repeat([]byte("garbage"), 1000),
		"cut in the middle":  good[:len(good)*2/3],
		"nothing":            {0},
		"too large":          canvas(16384, 16384, 300),
		"large, and missing": canvas(8192, 5120, 300), // only alone it may be so large
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorkbench(t)
			frames := map[string][]byte{"wrong": wrong}
			for i := range 3 {
				frames[fmt.Sprintf("cam%d", i)] = good
			}
			pictures, errs := crowd(t, w.decoder(testkit.RealFFmpeg(t)), time.Minute, frames)
			alone, err := w.decoder(testkit.RealFFmpeg(t)).Decode(t.Context(), "alone", "h264", good)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if name := fmt.Sprintf("cam%d", i); errs[name] != nil || !bytes.Equal(pictures[name], alone) {
					t.Errorf("%s: %d bytes, %v", name, len(pictures[name]), errs[name])
				}
			}
			if err := errs["wrong"]; err == nil || err.Class != fault.Decode {
				t.Errorf("the wrong one: %d bytes, %+v", len(pictures["wrong"]), err)
			}
		})
	}
}

func TestWhatGoesWrongTogetherGoesWellAlone(t *testing.T) {
	t.Parallel()
	for _, behaviour := range []string{"hangs-together", "half-together"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorkbench(t)
			program, calls := testkit.CountCalls(t, testkit.FFmpegFor(t, behaviour))
			frames := map[string][]byte{}
			for i := range 4 {
				frames[fmt.Sprintf("cam%d", i)] = []byte("a key frame")
			}
			const limit = 24 * time.Second
			began := time.Now()
			pictures, errs := crowd(t, w.decoder(program), limit, frames)
			for name := range frames {
				if errs[name] != nil || len(pictures[name]) == 0 {
					t.Errorf("%s: %d bytes, %v", name, len(pictures[name]), errs[name])
				}
			}
			if took := time.Since(began); behaviour == "hangs-together" && took < limit/4 {
				t.Errorf("they did not hang: %s", took)
			}
			if n := calls(); n != 1+len(frames) {
				t.Errorf("%d processes, want one for all and one for each", n)
			}
			if kinds := w.leases(t); len(kinds) > 0 {
				t.Errorf("leases %v", kinds)
			}
		})
	}
}

func TestBatch_cancelledEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	program, calls := testkit.CountCalls(t, testkit.FFmpegFor(t, "hangs-together"))
	d := w.decoder(program)
	d.free = 0
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan *fault.Error, 4)
	for range cap(errs) {
		go func() {
			_, err := d.Decode(ctx, "gate", "h264", []byte("a key frame"))
			errs <- err
		}()
	}
	for began := time.Now(); calls() == 0; time.Sleep(time.Millisecond) {
		d.mu.Lock()
		ready := len(d.queue) == cap(errs)
		d.mu.Unlock()
		if ready {
			d.freeOne()
		}
		if time.Since(began) > time.Minute {
			t.Fatal("it was not started")
		}
	}
	cancel()
	began := time.Now()
	for range cap(errs) {
		if err := <-errs; err == nil || err.Class != fault.Cancelled {
			t.Errorf("%+v", err)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	if kinds := w.leases(t); len(kinds) > 0 {
		t.Errorf("leases %v", kinds)
	}
}

// colouredFrame is an H.264 key frame of the size, made by ffmpeg.
func colouredFrame(t *testing.T, width, height int) []byte {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command(testkit.RealFFmpeg(t), "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=1", width, height),
		"-frames:v", "1", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-f", "h264", "pipe:1")
	cmd.Stderr = &stderr
	frame, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return frame
}
