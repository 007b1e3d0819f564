package depacketize

// sei is what supplemental enhancement information says that matters for one picture (H.264 annex D, H.265 annex D).
type sei struct {
	recovery       int  // recovery_frame_cnt, recovery_poc_cnt: after how many pictures the stream is whole again
	hasRecovery    bool // it is there
	hasOrientation bool
	orientation    orientation
}

// orientation is a display orientation message: how a picture must be turned before it is shown.
type orientation struct {
	set      bool // not cancelled
	sideways bool // by a quarter or three quarters: width and height change places
	lasts    bool // for the pictures that follow, too
}

// readSEI reads the messages of an SEI NAL unit whose header has head bytes.
func readSEI(nal []byte, head int, recoveryPoint func(*bitReader) int) sei {
	const recovery, display, most = 6, 47, 4 << 10
	var found sei
	data := rbsp(nal, most)
	at := head
	// number reads a payload type or size: bytes of 255, and one below.
	number := func() (int, bool) {
		n := 0
		for at < len(data) {
			b := data[at]
			at++
			if n += int(b); b != 255 {
				return n, true
			}
		}
		return 0, false
	}
	for at+2 < len(data) { // less is rbsp_trailing_bits
		kind, ok := number()
		size, also := number()
		if !ok || !also || at+size > len(data) {
			break
		}
		r := &bitReader{data: data[at : at+size]}
		switch kind {
		case recovery:
			count := recoveryPoint(r)
			if !r.short {
				found.recovery, found.hasRecovery = count, true
			}
		case display:
			if o := readOrientation(r, head); !r.short {
				found.orientation, found.hasOrientation = o, true
			}
		}
		at += size
	}
	return found
}

// readOrientation reads a display orientation message (H.264 D.1.27, H.265 D.2.17).
func readOrientation(r *bitReader, head int) orientation {
	const quarter = 1 << 14 // of anticlockwise_rotation, whose full turn is 1<<16
	if r.flag() {
		return orientation{}
	}
	r.skip(2)
	turn := (int(r.u(16)) + quarter/2) / quarter
	o := orientation{set: true, sideways: turn%2 == 1}
	if head == 1 {
		o.lasts = r.ue() > 0 // display_orientation_repetition_period
	} else {
		o.lasts = r.flag() // display_orientation_persistence_flag
	}
	return o
}
