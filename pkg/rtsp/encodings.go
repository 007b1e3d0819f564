package rtsp

import (
	"encoding/hex"
	"slices"

	"github.com/camwarden/camwarden/pkg/depacketize"
)

// encoded names the codec of a format by its encoding name in capitals, or by its static payload type (RFC 3551 section 6) where it has
// no name, and its configuration. It knows what track does not.
func encoded(name string, payload uint8, named bool, parameters map[string]string) (depacketize.Codec, [][]byte) {
	const staticMPEG = 32
	switch {
	case name == "VP8": // RFC 7741
		return depacketize.VP8, nil
	case name == "VP9": // RFC 9628
		return depacketize.VP9, nil
	case name == "AV1":
		return depacketize.AV1, nil
	case name == "MP4V-ES": // RFC 6416 section 7.1
		config, err := hex.DecodeString(parameters["config"])
		if err != nil || len(config) == 0 {
			return depacketize.MPEG4, nil // the stream may bring it
		}
		return depacketize.MPEG4, [][]byte{config}
	case name == "MPV", payload == staticMPEG && !named: // RFC 2250
		return depacketize.MPEG2, nil
	}
	return "", nil
}

// rank orders codecs where a camera offers several: lower is better. The first three are those that every ffmpeg decodes, and that cameras
// send best.
func rank(codec depacketize.Codec) int {
	if slices.Contains([]depacketize.Codec{depacketize.H264, depacketize.H265, depacketize.JPEG}, codec) {
		return 0
	}
	return 1
}
