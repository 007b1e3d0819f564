package depacketize

import (
	"bytes"
	"time"
)

// elementary finds pictures in an elementary stream of MPEG-4 part 2, MPEG-1 or MPEG-2 (RFC 6416, RFC 2250). Its parts begin with start
// codes, which occur nowhere inside them, so where a picture begins and ends does not depend on how senders cut it into packets,
// nor on markers and time stamps, which they set in many ways. A picture is whole when it came from its start code to the next
// with no packet missing.
type elementary struct {
	syntax   syntax
	limit    int
	buffer   []byte // begins with the start code of the part that is open
	searched int    // how much of it is known to hold no other start code
	open     bool
	at       time.Time // when the part that is open began
	last     time.Time // when the packet before came
	ended    bool      // it had a marker
}

// syntax is in what the codecs differ.
type syntax interface {
	// payload removes what is before the stream in a packet; nil where there is nothing else.
	payload(packet []byte) []byte
	// begin hears of a start code, and returns the picture that ends before it, if that is a key frame.
	begin(code byte) *KeyFrame
	// part takes a whole part: its start code, of which the last byte is code, and what follows. began is when its first packet came, at
	// when its last did.
	part(data []byte, began, at time.Time)
	// pictured reports whether a key frame may be whole with the part that is open.
	pictured(open []byte) bool
	// lose hears that packets are missing, perhaps of a key frame.
	lose(inKeyFrame bool)
	troubles() string
}

// startCodeSize is the size of a start code: its prefix, and one byte that says of what.
const startCodeSize = 4

// endOfSequence ends an MPEG-1 or MPEG-2 stream, and any picture.
const endOfSequence = 0xb7

var codePrefix = []byte{0, 0, 1}

func (e *elementary) troubles() string { return e.syntax.troubles() }

func (e *elementary) push(p *packet, lost bool, at time.Time) (*KeyFrame, error) {
	if lost {
		e.syntax.lose(e.open && e.syntax.pictured(e.buffer))
		e.buffer, e.searched, e.open = e.buffer[:0], 0, false
	}
	data := e.syntax.payload(p.payload)
	if len(e.buffer)+len(data) > e.limit {
		return nil, ErrTooBig
	}
	known, last := len(e.buffer), e.last
	e.ended = p.marker
	e.buffer, e.last = append(withRoom(e.buffer, len(data), e.limit), data...), at
	for {
		from, code := e.next()
		if from < 0 {
			return nil, nil
		}
		if from > known {
			last = at
		}
		if e.open {
			e.syntax.part(e.buffer[:from], e.at, last)
		}
		if frame := e.syntax.begin(code); frame != nil {
			return frame, nil
		}
		e.buffer = e.buffer[:copy(e.buffer, e.buffer[from:])]
		known -= from
		e.searched, e.open, e.at = startCodeSize, true, at
	}
}

func (e *elementary) waiting() bool { return e.open && e.ended && e.syntax.pictured(e.buffer) }

// settle ends the picture as another would.
func (e *elementary) settle(time.Time) *KeyFrame {
	e.syntax.part(e.buffer, e.at, e.last)
	e.open = false
	return e.syntax.begin(endOfSequence)
}

// next finds a start code whose last byte has come, behind the one of the part that is open.
func (e *elementary) next() (from int, code byte) {
	found := bytes.Index(e.buffer[e.searched:], codePrefix)
	from = e.searched + found
	switch {
	case found >= 0 && from+len(codePrefix) < len(e.buffer):
		return from, e.buffer[from+len(codePrefix)]
	case found >= 0:
		e.searched = from
	default:
		e.searched = max(e.searched, len(e.buffer)-len(codePrefix)+1)
	}
	if !e.open { // nothing before a first start code is of use
		e.buffer, e.searched = e.buffer[:copy(e.buffer, e.buffer[e.searched:])], 0
	}
	return -1, 0
}

// parts yields the parts of a whole stream, such as the configuration in a description.
func parts(stream []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for {
			from := bytes.Index(stream, codePrefix)
			if from < 0 || from+len(codePrefix) >= len(stream) {
				return
			}
			stream = stream[from:]
			end := bytes.Index(stream[startCodeSize:], codePrefix)
			part := stream
			if end >= 0 {
				part = stream[:end+startCodeSize]
			}
			if !yield(part) || end < 0 {
				return
			}
			stream = stream[len(part):]
		}
	}
}
