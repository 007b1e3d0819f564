package camsim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// NAL unit types (Rec. ITU-T H.264 table 7-1, H.265 table 7-1).
const (
	h264Slice = 1
	h264IDR   = 5
	h264SPS   = 7
	h264PPS   = 8

	h265LastSlice = 9 // the last type of a picture that is no key frame
	h265BLA       = 16
	h265IDR       = 19 // and 20
	h265CRA       = 21
	h265VPS       = 32
	h265SPS       = 33
	h265PPS       = 34
	h265EOS       = 36
)

// frame is one coded picture.
type frame struct {
	units [][]byte // its slices, or one JPEG file; none: nothing is sent
	key   bool
	shift int // by how many pictures it is shown later than its place in the order of sending; negative for earlier
}

// film is what a camera can see.
type film struct {
	codec     Codec
	frameTime time.Duration
	sets      [][]byte  // parameter sets: VPS, SPS, PPS
	loops     [][]frame // one for each picture a camera may see; each begins with a key frame
	calm      []frame   // a key frame and many pictures after it that change nothing; nil: key frames come as coded
}

// kind returns the type of a NAL unit.
func (s syntax) kind(nal []byte) int {
	if s == syntaxH265 {
		return int(nal[0] >> 1 & 0x3f)
	}
	return int(nal[0] & 0x1f)
}

// isSet tells parameter sets.
func (s syntax) isSet(kind int) bool {
	if s == syntaxH265 {
		return kind >= h265VPS && kind <= h265PPS
	}
	return kind == h264SPS || kind == h264PPS
}

// isKey tells slices of key frames.
func (s syntax) isKey(kind int) bool {
	if s == syntaxH265 {
		return kind >= h265BLA && kind <= h265CRA
	}
	return kind == h264IDR
}

// isSlice tells slices.
func (s syntax) isSlice(kind int) bool {
	if s == syntaxH265 {
		return kind <= h265LastSlice || s.isKey(kind)
	}
	return kind == h264Slice || kind == h264IDR
}

// begins tells the first slice of a picture: first_mb_in_slice is 0, or first_slice_segment_in_pic_flag is set.
// Either way it is the first bit after the header of the NAL unit.
func (s syntax) begins(nal []byte) bool {
	header := 1
	if s == syntaxH265 {
		header = 2
	}
	return len(nal) > header && nal[header]&0x80 != 0
}

// parse cuts a stream into groups of pictures and takes its parameter sets, which must be the same all through.
func (f *film) parse(stream []byte) ([][]frame, error) {
	if f.codec.syntax() == syntaxJPEG {
		return parseJPEG(stream)
	}
	s := f.codec.syntax()
	var groups [][]frame
	for _, nal := range splitAnnexB(stream) {
		kind := s.kind(nal)
		switch {
		case s.isSet(kind):
			if err := f.addSet(nal); err != nil {
				return nil, err
			}
		case !s.isSlice(kind):
			// delimiters, messages and the like: a camera does without them
		case s.begins(nal) && s.isKey(kind):
			groups = append(groups, []frame{{units: [][]byte{nal}, key: true}})
		case len(groups) == 0:
			return nil, errors.New("begins without a key frame")
		case s.begins(nal):
			last := len(groups) - 1
			groups[last] = append(groups[last], frame{units: [][]byte{nal}})
		default:
			group := groups[len(groups)-1]
			picture := &group[len(group)-1]
			picture.units = append(picture.units, nal)
		}
	}
	want := 2
	if s == syntaxH265 {
		want = 3
	}
	if len(f.sets) != want {
		return nil, fmt.Errorf("%d kinds of parameter sets, want %d", len(f.sets), want)
	}
	return groups, f.reorder(groups)
}

// addSet notes a parameter set, in the order of their types.
func (f *film) addSet(nal []byte) error {
	s := f.codec.syntax()
	at, found := slices.BinarySearchFunc(f.sets, s.kind(nal), func(set []byte, kind int) int { return s.kind(set) - kind })
	if found && !bytes.Equal(f.sets[at], nal) {
		return fmt.Errorf("a second parameter set of type %d", s.kind(nal))
	}
	if !found {
		f.sets = slices.Insert(f.sets, at, nal)
	}
	return nil
}

// close makes a loop start anew for decoders where its key frame alone does not: the pictures that follow a CRA and are shown
// before it need pictures that went before, and after an end of sequence a decoder leaves them out (Rec. ITU-T H.265 section 8.1.3).
func (f *film) close(loop []frame) {
	if f.codec.syntax() == syntaxH265 && f.codec.syntax().kind(loop[0].units[0]) == h265CRA {
		last := &loop[len(loop)-1]
		last.units = append(slices.Clip(last.units), []byte{h265EOS << 1, 1})
	}
}

// splitAnnexB cuts a byte stream into NAL units at its start codes (Rec. ITU-T H.264 annex B).
func splitAnnexB(stream []byte) [][]byte {
	var nals [][]byte
	for _, part := range bytes.Split(stream, []byte{0, 0, 1}) {
		// A four-byte start code leaves its first zero at the end of the part before;
		// a NAL unit itself never ends in zero.
		if part = bytes.TrimRight(part, "\x00"); len(part) > 0 {
			nals = append(nals, part)
		}
	}
	return nals
}

// parseJPEG cuts files apart that stand one after the other; each is a group of its own.
func parseJPEG(stream []byte) ([][]frame, error) {
	var groups [][]frame
	for _, file := range bytes.SplitAfter(stream, []byte{0xff, 0xd9}) {
		if len(file) == 0 {
			continue
		}
		if !bytes.HasPrefix(file, []byte{0xff, 0xd8}) || !bytes.HasSuffix(file, []byte{0xff, 0xd9}) || !bytes.Contains(file, []byte{0xff, 0xc0}) {
			return nil, errors.New("not made of whole baseline JPEG files")
		}
		groups = append(groups, []frame{{units: [][]byte{file}, key: true}})
	}
	return groups, nil
}
