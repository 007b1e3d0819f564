package depacketize

// rbsp takes the emulation prevention bytes out of the first bytes of a NAL unit (Rec. ITU-T H.264 7.3.1, H.265 7.3.1.1),
// its header included, and returns at most most bytes.
func rbsp(nal []byte, most int) []byte {
	out := make([]byte, 0, min(len(nal), most))
	zeros := 0
	for _, b := range nal {
		if len(out) == most {
			break
		}
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}

// nalOf puts emulation prevention bytes in: the inverse of rbsp.
func nalOf(rbsp []byte) []byte {
	out := make([]byte, 0, len(rbsp)+4)
	zeros := 0
	for _, b := range rbsp {
		if zeros == 2 && b <= 3 {
			out = append(out, 3)
			zeros = 0
		}
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}

// bitReader reads syntax elements: of an RBSP, or of the headers of MPEG-2 and MPEG-4. Behind the end it reads zeros, and short says so.
type bitReader struct {
	data  []byte
	at    int // in bits
	short bool
}

// u reads n bits, at most 32 (Rec. ITU-T H.264 7.2).
func (r *bitReader) u(n int) uint32 {
	var value uint32
	for range n {
		value <<= 1
		if i := r.at >> 3; i < len(r.data) {
			value |= uint32(r.data[i]>>(7-r.at&7)) & 1
		} else {
			r.short = true
		}
		r.at++
	}
	return value
}

func (r *bitReader) read(n int) int { return int(r.u(n)) }

func (r *bitReader) flag() bool { return r.u(1) == 1 }

func (r *bitReader) skip(n int) {
	r.at += n
	r.short = r.short || r.at > 8*len(r.data)
}

// ue reads an Exp-Golomb number (Rec. ITU-T H.264 9.1). One of more than 32 bits is taken for the end.
func (r *bitReader) ue() uint32 {
	zeros := 0
	for !r.flag() {
		if zeros++; zeros > 31 || r.short {
			r.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.u(zeros)
}

// se reads a signed one (Rec. ITU-T H.264 9.1.1).
func (r *bitReader) se() int32 {
	value := r.ue()
	if value&1 == 1 {
		return int32(value>>1) + 1
	}
	return -int32(value >> 1)
}

// bitWriter makes an RBSP.
type bitWriter struct {
	data []byte
	at   int
}

func (w *bitWriter) u(n int, value uint32) {
	for i := n - 1; i >= 0; i-- {
		if w.at&7 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.at>>3] |= byte(value>>i&1) << (7 - w.at&7)
		w.at++
	}
}

// copy takes the bits of data from the first up to the second place.
func (w *bitWriter) copy(data []byte, from, to int) {
	r := bitReader{data: data, at: from}
	for r.at < to {
		w.u(1, r.u(1))
	}
}
