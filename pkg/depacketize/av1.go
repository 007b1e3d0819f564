package depacketize

import (
	"encoding/binary"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
)

// Types of open bitstream units (AV1 bitstream specification section 6.2.2).
const (
	sequenceOBU  = 1
	delimiterOBU = 2
	headerOBU    = 3 // of a frame, its tiles apart
	frameOBU     = 6 // a header and tiles
	listOBU      = 8
	paddingOBU   = 15
)

// temporalUnits assembles AV1 key frames (RTP Payload Format For AV1, version 1.0, of the Alliance for Open Media). A stream can be
// joined at a sequence header with a key frame behind it, in one temporal unit; from there on nothing may be missing. The unit ends
// where another sequence header or frame begins. A marker ends it too where it cannot be wrong: behind a frame that is one OBU. Tiles
// that have an OBU of their own may still follow.
type temporalUnits struct {
	limit    int
	open     bool   // a sequence header has come
	reduced  bool   // and announces one still, without frame types
	keyed    bool   // and a key frame
	whole    bool   // in one OBU
	file     []byte // IVF; OBUs with their sizes
	sequence []byte // the sequence header, without size and extension
	fragment []byte // of the OBU that goes on in the next packet
	split    bool   // there is one
	began    time.Time
	last     time.Time // when its last packet came
	ended    bool      // it had a marker
	seen     sighting
	lost     int
}

func (u *temporalUnits) troubles() string { return u.seen.describe(u.lost, 0) }

func (u *temporalUnits) push(p *packet, lost bool, at time.Time) (*KeyFrame, error) {
	if lost {
		u.drop()
	}
	if len(p.payload) == 0 {
		return nil, nil // padding only
	}
	elements, ok := parseAV1(p.payload)
	if !ok || elements.continues != u.split {
		u.drop()
		if !ok || elements.continues && len(elements.all) == 1 {
			return nil, nil
		}
		if elements.continues { // the rest of something that we did not see begin
			elements.all, elements.continues = elements.all[1:], false
		}
	}
	for i, element := range elements.all {
		if u.split {
			if len(u.fragment)+len(element) > u.limit {
				return nil, ErrTooBig
			}
			element = append(withRoom(u.fragment, len(element), u.limit), element...)
			u.fragment, u.split = element, false
		}
		if i == len(elements.all)-1 && elements.goesOn {
			u.split = true
			if i > 0 || !elements.continues {
				u.fragment = append(u.fragment[:0], element...)
			}
			break
		}
		if frame, err := u.take(element, at); frame != nil || err != nil {
			return frame, err
		}
	}
	u.last, u.ended = at, p.marker
	if p.marker && !u.split && u.keyed && u.whole {
		return u.finish(), nil
	}
	return nil, nil
}

func (u *temporalUnits) waiting() bool { return u.keyed && !u.split && u.ended }

func (u *temporalUnits) settle(time.Time) *KeyFrame { return u.finish() }

// take takes one whole OBU.
func (u *temporalUnits) take(data []byte, at time.Time) (*KeyFrame, error) {
	unit, ok := parseOBU(data)
	if !ok {
		u.drop()
		return nil, nil
	}
	switch unit.kind {
	case delimiterOBU, sequenceOBU, frameOBU, headerOBU:
		if frame := u.finish(); frame != nil {
			return frame, nil
		}
	case listOBU, paddingOBU:
		return nil, nil
	}
	switch unit.kind {
	case delimiterOBU:
		return nil, nil
	case sequenceOBU:
		const reducedStill = 0x08
		u.open, u.keyed, u.began, u.last = true, false, at, at
		u.reduced = len(unit.payload) > 0 && unit.payload[0]&reducedStill != 0
		u.file = beginIVF(u.file[:0])
		u.file = append(u.file, delimiterOBU<<3|hasSize, 0)
		u.sequence = append(append(u.sequence[:0], sequenceOBU<<3), unit.payload...)
	case frameOBU, headerOBU:
		u.seen.note(at)
		if !u.open {
			return nil, nil
		}
		u.keyed, u.whole = u.isKey(unit.payload), unit.kind == frameOBU
		u.open = u.keyed
	}
	if !u.open {
		return nil, nil
	}
	if len(u.file)+len(data)+binary.MaxVarintLen32 > u.limit {
		return nil, ErrTooBig
	}
	u.file = unit.append(withRoom(u.file, len(data)+binary.MaxVarintLen32, u.limit))
	return nil, nil
}

// isKey reads the beginning of a frame header: show_existing_frame, frame_type, show_frame (AV1 section 5.9.2).
func (u *temporalUnits) isKey(header []byte) bool {
	const mask, shownKey = 0xf0, 0x10
	return len(header) > 0 && (u.reduced || header[0]&mask == shownKey)
}

func (u *temporalUnits) drop() {
	if u.keyed || u.open && u.split {
		u.lost++
	}
	u.open, u.keyed, u.split = false, false, false
}

// finish ends the unit that is open, and returns it if it holds a key frame.
func (u *temporalUnits) finish() *KeyFrame {
	if !u.keyed {
		return nil
	}
	frame := &KeyFrame{Codec: AV1, Bytes: u.file, CapturedAt: u.began, Arriving: u.last.Sub(u.began)}
	var sequence av1.SequenceHeader
	if sequence.Unmarshal(u.sequence) == nil {
		frame.size(sequence.Width(), sequence.Height())
		frame.FullRange = sequence.ColorConfig.ColorRange
	}
	endIVF(u.file, "AV01", frame.Width, frame.Height)
	return frame
}

// elementsAV1 are the OBUs of a packet, or parts of them.
type elementsAV1 struct {
	all       [][]byte // at least one
	continues bool     // the first began in an earlier packet
	goesOn    bool     // the last does so in the next
}

// parseAV1 reads the aggregation header, and cuts a payload at the lengths in it (section 4.3 and 4.4 of the payload format).
func parseAV1(payload []byte) (elements elementsAV1, ok bool) {
	head, rest := payload[0], payload[1:]
	elements.continues, elements.goesOn = head&0x80 != 0, head&0x40 != 0
	count := int(head >> 4 & 3) // 0: each has a length; else the last has none
	for len(rest) > 0 {
		element := rest
		if count == 0 || len(elements.all) < count-1 {
			size, n := binary.Uvarint(rest) // leb128 is the same (AV1 section 4.10.5)
			if n <= 0 || size > uint64(len(rest)-n) {
				return elements, false
			}
			element, rest = rest[n:n+int(size)], rest[n+int(size):]
		} else {
			rest = nil
		}
		elements.all = append(elements.all, element)
	}
	return elements, len(elements.all) > 0 && (count == 0 || len(elements.all) == count)
}

const hasSize = 0x02

// obu is one open bitstream unit.
type obu struct {
	kind      byte
	extension []byte // one byte, or none
	payload   []byte
}

// parseOBU reads an OBU that fills data, with its size in it or not.
func parseOBU(data []byte) (unit obu, ok bool) {
	const forbidden, extended = 0x80, 0x04
	if len(data) == 0 || data[0]&forbidden != 0 {
		return obu{}, false
	}
	head, rest := data[0], data[1:]
	unit.kind = head >> 3 & 0x0f
	if head&extended != 0 {
		if len(rest) == 0 {
			return obu{}, false
		}
		unit.extension, rest = rest[:1], rest[1:]
	}
	if head&hasSize != 0 {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size != uint64(len(rest)-n) {
			return obu{}, false
		}
		rest = rest[n:]
	}
	unit.payload = rest
	return unit, true
}

// append writes the unit with its size, as decoders want it (AV1 section 5.3).
func (unit obu) append(file []byte) []byte {
	file = append(file, unit.kind<<3|byte(len(unit.extension))<<2|hasSize)
	file = append(file, unit.extension...)
	file = binary.AppendUvarint(file, uint64(len(unit.payload)))
	return append(file, unit.payload...)
}

// startAV1 looks for a sequence header, without which no key frame begins.
func startAV1(payload []byte) Start {
	elements, ok := parseAV1(payload)
	switch {
	case !ok:
		return StartUnknown
	case elements.continues:
		return StartBetween
	}
	for _, element := range elements.all {
		if len(element) == 0 {
			continue
		}
		switch element[0] >> 3 & 0x0f {
		case sequenceOBU:
			return StartKeyFrame
		case headerOBU, frameOBU:
			return StartBetween
		}
	}
	return StartUnknown
}
