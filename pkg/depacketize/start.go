package depacketize

import "encoding/binary"

// Start is what a stream began with when we joined it.
type Start int

// What the first packets may be.
const (
	StartUnknown  Start = iota // nothing that tells has come
	StartKeyFrame              // the beginning of a key frame, or what belongs before it
	StartBetween               // the middle of a picture, or one that needs others
)

// Start tells, for H.264, H.265, VP8, VP9 and AV1, whether the first of the packets began a key frame. A key frame that has begun needs no asking.
func (r *Receiver) Start() Start { return r.start }

// starts notes what the packet tells of the start, while nothing has.
func (r *Receiver) starts(payload []byte) {
	if r.start != StartUnknown || len(payload) < 3 {
		return
	}
	switch r.format.Codec {
	case H264:
		r.start = start264(payload)
	case H265:
		r.start = start265(payload)
	case VP8:
		r.start = startVP8(payload)
	case VP9:
		r.start = startVP9(payload)
	case AV1:
		r.start = startAV1(payload)
	}
}

func start264(payload []byte) Start {
	kind := payload[0] & 0x1f
	switch kind {
	case aggregate264:
		for rest := payload[1:]; len(rest) > 2; {
			size := min(int(binary.BigEndian.Uint16(rest)), len(rest)-2)
			if size > 0 {
				if told := start264Kind(rest[2] & 0x1f); told != StartUnknown {
					return told
				}
			}
			rest = rest[2+size:]
		}
		return StartUnknown
	case fragment264:
		if payload[1]&0x80 == 0 {
			return StartBetween
		}
		kind = payload[1] & 0x1f
	}
	return start264Kind(kind)
}

func start264Kind(kind byte) Start {
	switch {
	case kind == 5 || kind == 7 || kind == 8: // IDR, and parameter sets
		return StartKeyFrame
	case kind >= 1 && kind <= 4:
		return StartBetween
	}
	return StartUnknown
}

func start265(payload []byte) Start {
	kind := kind265(payload)
	switch kind {
	case aggregate265:
		for rest := payload[2:]; len(rest) > 2; {
			size := min(int(binary.BigEndian.Uint16(rest)), len(rest)-2)
			if size > 0 {
				if told := start265Kind(kind265(rest[2:])); told != StartUnknown {
					return told
				}
			}
			rest = rest[2+size:]
		}
		return StartUnknown
	case fragment265:
		if payload[2]&0x80 == 0 {
			return StartBetween
		}
		kind = payload[2] & 0x3f
	}
	return start265Kind(kind)
}

func start265Kind(kind byte) Start {
	switch {
	case kind >= 16 && kind <= 21 || kind >= 32 && kind <= 34: // IDR, CRA and BLA, and parameter sets
		return StartKeyFrame
	case kind <= 9:
		return StartBetween
	}
	return StartUnknown
}
