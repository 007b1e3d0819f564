package camsim

import (
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/pion/rtp"
)

// videoPayloadType is the first dynamic one (RFC 3551 section 6), which cameras customarily use.
const videoPayloadType = 96

// description returns what DESCRIBE says of the stream: one video track.
// Each caller gets its own, because the library writes into it.
func (f *film) description() *description.Session {
	return &description.Session{
		Title: "camsim",
		Medias: []*description.Media{{
			Type:    description.MediaTypeVideo,
			Control: "trackID=0",
			Formats: []format.Format{&format.H264{
				PayloadTyp: videoPayloadType, SPS: f.sps, PPS: f.pps, PacketizationMode: 1,
			}},
		}},
	}
}

// accessUnit returns the NAL units of a frame as a camera sends them: the parameter sets go with every key frame.
func (f *film) accessUnit(frame frame) [][]byte {
	if frame.key {
		return [][]byte{f.sps, f.pps, frame.nal}
	}
	return [][]byte{frame.nal}
}

// packetizer turns access units into RTP packets (RFC 6184).
type packetizer struct{ encoder *rtph264.Encoder }

func newPacketizer() (*packetizer, error) {
	encoder := &rtph264.Encoder{PayloadType: videoPayloadType, PacketizationMode: 1}
	return &packetizer{encoder}, encoder.Init()
}

// pack returns the packets of the n-th access unit of a session.
func (p *packetizer) pack(unit [][]byte, n int) []*rtp.Packet {
	packets, err := p.encoder.Encode(unit)
	if err != nil {
		return nil // only an empty unit fails, and the clips have none
	}
	const clock = 90_000 // of RTP video (RFC 6184 section 8.2.1)
	for _, packet := range packets {
		packet.Timestamp = uint32(n) * uint32(clock*frameTime/time.Second)
	}
	return packets
}
