package rtsp

import (
	"bufio"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holding is a wire on which a text has come already, and nothing comes any more.
func holding(t *testing.T, text string) *wire {
	t.Helper()
	w := &wire{channels: [2]byte{0, 1}, br: bufio.NewReaderSize(strings.NewReader(text), readBuffer)}
	if _, err := w.br.Peek(len(text)); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWire_junkIsSkippedInLinearTime(t *testing.T) {
	t.Parallel()
	skip := map[string]func(*wire){
		"spill": func(w *wire) { w.spill(nil) },
		"pass":  func(w *wire) { w.answered = true; _ = w.pass() },
		"first": func(w *wire) { _ = w.pass() },
	}
	for _, word := range []string{"a=x\r\n", "\x00", "OPTION", "RTSP/1.", "$\x09\x00\x10", "S"} {
		for name, skip := range skip {
			took := func(length int) time.Duration { // of this thread's processor: the host may be busy with others
				w := holding(t, strings.Repeat(word, length/len(word)))
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				began := processorTime(t)
				skip(w)
				return processorTime(t) - began
			}
			short, whole := time.Hour, time.Hour // the best of a few: the others waited for a processor
			for try := 0; try < 3 && (try == 0 || whole > 24*short+50*time.Millisecond); try++ {
				short, whole = min(short, took(readBuffer/8)), min(whole, took(readBuffer))
			}
			if whole > 24*short+50*time.Millisecond {
				t.Fatalf("%s of %q: %s for an eighth of a buffer and %s for all of it", name, word, short, whole)
			}
		}
	}
}

// processorTime is what this thread has used of the processor (man 2 getrusage).
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestWire_deadlineHoldsWithAFullBuffer(t *testing.T) {
	t.Parallel()
	sdp := strings.Repeat("m=video 0 RTP/AVP 96\r\n", readBuffer/22)
	described := header{"content-type": {"application/sdp"}}
	for name, c := range map[string]struct {
		end  func(*wire)
		over bool
	}{
		"time left":          {func(w *wire) { w.deadline = time.Now().Add(time.Hour) }, false},
		"passed":             {func(w *wire) { w.deadline = time.Now().Add(-time.Millisecond) }, true},
		"interrupted":        {func(w *wire) { w.deadline, w.interrupted = time.Now().Add(time.Hour), true }, true},
		"deaf to interrupts": {func(w *wire) { w.deadline, w.interrupted, w.deaf = time.Now().Add(time.Hour), true, true }, false},
	} {
		w := holding(t, sdp)
		c.end(w)
		if w.within(bodyAtAll) == c.over {
			t.Errorf("%s: within says %t", name, !c.over)
		}
		if !c.over {
			continue
		}
		if body, err := w.body(described, true); !isTimeout(err) {
			t.Errorf("%s: %d bytes, %v", name, len(body), err)
		}
	}
}
