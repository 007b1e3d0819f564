package supervise

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// What is made for an output: a little for the messages that most children leave it at, and then enough for most pictures,
// which have some hundred KiB. Each time it grows, all of it is copied to pages that nobody has touched before, which costs as
// much time as reading it; pages that are never reached cost nothing.
const (
	roomForWords   = 32 << 10
	roomForPicture = 512 << 10
)

// capped keeps the first bytes of a stream and swallows the rest. It never stops reading: a child that blocks on a full
// pipe does not hear SIGTERM (ffmpeg 5.1 ignored three of them).
type capped struct {
	max   int64
	over  chan struct{} // closed when more has come than max
	first func()        // called once, when something has come; may be nil

	mu    sync.Mutex // a child that is stuck may still write while its ending is read
	kept  []byte
	waste []byte // where the rest goes
	cut   bool
}

func newCapped(limit int64) *capped {
	return &capped{max: limit, over: make(chan struct{})}
}

func (w *capped) Write(p []byte) (int, error) {
	n, err := w.ReadFrom(bytes.NewReader(p))
	return int(n), err
}

// ReadFrom reads r to its end, into the place where it is kept: os/exec hands the pipe over (io.Copy).
func (w *capped) ReadFrom(r io.Reader) (int64, error) {
	var read int64
	for {
		free := w.room()
		n, err := r.Read(free)
		w.took(n)
		read += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return read, nil
		case err != nil:
			return read, err
		}
	}
}

// room is where the next bytes go: behind those that are kept, or nowhere once there are max of them.
func (w *capped) room() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	have := len(w.kept)
	switch {
	case int64(have) == w.max:
		if w.waste == nil {
			w.waste = make([]byte, roomForWords)
		}
		return w.waste
	case have == cap(w.kept):
		next := int64(roomForWords)
		if have > 0 {
			next = max(roomForPicture, 4*int64(have))
		}
		larger := make([]byte, have, min(next, w.max))
		copy(larger, w.kept)
		w.kept = larger
	}
	return w.kept[have:cap(w.kept)]
}

// took takes note of n bytes that were read into the room.
func (w *capped) took(n int) {
	if first := w.first; n > 0 && first != nil { // only the one goroutine that reads comes here
		w.first = nil
		first()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case int64(len(w.kept)) < w.max:
		w.kept = w.kept[:len(w.kept)+n]
	case n > 0 && !w.cut:
		w.cut = true
		close(w.over)
	}
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
