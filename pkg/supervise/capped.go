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
	kept []byte
	cut  bool
}

func newCapped(limit int64) *capped {
	return &capped{max: limit, over: make(chan struct{})}
}

func (w *capped) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	room := w.max - int64(len(w.kept))
	if int64(len(p)) <= room {
		w.keep(p)
		return len(p), nil
	}
	w.keep(p[:room])
	if !w.cut {
		w.cut = true
		close(w.over)
	}
	return len(p), nil
}

// keep appends, with four times the room whenever there is none left: pictures have some hundred KiB, and each copy, as each
// page that append would clear, costs as much time as reading them.
func (w *capped) keep(p []byte) {
	if need := len(w.kept) + len(p); need > cap(w.kept) {
		larger := make([]byte, len(w.kept), max(int64(need), min(4*int64(cap(w.kept)), w.max)))
		copy(larger, w.kept)
		w.kept = larger
	}
	w.kept = append(w.kept, p...)
}

// taken returns what was kept so far, and whether there was more. What comes later is put behind it, or elsewhere.
func (w *capped) taken() ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept[:len(w.kept):len(w.kept)], w.cut
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
