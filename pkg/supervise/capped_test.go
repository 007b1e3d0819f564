package supervise

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

// Whatever the limit and however it comes: the first bytes are kept, all are taken, and only what is over the limit says so.
func TestTheFirstBytesAreKeptAndTheRestIsSwallowed(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 1, roomForWords - 1, roomForWords, roomForWords + 1, roomForPicture + 1, 5 * roomForPicture} {
		for _, size := range []int{0, limit - 1, limit, limit + 1, 3*limit + roomForWords} {
			said := make([]byte, max(0, size))
			for i := range said {
				said[i] = byte(i * 7 / 3)
			}
			for name, hand := range map[string]func(*capped) (int64, error){
				"read":     func(w *capped) (int64, error) { return io.Copy(w, bytes.NewBuffer(slices.Clone(said))) },
				"halves":   func(w *capped) (int64, error) { return w.ReadFrom(iotest.HalfReader(bytes.NewReader(said))) },
				"with EOF": func(w *capped) (int64, error) { return w.ReadFrom(iotest.DataErrReader(bytes.NewReader(said))) },
				"written": func(w *capped) (int64, error) {
					var n int64
					for part := range slices.Chunk(said, 1000) {
						m, err := w.Write(part)
						if n += int64(m); err != nil {
							return n, err
						}
					}
					return n, nil
				},
			} {
				w := newCapped(int64(limit))
				n, err := hand(w)
				kept, cut := w.taken()
				over := false
				select {
				case <-w.over:
					over = true
				default:
				}
				more := len(said) > limit
				if err != nil || n != int64(len(said)) || !bytes.Equal(kept, said[:min(limit, len(said))]) || cut != more || over != more {
					t.Errorf("%s: %d bytes, limit %d: took %d, kept %d, cut %v, over %v, %v", name, len(said), limit, n, len(kept), cut, over, err)
				}
			}
		}
	}
}
