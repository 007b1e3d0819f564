package depacketize

// sliceHeader is what the beginning of a slice says about the picture it belongs to (H.264 7.3.3, H.265 7.3.6.1). What
// follows first and intra needs the parameter sets, and is left zero without them.
type sliceHeader struct {
	first   bool   // it is the first of its picture, or of its field
	address uint32 // first_mb_in_slice, slice_segment_address: they grow within a picture
	intra   bool   // it needs no other picture
	known   bool   // the parameter sets that it names are there, and the rest of this is filled in

	dependent bool // H.265: dependent_slice_segment_flag: it continues the slice before it

	pps       int // pic_parameter_set_id
	reference bool
	idr       bool
	idrID     uint32
	frameNum  uint32
	poc       uint32 // pic_order_cnt_lsb, slice_pic_order_cnt_lsb; with pic_order_cnt_type 1: delta_pic_order_cnt[0]
	field     bool   // field_pic_flag
	bottom    bool   // bottom_field_flag
}

// headerBytes is how much of a slice is looked at.
const headerBytes = 64

// readSlice264 reads the header of a slice of H.264.
func readSlice264(nal []byte, sets *parameterSets) sliceHeader {
	const idr, intra, switchingIntra, types = 5, 2, 4, 5
	r := &bitReader{data: rbsp(nal, headerBytes)}
	r.skip(8)
	h := sliceHeader{reference: nal[0]&0x60 != 0, idr: nal[0]&0x1f == idr}
	h.address = r.ue()
	h.first = h.address == 0
	kind := r.ue() % types
	h.intra = h.idr || kind == intra || kind == switchingIntra
	h.pps = int(r.ue())
	if r.short {
		return h
	}
	pps, sps, ok := sets.of(h.pps)
	if !ok {
		return h
	}
	if sps.separatePlanes {
		r.skip(2)
	}
	h.frameNum = r.u(sps.frameNumBits)
	if !sps.frameMBsOnly {
		if h.field = r.flag(); h.field {
			h.bottom = r.flag()
		}
	}
	if h.idr {
		h.idrID = r.ue()
	}
	switch {
	case sps.pocType == 0:
		h.poc = r.u(sps.pocBits)
		if pps.bottomFieldPOC && !h.field {
			r.se()
		}
	case sps.pocType == 1 && !sps.deltaPOCAlwaysZero:
		h.poc = uint32(r.se())
	}
	h.known = !r.short
	return h
}

// readSlice265 reads the header of a slice segment of H.265.
func readSlice265(nal []byte, sets *parameterSets) sliceHeader {
	const firstIRAP, lastReserved, firstIDR, lastIDR, intra = 16, 23, 19, 20, 2
	kind := kind265(nal)
	irap := kind >= firstIRAP && kind <= lastReserved
	r := &bitReader{data: rbsp(nal, headerBytes)}
	r.skip(16)
	h := sliceHeader{first: r.flag(), intra: irap, idr: kind == firstIDR || kind == lastIDR, reference: true}
	if irap {
		r.skip(1)
	}
	h.pps = int(r.ue())
	if r.short {
		return h
	}
	pps, sps, ok := sets.of(h.pps)
	if !ok {
		return h
	}
	if !h.first {
		if pps.dependentSlices {
			h.dependent = r.flag()
		}
		h.address = r.u(sps.segmentAddressBits)
	}
	if h.dependent { // the rest is that of the slice it continues
		h.known = !r.short
		return h
	}
	r.skip(pps.extraSliceBits)
	h.intra = r.ue() == intra || irap
	if pps.outputFlag {
		r.skip(1)
	}
	if sps.separatePlanes {
		r.skip(2)
	}
	if !h.idr {
		h.poc = r.u(sps.pocBits)
	}
	h.known = !r.short
	return h
}

// samePicture264 compares what must be alike in the slices of one field or frame (H.264 7.4.1.2.4).
func samePicture264(a, b sliceHeader) bool {
	return !a.known || !b.known || a.frameNum == b.frameNum && a.field == b.field && a.bottom == b.bottom &&
		a.reference == b.reference && a.idr == b.idr && a.idrID == b.idrID && a.poc == b.poc
}

// samePicture265 does so for H.265, whose first_slice_segment_in_pic_flag decides alone. What differs here although it is not
// set shows that a first slice is missing.
func samePicture265(a, b sliceHeader) bool {
	return a.idr == b.idr && (!a.known || !b.known || b.dependent || a.poc == b.poc)
}

// secondField reports whether a slice of H.264 begins the second field of the frame that another slice began (3.30: they
// share the frame number, and have opposite parity).
func secondField(first, next sliceHeader) bool {
	return first.known && next.known && first.field && next.field && first.bottom != next.bottom &&
		first.frameNum == next.frameNum && (!next.idr || first.idr && first.idrID == next.idrID)
}
