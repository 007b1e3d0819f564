// Package depacketize turns the RTP packets of one track into one clean picture (RFC 3550, RFC 6184, RFC 7798, RFC 2435, RFC 7741,
// RFC 9628, RFC 6416, RFC 2250, and AOM's for AV1).
package depacketize

import "time"

// Codec is what a picture is coded in.
type Codec string

// The codecs a key frame can be fetched of.
const (
	H264 Codec = "h264"
	H265 Codec = "h265"
	JPEG Codec = "mjpeg"

	VP8   Codec = "vp8"
	VP9   Codec = "vp9"
	AV1   Codec = "av1"
	MPEG4 Codec = "mpeg4" // part 2
	MPEG2 Codec = "mpeg2video"
	MPEG1 Codec = "mpeg1video" // its description is that of MPEG-2: which it is, the stream tells
)

// KeyFrame is one whole picture that needs no other, or the pictures of a gradual refresh, of which the last is whole.
type KeyFrame struct {
	Codec         Codec
	Bytes         []byte        // H.264 and H.265: an Annex B byte stream, parameter sets first; JPEG: one file; VP8, VP9, AV1: IVF; else an elementary stream
	Pictures      int           // how many are in it; the last is meant
	CapturedAt    time.Time     // when its first packet arrived
	Waited        time.Duration // from asking to play until its first packet arrived
	Arriving      time.Duration // from its first packet to its last
	Width, Height int           // as displayed; 0 when the parameter sets could not be read
	FullRange     bool          // luma uses 0 to 255
	Monochrome    bool          // it has no chroma
}

// size sets what is plausible; the headers of a hostile camera may say anything.
func (f *KeyFrame) size(width, height int) {
	if plausible(width, height) {
		f.Width, f.Height = width, height
	}
}
