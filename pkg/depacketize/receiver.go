package depacketize

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
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

// Receiver takes the packets of one track, in the order in which they came, and knows which are missing.
//
// Others' packets come along with them: of a session that is dead, of audio, of formats nobody announced. Which are ours the payload
// type says, and the numbers. The SSRC only tells sequences of numbers apart; that it is the announced one is a hint and no more,
// for cameras announce one and send another, change it with every key frame, or draw it anew for every packet.
type Receiver struct {
	format   Format
	limit    int
	expected *uint32 // the announced SSRC
	sources  []*source
	packet   packet
	clock    int  // packets of our type so far
	odd      int  // packets that were none
	other    int  // of another type than ours
	strange  byte // the last of these types

	nameless bool     // the SSRC differs from packet to packet, and says nothing
	hops     int      // packets in a row that followed each other under ever new SSRCs
	early    [][]byte // these packets
	last     uint16   // number of the last packet of our type

	start     Start
	candidate candidate
	taken     time.Time // when the latest packet of our type came
	frame     *KeyFrame
}

// most sources that are told apart: one is ours.
const mostSources = 4

// NewReceiver prepares for the packets of format. A picture has at most limit bytes.
func NewReceiver(format Format, limit int) (*Receiver, error) {
	r := &Receiver{format: format, limit: limit}
	first, err := newAssembler(format, limit)
	if err == nil {
		r.sources = []*source{{assembler: first}}
	}
	return r, err
}

func newAssembler(format Format, limit int) (assembler, error) {
	switch format.Codec {
	case H264:
		return newAccessUnits(h264Syntax(), format.Sets, limit), nil
	case H265:
		return newAccessUnits(h265Syntax(), format.Sets, limit), nil
	case JPEG:
		return newJPEGScans(format.Width, format.Height, limit)
	case VP8:
		return &vp8Frames{limit: limit}, nil
	case VP9:
		return &vp9Frames{limit: limit}, nil
	case AV1:
		return &temporalUnits{limit: limit}, nil
	case MPEG4:
		return newMPEG4(format.Sets, limit), nil
	case MPEG2, MPEG1:
		return newMPEG2(limit), nil
	}
	return nil, errors.New("no codec that can be put together: " + string(format.Codec))
}

// Expect names the SSRC that the camera announced. A source that has it is preferred to others, once it comes.
func (r *Receiver) Expect(ssrc uint32) { r.expected = &ssrc }

// Began reports whether a packet of the track has come.
func (r *Receiver) Began() bool { return r.clock > 0 }

// KeyFrame is the picture that is whole; nil as long as none is.
func (r *Receiver) KeyFrame() *KeyFrame { return r.frame }

// Troubles says what was wrong with the key frames that came, beginning with ": ", or nothing.
func (r *Receiver) Troubles() string {
	if len(r.sources) == 0 {
		return ""
	}
	return slices.MaxFunc(r.sources, func(a, b *source) int { return a.count - b.count }).troubles()
}

// Strange is how many packets came that are not of the announced payload type, and the type of the last of them.
func (r *Receiver) Strange() (count int, payload byte) { return r.other, r.strange }

// Source is the SSRC of the last packet of the track.
func (r *Receiver) Source() uint32 { return r.packet.source }

// Waiting returns when Settle should be called if nothing has come by then, and false where there is nothing to settle.
func (r *Receiver) Waiting() (time.Time, bool) {
	if r.frame != nil || r.waiting() == nil {
		return time.Time{}, false
	}
	return r.taken.Add(quiet), true
}

// Settle takes the picture that looks whole, where nothing has come behind it for long.
func (r *Receiver) Settle() {
	if s := r.waiting(); s != nil && r.frame == nil {
		r.frame = s.settle(time.Now())
	}
}

// waiting is the assembler of our source, if its picture looks whole.
func (r *Receiver) waiting() settler {
	for _, s := range r.sources {
		if one, ok := s.assembler.(settler); ok && one.waiting() && r.preferred(s) {
			return one
		}
	}
	return nil
}

// Take takes one RTP packet (RFC 3550 section 5.1). Once a frame is whole, nothing more is taken.
func (r *Receiver) Take(raw []byte) error {
	if r.frame != nil {
		return nil
	}
	var ok bool
	if r.packet, ok = parsePacket(raw); !ok {
		if r.odd++; r.clock == 0 && r.odd >= patience {
			return ErrNotVideo
		}
		return nil
	}
	if r.packet.format != r.format.Payload {
		return r.takeOther(raw)
	}
	if r.clock++; r.clock == 1 {
		r.candidate = candidate{} // what was announced comes
	}
	if replay := r.doubtNames(raw); replay != nil {
		for _, one := range replay {
			if r.packet, _ = parsePacket(one); r.frame == nil {
				if err := r.takeOurs(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return r.takeOurs()
}

// takeOurs takes the packet, which is of our type.
func (r *Receiver) takeOurs() error {
	p := &r.packet
	r.last = p.sequence
	r.starts(p.payload)
	s := r.sourceOf(p)
	if s == nil {
		return nil
	}
	s.at = r.clock
	lost, drop := s.follow(p)
	if drop {
		return nil
	}
	r.taken = time.Now()
	frame, err := s.push(p, lost, r.taken)
	if frame != nil && r.preferred(s) {
		r.frame = frame
	} else if frame != nil {
		r.sources = slices.DeleteFunc(r.sources, func(one *source) bool { return one == s })
	}
	return err
}

// preferred reports whether a source is the announced one, or that one has not come.
func (r *Receiver) preferred(s *source) bool {
	return r.expected == nil || r.nameless || s.ssrc == *r.expected ||
		!slices.ContainsFunc(r.sources, func(one *source) bool { return one.count > 0 && one.ssrc == *r.expected })
}

// sourceOf finds the source of a packet, or makes one; nil where there are too many.
func (r *Receiver) sourceOf(p *packet) *source {
	for _, s := range r.sources {
		if r.nameless || s.count == 0 || s.ssrc == p.source {
			s.ssrc = p.source
			return s
		}
	}
	if len(r.sources) >= mostSources && !r.forget() {
		return nil
	}
	assembler, err := newAssembler(r.format, r.limit)
	if err != nil { // the first could be made
		return nil
	}
	s := &source{assembler: assembler, ssrc: p.source}
	r.sources = append(r.sources, s)
	return s
}

// forget makes room for another source, in place of one that was heard once, or else not for a while.
func (r *Receiver) forget() bool {
	const silent = 32
	worst := slices.MinFunc(r.sources, func(a, b *source) int {
		return cmp.Or(cmp.Compare(min(a.count, 2), min(b.count, 2)), a.at-b.at)
	})
	if worst.count > 1 && r.clock-worst.at < silent {
		return false
	}
	r.sources = slices.DeleteFunc(r.sources, func(one *source) bool { return one == worst })
	return true
}

// doubtNames looks whether the SSRC says anything. Where one packet follows the other by number and each has an SSRC that was
// never seen, it does not, and the packets so far are taken once more, as those of one source.
func (r *Receiver) doubtNames(raw []byte) [][]byte {
	const enough = 4
	if r.nameless || r.hops < 0 {
		return nil
	}
	p := &r.packet
	known := slices.ContainsFunc(r.sources, func(s *source) bool { return s.count > 0 && s.ssrc == p.source })
	if known || r.hops > 0 && p.sequence != r.last+1 {
		r.early = nil
		if r.hops = 0; known {
			r.hops = -1 // a source that speaks twice has a name
		}
		return nil
	}
	r.hops++
	if r.early = append(r.early, bytes.Clone(raw)); r.hops < enough {
		return nil
	}
	replay := r.early
	r.nameless, r.early = true, nil
	fresh, _ := newAssembler(r.format, r.limit)
	r.sources = []*source{{assembler: fresh}}
	return replay
}

// takeOther takes note of a packet of another type.
func (r *Receiver) takeOther(raw []byte) error {
	r.other++
	r.strange = r.packet.format
	for _, s := range r.sources {
		if s.count > 0 && s.ssrc == r.packet.source {
			s.stranger(r.packet.sequence)
		}
	}
	if r.clock > 0 || !r.candidate.take(&r.packet, raw, r.format.Codec) {
		return nil
	}
	// The description named another number than the camera sends.
	replay := r.candidate.packets
	r.format.Payload, r.candidate = r.packet.format, candidate{}
	for _, one := range replay {
		if err := r.Take(one); err != nil {
			return err
		}
	}
	return nil
}

// sighting counts the pictures that came, key frames or not, of the codecs whose assemblers count no more than that.
type sighting struct {
	pictures    int
	first, last time.Time // when they began
}

func (s *sighting) note(at time.Time) {
	if s.pictures++; s.pictures == 1 {
		s.first = at
	}
	s.last = at
}

// describe is how assemblers say why they have no key frame, where they count pictures.
func (s *sighting) describe(damaged, bare int) string {
	if said := describeTroubles(damaged, bare); said != "" {
		return said
	}
	if s.pictures == 0 {
		return ": packets came, and no picture began in them"
	}
	return describeGroup(s.pictures, s.last.Sub(s.first))
}

// describeGroup speaks of pictures of which none was a key frame.
func describeGroup(pictures int, in time.Duration) string {
	return fmt.Sprintf(": %d pictures came in %s, and each needs earlier ones, so its group of pictures is longer than that",
		pictures, in.Round(100*time.Millisecond))
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
