package depacketize

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// window is how many of the last numbers of a source are remembered.
const window = 64

// source is one sequence of numbered packets, and what is put together of them.
type source struct {
	assembler

	ssrc  uint32
	count int // packets
	at    int // when the last one came, on the receiver's clock
	next  uint16
	seed  maphash.Seed
	seen  [window]struct {
		number uint16
		known  bool
		sum    uint64
	}

	strangers  [window]uint16 // numbers of packets of another type and the same SSRC
	strange    int            // how many of these
	ownNumbers bool           // they are numbered by themselves
}

// follow compares the packet's number with the expected one: whether packets are missing before it, and whether it is to be
// dropped because it came before, or was given up.
func (s *source) follow(p *packet) (lost, drop bool) {
	if s.count++; s.count == 1 {
		s.seed = maphash.MakeSeed()
		s.next = p.sequence
	}
	sum := s.sum(p)
	ahead := int16(p.sequence - s.next)
	was := &s.seen[p.sequence%window]
	known := was.known && was.number == p.sequence
	switch {
	case ahead == 0:
	case ahead > 0:
		lost = !s.filled(int(ahead))
	case ahead <= -window:
		lost = true // it began to count anew
	case !known, was.sum == sum:
		return false, true // too late, or a duplicate
	case ahead == -1:
		// The same number again, for something else: this camera does not count, and TCP loses nothing.
	default:
		lost = true // anew, from a little before
	}
	s.ownNumbers = s.ownNumbers || s.fills(p.sequence)
	s.next = p.sequence + 1
	was.number, was.known, was.sum = p.sequence, true, sum
	return lost, false
}

// sum tells packets with the same number apart.
func (s *source) sum(p *packet) uint64 {
	var stamp [4]byte
	binary.BigEndian.PutUint32(stamp[:], p.stamp)
	return maphash.Bytes(s.seed, p.payload) ^ maphash.Bytes(s.seed, stamp[:])
}

// stranger notes the number of a packet of another type. Forward error correction, say, is counted along with the video; what
// repeats numbers of the video is not.
func (s *source) stranger(number uint16) {
	if was := s.seen[number%window]; was.known && was.number == number {
		s.ownNumbers = true
	}
	s.strangers[s.strange%window] = number
	s.strange++
}

func (s *source) fills(number uint16) bool {
	for _, one := range s.strangers[:min(s.strange, window)] {
		if one == number {
			return true
		}
	}
	return false
}

// filled reports whether the numbers that are missing were all those of packets of another type.
func (s *source) filled(missing int) bool {
	if s.ownNumbers || missing > window || s.strange == 0 {
		return false
	}
	for i := range missing {
		if !s.fills(s.next + uint16(i)) {
			return false
		}
	}
	return true
}

// candidate is a payload type that nobody announced, and that may be ours: while nothing else comes, and as long as each of its
// packets looks like the codec.
type candidate struct {
	format  uint8
	ssrc    uint32
	next    uint16
	packets [][]byte
}

// take reports whether enough packets of the kind have come.
func (c *candidate) take(p *packet, raw []byte, codec Codec) bool {
	const enough = 8
	switch {
	case !looksLike(p.payload, codec):
		if p.format == c.format {
			*c = candidate{}
		}
		return false
	case len(c.packets) == 0, p.format != c.format, p.source != c.ssrc, p.sequence != c.next:
		*c = candidate{format: p.format, ssrc: p.source}
	}
	c.next = p.sequence + 1
	c.packets = append(c.packets, bytes.Clone(raw))
	return len(c.packets) == enough
}

// looksLike reports whether a payload begins like one of the codec. One of random bytes does at one time in eight, or less.
func looksLike(payload []byte, codec Codec) bool {
	if len(payload) < 3 {
		return false
	}
	switch codec {
	case H264:
		return looksLike264(payload)
	case H265:
		return looksLike265(payload)
	case JPEG: // RFC 2435 section 3.1
		return len(payload) > 8 && payload[0] == 0 && payload[4]&0x3f <= 1 && payload[6] != 0 && payload[7] != 0
	}
	return false
}

// looksLike264 knows RFC 6184 section 5.2, and Rec. ITU-T H.264 table 7-1.
func looksLike264(payload []byte) bool {
	kind, important := payload[0]&0x1f, payload[0]&0x60 != 0
	switch {
	case payload[0]&0x80 != 0:
		return false
	case kind == 5 || kind == 7 || kind == 8:
		return important
	case kind == 6 || kind == 9:
		return !important
	case kind == fragment264:
		return payload[1]&0x1f >= 1 && payload[1]&0x1f <= 9
	}
	return kind == 1 || kind == aggregate264
}

// looksLike265 knows RFC 7798 section 4.4.
func looksLike265(payload []byte) bool {
	kind := kind265(payload)
	if payload[0]&0x81 != 0 || payload[1]&0xf8 != 0 || payload[1]&7 == 0 { // forbidden bit, layer, temporal id
		return false
	}
	return kind <= 9 || kind >= 16 && kind <= 21 || kind >= 32 && kind <= 40 || kind == aggregate265 || kind == fragment265
}
