package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// An escapee that forks a successor and ends, over and over, is a zombie at one look and has another number at the next.
// Not beside other tests, which have supervisors of their own in this process: a list of children is whole only while
// nobody reaps from it, and a program has one supervisor, which sees to that.
func TestAnEscapeeThatKeepsMovingIsCaught(t *testing.T) {
	s := newStage(t)
	trail := filepath.Join(s.dir, "moves")
	length := func() int64 {
		info, err := os.Stat(trail)
		if err != nil {
			return 0 // caught before its first move
		}
		return info.Size()
	}
	// It gives up after some moves: a test that fails must not leave it running.
	const hop = `sleep 0.005; n=$((n+1)); echo >>$DIR/moves; [ $n -lt 150 ] && exec setsid -f sh -c "$hop"`
	for range 30 {
		e := s.Run(t.Context(), s.shell(`export n=0 hop='`+hop+`'; setsid -f sh -c "$hop"; sleep 0.01`))
		if e.Kind != Exited || e.Err != nil || e.Duration > 20*time.Second {
			t.Fatalf("%+v", e)
		}
		atTheEnd := length()
		time.Sleep(30 * time.Millisecond)
		if later := length(); later != atTheEnd {
			t.Fatalf("it moved %d times after its end had been seen", later-atTheEnd)
		}
	}
	s.wantClean()
}

// At full speed it has forked its successor before it was killed, most of the time. It is caught in the end, or the ending
// says that it was not: never that all is well while it lives.
func TestAnEscapeeThatMovesAtFullSpeedIsNeverCalledGone(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed; make test installs it")
	}
	s := newStage(t)
	for i := range 20 {
		trail := filepath.Join(s.dir, fmt.Sprint("moves", i))
		// Without exec: it keeps the environment that it was born with. It gives up after 3 s.
		hopper := fmt.Sprintf(`
import os, time
end, trail = time.monotonic() + 3, os.open(%q, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while time.monotonic() < end:
    if os.fork(): os._exit(0)
    os.setsid()
    os.write(trail, b".")
`, trail)
		spec := s.shell(`"` + python + `" -c "$HOPPER"; until [ -s ` + trail + ` ]; do sleep 0.01; done`)
		spec.Env = append(spec.Env, "HOPPER="+hopper)
		e := s.Run(t.Context(), spec)
		moves := func() int64 {
			info, err := os.Stat(trail)
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		before := moves()
		if before == 0 {
			t.Fatalf("it never moved: %+v", e)
		}
		time.Sleep(30 * time.Millisecond)
		if later := moves(); later != before && e.Kind != Stuck {
			t.Fatalf("it moved %d times after its end had been seen: %+v", later-before, e)
		}
		if e.Kind == Exited && e.Err != nil {
			t.Errorf("%+v", e)
		}
	}
}
