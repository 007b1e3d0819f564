// Package jpeg knows what one whole JPEG is, and goes through its segments without decoding it.
package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image/jpeg"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Picture is the size of a still, in pixels.
type Picture struct{ Width, Height int }

// What passes for a still of a camera. Decoding the largest takes about 200 MB, and 8K is 33 megapixels.
const (
	minSide   = 16
	maxSide   = 16384
	maxPixels = 64 << 20
)

// Validate says whether b is exactly one whole JPEG of a sane size: it begins with SOI, its segments and scans parse,
// and it ends with the first EOI (ITU-T T.81, annex B). When strict it also decodes all of it, which a picture with a hole
// in its compressed data does not survive. The error is of class not-jpeg.
func Validate(b []byte, strict bool) (Picture, *fault.Error) {
	picture, err := walk(b)
	if err == nil && strict {
		if _, failed := jpeg.Decode(bytes.NewReader(b)); failed != nil {
			err = fmt.Errorf("it does not decode: %w", failed)
		}
	}
	if err != nil {
		return Picture{}, fault.New(fault.NotJPEG, "", "not one whole JPEG (%d bytes): %w", len(b), err).
			WithHint("try again; if it stays, look at the stream: ffplay -rtsp_transport tcp URL")
	}
	return picture, nil
}

// Markers of ITU-T T.81, table B.1; the second byte, behind 0xff.
const (
	TEM  = 0x01
	SOF0 = 0xc0
	DHT  = 0xc4
	RST0 = 0xd0
	RST7 = 0xd7
	SOI  = 0xd8
	EOI  = 0xd9
	SOS  = 0xda
	DQT  = 0xdb
	DRI  = 0xdd
	APP0 = 0xe0
)

func isSOF(marker byte) bool {
	return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc
}

// walk goes from segment to segment. A thumbnail inside a segment is skipped with it, so a second SOI or an EOI that it
// meets is one too many.
func walk(b []byte) (Picture, error) {
	var picture Picture
	switch {
	case len(b) == 0:
		return picture, errors.New("it is empty")
	case len(b) < 4 || b[0] != 0xff || b[1] != SOI:
		return picture, errors.New("it does not begin with FF D8")
	}
	scanned := false
	for at := 2; ; {
		marker, after, err := nextMarker(b, at)
		if err != nil {
			return picture, err
		}
		at = after
		switch {
		case marker == EOI:
			switch {
			case !scanned:
				return picture, errors.New("it ends before any picture data")
			case at != len(b):
				return picture, fmt.Errorf("%d bytes follow its end", len(b)-at)
			}
			return picture, nil
		case marker == SOI:
			return picture, errors.New("a second picture begins inside it")
		case marker >= RST0 && marker <= RST7 || marker == TEM:
			return picture, fmt.Errorf("marker FF %02X stands outside the picture data", marker)
		}
		body, after, err := segment(b, at)
		if err != nil {
			return picture, err
		}
		at = after
		if isSOF(marker) {
			if picture != (Picture{}) {
				return picture, errors.New("it has two frame headers")
			}
			if picture, err = frame(marker, body); err != nil {
				return picture, err
			}
		}
		if marker == SOS {
			if picture == (Picture{}) {
				return picture, errors.New("picture data before the frame header")
			}
			start := at
			if at = endOfScan(b, at); at == start {
				return picture, errors.New("a scan without data")
			}
			scanned = true
		}
	}
}

// nextMarker reads the marker at b[at:], which may be preceded by fill bytes.
func nextMarker(b []byte, at int) (marker byte, after int, err error) {
	if at >= len(b) {
		return 0, 0, errors.New("it stops before FF D9")
	}
	if b[at] != 0xff {
		return 0, 0, fmt.Errorf("no marker at byte %d", at)
	}
	for at < len(b) && b[at] == 0xff {
		at++
	}
	if at == len(b) {
		return 0, 0, errors.New("it stops before FF D9")
	}
	return b[at], at + 1, nil
}

// segment returns the bytes of a marker segment behind its length field.
func segment(b []byte, at int) (body []byte, after int, err error) {
	if at+2 > len(b) {
		return nil, 0, errors.New("it stops inside its headers")
	}
	length := int(binary.BigEndian.Uint16(b[at:]))
	if length < 2 || at+length > len(b) {
		return nil, 0, errors.New("it stops inside its headers")
	}
	return b[at+2 : at+length], at + length, nil
}

// frame reads a frame header and refuses sizes that no camera has, and codings that few programs can show.
func frame(marker byte, body []byte) (Picture, error) {
	if marker > 0xc2 {
		return Picture{}, fmt.Errorf("its coding (SOF%d) is neither baseline nor progressive", marker-0xc0)
	}
	if len(body) < 6 {
		return Picture{}, errors.New("its frame header is too short")
	}
	p := Picture{Height: int(binary.BigEndian.Uint16(body[1:])), Width: int(binary.BigEndian.Uint16(body[3:]))}
	if p.Width < minSide || p.Height < minSide || p.Width > maxSide || p.Height > maxSide || p.Width*p.Height > maxPixels {
		return Picture{}, fmt.Errorf("%dx%d is not the size of a camera's picture", p.Width, p.Height)
	}
	return p, nil
}

// endOfScan returns where the entropy-coded data ends: at the first marker that is neither stuffing nor a restart.
func endOfScan(b []byte, at int) int {
	for {
		found := bytes.IndexByte(b[at:], 0xff)
		if found < 0 || at+found+1 >= len(b) {
			return len(b)
		}
		at += found
		switch m := b[at+1]; {
		case m == 0 || m >= RST0 && m <= RST7:
			at += 2
		case m == 0xff:
			at++
		default:
			return at
		}
	}
}

// Segments returns all segments of file with the marker, up to its scan.
func Segments(file []byte, marker byte) []byte {
	var found []byte
	for at := 2; at+4 <= len(file) && file[at] == 0xff && file[at+1] != SOS; {
		end := at + 2 + int(binary.BigEndian.Uint16(file[at+2:]))
		if file[at+1] == marker {
			found = append(found, file[at:end]...)
		}
		at = end
	}
	return found
}

// SoundScan reports whether there is a scan, with no marker in it but restarts.
func SoundScan(scan []byte) bool {
	for at := 0; ; {
		i := bytes.IndexByte(scan[at:], 0xff)
		if i < 0 {
			return len(scan) > 0
		}
		at += i + 1
		if at == len(scan) {
			return false
		}
		if next := scan[at]; next != 0 && next != 0xff && (next < 0xd0 || next > 0xd7) {
			return false
		}
	}
}
