package depacketize

import (
	"bytes"
	"encoding/binary"
	"errors"
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

// nalKind is what a NAL unit is for, as far as one picture is concerned.
type nalKind int

const (
	otherNAL     nalKind = iota // not needed for the picture
	parameterNAL                // a parameter set
	seiNAL                      // supplemental enhancement information that comes before its picture
	delimiterNAL                // an access unit delimiter: a picture begins
	sliceNAL
)

// nalSyntax is in what H.264 and H.265 differ.
type nalSyntax struct {
	codec                     Codec
	head                      int // length of the header of a NAL unit
	vpsKind, spsKind, ppsKind int // nal_unit_type of parameter sets; 0: there is none
	kind                      func(nal []byte) nalKind
	parameterSet              func(nal []byte) (parameterSet, bool)
	slice                     func(nal []byte, sets *parameterSets) sliceHeader
	samePicture               func(a, b sliceHeader) bool
	recoveryPoint             func(r *bitReader) int
	unpack                    func(payload []byte, emit func(nalPart) error) error
}

// h264Syntax is the syntax of H.264 (Rec. ITU-T H.264 7.3).
func h264Syntax() *nalSyntax {
	const idr, prefixSEI, sps, pps, delimiter = 5, 6, 7, 8, 9
	return &nalSyntax{
		codec: H264, head: 1, spsKind: sps, ppsKind: pps,
		kind: func(nal []byte) nalKind {
			switch nal[0] & 0x1f {
			case 1, idr: // data partitions (2 to 4) are of a profile that nobody has
				return sliceNAL
			case sps, pps:
				return parameterNAL
			case prefixSEI:
				return seiNAL
			case delimiter:
				return delimiterNAL
			}
			return otherNAL
		},
		parameterSet: func(nal []byte) (parameterSet, bool) {
			if nal[0]&0x1f == sps {
				read, ok := readSPS264(nal)
				return parameterSet{kind: sps, id: read.id, sps: read}, ok
			}
			r := &bitReader{data: rbsp(nal, headerBytes)}
			r.skip(8)
			id := int(r.ue())
			read := pictureSet{sps: int(r.ue())}
			r.skip(1)
			read.bottomFieldPOC = r.flag()
			return parameterSet{kind: pps, id: id, pps: read}, !r.short && id < 256
		},
		slice:         readSlice264,
		samePicture:   samePicture264,
		recoveryPoint: func(r *bitReader) int { return int(r.ue()) },
		unpack:        unpack264,
	}
}

// h265Syntax is the syntax of H.265 (Rec. ITU-T H.265 7.3). What leads a CRA picture in output order comes behind it in the
// stream, so the picture itself needs nothing.
func h265Syntax() *nalSyntax {
	const lastSlice, firstIRAP, lastIRAP, vps, sps, pps, delimiter, prefixSEI = 9, 16, 21, 32, 33, 34, 35, 39
	return &nalSyntax{
		codec: H265, head: 2, vpsKind: vps, spsKind: sps, ppsKind: pps,
		kind: func(nal []byte) nalKind {
			if layer := nal[0]&1<<5 | nal[1]>>3; layer != 0 {
				return otherNAL
			}
			switch kind := kind265(nal); {
			case kind <= lastSlice, kind >= firstIRAP && kind <= lastIRAP:
				return sliceNAL
			case kind >= vps && kind <= pps:
				return parameterNAL
			case kind == prefixSEI:
				return seiNAL
			case kind == delimiter:
				return delimiterNAL
			}
			return otherNAL
		},
		parameterSet: func(nal []byte) (parameterSet, bool) {
			switch kind265(nal) {
			case vps:
				return parameterSet{kind: vps, id: int(nal[2] >> 4)}, true
			case sps:
				read, ok := readSPS265(nal)
				return parameterSet{kind: sps, id: read.id, sps: read}, ok
			}
			r := &bitReader{data: rbsp(nal, headerBytes)}
			r.skip(16)
			id := int(r.ue())
			read := pictureSet{sps: int(r.ue()), dependentSlices: r.flag(), outputFlag: r.flag(), extraSliceBits: int(r.u(3))}
			return parameterSet{kind: pps, id: id, pps: read}, !r.short && id < 64
		},
		slice:         readSlice265,
		samePicture:   samePicture265,
		recoveryPoint: func(r *bitReader) int { return int(r.se()) },
		unpack:        unpack265,
	}
}

func kind265(nal []byte) byte { return nal[0] >> 1 & 0x3f }

// nalPart is a NAL unit, or a fragment of one.
type nalPart struct {
	fragment    bool
	first, last bool    // of the fragments
	head        [2]byte // of the NAL unit that they make; H.264 uses the first only
	data        []byte  // of a whole NAL unit, its head included
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
