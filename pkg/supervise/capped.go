package supervise

import (
	"bytes"
	"sync"
)

// capped keeps the first bytes of a stream and swallows the rest. It never stops reading: a child that blocks on a full
// pipe does not hear SIGTERM (ffmpeg 5.1 ignored three of them).
type capped struct {
	max  int64
	over chan struct{} // closed when more has come than max

	mu   sync.Mutex // a child that is stuck may still write while its ending is read
	kept bytes.Buffer
	cut  bool
}

func newCapped(limit int64) *capped {
	return &capped{max: limit, over: make(chan struct{})}
}

func (w *capped) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	room := w.max - int64(w.kept.Len())
	if int64(len(p)) <= room {
		return w.kept.Write(p)
	}
	w.kept.Write(p[:room])
	if !w.cut {
		w.cut = true
		close(w.over)
	}
	return len(p), nil
}

// taken returns what was kept so far, and whether there was more.
func (w *capped) taken() ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.kept.Bytes()), w.cut
}

func (w *capped) overflowed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

// wholeLines drops an unfinished last line: half a password is not recognised as one, so it could not be redacted.
func wholeLines(text []byte) []byte {
	return text[:bytes.LastIndexAny(text, "\r\n")+1]
}
