package camsim

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtp"
)

// This file is how hostile cameras send media: as fast as a LAN can carry it, bounded by how fast the client reads,
// and with no more memory than a burst.

const (
	burst    = 64 << 10    // bytes written at once
	lanSpeed = 125_000_000 // bytes a second: gigabit Ethernet
)

// flood sends what more appends to an empty buffer, again and again, until that is nothing or the conversation ends.
// A client that does not read holds it back for as long as it likes.
func (t *talk) flood(more func([]byte) []byte) {
	var sent int64
	buffer := make([]byte, 0, 2*burst)
	for began := time.Now(); ; {
		buffer = more(buffer[:0])
		if len(buffer) == 0 || t.push(buffer) != nil {
			return
		}
		sent += int64(len(buffer))
		ahead := time.Duration(sent*int64(time.Second)/lanSpeed) - time.Since(began)
		if ahead > time.Millisecond && !t.sleep(ahead) {
			return
		}
	}
}

// push is write without a deadline.
func (t *talk) push(raw []byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	_, err := t.conn.Write(raw)
	return err
}

// outlet makes interleaved frames of RTP packets.
type outlet struct {
	channel  int
	payload  uint8
	sequence uint16
	stamp    uint32
	scrap    []byte // for the payload of one packet
}

func (t *talk) outlet(channel int) *outlet {
	out := &outlet{channel: channel, payload: videoPayloadType, stamp: clockRate, scrap: make([]byte, 0, burst)}
	if t.c.film.codec.syntax() == syntaxJPEG {
		out.payload = 26 // RFC 3551 section 6
	}
	return out
}

// packet appends a packet of its own making, with the next sequence number.
func (o *outlet) packet(to []byte, marker bool, payload []byte) []byte {
	const rtpHeader = 12
	to = append(to, '$', byte(o.channel))
	to = binary.BigEndian.AppendUint16(to, uint16(rtpHeader+len(payload))) // payloads are made here, and small
	kind := o.payload
	if marker {
		kind |= 0x80
	}
	to = append(to, 0x80, kind)
	to = binary.BigEndian.AppendUint16(to, o.sequence)
	to = binary.BigEndian.AppendUint32(to, o.stamp)
	to = binary.BigEndian.AppendUint32(to, 1)
	o.sequence++
	return append(to, payload...)
}

// frames appends packets that have been made by others.
func (o *outlet) frames(to []byte, packets []*rtp.Packet) []byte {
	for _, packet := range packets {
		raw, err := packet.Marshal()
		if err != nil {
			continue // packets of our own making marshal
		}
		to = append(to, '$', byte(o.channel))
		to = binary.BigEndian.AppendUint16(to, uint16(len(raw))) // as the packetizer made it
		to = append(to, raw...)
	}
	return to
}

// piece appends the payload of a packet with a piece of a key frame that begins at an offset: its start, if that is 0,
// and never its end (FU-A of RFC 6184, FU of RFC 7798, RFC 2435).
func (f *film) piece(to []byte, offset int, data []byte) []byte {
	start := byte(0)
	if offset == 0 {
		start = 0x80
	}
	switch key := f.loops[0][0].units[0]; f.codec.syntax() {
	case syntaxH265:
		to = append(to, 49<<1, key[1], start|key[0]>>1&0x3f)
	case syntaxJPEG:
		to = append(to, 0, byte(offset>>16), byte(offset>>8), byte(offset), 1, 50, 640/8, 360/8)
	default:
		to = append(to, key[0]&0x60|28, start|key[0]&0x1f)
	}
	return append(to, data...)
}

// inside returns what a film's first key frame holds behind its header, so that a piece of it looks right.
func (f *film) inside() []byte {
	key := f.loops[0][0].units[0]
	switch f.codec.syntax() {
	case syntaxH265:
		return key[2:]
	case syntaxJPEG:
		return key[len(key)/2:]
	}
	return key[1:]
}

// nested appends aggregations within aggregations, and in the innermost the beginning of a key frame.
func (f *film) nested(to []byte) []byte {
	key := f.loops[0][0].units[0]
	header := []byte{key[0]&0x60 | 24} // STAP-A (RFC 6184 section 5.7.1)
	if f.codec.syntax() == syntaxH265 {
		header = []byte{48 << 1, key[1]} // aggregation packet (RFC 7798 section 4.4.2)
	}
	inner := key[:min(len(key), 100)]
	step := len(header) + 2
	for size := mostOfPacket / step * step; size > 0; size -= step {
		to = append(to, header...)
		to = binary.BigEndian.AppendUint16(to, uint16(size-step+len(inner))) // less than a packet
	}
	return append(to, inner...)
}

func sendAstray(t *talk) {
	packets, err := t.c.film.packetizer(t.c.config.Sets)
	if err != nil {
		return
	}
	out, feed, n := t.outlet(straysChannel), t.c.film.newFeed(t.c.config.Picture, t.c.config.GOP, 0), 0
	t.flood(func(to []byte) []byte {
		for len(to) < burst {
			to = out.frames(to, packets.pack(feed.at(n), n))
			n++
		}
		return to
	})
}

func sendCrumbs(t *talk) {
	film, out, body, n := t.c.film, t.outlet(t.channel), t.c.film.inside(), 0
	t.flood(func(to []byte) []byte {
		for ; len(to) < burst && n < tinyFragments; n++ {
			at := n % len(body)
			to = out.packet(to, false, film.piece(out.scrap[:0], n, body[at:at+1]))
		}
		return to
	})
}

func sendForEver(t *talk) {
	film, out, body, offset := t.c.film, t.outlet(t.channel), t.c.film.inside(), 0
	t.flood(func(to []byte) []byte {
		for len(to) < burst {
			at := offset % len(body)
			data := body[at:min(at+mostOfPacket, len(body))]
			to = out.packet(to, false, film.piece(out.scrap[:0], offset, data))
			offset += len(data)
		}
		return to
	})
}

func sendNested(t *talk) {
	out := t.outlet(t.channel)
	nested := t.c.film.nested(nil)
	t.flood(func(to []byte) []byte {
		for len(to) < burst {
			to = out.packet(to, true, nested)
			out.stamp += clockRate / 25
		}
		return to
	})
}

// sendPictures sends the film at its own speed, each picture mangled.
func sendPictures(mangle func(packets []*rtp.Packet, key bool, n int) []*rtp.Packet) func(*talk) {
	return func(t *talk) {
		packets, err := t.c.film.packetizer(t.c.config.Sets)
		if err != nil {
			return
		}
		out, feed := t.outlet(t.channel), t.c.film.newFeed(t.c.config.Picture, t.c.config.GOP, 0)
		for n := 0; ; n++ {
			frame := feed.at(n)
			if t.push(out.frames(nil, mangle(packets.pack(frame, n), frame.key, n))) != nil || !t.sleep(t.c.film.frameTime) {
				return
			}
		}
	}
}

// loseMiddle takes a packet out of a key frame.
func loseMiddle(packets []*rtp.Packet, key bool, _ int) []*rtp.Packet {
	if !key {
		return packets
	}
	middle := len(packets) / 2
	return append(packets[:middle:middle], packets[middle+1:]...)
}

// jump gives each picture a time stamp far from that of the one before.
func jump(packets []*rtp.Packet, _ bool, n int) []*rtp.Packet {
	for _, packet := range packets {
		packet.Timestamp = uint32(n*n) * 0x1234567 // it is meant to wrap
	}
	return packets
}

// tear gives each packet a time stamp of its own.
func tear(packets []*rtp.Packet, _ bool, n int) []*rtp.Packet {
	for i, packet := range packets {
		packet.Timestamp += uint32(n+i*i) * 9001 // it is meant to wrap
	}
	return packets
}
