package ffmpeg

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func (w workbench) decoder(program string) *Decoder {
	return NewDecoder(program, Picturing{}, w.supervisor, w.ledger)
}

func TestADecodeThatGoesWrongSaysHow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		behaviour string
		limit     time.Duration
		class     fault.Class
	}{
		{"good", time.Minute, ""},
		{"empty", time.Minute, fault.Decode},
		{"corrupt", time.Minute, fault.Decode},
		{"floods-stdout", time.Minute, fault.NotJPEG},
		{"floods-stderr", time.Minute, fault.Decode},
		{"crashes", time.Minute, fault.Local},
		{"deaf", time.Second, fault.Timeout},
		{"hangs", time.Second, fault.Timeout},
		{"is-missing", time.Minute, fault.Local},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorkbench(t)
			program := testkit.FFmpegFor(t, c.behaviour)
			if c.behaviour == "is-missing" {
				program = filepath.Join(t.TempDir(), "no-such-ffmpeg")
			}
			ctx, cancel := context.WithTimeout(t.Context(), c.limit)
			defer cancel()
			began := time.Now()
			picture, err := w.decoder(program).Decode(ctx, "gate", "h264", []byte("a key frame"))
			if took := time.Since(began); c.class == fault.Timeout && took > c.limit+10*time.Second {
				t.Errorf("took %s", took)
			}
			switch {
			case c.class == "" && (err != nil || len(picture) == 0):
				t.Errorf("%v", err)
			case c.class != "" && (err == nil || err.Class != c.class || err.Step != fault.Decoding || err.Message == ""):
				t.Errorf("%+v, want %s", err, c.class)
			}
			if kinds := w.leases(t); len(kinds) > 0 {
				t.Errorf("leases %v", kinds)
			}
			if given, err := os.ReadFile(program + ".stdin"); err == nil && string(given) != "a key frame" {
				t.Errorf("it was given %q", given)
			}
		})
	}
}

func TestACancelledDecodeEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	_, err := w.decoder(testkit.FFmpegFor(t, "hangs")).Decode(ctx, "gate", "h264", []byte("a key frame"))
	if err == nil || err.Class != fault.Cancelled {
		t.Errorf("%+v", err)
	}
}

func TestDecode_asManyAsProcessors(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	program := testkit.FFmpegFor(t, "naps")
	d := w.decoder(program)
	var all sync.WaitGroup
	for range 3 * batchMost * runtime.GOMAXPROCS(0) { // whatever waits for a place is decoded up to batchMost at a time
		all.Go(func() {
			if _, err := d.Decode(t.Context(), "gate", "h264", []byte("a key frame")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	naps, most := testkit.MostAtOnce(t, program, "nap")
	if naps < 3*runtime.GOMAXPROCS(0) {
		t.Fatalf("%d were run", naps)
	}
	if most > runtime.GOMAXPROCS(0) {
		t.Errorf("%d at once on %d processors", most, runtime.GOMAXPROCS(0))
	}
}

func TestADecodeThatFindsNoProcessorInTimeSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	d := w.decoder(testkit.FFmpegFor(t, "good"))
	d.free = 0 // others have all of them
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := d.Decode(ctx, "gate", "h264", []byte("a key frame"))
	if err == nil || err.Class != fault.Timeout || err.Step != fault.Decoding || !strings.Contains(err.Hint, "-j") {
		t.Errorf("%+v", err)
	}
}

// bits writes the syntax elements of Rec. ITU-T H.264 section 7.3.
type bits struct{ text strings.Builder }

func (b *bits) u(width, value int) {
	text := strconv.FormatInt(int64(value), 2)
	b.text.WriteString(strings.Repeat("0", width-len(text)) + text)
}

func (b *bits) ue(values ...int) {
	for _, value := range values {
		text := strconv.FormatInt(int64(value+1), 2)
		b.text.WriteString(strings.Repeat("0", len(text)-1) + text)
	}
}

// nal ends the bits and returns them as a NAL unit with its start code.
func (b *bits) nal(header byte) []byte {
	text := b.text.String() + "1"
	text += strings.Repeat("0", (8-len(text)%8)%8)
	unit, zeros := []byte{0, 0, 0, 1, header}, 0
	for ; text != ""; text = text[8:] {
		value, _ := strconv.ParseUint(text[:8], 2, 8)
		if zeros >= 2 && value <= 3 {
			unit, zeros = append(unit, 3), 0
		}
		unit = append(unit, byte(value))
		if zeros++; value != 0 {
			zeros = 0
		}
	}
	return unit
}

// canvas is a grey H.264 key frame of the size, of which only the first macroblocks are sent.
func canvas(width, height, macroblocks int) []byte {
	var sps, pps, slice bits
	sps.u(8, 100)
	sps.u(8, 0)
	sps.u(8, 62)
	sps.ue(0, 1, 0, 0)
	sps.u(2, 0)
	sps.ue(0, 2, 1)
	sps.u(1, 0)
	sps.ue(width/16-1, height/16-1)
	sps.u(4, 0b1100)
	pps.ue(0, 0)
	pps.u(2, 0)
	pps.ue(0, 0, 0)
	pps.u(3, 0)
	pps.ue(0, 0, 0)
	pps.u(3, 0b100)
	slice.ue(0, 7, 0)
	slice.u(4, 0)
	slice.ue(0)
	slice.u(2, 0)
	slice.ue(0, 1)
	for range macroblocks {
		slice.ue(3, 0, 0)
		slice.u(1, 1)
	}
	return slices.Concat(sps.nal(0x67), pps.nal(0x68), slice.nal(0x65))
}

// A parameter set of thirty bytes can announce any size. What ffmpeg then takes is measured, not believed.
func TestASizeThatNoCameraHasCostsNoMemory(t *testing.T) {
	t.Parallel()
	ffmpeg := testkit.RealFFmpeg(t)
	w := newWorkbench(t)
	d := w.decoder(ffmpeg)
	// A child's figure begins at its parent's (getrusage(2)), and that of a test with the race detector is large: so one is
	// held against the other.
	var small int64
	for _, c := range []struct {
		width, height int
		most          int64 // MiB resident; 0: little more than the first, small one
		says          string
	}{
		{320, 240, 500, ""},
		{16384, 16384, 0, "16384x16384"},
		{8192, 8192, 0, "8192x8192"},
		{8192, 5120, 500, "damaged"}, // the largest allowed, and most of it missing
	} {
		frame := canvas(c.width, c.height, 300)
		picture, err := d.Decode(t.Context(), "gate", "h264", frame)
		if c.says == "" && (err != nil || len(picture) == 0) || c.says != "" && (err == nil || err.Class != fault.Decode || !strings.Contains(err.Message, c.says)) {
			t.Errorf("%dx%d: %v", c.width, c.height, err)
		}
		cmd := exec.Command(ffmpeg, d.args("h264", "")...)
		cmd.Stdin = bytes.NewReader(frame)
		_ = cmd.Run()
		resident := int64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) >> 10 //nolint:unconvert // 32 bits on arm and 386
		t.Logf("%dx%d: %d MiB, %v", c.width, c.height, resident, err)
		if small == 0 {
			small = resident
		}
		if most := cmp.Or(c.most, small+40); resident > most {
			t.Errorf("%dx%d: ffmpeg took %d MiB, at most %d are in order", c.width, c.height, resident, most)
		}
	}
}
