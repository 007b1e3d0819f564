package snapshot

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/httpwire"
	"github.com/camwarden/camwarden/pkg/jpeg"
)

const (
	// maxLead is how many bytes may stand before the picture: a line end, the header of a part, a header of the maker's own.
	maxLead = 1024
	// firstRoom is the most that is taken for a picture before any of it has come, whatever length is announced.
	firstRoom = 512 << 10
)

// picture reads the body until the first whole picture has come, and waits for nothing behind it.
func (t *talk) picture(a *httpwire.Answer) (Picture, error) {
	t.step = fault.Body
	if online := a.First("x-ustreamer-online"); strings.EqualFold(online, "false") {
		return Picture{}, t.fault(fault.NoVideo, "it says that it has no picture itself (X-UStreamer-Online: false)").WithHint("look after the device behind that server")
	}
	body := a.Decoded()
	var begun time.Time
	var cutter jpeg.Cutter
	buf := make([]byte, 0, min(max(a.Length+1, 64<<10), firstRoom))
	start := -1 // of the picture
	for {
		if len(buf) == cap(buf) {
			if start > len(buf)/2 { // what came before is of no use any more
				buf, start = append(buf[:0], buf[start:]...), 0
			}
			if len(buf) >= t.limits.Picture {
				return Picture{}, t.fault(fault.NotJPEG, "its picture does not end within %d MiB", t.limits.Picture>>20).WithHint("ask for a smaller one")
			}
			if len(buf) == cap(buf) {
				buf = roomier(buf, t.limits.Picture)
			}
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if start < 0 {
			if start = soi(buf); start >= 0 {
				begun = time.Now()
			} else if err == nil && len(buf) > maxLead+3 {
				return Picture{}, t.judge(a, buf, nil)
			}
		}
		if start >= 0 {
			end, wrong := cutter.Cut(buf[start:])
			for errors.Is(wrong, jpeg.ErrAgain) && parts(a) { // a part without its end: the next may be whole
				start += cutter.At()
				cutter, begun = jpeg.Cutter{}, time.Now()
				end, wrong = cutter.Cut(buf[start:])
			}
			if end > 0 {
				return Picture{JPEG: buf[start : start+end : start+end], CapturedAt: begun, Arriving: time.Since(begun)}, nil
			}
			if wrong != nil {
				return Picture{}, t.judge(a, buf, wrong)
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return Picture{}, t.judge(a, buf, errors.New("it stops before FF D9"))
		default:
			return Picture{}, t.unread(err)
		}
	}
}

// parts reports whether pictures follow one another (RFC 2046 section 5.1).
func parts(a *httpwire.Answer) bool {
	return strings.HasPrefix(strings.ToLower(a.First("content-type")), "multipart/")
}

// roomier returns the buffer with more room behind it.
func roomier(buf []byte, most int) []byte {
	room := make([]byte, len(buf), min(max(2*cap(buf), 64<<10), most))
	copy(room, buf)
	return room
}

// soi finds where a picture begins; -1 when nowhere yet. What stands before it must not be the headers of a JPEG that lacks its
// beginning: then what is found is the thumbnail in them.
func soi(buf []byte) int {
	lead := buf[:min(len(buf), maxLead+3)]
	at := bytes.Index(lead, []byte{0xff, jpeg.SOI, 0xff})
	if at < 0 || bytes.Contains(lead[:at], []byte("JFIF\x00")) || bytes.Contains(lead[:at], []byte("Exif\x00")) {
		return -1
	}
	return at
}
