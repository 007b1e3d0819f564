package depacketize

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

// errMalformed is a packet that cannot be unpacked; what it belonged to is damaged.
var errMalformed = errors.New("malformed packet")

// Packets that are not simply one NAL unit (RFC 6184 table 1, RFC 7798 section 4.4).
const (
	aggregate264 = 24 // STAP-A; the others are of the interleaved mode, which is not spoken here
	fragment264  = 28 // FU-A
	aggregate265 = 48 // AP
	fragment265  = 49 // FU
	special265   = 50 // PACI and what is reserved
)

// h264Syntax is the nalSyntax of H.264. A key frame is an IDR picture.
func h264Syntax() nalSyntax {
	const idr, sps, pps = 5, 7, 8
	return nalSyntax{
		codec: H264,
		head:  1,
		nalKind: func(nal []byte) nalKind {
			switch kind := nal[0] & 0x1f; {
			case nal[0]&0x80 != 0:
				return broken
			case kind == idr:
				return key
			case kind >= 1 && kind < idr:
				return inter
			case kind == sps || kind == pps:
				return set
			}
			return other
		},
		setID: func(nal []byte) (int, bool) {
			if nal[0]&0x1f == pps {
				id, ok := exponential(nal[1:])
				return setOrder(pps, id), ok
			}
			var parsed h264.SPS
			err := parsed.Unmarshal(nal)
			return setOrder(sps, int(parsed.ID)), err == nil
		},
		ready: func(sets []parameterSet) bool { return hasAll(sets, sps, pps) },
		shape: func(sets []parameterSet, frame *KeyFrame) {
			var parsed h264.SPS
			if parsed.Unmarshal(ofKind(sets, sps)) == nil {
				frame.size(parsed.Width(), parsed.Height())
				frame.FullRange = parsed.VUI != nil && parsed.VUI.VideoFullRangeFlag
			}
		},
		unpack: unpack264,
	}
}

// h265Syntax is the nalSyntax of H.265. A key frame is an IDR, CRA or BLA picture; what leads a CRA in output order comes
// behind it in the stream, so the picture itself needs nothing.
func h265Syntax() nalSyntax {
	const firstIRAP, lastIRAP, vps, sps, pps = 16, 21, 32, 33, 34
	return nalSyntax{
		codec: H265,
		head:  2,
		nalKind: func(nal []byte) nalKind {
			layer := nal[0]&1<<5 | nal[1]>>3
			switch kind := kind265(nal); {
			case nal[0]&0x80 != 0:
				return broken
			case layer != 0:
				return other
			case kind >= firstIRAP && kind <= lastIRAP:
				return key
			case kind <= 9:
				return inter
			case kind >= vps && kind <= pps:
				return set
			}
			return other
		},
		setID: func(nal []byte) (int, bool) {
			switch kind265(nal) {
			case vps:
				return setOrder(vps, int(nal[2]>>4)), true
			case pps:
				id, ok := exponential(nal[2:])
				return setOrder(pps, id), ok
			}
			var parsed h265.SPS
			err := parsed.Unmarshal(nal)
			return setOrder(sps, int(parsed.ID)), err == nil
		},
		ready: func(sets []parameterSet) bool { return hasAll(sets, vps, sps, pps) },
		shape: func(sets []parameterSet, frame *KeyFrame) {
			var parsed h265.SPS
			if parsed.Unmarshal(ofKind(sets, sps)) == nil {
				frame.size(parsed.Width(), parsed.Height())
				frame.FullRange = parsed.VUI != nil && parsed.VUI.VideoFullRangeFlag
			}
		},
		unpack: unpack265,
	}
}

func kind265(nal []byte) byte { return nal[0] >> 1 & 0x3f }

// size sets what is plausible; parameter sets of a hostile camera may say anything.
func (f *KeyFrame) size(width, height int) {
	const most = 1 << 14
	if width > 0 && height > 0 && width <= most && height <= most {
		f.Width, f.Height = width, height
	}
}

// idsPerKind is more than the ids of any kind of parameter set.
const idsPerKind = 1 << 10

// setOrder makes parameter sets sort by kind, and within it by id.
func setOrder(kind, id int) int { return kind*idsPerKind + id%idsPerKind }

func ofKind(sets []parameterSet, kind int) []byte {
	for _, s := range sets {
		if s.id/idsPerKind == kind {
			return s.nal
		}
	}
	return nil
}

func hasAll(sets []parameterSet, kinds ...int) bool {
	for _, kind := range kinds {
		if ofKind(sets, kind) == nil {
			return false
		}
	}
	return true
}

// exponential reads a small ue(v) at the beginning of data (Rec. ITU-T H.264 section 9.1).
func exponential(data []byte) (int, bool) {
	var word [4]byte
	copy(word[:], data)
	window := binary.BigEndian.Uint32(word[:])
	zeros := bits.LeadingZeros32(window)
	if zeros > 10 {
		return 0, false
	}
	return int(window>>(31-2*zeros)) - 1, true
}

// unpack264 hands on what a packet holds (RFC 6184 section 5.6 to 5.8).
func unpack264(payload []byte, emit func(nalPart) error) error {
	if len(payload) == 0 {
		return nil // padding only
	}
	switch kind := payload[0] & 0x1f; {
	case kind == aggregate264:
		return aggregated(payload[1:], func(nal []byte) bool { return nal[0]&0x1f < aggregate264 }, emit)
	case kind == fragment264:
		if len(payload) < 2 {
			return errMalformed
		}
		head := [2]byte{payload[0]&0xe0 | payload[1]&0x1f}
		return emit(nalPart{fragment: true, first: payload[1]&0x80 != 0, last: payload[1]&0x40 != 0, head: head, data: payload[2:]})
	case kind > aggregate264, kind == 0 && !bytes.HasPrefix(payload, []byte(startCode)): // some cameras send start codes
		return errMalformed
	}
	return emit(nalPart{data: payload})
}

// unpack265 hands on what a packet holds (RFC 7798 section 4.4).
func unpack265(payload []byte, emit func(nalPart) error) error {
	if len(payload) == 0 {
		return nil
	}
	if len(payload) < 3 {
		return errMalformed
	}
	switch kind := kind265(payload); {
	case kind == aggregate265:
		return aggregated(payload[2:], func(nal []byte) bool { return len(nal) > 2 && kind265(nal) < aggregate265 }, emit)
	case kind == fragment265:
		head := [2]byte{payload[0]&0x81 | payload[2]&0x3f<<1, payload[1]}
		return emit(nalPart{fragment: true, first: payload[2]&0x80 != 0, last: payload[2]&0x40 != 0, head: head, data: payload[3:]})
	case kind >= special265:
		return errMalformed
	}
	return emit(nalPart{data: payload})
}

// aggregated hands on the NAL units of an aggregation packet. One that is itself an aggregation, or a fragment, is
// not plain, and not allowed (RFC 6184 section 5.7).
func aggregated(data []byte, plain func(nal []byte) bool, emit func(nalPart) error) error {
	for len(data) > 0 {
		if len(data) < 2 {
			return errMalformed
		}
		size := int(binary.BigEndian.Uint16(data))
		if data = data[2:]; size > len(data) {
			return errMalformed
		}
		nal := data[:size]
		data = data[size:]
		if size == 0 {
			continue // some cameras pad with these
		}
		if !plain(nal) {
			return errMalformed
		}
		if err := emit(nalPart{data: nal}); err != nil {
			return err
		}
	}
	return nil
}
