package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrAgain says that another picture begins where the first has not ended.
var ErrAgain = errors.New("another picture begins inside it")

// Cutter finds the end of the first picture in bytes that are still coming: its own EOI, not that of a thumbnail in one of its
// segments. The zero Cutter is ready.
type Cutter struct {
	at            int  // where to look on
	begun         bool // SOI has come
	scan, scanned bool // it stands in compressed data; it has met some
}

// Cut looks on in b, which begins with SOI and all that it held at the last call. It returns where the picture ends, or 0 while
// that has not come. The error says why no more bytes can make a picture of it; with ErrAgain At says where the other begins.
func (c *Cutter) Cut(b []byte) (end int, err error) {
	if !c.begun {
		if len(b) < 2 {
			return 0, nil
		}
		if b[0] != 0xff || b[1] != SOI {
			return 0, errors.New("it does not begin with FF D8")
		}
		c.begun, c.at = true, 2
	}
	for c.at < len(b) {
		if c.scan && !c.skip(b) {
			return 0, nil
		}
		if b[c.at] != 0xff {
			return 0, fmt.Errorf("no marker at byte %d", c.at)
		}
		mark := c.at // c.at stays before a marker that is not whole
		for mark < len(b) && b[mark] == 0xff {
			mark++
		}
		if mark == len(b) {
			return 0, nil
		}
		if b[mark] == EOI && c.scanned {
			return mark + 1, nil
		}
		if err := c.stray(b[mark], mark); err != nil {
			return 0, err
		}
		if mark+3 > len(b) {
			return 0, nil
		}
		length := int(binary.BigEndian.Uint16(b[mark+1:]))
		if length < 2 {
			return 0, errors.New("a segment of no length")
		}
		if mark+1+length > len(b) {
			return 0, nil
		}
		c.at = mark + 1 + length
		c.scan = b[mark] == SOS
		c.scanned = c.scanned || c.scan
	}
	return 0, nil
}

// stray is an error for a marker that begins no segment.
func (c *Cutter) stray(marker byte, at int) error {
	switch {
	case marker == EOI:
		return errors.New("it ends before any picture data")
	case marker == SOI:
		c.at = at - 1
		return ErrAgain
	case marker == 0 || marker == TEM || marker >= RST0 && marker <= RST7:
		return fmt.Errorf("marker FF %02X stands outside the picture data", marker)
	}
	return nil
}

// At is where Cut stands.
func (c *Cutter) At() int { return c.at }

// skip goes over compressed data, and reports whether its end is in sight.
func (c *Cutter) skip(b []byte) bool {
	for {
		i := bytes.IndexByte(b[c.at:], 0xff)
		if i < 0 {
			c.at = len(b)
			return false
		}
		c.at += i
		if c.at+1 >= len(b) {
			return false
		}
		switch m := b[c.at+1]; {
		case m == 0 || m >= RST0 && m <= RST7:
			c.at += 2
		case m == 0xff:
			c.at++
		default:
			c.scan = false
			return true
		}
		if c.at >= len(b) {
			return false
		}
	}
}
