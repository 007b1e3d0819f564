package camsim

import (
	"fmt"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"
)

// videoPayloadType is the first dynamic one (RFC 3551 section 6), which cameras customarily use.
const videoPayloadType = 96

const clockRate = 90_000 // of RTP video (RFC 6184 section 8.2.1, RFC 7798 section 7.1, RFC 2435 section 3)

// description returns what DESCRIBE says of the stream: one video track.
// Each caller gets its own, because the library writes into it.
func (f *film) description(sets Sets) *description.Session {
	var video format.Format
	told := sets != SetsInBand
	switch f.codec.syntax() {
	case syntaxH265:
		track := &format.H265{PayloadTyp: videoPayloadType}
		if told {
			track.VPS, track.SPS, track.PPS = f.sets[0], f.sets[1], f.sets[2]
		}
		video = track
	case syntaxJPEG:
		video = &format.MJPEG{}
	default:
		track := &format.H264{PayloadTyp: videoPayloadType, PacketizationMode: 1}
		if told {
			track.SPS, track.PPS = f.sets[0], f.sets[1]
		}
		video = track
	}
	return &description.Session{
		Title: "camsim",
		Medias: []*description.Media{{
			Type: description.MediaTypeVideo, Control: "trackID=0", Formats: []format.Format{video},
		}},
	}
}

// packetizer turns frames into RTP packets (RFC 6184, RFC 7798, RFC 2435).
type packetizer struct {
	encode func(unit [][]byte) ([]*rtp.Packet, error)
	sets   [][]byte // what goes before each key frame
	step   uint32   // of the RTP clock, from picture to picture
}

func (f *film) packetizer(sets Sets) (*packetizer, error) {
	p := &packetizer{step: uint32(clockRate * f.frameTime / time.Second)} // a picture takes at most a second
	if sets != SetsInSDP {
		p.sets = f.sets
	}
	switch f.codec.syntax() {
	case syntaxH264:
		encoder := &rtph264.Encoder{PayloadType: videoPayloadType, PacketizationMode: 1}
		p.encode = encoder.Encode
		return p, encoder.Init()
	case syntaxH265:
		encoder := &rtph265.Encoder{PayloadType: videoPayloadType}
		p.encode = encoder.Encode
		return p, encoder.Init()
	case syntaxJPEG:
		encoder := &rtpmjpeg.Encoder{}
		p.encode = func(unit [][]byte) ([]*rtp.Packet, error) { return encoder.Encode(unit[0]) }
		return p, encoder.Init()
	}
	return nil, fmt.Errorf("nothing makes packets of %q", f.codec)
}

// pack returns the packets of the n-th frame of a session. Their time stamps begin at one second,
// so that a picture shown before the first key frame has one that is not negative.
func (p *packetizer) pack(frame frame, n int) []*rtp.Packet {
	if len(frame.units) == 0 {
		return nil
	}
	unit := frame.units
	if frame.key && len(p.sets) > 0 {
		unit = append(append(make([][]byte, 0, len(p.sets)+len(unit)), p.sets...), unit...)
	}
	packets, err := p.encode(unit)
	if err != nil {
		return nil // only an empty unit fails, and no film has one
	}
	for _, packet := range packets {
		packet.Timestamp = clockRate + uint32(n+frame.shift)*p.step // it is meant to wrap (RFC 3550 section 5.1)
	}
	return packets
}

// endsKeyFrame tells whether an interleaved frame (RFC 2326 section 10.12) is the last RTP packet of a key frame.
func (s syntax) endsKeyFrame(interleaved []byte) bool {
	const head, rtpHeader = 4, 12
	if len(interleaved) < head+rtpHeader+3 || interleaved[0] != '$' || interleaved[1]%2 != 0 || interleaved[head+1]&0x80 == 0 {
		return false
	}
	payload := interleaved[head+rtpHeader:]
	kind := s.kind(payload)
	switch {
	case s == syntaxJPEG:
		return true
	case s == syntaxH264 && kind == 28: // FU-A
		return s.isKey(int(payload[1] & 0x1f))
	case s == syntaxH265 && kind == 49: // FU
		return s.isKey(int(payload[2] & 0x3f))
	case s == syntaxH264 && kind == 24: // STAP-A
		return s.isKey(s.lastOf(payload[1:]))
	case s == syntaxH265 && kind == 48: // AP
		return s.isKey(s.lastOf(payload[2:]))
	}
	return s.isKey(kind)
}

// lastOf returns the type of the last slice in an aggregation.
func (s syntax) lastOf(units []byte) (kind int) {
	for len(units) > 2 {
		size := int(units[0])<<8 | int(units[1])
		if now := s.kind(units[2:]); s.isSlice(now) {
			kind = now
		}
		units = units[min(2+size, len(units)):]
	}
	return kind
}
