package rtsp

import (
	"encoding/binary"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
)

// requestKeyFrame asks for a key frame, once a visit, where the first packet of the video did not begin one. Without it a still
// waits for half the time between two key frames. Cameras that know the request (RFC 4585, whose profile they need not have
// offered) send one at once, and the others pass over it.
func (t *talk) requestKeyFrame() {
	if t.requested || t.target.KeyFrameRequest == camera.NoRequest || t.receiver.Start() != depacketize.StartBetween {
		return
	}
	t.requested = true
	raw := keyFrameRequest(t.target.KeyFrameRequest, t.receiver.Source())
	if t.sockets != nil {
		t.session.Requested = t.sockets.report(raw)
		return
	}
	t.wire.until(time.Now().Add(answerPatience))
	t.session.Requested = t.wire.send(append([]byte{'$', t.wire.channels[1], 0, byte(len(raw))}, raw...)) == nil
}

// keyFrameRequest is a compound RTCP packet (RFC 3550 section 6.1): an empty receiver report, and behind it a picture loss indication
// (RFC 4585 section 6.3.1), or a full intra request (RFC 5104 section 4.3.1), about the source.
func keyFrameRequest(how camera.KeyFrameRequest, source uint32) []byte {
	const (
		version        = 2 << 6
		receiverReport = 201
		feedback       = 206 // payload-specific
		pli, fir       = 1, 4
		ourselves      = 0x63616d77 // any SSRC that is not the camera's
	)
	raw := binary.BigEndian.AppendUint32([]byte{version, receiverReport, 0, 1}, ourselves)
	if how == camera.FullIntraRequest {
		raw = append(raw, version|fir, feedback, 0, 4)
		raw = binary.BigEndian.AppendUint32(raw, ourselves)
		raw = binary.BigEndian.AppendUint32(raw, 0)
		raw = binary.BigEndian.AppendUint32(raw, source)
		return append(raw, 1, 0, 0, 0) // its number
	}
	raw = append(raw, version|pli, feedback, 0, 2)
	raw = binary.BigEndian.AppendUint32(raw, ourselves)
	return binary.BigEndian.AppendUint32(raw, source)
}
