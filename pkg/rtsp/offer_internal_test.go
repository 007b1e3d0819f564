package rtsp

import (
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/depacketize"
)

func TestTheVideoTrackIsFoundAmongWhatCamerasWrite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sdp     string
		codec   depacketize.Codec
		payload uint8
		control string
		sets    int
	}{
		"H.264 behind audio":           {"m=audio 0 RTP/AVP 0\na=control:a\nm=video 0 RTP/AVP 96\na=rtpmap:96 h264/90000\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0I=,aM4=\na=control:v", depacketize.H264, 96, "v", 2},
		"H.264, lines end in CR LF":    {"m=video 0 RTP/AVP 97\r\na=control:v\r\na=rtpmap:97 H264/90000\r\n", depacketize.H264, 97, "v", 0},
		"H.265":                        {"m=video 0 RTP/AVP 98\na=rtpmap:98 H265/90000\na=fmtp:98 sprop-vps=QAE; sprop-sps=QgE=; sprop-pps=RAE=", depacketize.H265, 98, "", 3},
		"H.265 under its other name":   {"m=video 0 RTP/AVP 98\na=rtpmap:98 HEVC/90000", depacketize.H265, 98, "", 0},
		"JPEG without a map":           {"m=video 0 RTP/AVP 26\na=control:v", depacketize.JPEG, 26, "v", 0},
		"JPEG with a map":              {"m=video 0 RTP/AVP 99\na=rtpmap:99 JPEG/90000", depacketize.JPEG, 99, "", 0},
		"the second format":            {"m=video 0 RTP/AVP 99 96\na=rtpmap:99 MP4V-ES/90000\na=rtpmap:96 H264/90000", depacketize.H264, 96, "", 0},
		"the second video":             {"m=video 0 RTP/AVP 99\na=rtpmap:99 AV1/90000\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:two", depacketize.H264, 96, "two", 0},
		"sets that are no base64":      {"m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=!!,aM4=", depacketize.H264, 96, "", 1},
		"no video":                     {"m=audio 0 RTP/AVP 0\n", "", 0, "", 0},
		"video in interleaved packets": {"m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=2", "", 0, "", 0},
		"H.265 out of order":           {"m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\na=fmtp:96 sprop-max-don-diff=4", "", 0, "", 0},
		"nonsense":                     {"m=\nm=video\n=\na=\n\x00\xff", "", 0, "", 0},
	} {
		offer := parseOffer([]byte(c.sdp))
		got, ok := offer.video()
		if ok != (c.codec != "") || got.codec != c.codec || got.payload != c.payload || got.control != c.control || len(got.sets) != c.sets {
			t.Errorf("%s: %+v", name, got)
		}
		if strings.ContainsAny(clean(offer.String()), "\r\n\x00") {
			t.Errorf("%s: %q", name, offer)
		}
	}
}
