package depacketize

import (
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"
)

// vp9Frames assembles VP9 key frames (RFC 9628). A frame ends with the packet that both its descriptor and its marker call the last,
// or where the next one begins. Where a stream has several spatial layers, it is the base layer, which needs no other.
type vp9Frames struct {
	limit int
	open  bool   // a key frame is being put together
	file  []byte // IVF
	began time.Time
	last  time.Time // when its last packet came
	ended bool      // its descriptor or its marker said that this is its last
	seen  sighting
	lost  int
}

func (v *vp9Frames) troubles() string { return v.seen.describe(v.lost, 0) }

func (v *vp9Frames) push(p *packet, lost bool, at time.Time) (*KeyFrame, error) {
	if lost {
		v.drop()
	}
	if len(p.payload) == 0 {
		return nil, nil // padding only
	}
	head, data, ok := parseVP9(p.payload)
	if !ok {
		v.drop()
		return nil, nil
	}
	if head.begins {
		if frame := v.finish(); frame != nil {
			return frame, nil
		}
		if head.layer == 0 {
			v.seen.note(at)
		}
		if head.layer != 0 || head.predicted || len(data) == 0 || data[0]&keyVP9(data[0]) != 0 {
			return nil, nil
		}
		v.open, v.began, v.file = true, at, beginIVF(v.file[:0])
	}
	if !v.open || head.layer != 0 {
		return nil, nil
	}
	if len(v.file)+len(data) > v.limit {
		return nil, ErrTooBig
	}
	v.file, v.last = append(withRoom(v.file, len(data), v.limit), data...), at
	v.ended = head.ends || p.marker
	if head.ends && p.marker {
		return v.finish(), nil
	}
	return nil, nil
}

func (v *vp9Frames) waiting() bool { return v.open && v.ended }

func (v *vp9Frames) settle(time.Time) *KeyFrame { return v.finish() }

// keyVP9 is the mask of the bits that are 0 in the first byte of a key frame: show_existing_frame and frame_type, which stand one bit
// further behind in profile 3 (VP9 bitstream specification section 6.2).
func keyVP9(first byte) byte {
	const profile3 = 0x30
	if first&profile3 == profile3 {
		return 0x06
	}
	return 0x0c
}

func (v *vp9Frames) drop() {
	if v.open {
		v.lost++
	}
	v.open = false
}

// finish ends the frame that is open, and returns it if it can be whole.
func (v *vp9Frames) finish() *KeyFrame {
	if !v.open {
		return nil
	}
	var header vp9.Header
	if header.Unmarshal(v.file[ivfPreface:]) != nil || header.ShowExistingFrame || header.NonKeyFrame || !header.ShowFrame {
		v.drop()
		return nil
	}
	endIVF(v.file, "VP90", header.Width(), header.Height())
	frame := &KeyFrame{
		Codec: VP9, Bytes: v.file, CapturedAt: v.began, Arriving: v.last.Sub(v.began), FullRange: header.ColorConfig.ColorRange,
	}
	frame.size(header.Width(), header.Height())
	return frame
}

// headVP9 is what a payload descriptor says (RFC 9628 section 4.2).
type headVP9 struct {
	predicted    bool // from earlier frames
	begins, ends bool // a frame of one layer
	layer        int  // spatial
}

// parseVP9 reads the payload descriptor.
func parseVP9(payload []byte) (head headVP9, data []byte, ok bool) {
	const (
		pictureID = 0x80
		predicted = 0x40
		layered   = 0x20
		flexible  = 0x10
		begins    = 0x08
		ends      = 0x04
		scalable  = 0x02
		longID    = 0x80
		another   = 0x01
	)
	r := byteReader{data: payload}
	flags := r.next()
	head = headVP9{predicted: flags&predicted != 0, begins: flags&begins != 0, ends: flags&ends != 0}
	if flags&pictureID != 0 && r.next()&longID != 0 {
		r.next()
	}
	if flags&layered != 0 {
		head.layer = int(r.next() >> 1 & 7)
		if flags&flexible == 0 {
			r.next() // TL0PICIDX
		}
	}
	if flags&flexible != 0 && flags&predicted != 0 {
		for range 3 {
			if r.next()&another == 0 {
				break
			}
		}
	}
	if flags&scalable != 0 {
		r.scalability()
	}
	return head, r.data, !r.short
}

// scalability reads past the scalability structure (RFC 9628 section 4.2.1).
func (r *byteReader) scalability() {
	const (
		sized   = 0x10
		grouped = 0x08
	)
	head := r.next()
	if head&sized != 0 {
		r.skip(4 * (1 + int(head>>5)))
	}
	if head&grouped == 0 {
		return
	}
	for range r.next() {
		r.skip(int(r.next() >> 2 & 3))
	}
}

// byteReader reads a header byte by byte. What is not there reads as 0, and is remembered.
type byteReader struct {
	data  []byte
	short bool
}

func (r *byteReader) next() byte {
	if len(r.data) == 0 {
		r.short = true
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *byteReader) skip(n int) {
	if n > len(r.data) {
		r.data, r.short = nil, true
		return
	}
	r.data = r.data[n:]
}

// startVP9 reads a descriptor, and the first byte of the frame where one begins (RFC 9628 section 4.2).
func startVP9(payload []byte) Start {
	head, data, ok := parseVP9(payload)
	switch {
	case !ok || len(data) == 0:
		return StartUnknown
	case head.begins && head.layer == 0 && !head.predicted && data[0]&keyVP9(data[0]) == 0:
		return StartKeyFrame
	}
	return StartBetween
}
