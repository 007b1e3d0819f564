package rtsp

import (
	"testing"

	"github.com/camwarden/camwarden/pkg/depacketize"
)

func TestOffer_codecs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sdp     string
		codec   depacketize.Codec
		payload uint8
		sets    int
	}{
		"VP8":                        {"m=video 0 RTP/AVP 96\na=rtpmap:96 VP8/90000", depacketize.VP8, 96, 0},
		"VP9 with a profile":         {"m=video 0 RTP/AVP 96\na=rtpmap:96 vp9/90000\na=fmtp:96 profile-id=0", depacketize.VP9, 96, 0},
		"AV1":                        {"m=video 0 RTP/AVP 45\na=rtpmap:45 AV1/90000\na=fmtp:45 profile=0;level-idx=8", depacketize.AV1, 45, 0},
		"MPEG-4":                     {"m=video 0 RTP/AVP 96\na=rtpmap:96 MP4V-ES/90000\na=fmtp:96 profile-level-id=1; config=000001B001", depacketize.MPEG4, 96, 1},
		"MPEG-4, config in band":     {"m=video 0 RTP/AVP 96\na=rtpmap:96 MP4V-ES/90000", depacketize.MPEG4, 96, 0},
		"MPEG-4, config is no hex":   {"m=video 0 RTP/AVP 96\na=rtpmap:96 MP4V-ES/90000\na=fmtp:96 config=Z0I=", depacketize.MPEG4, 96, 0},
		"MPEG-2 without a map":       {"m=video 0 RTP/AVP 32", depacketize.MPEG2, 32, 0},
		"MPEG-2 with a map":          {"m=video 0 RTP/AVP 32\na=rtpmap:32 MPV/90000", depacketize.MPEG2, 32, 0},
		"the number of another name": {"m=video 0 RTP/AVP 32\na=rtpmap:32 THEORA/90000", "", 0, 0},
		"H.264 is taken first":       {"m=video 0 RTP/AVP 98 96\na=rtpmap:98 AV1/90000\na=rtpmap:96 H264/90000", depacketize.H264, 96, 0},
		"JPEG is taken first":        {"m=video 0 RTP/AVP 96\na=rtpmap:96 VP8/90000\nm=video 0 RTP/AVP 26", depacketize.JPEG, 26, 0},
		"else what comes first":      {"m=video 0 RTP/AVP 98 96\na=rtpmap:98 AV1/90000\na=rtpmap:96 VP8/90000", depacketize.AV1, 98, 0},
	} {
		got, ok := parseOffer([]byte(c.sdp)).video()
		if ok != (c.codec != "") || got.codec != c.codec || got.payload != c.payload || len(got.sets) != c.sets {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
