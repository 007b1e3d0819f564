package depacketize

import "encoding/binary"

// packet is what an RTP packet says (RFC 3550 section 5.1). Contributing sources are none of our business, and what
// stands in header extensions is not judged: cameras put all kinds of things there.
type packet struct {
	marker   bool
	format   uint8 // "payload type"
	sequence uint16
	stamp    uint32 // in ticks of the format's clock
	source   uint32
	payload  []byte // shares the memory of what was parsed, as does:

	profile   uint16 // "defined by profile", of the header extension; 0: there is none
	extension []byte
}

// parsePacket reads an RTP packet. What is of another version, or shorter than it says, is none.
func parsePacket(raw []byte) (p packet, ok bool) {
	const (
		version  = 2
		fixed    = 12
		word     = 4
		padded   = 0x20
		extended = 0x10
	)
	if len(raw) < fixed || raw[0]>>6 != version {
		return packet{}, false
	}
	p = packet{
		marker:   raw[1]&0x80 != 0,
		format:   raw[1] & 0x7f,
		sequence: binary.BigEndian.Uint16(raw[2:]),
		stamp:    binary.BigEndian.Uint32(raw[4:]),
		source:   binary.BigEndian.Uint32(raw[8:]),
	}
	from, to := fixed+word*int(raw[0]&0x0f), len(raw)
	if raw[0]&extended != 0 {
		if to < from+word {
			return packet{}, false
		}
		p.profile = binary.BigEndian.Uint16(raw[from:])
		p.extension = raw[from+word : min(to, from+word*(1+int(binary.BigEndian.Uint16(raw[from+2:]))))]
		from += word * (1 + int(binary.BigEndian.Uint16(raw[from+2:])))
	}
	if raw[0]&padded != 0 {
		to -= int(raw[to-1]) // it counts itself; 0 is of those who set the bit and pad nothing
	}
	if to < from {
		return packet{}, false
	}
	p.payload = raw[from:to]
	return p, true
}
