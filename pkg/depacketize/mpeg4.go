package depacketize

import (
	"bytes"
	"time"
)

// Start codes of MPEG-4 part 2 (ISO/IEC 14496-2 table 6-3).
const (
	lastObject   = 0x1f // 0x00 to 0x1f: a video object
	lastLayer    = 0x2f // 0x20 to 0x2f: a video object layer, which says how large pictures are
	sequenceCode = 0xb0
	userDataCode = 0xb2
	visualObject = 0xb5
	planeCode    = 0xb6 // a video object plane: a picture
)

// intraPlane is the vop_coding_type of a key frame, the two bits behind its start code.
const intraPlane = 0

// mpeg4Pictures takes the parts of an MPEG-4 stream. A picture is one part. Its configuration comes with the description, in the
// stream, or both ways; what comes last counts.
type mpeg4Pictures struct {
	config  []byte // the parts that decoders want first
	adding  bool   // the part before was of the configuration, so the next that is so is added to it
	inBand  bool   // it comes with the stream, so a missing packet may have held another
	doubt   bool   // packets were missing since the last picture
	renewed bool   // but it has come since

	finished   *KeyFrame
	seen       sighting
	lost, bare int
}

func newMPEG4(config [][]byte, limit int) *elementary {
	m := &mpeg4Pictures{}
	for _, set := range config {
		for part := range parts(set) {
			m.configure(part)
		}
	}
	m.adding, m.inBand, m.renewed = false, false, false
	return &elementary{syntax: m, limit: limit}
}

func (m *mpeg4Pictures) payload(packet []byte) []byte { return packet }

func (m *mpeg4Pictures) troubles() string { return m.seen.describe(m.lost, m.bare) }

func (m *mpeg4Pictures) lose(inKeyFrame bool) {
	m.doubt, m.renewed, m.adding = true, false, false
	if inKeyFrame {
		m.lost++
	}
}

func (m *mpeg4Pictures) begin(byte) *KeyFrame { return m.finished }

func (m *mpeg4Pictures) pictured(open []byte) bool {
	return open[len(codePrefix)] == planeCode && len(open) > startCodeSize && open[startCodeSize]>>6 == intraPlane
}

func (m *mpeg4Pictures) part(data []byte, began, at time.Time) {
	if code := data[len(codePrefix)]; code != planeCode {
		m.configure(data)
		return
	}
	m.adding = false
	m.seen.note(began)
	unsure := m.doubt && m.inBand && !m.renewed
	m.doubt, m.renewed = false, false
	switch {
	case len(data) <= startCodeSize || data[startCodeSize]>>6 != intraPlane:
	case unsure:
		m.lost++
	case !m.layered():
		m.bare++
	default:
		m.finished = &KeyFrame{
			Codec: MPEG4, Bytes: bytes.Join([][]byte{m.config, data}, nil), CapturedAt: began, Arriving: at.Sub(began),
		}
		for part := range parts(m.config) {
			if isLayer(part) {
				m.finished.size(sizeMPEG4(part[startCodeSize:]))
			}
		}
	}
}

// configure takes a part that is no picture.
func (m *mpeg4Pictures) configure(part []byte) {
	switch code := part[len(codePrefix)]; {
	case code <= lastLayer, code == sequenceCode, code == visualObject, code == userDataCode && m.adding:
		if !m.adding {
			m.config = m.config[:0]
		}
		m.adding, m.inBand, m.renewed = true, true, true
		if len(m.config)+len(part) <= maxSetSize {
			m.config = append(m.config, part...)
		}
	}
}

func isLayer(part []byte) bool {
	code := part[len(codePrefix)]
	return code > lastObject && code <= lastLayer
}

// layered reports whether the configuration says what pictures are like.
func (m *mpeg4Pictures) layered() bool {
	for part := range parts(m.config) {
		if isLayer(part) {
			return true
		}
	}
	return false
}

// sizeMPEG4 reads the size in a video object layer, behind its start code (ISO/IEC 14496-2 section 6.2.3); 0, 0 where it cannot be read.
func sizeMPEG4(layer []byte) (width, height int) {
	r := bitReader{data: layer}
	const extendedAspect, grayscale = 15, 3
	r.skip(1 + 8) // random_accessible_vol, video_object_type_indication
	version := 1
	if r.flag() {
		version = r.read(4)
		r.skip(3)
	}
	if r.read(4) == extendedAspect {
		r.skip(8 + 8)
	}
	if r.flag() { // vol_control_parameters
		r.skip(2 + 1)
		if r.flag() { // vbv_parameters
			r.skip(15 + 1 + 15 + 1 + 15 + 1 + 3 + 11 + 1 + 15 + 1)
		}
	}
	shape := r.read(2)
	if shape == grayscale && version != 1 {
		r.skip(4)
	}
	r.skip(1)
	resolution := r.read(16)
	r.skip(1)
	if r.flag() { // fixed_vop_rate
		r.skip(bitLength(resolution - 1))
	}
	const rectangular = 0
	if shape != rectangular {
		return 0, 0
	}
	r.skip(1)
	width = r.read(13)
	r.skip(1)
	height = r.read(13)
	if r.short {
		return 0, 0
	}
	return width, height
}

// bitLength is how many bits hold the values from 0 to most; at least one.
func bitLength(most int) int {
	n := 1
	for most > 1 {
		n, most = n+1, most>>1
	}
	return n
}
