package camsim

import (
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/bits"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

// This file finds the order in which pictures are shown: RTP says with each picture when that is, while pictures with
// B-frames among them are sent in another order.

// reorder fills in the shifts of all frames.
func (f *film) reorder(groups [][]frame) error {
	counts, err := f.counter()
	if err != nil {
		return err
	}
	for _, group := range groups {
		if err := counts.reorder(group); err != nil {
			return err
		}
	}
	return nil
}

// counter reads picture order counts out of slices.
type counter struct {
	modulo int                           // of the counts as written; 0: pictures are shown as they are sent
	read   func(nal []byte) (int, error) // the count of a picture from its first slice
}

func (c counter) reorder(group []frame) error {
	if c.modulo == 0 {
		return nil
	}
	counts := make([]int, len(group))
	for i, picture := range group {
		written, err := c.read(picture.units[0])
		if err != nil {
			return fmt.Errorf("a slice header: %w", err)
		}
		counts[i] = written
		if i > 0 { // the nearest to the one before
			near := counts[i-1]
			counts[i] = near + modulo(written-near+c.modulo/2, c.modulo) - c.modulo/2
		}
	}
	shown := slices.Sorted(slices.Values(counts))
	rank := func(count int) int {
		at, _ := slices.BinarySearch(shown, count)
		return at
	}
	for i := range group {
		group[i].shift = rank(counts[i]) - rank(counts[0]) - i
	}
	return nil
}

func modulo(a, b int) int { return ((a % b) + b) % b }

// counter reads the parameter sets, which say where in a slice the count stands.
func (f *film) counter() (counter, error) {
	if f.codec.syntax() == syntaxH265 {
		return counterH265(f.sets[1], f.sets[2])
	}
	return counterH264(f.sets[0])
}

// cursor reads a slice header; after an error it reads zeros.
type cursor struct {
	raw []byte
	at  int
	err error
}

// header returns the first bytes of a slice without what keeps start codes out of it.
func header(nal []byte) *cursor {
	return &cursor{raw: h264.EmulationPreventionRemove(nal[:min(len(nal), 64)])}
}

func (c *cursor) bits(n int) int {
	if c.err != nil || n == 0 {
		return 0
	}
	var value uint64
	value, c.err = bits.ReadBits(c.raw, &c.at, n)
	return int(value) // at most 16 bits are ever read
}

func (c *cursor) golomb() {
	if c.err == nil {
		_, c.err = bits.ReadGolombUnsigned(c.raw, &c.at)
	}
}

func counterH264(set []byte) (counter, error) {
	var sps h264.SPS
	if err := sps.Unmarshal(set); err != nil {
		return counter{}, fmt.Errorf("the sequence parameter set: %w", err)
	}
	if !sps.FrameMbsOnlyFlag {
		return counter{}, fmt.Errorf("it is interlaced")
	}
	if sps.PicOrderCntType != 0 {
		return counter{}, nil
	}
	size := int(sps.Log2MaxPicOrderCntLsbMinus4) + 4
	return counter{1 << size, func(nal []byte) (int, error) { // section 7.3.3
		c := header(nal)
		c.bits(8)
		c.golomb() // first_mb_in_slice
		c.golomb() // slice_type
		c.golomb() // pic_parameter_set_id
		if sps.SeparateColourPlaneFlag {
			c.bits(2)
		}
		c.bits(int(sps.Log2MaxFrameNumMinus4) + 4)
		if syntaxH264.isKey(syntaxH264.kind(nal)) {
			c.golomb() // idr_pic_id
		}
		return c.bits(size), c.err
	}}, nil
}

func counterH265(spsSet, ppsSet []byte) (counter, error) {
	var sps h265.SPS
	if err := sps.Unmarshal(spsSet); err != nil {
		return counter{}, fmt.Errorf("the sequence parameter set: %w", err)
	}
	var pps h265.PPS
	if err := pps.Unmarshal(ppsSet); err != nil {
		return counter{}, fmt.Errorf("the picture parameter set: %w", err)
	}
	size := int(sps.Log2MaxPicOrderCntLsbMinus4) + 4
	return counter{1 << size, func(nal []byte) (int, error) { // section 7.3.6.1, of a first slice
		kind := syntaxH265.kind(nal)
		if kind == h265IDR || kind == h265IDR+1 {
			return 0, nil
		}
		c := header(nal)
		c.bits(16)
		c.bits(1) // first_slice_segment_in_pic_flag
		if syntaxH265.isKey(kind) {
			c.bits(1) // no_output_of_prior_pics_flag
		}
		c.golomb() // slice_pic_parameter_set_id
		c.bits(int(pps.NumExtraSliceHeaderBits))
		c.golomb() // slice_type
		if pps.OutputFlagPresentFlag {
			c.bits(1)
		}
		if sps.SeparateColourPlaneFlag {
			c.bits(2)
		}
		return c.bits(size), c.err
	}}, nil
}
