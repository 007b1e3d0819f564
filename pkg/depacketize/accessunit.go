package depacketize

import (
	"bytes"
	"errors"
	"slices"
	"time"
)

// nalKind is what a NAL unit is for, as far as one picture is concerned.
type nalKind int

const (
	other  nalKind = iota // not needed for the picture
	set                   // a parameter set
	key                   // a slice of a picture that needs no other
	inter                 // a slice of one that does
	broken                // the sender itself marked it as damaged
)

// nalSyntax is in what H.264 and H.265 differ.
type nalSyntax struct {
	codec   Codec
	head    int // length of the header of a NAL unit
	nalKind func(nal []byte) nalKind
	setID   func(nal []byte) (id int, ok bool) // which parameter set: sorted, they are in the order decoders want
	ready   func(sets []parameterSet) bool     // whether a picture can be decoded with these
	shape   func(sets []parameterSet, frame *KeyFrame)
	unpack  func(payload []byte, emit func(nalPart) error) error
}

// nalPart is a NAL unit, or a fragment of one.
type nalPart struct {
	fragment    bool
	first, last bool    // of the fragments
	head        [2]byte // of the NAL unit that they make; H.264 uses the first only
	data        []byte  // of a whole NAL unit, its head included
}

// parameterSet is a NAL unit that later pictures refer to by its id.
type parameterSet struct {
	id  int
	nal []byte
}

// What of parameter sets is kept. Real ones have tens of bytes, and real streams two or three of them.
const (
	maxSets    = 64
	maxSetSize = 4 << 10
)

// startCode begins each NAL unit of a byte stream (Rec. ITU-T H.264 annex B).
const startCode = "\x00\x00\x00\x01"

// accessUnits assembles access units (RFC 6184, RFC 7798): all slices of one picture. An access unit ends with the marker,
// with a new time stamp, or where the first slice of another picture begins, whichever comes first.
type accessUnits struct {
	nalSyntax nalSyntax
	emit      func(nalPart) error // u.take, bound once and not once per packet
	limit     int
	now       time.Time
	sets      []parameterSet
	inBand    bool // parameter sets come with the stream, so a missing packet may have held one

	fragments   []byte // of the NAL unit that is being put together, behind what the picture begins with
	ahead       int    // how much that is; 0 where the picture has begun already
	fragmenting bool
	keeping     bool // the fragments are wanted

	stamp    uint32
	open     bool      // a packet of the unit has come
	at       time.Time // when
	sliced   bool      // so has a slice
	renewed  bool      // and a parameter set
	damaged  bool      // something of it is missing
	picture  []byte    // parameter sets and key slices, as Annex B
	doubt    bool      // packets were missing since the unit before was complete
	marked   bool      // the unit before ended with a marker
	markedAt uint32    // and with this time stamp
	lies     bool      // this camera sets the marker in mid-picture, so it ends nothing
	finished *KeyFrame

	lost, bare int // key frames that came damaged, and without parameter sets
}

func newAccessUnits(nalSyntax nalSyntax, sets [][]byte, limit int) *accessUnits {
	u := &accessUnits{nalSyntax: nalSyntax, limit: limit}
	u.emit = u.take
	for _, nal := range sets {
		for nal := range split(nal) {
			if len(nal) > nalSyntax.head && nalSyntax.nalKind(nal) == set {
				u.keep(nal)
			}
		}
	}
	return u
}

func (u *accessUnits) troubles() string { return describeTroubles(u.lost, u.bare) }

func (u *accessUnits) push(p *packet, lost bool, at time.Time) (*KeyFrame, error) {
	u.now = at
	if lost && u.open {
		u.damage()
	}
	if u.open && p.stamp != u.stamp {
		u.finish()
		u.doubt = false
	}
	u.doubt = u.doubt || lost
	if u.finished != nil {
		return u.finished, nil
	}
	u.stamp = p.stamp
	if !u.open {
		u.open, u.at = true, at
	}
	err := u.nalSyntax.unpack(p.payload, u.emit)
	if errors.Is(err, errMalformed) {
		u.damage()
		err = nil
	}
	if p.marker && !u.lies && u.finished == nil {
		u.marked, u.markedAt = u.sliced, p.stamp
		u.finish()
		u.doubt = false
	}
	return u.finished, err
}

// damage marks the unit that is open, and the NAL unit in it.
func (u *accessUnits) damage() {
	u.damaged = true
	u.fragmenting = false
}

// take puts fragments together and hands on whole NAL units.
func (u *accessUnits) take(p nalPart) error {
	switch {
	case !p.fragment:
		if u.fragmenting {
			u.damage() // its end never came
		}
		return u.nals(p.data)
	case p.first:
		if u.fragmenting {
			u.damage()
		}
		kind := u.nalSyntax.nalKind(p.head[:])
		u.fragmenting, u.keeping = true, kind == key || kind == set
		u.fragments = u.fragments[:0]
		if kind == key && len(u.picture) == 0 {
			u.fragments = u.preface(u.fragments)
		}
		u.ahead = len(u.fragments)
		u.fragments = append(u.fragments, p.head[:u.nalSyntax.head]...)
	case !u.fragmenting:
		u.damage() // its start never came
		return nil
	}
	if !u.keeping && len(u.fragments) > u.nalSyntax.head {
		// Of an unwanted NAL unit the first byte of the slice header is enough.
		p.data = nil
	}
	if len(u.fragments)+len(p.data) > u.limit {
		return ErrTooBig
	}
	u.fragments = append(withRoom(u.fragments, len(p.data), u.limit), p.data...)
	if !p.last {
		return nil
	}
	u.fragmenting = false
	return u.nals(u.fragments[u.ahead:])
}

// roomForKeyFrame is enough for most, which have some hundred KiB. What is never filled costs nothing.
const roomForKeyFrame = 512 << 10

// withRoom makes room where n more bytes have none, but no more than limit needs. A key frame comes in packets of 1.4 KiB: append
// would copy it a dozen times, each time to pages that nobody has touched before.
func withRoom(data []byte, n, limit int) []byte {
	need := len(data) + n
	if need <= cap(data) {
		return data
	}
	larger := make([]byte, len(data), max(need, min(max(4*cap(data), roomForKeyFrame), limit)))
	copy(larger, data)
	return larger
}

// nals takes what should be one NAL unit. Some cameras put several in, with start codes between them: a start code
// cannot occur inside a NAL unit.
func (u *accessUnits) nals(data []byte) error {
	for nal := range split(data) {
		if len(nal) <= u.nalSyntax.head {
			continue
		}
		if err := u.nal(nal); err != nil || u.finished != nil {
			return err
		}
	}
	return nil
}

func (u *accessUnits) nal(nal []byte) error {
	switch kind := u.nalSyntax.nalKind(nal); kind {
	case broken:
		u.damage()
	case set:
		u.inBand, u.renewed = true, true
		u.keep(nal)
	case key, inter:
		if u.place(nal); u.finished != nil {
			return nil
		}
		if kind == key {
			return u.add(nal)
		}
		u.damaged = u.damaged || len(u.picture) > 0 // two kinds of slices in one picture: neither was meant
	}
	return nil
}

// place decides which picture a slice belongs to, and whether that one can still be clean.
func (u *accessUnits) place(nal []byte) {
	// In both codecs the first bit of a slice header says whether it is the first slice of the picture
	// (H.264: first_mb_in_slice is 0, which ue(v) codes as a 1; H.265: first_slice_segment_in_pic_flag).
	first := nal[u.nalSyntax.head]&0x80 != 0
	switch {
	case first && u.sliced:
		u.finish()
		u.open, u.at = true, u.now
	case !first && !u.sliced:
		// The picture's beginning is missing, or we were told that it had ended already.
		u.lies = u.lies || u.marked && u.markedAt == u.stamp && !u.doubt && !u.damaged
		u.damaged = true
	}
	if !u.sliced && u.doubt && u.inBand && !u.renewed {
		u.damaged = true // new parameter sets may be among what is missing
	}
	u.sliced = true
}

// add appends a slice to the key frame; the parameter sets go before the first.
func (u *accessUnits) add(nal []byte) error {
	if len(u.picture) == 0 {
		if u.ahead > 0 && len(nal) == len(u.fragments)-u.ahead && &nal[0] == &u.fragments[u.ahead] {
			u.picture, u.fragments, u.ahead = u.fragments, u.picture, 0 // it was put together in the right place
			return nil
		}
		u.picture = u.preface(u.picture)
	} else {
		u.picture = append(u.picture, startCode...)
	}
	if len(u.picture)+len(nal) > u.limit {
		return ErrTooBig
	}
	u.picture = append(withRoom(u.picture, len(nal), u.limit), nal...)
	return nil
}

// preface appends what a key frame begins with: the parameter sets, and the start code of its first slice.
func (u *accessUnits) preface(picture []byte) []byte {
	for _, s := range u.sets {
		picture = append(append(picture, startCode...), s.nal...)
	}
	return append(picture, startCode...)
}

// finish ends the open unit. If it is a clean key frame, finished is set.
func (u *accessUnits) finish() {
	switch isKey := len(u.picture) > 0; {
	case !isKey:
	case u.damaged || u.fragmenting:
		u.lost++
	case !u.nalSyntax.ready(u.sets):
		u.bare++
	default:
		u.finished = &KeyFrame{Codec: u.nalSyntax.codec, Bytes: u.picture, CapturedAt: u.at, Arriving: u.now.Sub(u.at)}
		u.nalSyntax.shape(u.sets, u.finished)
		return
	}
	u.open, u.sliced, u.renewed, u.damaged, u.fragmenting = false, false, false, false, false
	u.picture = u.picture[:0]
}

// keep remembers a parameter set, in place of an earlier one with the same id.
func (u *accessUnits) keep(nal []byte) {
	id, ok := u.nalSyntax.setID(nal)
	if !ok || len(nal) > maxSetSize {
		return
	}
	at, known := slices.BinarySearchFunc(u.sets, id, func(s parameterSet, id int) int { return s.id - id })
	switch {
	case known && bytes.Equal(u.sets[at].nal, nal):
	case known:
		u.sets[at].nal = bytes.Clone(nal)
	case len(u.sets) < maxSets:
		u.sets = slices.Insert(u.sets, at, parameterSet{id, bytes.Clone(nal)})
	}
}

// split yields the NAL units of data, which is one, or several with start codes before, between and behind them.
func split(data []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			nal := data
			if at := bytes.Index(data, []byte(startCode[1:])); at >= 0 {
				nal, data = data[:at], data[at+3:]
			} else {
				data = nil
			}
			if nal = bytes.TrimRight(nal, "\x00"); len(nal) > 0 && !yield(nal) {
				return
			}
		}
	}
}
