package depacketize

import (
	"encoding/binary"
	"time"
)

// Start codes of MPEG-1 and MPEG-2 (Rec. ITU-T H.262 table 6-1).
const (
	pictureCode   = 0x00
	lastSlice     = 0xaf // 0x01 to 0xaf: a slice; the number is the row of macroblocks in which it begins
	sequenceStart = 0xb3
	sequenceError = 0xb4
	extensionCode = 0xb5
)

// mpeg2Pictures takes the parts of an MPEG-1 or MPEG-2 stream. A key frame is an I picture with the sequence header that was the last before
// it. A frame may be coded as two pictures, one for each field: then it is both.
type mpeg2Pictures struct {
	limit    int
	headers  []byte // the sequence header and its extensions
	context  byte   // the start code that an extension belongs to
	mpeg2    bool   // the sequence has an extension
	progress bool   // all its pictures are progressive
	width    int
	height   int
	doubt    bool // packets were missing since the sequence header

	picture  []byte // headers and parts of the key frame; empty where none is open
	field    int    // which field is open: 1 top, 2 bottom; 3 a whole frame
	second   bool   // it is the second field
	row      int    // of the last slice
	wrong    bool   // slices are not as they should be
	began    time.Time
	last     time.Time
	finished *KeyFrame

	seen       sighting
	lost, bare int
}

func newMPEG2(limit int) *elementary {
	return &elementary{syntax: &mpeg2Pictures{limit: limit}, limit: limit}
}

func (m *mpeg2Pictures) troubles() string { return m.seen.describe(m.lost, m.bare) }

// payload removes the header of RFC 2250 section 3.4. Some senders fill in nothing of it, so it is believed in nothing but its length.
func (m *mpeg2Pictures) payload(packet []byte) []byte {
	const header, extension, extended = 4, 4, 0x04
	size := header
	if len(packet) > 0 && packet[0]&extended != 0 {
		size += extension
	}
	if len(packet) < size {
		return nil
	}
	return packet[size:]
}

func (m *mpeg2Pictures) lose(bool) {
	m.doubt = true
	m.drop()
}

func (m *mpeg2Pictures) drop() {
	if len(m.picture) > 0 {
		m.lost++
	}
	m.picture = m.picture[:0]
}

func (m *mpeg2Pictures) pictured([]byte) bool { return len(m.picture) > 0 }

// begin ends the picture before any start code that is neither of a slice nor of an extension.
func (m *mpeg2Pictures) begin(code byte) *KeyFrame {
	if len(m.picture) == 0 || code > pictureCode && code <= lastSlice || code == extensionCode || code == userDataCode {
		return nil
	}
	const frame = 3
	whole := !m.wrong && m.row > 0 && (!m.mpeg2 || m.row == m.rows())
	switch {
	case !whole:
		m.drop()
	case m.field == frame || m.second:
		m.finish()
	case code != pictureCode: // the other field is missing
		m.drop()
	}
	return m.finished
}

// rows is how many rows of macroblocks the open picture has (Rec. ITU-T H.262 section 6.3.3).
func (m *mpeg2Pictures) rows() int {
	const frame = 3
	switch {
	case m.progress:
		return (m.height + 15) / 16
	case m.field == frame:
		return 2 * ((m.height + 31) / 32)
	}
	return (m.height + 31) / 32
}

func (m *mpeg2Pictures) part(data []byte, began, at time.Time) {
	switch code := data[len(codePrefix)]; {
	case code == sequenceStart:
		m.sequence(data)
	case code == extensionCode:
		m.extension(data)
	case code == pictureCode:
		m.start(data, began)
	case code <= lastSlice:
		m.slice(int(code), data, at)
	case code == sequenceError:
		m.drop()
	case code != userDataCode: // which stands among the extensions
		m.context = code
	}
}

func (m *mpeg2Pictures) sequence(data []byte) {
	const fixed = 12
	if len(data) < fixed {
		m.headers = nil
		return
	}
	m.headers = append(m.headers[:0], data...)
	m.context, m.mpeg2, m.progress, m.doubt = sequenceStart, false, false, false
	size := binary.BigEndian.Uint32(data[4:])
	m.width, m.height = int(size>>20), int(size>>8&0xfff)
}

func (m *mpeg2Pictures) extension(data []byte) {
	const ofSequence, ofPicture = 1, 8 // Rec. ITU-T H.262 table 6-2
	r := bitReader{data: data, at: 8 * (len(codePrefix) + 1)}
	kind := r.read(4)
	switch {
	case m.context == sequenceStart:
		if len(m.headers)+len(data) <= maxSetSize {
			m.headers = append(m.headers, data...)
		}
		if kind != ofSequence {
			return
		}
		r.skip(8) // profile and level
		m.mpeg2, m.progress = true, r.flag()
		r.skip(2)
		m.width |= r.read(2) << 12
		m.height |= r.read(2) << 12
		m.wrong = m.wrong || r.short
	case len(m.picture) > 0 && m.context == pictureCode:
		m.add(data)
		if kind == ofPicture {
			r.skip(4*4 + 2) // f_codes, intra_dc_precision
			m.field = r.read(2)
			m.wrong = m.wrong || m.field == 0 || r.short
		}
	}
}

// start begins a picture: a key frame, or the second field of one.
func (m *mpeg2Pictures) start(data []byte, began time.Time) {
	const intra, predicted, frame = 1, 2, 3
	m.context = pictureCode
	m.seen.note(began)
	r := bitReader{data: data, at: 8*startCodeSize + 10} // temporal_reference
	kind := r.read(3)
	if len(m.picture) > 0 { // else begin would have ended it
		m.second = true
		if kind != intra && kind != predicted {
			m.drop()
			return
		}
	} else {
		switch {
		case kind != intra:
			return
		case len(m.headers) == 0:
			m.bare++
			return
		case m.doubt:
			m.lost++ // another sequence header may be among what is missing
			return
		}
		m.second, m.wrong, m.began = false, false, began
		m.picture = append(m.picture, m.headers...)
	}
	m.field, m.row = frame, 0
	m.add(data)
}

// slice takes a slice. Those of MPEG-2 stay in their row, and there is no row without one; those of MPEG-1 may be longer.
func (m *mpeg2Pictures) slice(number int, data []byte, at time.Time) {
	if len(m.picture) == 0 {
		return
	}
	m.context, m.last = byte(number), at
	const tall, row7 = 2800, 7 // above, three more bits of the row follow the start code (section 6.3.16)
	if m.mpeg2 && m.height > tall && len(data) > startCodeSize {
		number += int(data[startCodeSize]>>5) << row7
	}
	m.wrong = m.wrong || number < m.row || m.row == 0 && number != 1 || m.mpeg2 && number > m.row+1
	m.row = number
	m.add(data)
}

func (m *mpeg2Pictures) add(data []byte) {
	m.wrong = m.wrong || len(m.picture)+len(data) > m.limit
	if !m.wrong {
		m.picture = append(withRoom(m.picture, len(data), m.limit), data...)
	}
}

func (m *mpeg2Pictures) finish() {
	m.finished = &KeyFrame{Codec: MPEG1, Bytes: m.picture, CapturedAt: m.began, Arriving: m.last.Sub(m.began)}
	if m.mpeg2 {
		m.finished.Codec = MPEG2
	}
	m.finished.size(m.width, m.height)
}
