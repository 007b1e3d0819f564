package depacketize

// sequenceSet is what a sequence parameter set says that matters for one picture (Rec. ITU-T H.264 7.3.2.1.1, H.265 7.3.2.2.1).
type sequenceSet struct {
	id            int
	width, height int // inside the cropping rectangle
	fullRange     bool
	monochrome    bool // chroma_format_idc is 0
	colour        colour

	// For slice headers.
	separatePlanes     bool // separate_colour_plane_flag
	pocBits            int  // of slice_pic_order_cnt_lsb (pic_order_cnt_lsb)
	frameNumBits       int  // H.264
	pocType            uint32
	deltaPOCAlwaysZero bool
	frameMBsOnly       bool
	segmentAddressBits int // H.265: of slice_segment_address
}

// colour is where a parameter set tells how its colours are meant, in bits from the beginning of its RBSP. A VUI that is
// cut off tells nothing.
type colour struct {
	vui      int // of vui_parameters_present_flag; 0: the set could not be read that far
	signal   int // of video_signal_type_present_flag; 0: there is no VUI
	describe int // of colour_description_present_flag; 0: there is no signal type
	matrix   int // of matrix_coeffs (matrix_coefficients); 0: it is not described
	named    bool
}

const (
	unspecified = 2 // matrix_coeffs of who does not say (H.264 table E-5)
	bt709       = 1
	// linesOfHD is from how many lines on players take what says nothing for BT.709 and not BT.601.
	linesOfHD = 720
)

// readVUI reads the part of the VUI that H.264 and H.265 have alike (E.1.1, E.2.1); r stands at its present flag.
func (s *sequenceSet) readVUI(r *bitReader) {
	at := colour{vui: r.at}
	if !r.flag() {
		if !r.short {
			s.colour = at
		}
		return
	}
	if r.flag() && r.u(8) == 255 { // aspect_ratio_idc: Extended_SAR
		r.skip(32)
	}
	if r.flag() { // overscan_info_present_flag
		r.skip(1)
	}
	at.signal = r.at
	full := false
	if r.flag() {
		r.skip(3)
		full = r.flag()
		at.describe = r.at
		if r.flag() {
			r.skip(16)
			at.matrix = r.at
			at.named = r.u(8) != unspecified
		}
	}
	if !r.short {
		s.colour, s.fullRange = at, full
	}
}

// asPlayersTakeIt returns the set as it is, or, where it has 720 lines or more and names no colours, one that names BT.709:
// a decoder would take BT.601.
func (s *sequenceSet) asPlayersTakeIt(nal []byte) []byte {
	if s.height < linesOfHD || s.colour.named || s.colour.vui == 0 {
		return nal
	}
	data := rbsp(nal, len(nal))
	var w bitWriter
	var rest int
	switch at := s.colour; {
	case at.matrix > 0:
		w.copy(data, 0, at.matrix)
		w.u(8, bt709)
		rest = at.matrix + 8
	case at.describe > 0:
		w.copy(data, 0, at.describe)
		w.describe709()
		rest = at.describe + 1
	case at.signal > 0:
		w.copy(data, 0, at.signal)
		w.signal709()
		rest = at.signal + 1
	default:
		w.copy(data, 0, at.vui)
		w.u(1+2, 0b100) // a VUI, without aspect ratio and overscan
		w.signal709()
		w.u(s.flagsBehindSignal(), 0)
		rest = at.vui + 1
	}
	w.copy(data, rest, 8*len(data))
	return nalOf(w.trimmed())
}

// signal709 appends a video signal type: unspecified format, limited range, BT.709.
func (w *bitWriter) signal709() {
	w.u(1+3+1, 0b1_101_0)
	w.describe709()
}

func (w *bitWriter) describe709() {
	w.u(1, 1)
	for range 3 {
		w.u(8, bt709)
	}
}

// trimmed is the RBSP without the zero bytes behind its stop bit.
func (w *bitWriter) trimmed() []byte {
	data := w.data
	for len(data) > 0 && data[len(data)-1] == 0 {
		data = data[:len(data)-1]
	}
	return data
}

// flagsBehindSignal is how many flags follow the signal type in a VUI that says nothing else. H.265: chroma_loc_info,
// neutral_chroma, field_seq, frame_field_info, default_display_window, vui_timing_info, bitstream_restriction; H.264:
// chroma_loc_info, timing_info, nal_hrd, vcl_hrd, pic_struct, bitstream_restriction.
func (s *sequenceSet) flagsBehindSignal() int {
	if s.segmentAddressBits >= 0 {
		return 7
	}
	return 6
}

// plausible refuses what no camera sends; parameter sets of a hostile one may say anything.
func plausible(width, height int) bool {
	const most = 1 << 14
	return width > 0 && height > 0 && width <= most && height <= most
}

// readSPS264 reads a sequence parameter set of H.264. It is of use once its id and size are known; what is wrong behind
// them, a VUI that is cut off say, decides nothing.
func readSPS264(nal []byte) (sequenceSet, bool) {
	r := &bitReader{data: rbsp(nal, maxSetSize)}
	r.skip(8)
	profile := r.u(8)
	r.skip(16)
	s := sequenceSet{id: int(r.ue()), segmentAddressBits: -1}
	chroma := uint32(1)
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if chroma = r.ue(); chroma == 3 {
			s.separatePlanes = r.flag()
		}
		r.ue()
		r.ue()
		r.skip(1)
		if r.flag() {
			skipScalingLists264(r, chroma)
		}
	}
	s.frameNumBits = int(r.ue()) + 4
	switch s.pocType = r.ue(); s.pocType {
	case 0:
		s.pocBits = int(r.ue()) + 4
	case 1:
		s.deltaPOCAlwaysZero = r.flag()
		r.se()
		r.se()
		for n := r.ue(); n > 0 && n < 256 && !r.short; n-- {
			r.se()
		}
	}
	r.ue()
	r.skip(1)
	width, height := 16*(int(r.ue())+1), 16*(int(r.ue())+1)
	if s.frameMBsOnly = r.flag(); !s.frameMBsOnly {
		height *= 2
		r.skip(1)
	}
	r.skip(1)
	if r.short {
		return s, false
	}
	s.monochrome = chroma == 0
	cropX, cropY := 1, 1
	if chroma == 1 || chroma == 2 {
		cropX = 2
	}
	if chroma == 1 {
		cropY = 2
	}
	if !s.frameMBsOnly {
		cropY *= 2
	}
	crop := s.cropping(r)
	s.width, s.height = width-cropX*(crop[0]+crop[1]), height-cropY*(crop[2]+crop[3])
	if s.id > 31 || s.frameNumBits > 16 || s.pocBits > 16 || s.pocType > 2 || !plausible(s.width, s.height) {
		return s, false
	}
	s.readVUI(r)
	return s, true
}

// cropping reads the frame cropping of H.264, or the conformance window of H.265: left, right, top, bottom.
func (s *sequenceSet) cropping(r *bitReader) [4]int {
	if !r.flag() {
		return [4]int{}
	}
	var crop [4]int
	for i := range crop {
		crop[i] = int(r.ue())
	}
	if r.short {
		return [4]int{}
	}
	return crop
}

func skipScalingLists264(r *bitReader, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for range size {
			if next != 0 {
				next = (last + r.se() + 256) & 255
			}
			if next != 0 {
				last = next
			}
		}
	}
}

// readSPS265 does the same for H.265.
func readSPS265(nal []byte) (sequenceSet, bool) {
	r := &bitReader{data: rbsp(nal, maxSetSize)}
	r.skip(16 + 4)
	subLayers := int(r.u(3))
	r.skip(1)
	skipProfileTierLevel(r, subLayers)
	s := sequenceSet{id: int(r.ue())}
	chroma := r.ue()
	if chroma == 3 {
		s.separatePlanes = r.flag()
	}
	width, height := int(r.ue()), int(r.ue())
	s.monochrome = chroma == 0
	cropX, cropY := 1, 1
	if chroma == 1 || chroma == 2 {
		cropX = 2
	}
	if chroma == 1 {
		cropY = 2
	}
	crop := s.cropping(r)
	s.width, s.height = width-cropX*(crop[0]+crop[1]), height-cropY*(crop[2]+crop[3])
	r.ue()
	r.ue()
	s.pocBits = int(r.ue()) + 4
	from := subLayers
	if r.flag() {
		from = 0
	}
	for ; from <= subLayers; from++ {
		r.ue()
		r.ue()
		r.ue()
	}
	minLog := int(r.ue()) + 3
	treeLog := minLog + int(r.ue())
	if r.short || s.id > 15 || s.pocBits > 16 || treeLog > 6 || !plausible(width, height) || !plausible(s.width, s.height) {
		return s, false
	}
	tree := 1 << treeLog
	for blocks := (width+tree-1)/tree*((height+tree-1)/tree) - 1; blocks > 0; blocks >>= 1 {
		s.segmentAddressBits++
	}
	if behindSize265(r, s.pocBits) {
		s.readVUI(r)
	}
	return s, true
}

func skipProfileTierLevel(r *bitReader, subLayers int) {
	r.skip(88 + 8)
	var profiles, levels int
	for range subLayers {
		profiles += int(r.u(1))
		levels += int(r.u(1))
	}
	if subLayers > 0 {
		r.skip(2 * (8 - subLayers))
	}
	r.skip(88*profiles + 8*levels)
}

// behindSize265 goes from the tree blocks' size to the VUI.
func behindSize265(r *bitReader, pocBits int) bool {
	for range 4 {
		r.ue()
	}
	if r.flag() { // scaling lists
		if own := r.flag(); own {
			skipScalingLists265(r)
		}
	}
	r.skip(2)
	if r.flag() { // PCM
		r.skip(8)
		r.ue()
		r.ue()
		r.skip(1)
	}
	sets := int(r.ue())
	if sets > 64 || !skipReferenceSets(r, sets) {
		return false
	}
	if r.flag() { // long-term reference pictures
		n := int(r.ue())
		if n > 32 {
			return false
		}
		r.skip(n * (pocBits + 1))
	}
	r.skip(2)
	return !r.short
}

func skipScalingLists265(r *bitReader) {
	for size := range 4 {
		step := 1
		if size == 3 {
			step = 3
		}
		for matrix := 0; matrix < 6; matrix += step {
			if !r.flag() {
				r.ue()
				continue
			}
			if size > 1 {
				r.se()
			}
			for range min(64, 1<<(4+size<<1)) {
				r.se()
			}
		}
	}
}

// skipReferenceSets goes over short-term reference picture sets (H.265 7.3.7). How long one is depends on the one before it.
func skipReferenceSets(r *bitReader, sets int) bool {
	before := 0 // NumDeltaPocs
	for i := range sets {
		if i > 0 && r.flag() { // predicted from it
			r.skip(1)
			r.ue()
			now := 0
			for range before + 1 {
				used := r.flag()
				if used || r.flag() {
					now++
				}
			}
			before = now
			if before > 32 {
				return false
			}
			continue
		}
		negative, positive := int(r.ue()), int(r.ue())
		if negative > 16 || positive > 16 || r.short {
			return false
		}
		for range negative + positive {
			r.ue()
			r.skip(1)
		}
		before = negative + positive
	}
	return !r.short
}
