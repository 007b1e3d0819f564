package depacketize

import (
	"bytes"
	"slices"
)

// parameterSet is a NAL unit that later pictures refer to by its id.
type parameterSet struct {
	kind, id int
	nal      []byte
	sps      sequenceSet // of a sequence parameter set
	pps      pictureSet  // of a picture parameter set
}

// pictureSet is what a picture parameter set says that slice headers need (H.264 7.3.2.2, H.265 7.3.2.3.1).
type pictureSet struct {
	sps             int  // seq_parameter_set_id
	bottomFieldPOC  bool // H.264: bottom_field_pic_order_in_frame_present_flag
	dependentSlices bool // H.265: dependent_slice_segments_enabled_flag
	outputFlag      bool // H.265: output_flag_present_flag
	extraSliceBits  int  // H.265: num_extra_slice_header_bits
}

// What of parameter sets is kept. Real ones have tens of bytes, and real streams two or three of them.
const (
	maxSets    = 64
	maxSetSize = 4 << 10
)

// parameterSets are those a stream has shown, sorted by kind and id: in the order that decoders want.
type parameterSets struct {
	syntax *nalSyntax
	list   []parameterSet
}

// keep remembers a parameter set, in place of an earlier one with the same kind and id.
func (p *parameterSets) keep(nal []byte) {
	set, ok := p.syntax.parameterSet(nal)
	if !ok || len(nal) > maxSetSize {
		return
	}
	at, known := slices.BinarySearchFunc(p.list, set, func(a, b parameterSet) int {
		if a.kind != b.kind {
			return a.kind - b.kind
		}
		return a.id - b.id
	})
	switch {
	case known && bytes.Equal(p.list[at].nal, nal):
	case known:
		set.nal = bytes.Clone(nal)
		p.list[at] = set
	case len(p.list) < maxSets:
		set.nal = bytes.Clone(nal)
		p.list = slices.Insert(p.list, at, set)
	}
}

func (p *parameterSets) find(kind, id int) (parameterSet, bool) {
	for _, set := range p.list {
		if set.kind == kind && (set.id == id || id < 0) {
			return set, true
		}
	}
	return parameterSet{}, false
}

// of returns the parameter sets that a slice names by the id of its picture parameter set.
func (p *parameterSets) of(id int) (pictureSet, sequenceSet, bool) {
	picture, ok := p.find(p.syntax.ppsKind, id)
	if !ok {
		return pictureSet{}, sequenceSet{}, false
	}
	sequence, ok := p.find(p.syntax.spsKind, picture.pps.sps)
	return picture.pps, sequence.sps, ok
}

// complete reports whether a picture can be decoded whose slices name this picture parameter set.
func (p *parameterSets) complete(id int) bool {
	if p.syntax.vpsKind != 0 {
		if _, ok := p.find(p.syntax.vpsKind, -1); !ok {
			return false
		}
	}
	_, _, ok := p.of(id)
	return ok
}

// differs reports whether a parameter set is known by its id and not the same.
func (p *parameterSets) differs(nal []byte) bool {
	set, ok := p.syntax.parameterSet(nal)
	if !ok {
		return false
	}
	known, ok := p.find(set.kind, set.id)
	return ok && !bytes.Equal(known.nal, nal)
}

// size is how many bytes annexB has at most, without SEI.
func (p *parameterSets) size() int {
	const description = 16 // of colours
	size := 0
	for _, set := range p.list {
		size += len(startCode) + len(set.nal) + description
	}
	return size
}

// annexB is all of them, and what else comes before slices.
func (p *parameterSets) annexB(sei []byte) []byte {
	var out []byte
	for _, set := range p.list {
		nal := set.nal
		if set.kind == p.syntax.spsKind {
			nal = set.sps.asPlayersTakeIt(nal)
		}
		out = append(append(out, startCode...), nal...)
	}
	return append(out, sei...)
}
