// Package depacketize turns the RTP packets of one track into one clean picture (RFC 3550, RFC 6184, RFC 7798, RFC 2435).
package depacketize

import "time"

// Codec is what a picture is coded in.
type Codec string

// The codecs a key frame can be fetched of.
const (
	H264 Codec = "h264"
	H265 Codec = "h265"
	JPEG Codec = "mjpeg"
)

// KeyFrame is one whole picture that needs no other.
type KeyFrame struct {
	Codec         Codec
	Bytes         []byte        // H.264 and H.265: an Annex B byte stream, parameter sets first; JPEG: one file
	CapturedAt    time.Time     // when its first packet arrived
	Waited        time.Duration // from asking to play until its first packet arrived
	Arriving      time.Duration // from its first packet to its last
	Width, Height int           // as displayed; 0 when the parameter sets could not be read
	FullRange     bool          // luma uses 0 to 255
}
