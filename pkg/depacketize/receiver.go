package depacketize

import (
	"errors"
	"fmt"
	"time"
)

// What ends a stream that cannot give a picture.
var (
	ErrNotVideo = errors.New("not the announced video")
	ErrTooBig   = errors.New("picture larger than the limit")
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

// settler is an assembler whose picture may be whole without that being proved: only the beginning of the next would prove it.
type settler interface {
	waiting() bool
	// settle takes the picture that is waiting.
	settle(now time.Time) *KeyFrame
}

// quiet is how long nothing must come behind what looks like the end of a picture, for it to count as that. The slices of one
// picture come within milliseconds, and the next picture mostly before this has passed.
const quiet = time.Second

// Format is one payload format of an RTP stream, as its description names it.
type Format struct {
	Payload uint8 // payload type, 0 to 127
	Codec   Codec
	Sets    [][]byte // parameter sets of the description, one NAL unit each (MPEG-4: its config); may be empty

	Width, Height int // in pixels, where the description says them; 0: it does not
}

// Receiver takes the packets of one track, in the order in which they were sent, and knows which are missing.
type Receiver struct {
	assembler

	format uint8
	packet packet
	began  bool // a packet of the track has come
	odd    int  // packets before that which were none
	source uint32
	next   uint16    // sequence number expected
	taken  time.Time // when the latest packet came
	frame  *KeyFrame
}

// NewReceiver prepares for the packets of format. A picture has at most limit bytes.
func NewReceiver(format Format, limit int) (*Receiver, error) {
	r := &Receiver{format: format.Payload}
	var err error
	switch format.Codec {
	case H264:
		r.assembler = newAccessUnits(h264Syntax(), format.Sets, limit)
	case H265:
		r.assembler = newAccessUnits(h265Syntax(), format.Sets, limit)
	case JPEG:
		r.assembler, err = newJPEGScans(format.Width, format.Height, limit)
	case VP8:
		r.assembler = &vp8Frames{limit: limit}
	case VP9:
		r.assembler = &vp9Frames{limit: limit}
	case AV1:
		r.assembler = &temporalUnits{limit: limit}
	case MPEG4:
		r.assembler = newMPEG4(format.Sets, limit)
	case MPEG2, MPEG1:
		r.assembler = newMPEG2(limit)
	}
	return r, err
}

// Began reports whether a packet of the track has come.
func (r *Receiver) Began() bool { return r.began }

// KeyFrame is the picture that is whole; nil as long as none is.
func (r *Receiver) KeyFrame() *KeyFrame { return r.frame }

// Troubles says what was wrong with the key frames that came, beginning with ": ", or nothing.
func (r *Receiver) Troubles() string { return r.troubles() }

// Waiting returns when Settle should be called if nothing has come by then, and false where there is nothing to settle.
func (r *Receiver) Waiting() (time.Time, bool) {
	s, ok := r.assembler.(settler)
	if !ok || r.frame != nil || !s.waiting() {
		return time.Time{}, false
	}
	return r.taken.Add(quiet), true
}

// Settle takes the picture that looks whole, where nothing has come behind it for long.
func (r *Receiver) Settle() {
	if s, ok := r.assembler.(settler); ok && r.frame == nil {
		r.frame = s.settle(time.Now())
	}
}

// Take takes one RTP packet (RFC 3550 section 5.1). Once a frame is whole, nothing more is taken.
func (r *Receiver) Take(raw []byte) error {
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
	r.taken = time.Now()
	frame, err := r.push(&r.packet, lost, r.taken)
	r.frame = frame
	return err
}

// follow compares the packet's sequence number with the expected one.
func (r *Receiver) follow() (lost, old bool) {
	first := !r.began || r.packet.source != r.source
	lost = r.began && (first || r.packet.sequence != r.next)
	if !first && lost && int16(r.packet.sequence-r.next) < 0 && int16(r.packet.sequence-r.next) > -64 {
		return false, true // a duplicate, or too late
	}
	r.source, r.next = r.packet.source, r.packet.sequence+1
	return lost, false
}

func (r *Receiver) strange() error {
	if r.odd++; !r.began && r.odd >= patience {
		return ErrNotVideo
	}
	return nil
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
