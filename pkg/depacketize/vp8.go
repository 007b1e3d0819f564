package depacketize

import "time"

// vp8Frames assembles VP8 key frames (RFC 7741). The last partition of a frame has no length, and a decoder goes on without a word where
// it is cut short. So a marker is not believed: a frame ends where the next one begins, with no packet missing in between.
type vp8Frames struct {
	limit int
	open  bool   // a key frame is being put together
	file  []byte // IVF
	began time.Time
	last  time.Time // when its last packet came
	ended bool      // the sender said that this is its last
	seen  sighting
	lost  int
}

func (v *vp8Frames) troubles() string { return v.seen.describe(v.lost, 0) }

func (v *vp8Frames) push(p *packet, lost bool, at time.Time) (*KeyFrame, error) {
	if lost {
		v.drop()
	}
	if len(p.payload) == 0 {
		return nil, nil // padding only
	}
	first, data, ok := parseVP8(p.payload)
	if !ok {
		v.drop()
		return nil, nil
	}
	if first {
		if frame := v.finish(); frame != nil {
			return frame, nil
		}
		v.seen.note(at)
		const inter = 1 // RFC 6386 section 9.1
		if len(data) == 0 || data[0]&inter != 0 {
			return nil, nil
		}
		v.open, v.began, v.file = true, at, beginIVF(v.file[:0])
	}
	if !v.open {
		return nil, nil
	}
	if len(v.file)+len(data) > v.limit {
		return nil, ErrTooBig
	}
	v.file, v.last, v.ended = append(withRoom(v.file, len(data), v.limit), data...), at, p.marker
	return nil, nil
}

func (v *vp8Frames) waiting() bool { return v.open && v.ended }

func (v *vp8Frames) settle(time.Time) *KeyFrame { return v.finish() }

func (v *vp8Frames) drop() {
	if v.open {
		v.lost++
	}
	v.open = false
}

// finish ends the frame that is open, and returns it if it can be whole.
func (v *vp8Frames) finish() *KeyFrame {
	if !v.open {
		return nil
	}
	width, height, ok := sizeVP8(v.file[ivfPreface:])
	if !ok {
		v.drop()
		return nil
	}
	endIVF(v.file, "VP80", width, height)
	frame := &KeyFrame{Codec: VP8, Bytes: v.file, CapturedAt: v.began, Arriving: v.last.Sub(v.began)}
	frame.size(width, height)
	return frame
}

// parseVP8 reads the payload descriptor (RFC 7741 section 4.2). first says that a frame begins here.
func parseVP8(payload []byte) (first bool, data []byte, ok bool) {
	const (
		extended   = 0x80
		start      = 0x10
		partition  = 0x07
		pictureID  = 0x80
		longID     = 0x80
		tl0        = 0x40
		temporal   = 0x20
		keyIndexed = 0x10
	)
	r := byteReader{data: payload}
	head := r.next()
	if head&extended != 0 {
		has := r.next()
		if has&pictureID != 0 && r.next()&longID != 0 {
			r.next()
		}
		if has&tl0 != 0 {
			r.next()
		}
		if has&(temporal|keyIndexed) != 0 {
			r.next()
		}
	}
	return head&start != 0 && head&partition == 0, r.data, !r.short
}

// sizeVP8 reads the header of a key frame (RFC 6386 section 9.1). A frame that is not shown, or shorter than its first partition, is none.
func sizeVP8(frame []byte) (width, height int, ok bool) {
	const (
		header    = 10
		shown     = 0x10
		dimension = 0x3fff // the two bits above ask for scaling, which decoders leave to players
	)
	if len(frame) < header || frame[0]&shown == 0 || string(frame[3:6]) != "\x9d\x01\x2a" {
		return 0, 0, false
	}
	partition := (int(frame[0]) | int(frame[1])<<8 | int(frame[2])<<16) >> 5
	width = (int(frame[6]) | int(frame[7])<<8) & dimension
	height = (int(frame[8]) | int(frame[9])<<8) & dimension
	return width, height, partition <= len(frame)-header && width > 0 && height > 0
}

// startVP8 reads a descriptor, and the first bit of the frame where one begins (RFC 7741 section 4.2, RFC 6386 section 9.1).
func startVP8(payload []byte) Start {
	first, data, ok := parseVP8(payload)
	switch {
	case !ok || len(data) == 0:
		return StartUnknown
	case first && data[0]&1 == 0:
		return StartKeyFrame
	}
	return StartBetween
}
