package supervise

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An escapee that forks a successor and ends, over and over, is a zombie at one look and has another number at the next.
func TestAnEscapeeThatKeepsMovingIsCaught(t *testing.T) {
	t.Parallel()
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
