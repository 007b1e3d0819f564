package rtsp

import (
	"errors"
	"fmt"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

var (
	errNotVideo = errors.New("not the announced video")
	errBye      = errors.New("RTCP BYE")
	errTooBig   = errors.New("picture larger than the limit")
)

// patience is how many packets that make no sense are read before the first that does.
const patience = 16

// assembler puts pictures together from the packets of one track.
type assembler interface {
	// push takes the next packet. lost says that packets are missing before it.
	push(p *packet, lost bool, at time.Time) (*KeyFrame, error)
	// troubles says what was wrong with the key frames that came, beginning with ": ", or nothing.
	troubles() string
}

// receiver takes the packets of one track, in the order in which they were sent, and knows which are missing.
type receiver struct {
	assembler

	channel byte // of RTP over TCP; RTCP comes on the next
	format  uint8
	packet  packet
	began   bool // a packet of the track has come
	odd     int  // packets before that which were none
	source  uint32
	next    uint16 // sequence number expected
	frame   *KeyFrame
}

func newReceiver(track track, limit int) (*receiver, error) {
	r := &receiver{format: track.payload}
	var err error
	switch track.codec {
	case H264:
		r.assembler = newUnits(h264Grammar(), track.sets, limit)
	case H265:
		r.assembler = newUnits(h265Grammar(), track.sets, limit)
	case JPEG:
		r.assembler, err = newScans(limit)
	}
	return r, err
}

// interleaved takes a frame of the connection. Channels that were not announced are none of ours.
func (r *receiver) interleaved(channel byte, raw []byte) error {
	switch {
	case channel == r.channel:
		return r.take(raw)
	case channel == r.channel+1 && saysBye(raw):
		return errBye
	}
	return nil
}

// take takes one RTP packet (RFC 3550 section 5.1). Once a frame is whole, nothing more is taken.
func (r *receiver) take(raw []byte) error {
	if r.frame != nil {
		return nil
	}
	var ok bool
	if r.packet, ok = parsePacket(raw); !ok {
		return r.strange()
	}
	lost, old := r.follow()
	if old {
		return nil
	}
	if r.packet.format != r.format {
		// Another format in the same sequence of packets. What is lost before it may have been ours.
		if lost {
			r.next-- // so that our next packet finds the gap too
		}
		return r.strange()
	}
	r.began = true
	frame, err := r.push(&r.packet, lost, time.Now())
	r.frame = frame
	return err
}

// follow compares the packet's sequence number with the expected one.
func (r *receiver) follow() (lost, old bool) {
	first := !r.began || r.packet.source != r.source
	lost = r.began && (first || r.packet.sequence != r.next)
	if !first && lost && int16(r.packet.sequence-r.next) < 0 && int16(r.packet.sequence-r.next) > -64 {
		return false, true // a duplicate, or too late
	}
	r.source, r.next = r.packet.source, r.packet.sequence+1
	return lost, false
}

func (r *receiver) strange() error {
	if r.odd++; !r.began && r.odd >= patience {
		return errNotVideo
	}
	return nil
}

// saysBye looks for BYE in a compound RTCP packet (RFC 3550 section 6.6).
func saysBye(raw []byte) bool {
	const bye = 203
	for len(raw) >= 4 && raw[0]>>6 == 2 {
		if raw[1] == bye {
			return true
		}
		size := 4 * (1 + int(raw[2])<<8 + int(raw[3]))
		raw = raw[min(size, len(raw)):]
	}
	return false
}

// receive reads until the key frame is whole.
func (t *talk) receive() error {
	if t.receiver.frame != nil {
		return nil
	}
	t.note(fault.Media)
	deadline := t.deadline()
	for t.receiver.frame == nil {
		if t.step == fault.Media && t.receiver.began {
			t.note(fault.KeyFrame)
			deadline = t.whole
		}
		if err := t.receiveOne(deadline); err != nil {
			return err
		}
	}
	return nil
}

func (t *talk) receiveOne(deadline time.Time) error {
	if t.sockets != nil {
		return t.receiveUDP(deadline)
	}
	t.wire.until(deadline)
	m, err := t.wire.next()
	switch {
	case err != nil:
		return err
	case m.request != nil:
		return t.reply(m.request)
	case m.packet != nil:
		return t.receiver.interleaved(m.channel, m.packet)
	}
	return nil // an answer nobody waits for any more
}

// describeTroubles is how assemblers say why they have no key frame.
func describeTroubles(damaged, bare int) string {
	switch {
	case damaged > 0:
		return fmt.Sprintf(": %d came, with parts missing", damaged)
	case bare > 0:
		return fmt.Sprintf(": %d came, but never its parameter sets", bare)
	}
	return ""
}
