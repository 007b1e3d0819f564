package ffmpeg

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// single is one coded key frame, and how it looks.
type single struct {
	codec string
	coded []byte
	luma  []byte
}

const singleWidth, singleHeight = 322, 182

func singles(t *testing.T) []single {
	t.Helper()
	var all []single
	for _, codec := range []string{"vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video"} {
		film := testkit.NewFilm(t, codec, singleWidth, singleHeight, 1, 1)
		coded, err := os.ReadFile(film.File)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, single{codec, coded, film.Keys(t)[0]})
	}
	return all
}

func (s single) check(t *testing.T, how string, picture []byte, err *fault.Error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s %s: %v", s.codec, how, err)
		return
	}
	quality := testkit.PSNR(testkit.Luma(t, "mjpeg", picture, singleWidth, singleHeight)[0], s.luma)
	t.Logf("%s %s: %.1f dB", s.codec, how, quality)
	if quality < 35 {
		t.Errorf("%s %s: %.1f dB, want 35", s.codec, how, quality)
	}
}

func TestDecode_allCodecs(t *testing.T) {
	t.Parallel()
	program, calls := testkit.CountCalls(t, testkit.RealFFmpeg(t))
	w := newWorkbench(t)
	d := w.decoder(program)
	frames := singles(t)
	for _, s := range frames {
		picture, err := d.Decode(t.Context(), "gate", s.codec, s.coded)
		s.check(t, "alone", picture, err)
	}
	before := calls()
	d.mu.Lock()
	places := d.free
	d.free = 0 // others have all of them
	d.mu.Unlock()
	var all sync.WaitGroup
	pictures, errs := make([][]byte, len(frames)), make([]*fault.Error, len(frames))
	for i, s := range frames {
		all.Go(func() { pictures[i], errs[i] = d.Decode(t.Context(), "gate", s.codec, s.coded) })
	}
	for waiting := 0; waiting < len(frames); {
		d.mu.Lock()
		waiting = len(d.queue)
		d.mu.Unlock()
	}
	for range places {
		d.freeOne()
	}
	all.Wait()
	for i, s := range frames {
		s.check(t, "together", pictures[i], errs[i])
	}
	if n := calls() - before; n > places {
		t.Errorf("%d processes for %d frames on %d places", n, len(frames), places)
	}
	if kinds := w.leases(t); len(kinds) > 0 {
		t.Errorf("leases %v", kinds)
	}
}

// A header of ten bytes can announce any size. What ffmpeg then takes is measured, not believed.
func TestDecode_hugeSizesCostNoMemory(t *testing.T) {
	t.Parallel()
	program := testkit.RealFFmpeg(t)
	w := newWorkbench(t)
	d := w.decoder(program)
	frames := singles(t)
	for _, s := range frames {
		huge := bytes.Clone(s.coded)
		switch s.codec {
		case "vp8": // RFC 6386 section 9.1
			binary.LittleEndian.PutUint32(huge[44+6:], 16383<<16|16383)
		case "vp9": // 16 bits each, behind a start code and four bits of colour
			const at = 44 + 4
			size := binary.BigEndian.Uint64(huge[at:])
			const from, bits = 4, 32
			mask := uint64(0xffffffff) << (64 - from - bits)
			binary.BigEndian.PutUint64(huge[at:], size&^mask|uint64(16383<<16|16383)<<(64-from-bits))
		case "mpeg2video", "mpeg1video": // 12 bits each
			copy(huge[4:], []byte{0xff, 0xff, 0xff})
		default:
			continue // the size has no place of its own
		}
		_, err := d.Decode(t.Context(), "gate", s.codec, huge)
		if err == nil || err.Class != fault.Decode {
			t.Errorf("%s: %v", s.codec, err)
		}
		resident := func(coded []byte) int64 {
			cmd := exec.Command(program, d.args(s.codec, "")...)
			cmd.Stdin = bytes.NewReader(coded)
			_ = cmd.Run()
			return int64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) >> 10 //nolint:unconvert // 32 bits on arm and 386
		}
		small, large := resident(s.coded), resident(huge)
		t.Logf("%s: %d MiB, %d MiB for the small one; %v", s.codec, large, small, err)
		if large > small+400 {
			t.Errorf("%s: ffmpeg took %d MiB, and %d MiB for a small picture", s.codec, large, small)
		}
	}
}
