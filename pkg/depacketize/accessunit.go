package depacketize

import (
	"bytes"
	"errors"
	"slices"
	"time"
)

// startCode begins each NAL unit of a byte stream (Rec. ITU-T H.264 annex B).
const startCode = "\x00\x00\x00\x01"

// accessUnits puts pictures together (RFC 6184, RFC 7798): all slices of one frame, or of both its fields.
//
// A picture has ended where the next one begins, which slice headers tell. The marker bit and time stamps alone end nothing:
// there are cameras that set a marker, or a new stamp, with every slice or NAL unit. Only of a camera that was seen to leave
// the marker out between slices does a marker end a picture at once, if that has the slices of the one before.
type accessUnits struct {
	syntax *nalSyntax
	emit   func(nalPart) error // take, bound once and not once per packet
	limit  int
	sets   parameterSets
	inBand bool // parameter sets come with the stream, so a missing packet may have held one

	now     time.Time
	stamp   uint32
	packets int
	doubt   bool // packets are missing since the picture that was begun last

	unit     fragments
	sender   senderHabits
	next     preface
	open     *picture    // whose slices are coming
	closed   sliceHeader // the last slice of a picture that a marker ended,
	isClosed bool        // if that was the one before, and nothing is missing since
	held     *picture    // whole, if the next has no more slices than it
	layout   []uint32    // where the slices of the picture before began
	turned   preface     // the display orientation that lasts
	refresh  refresh
	whole    *KeyFrame
	seen     counts
}

// senderHabits is what we have learnt of who sends.
type senderHabits struct {
	marksMidPicture bool // a marker came, and then another slice of the same picture
	unmarked        int  // slices without a marker, behind which another of the same picture came
	plain, flagged  int  // slices without, and with forbidden_zero_bit
}

// marksEndOnly reports whether a marker can be believed to be the end of a picture: one that was left out may be a fault of the way.
func (s senderHabits) marksEndOnly() bool {
	const enough = 3
	return s.unmarked >= enough && !s.marksMidPicture
}

// preface is what comes before the slices of a picture.
type preface struct {
	at          time.Time // of its first packet; zero: none came
	sei         []byte    // SEI NAL units that a decoder needs, as Annex B
	recovery    int       // of its recovery point
	hasRecovery bool
	turn        orientation
	hasTurn     bool
	renewed     bool // parameter sets came
}

// picture is a frame whose slices are coming, or have come.
type picture struct {
	preface
	header      sliceHeader // of its last slice
	addresses   []uint32    // of all of them
	packet      int         // in which the last slice ended
	marked      bool        // that packet had a marker
	intra       bool        // all of its slices are
	second      bool        // of a field pair the second is here
	firstStands bool        // and the first needs nothing that comes before it
	damaged     bool
	partial     bool   // not all of its slices were kept
	data        []byte // its slices, as Annex B
}

// stands reports whether it needs no other picture.
func (p *picture) stands() bool { return p.intra || p.second && p.firstStands }

// lacksField reports whether the other field of its frame has still to come.
func (p *picture) lacksField() bool { return p.header.field && !p.second }

// counts are what came, to tell those who wait in vain.
type counts struct {
	pictures, damaged, bare, refreshes int
	begun, last                        time.Time
}

func newAccessUnits(syntax *nalSyntax, sets [][]byte, limit int) *accessUnits {
	u := &accessUnits{syntax: syntax, limit: limit, sets: parameterSets{syntax: syntax}}
	u.emit = u.take
	for _, nal := range sets {
		for nal := range split(nal) {
			if len(nal) > syntax.head && syntax.kind(nal) == parameterNAL {
				u.sets.keep(nal)
			}
		}
	}
	return u
}

func (u *accessUnits) push(p *packet, lost bool, at time.Time) (*KeyFrame, error) {
	u.now, u.stamp = at, p.stamp
	u.packets++
	if lost {
		u.damage()
		u.doubt = true
	}
	err := u.syntax.unpack(p.payload, u.emit)
	if errors.Is(err, errMalformed) {
		u.damage()
		err = nil
	}
	if p.marker && !u.unit.open && u.whole == nil {
		u.mark()
	}
	return u.whole, err
}

// mark takes a marker bit behind a whole NAL unit.
func (u *accessUnits) mark() {
	if o := u.open; o != nil && o.packet == u.packets {
		o.marked = true
		if u.sender.marksEndOnly() && !o.lacksField() && len(u.layout) > 1 && slices.Equal(o.addresses, u.layout) {
			u.finish()
			u.closed, u.isClosed = o.header, !u.doubt
		}
	}
}

// damage marks what is open: the picture, and the NAL unit that was being put together.
func (u *accessUnits) damage() {
	u.unit.drop()
	if u.open != nil {
		u.open.damaged = true
	}
	// What is damaged may be a picture that has not been begun: the one a recovery point was meant for, or one of a refresh.
	u.next.hasRecovery = false
	if u.refresh.active {
		u.refresh.end()
	}
}

// nals takes what should be one NAL unit, whose first packet came at that time. Some cameras put several in, with start codes
// between them: a start code cannot occur inside a NAL unit.
func (u *accessUnits) nals(data []byte, at time.Time) error {
	for nal := range split(data) {
		if len(nal) <= u.syntax.head {
			continue
		}
		if err := u.nal(nal, at); err != nil || u.whole != nil {
			return err
		}
	}
	if len(data)-len(bytes.TrimRight(data, "\x00")) > mostPadding {
		u.damage() // its stop bit was further behind (rbsp_trailing_bits)
	}
	return nil
}

// mostPadding is how many zero bytes a NAL unit may end with, which it should not at all (H.264 7.4.1). There are cameras that
// fill up to a multiple of four or eight bytes.
const mostPadding = 7

func (u *accessUnits) nal(nal []byte, at time.Time) error {
	switch u.syntax.kind(nal) {
	case sliceNAL:
		return u.slice(nal, at)
	case parameterNAL:
		u.parameters(nal, at)
	case seiNAL:
		u.boundary()
		u.message(nal, at)
	case delimiterNAL:
		if u.open != nil && !u.open.lacksField() {
			u.finish()
		}
		u.next.begin(at)
	}
	return nil
}

func (p *preface) begin(at time.Time) {
	if p.at.IsZero() {
		p.at = at
	}
}

// boundary ends the open picture at a NAL unit that comes before slices, if a marker ended its last one. Without one the NAL
// unit may be a straggler: there are cameras whose parameter sets come behind the slice that needs them.
func (u *accessUnits) boundary() {
	if o := u.open; o != nil && o.marked && !o.lacksField() && u.sets.complete(o.header.pps) {
		u.finish()
	}
}

func (u *accessUnits) parameters(nal []byte, at time.Time) {
	u.boundary()
	if u.whole != nil {
		return
	}
	if o := u.open; o != nil && u.sets.complete(o.header.pps) && u.sets.differs(nal) {
		u.finish() // it was meant with the old ones
	}
	u.next.begin(at)
	u.inBand, u.next.renewed = true, true
	u.sets.keep(nal)
}

func (u *accessUnits) message(nal []byte, at time.Time) {
	u.next.begin(at)
	found := readSEI(nal, u.syntax.head, u.syntax.recoveryPoint)
	if !found.hasRecovery && !found.hasOrientation || len(u.next.sei)+len(nal) > maxSetSize {
		return
	}
	u.next.sei = append(append(u.next.sei, startCode...), nal...)
	if found.hasRecovery {
		u.next.recovery, u.next.hasRecovery = found.recovery, true
	}
	if found.hasOrientation {
		u.next.turn, u.next.hasTurn = found.orientation, true
	}
}

// slice puts a slice to its picture.
func (u *accessUnits) slice(nal []byte, at time.Time) error {
	doubtful := u.doubtful(nal)
	h := u.syntax.slice(nal, &u.sets)
	switch o := u.open; {
	case o == nil:
		if u.isClosed && !u.doubt && !h.first && u.syntax.samePicture(u.closed, h) {
			u.sender.marksMidPicture = true
		}
		u.begin(h, at)
	case h.first && !o.second && secondField(o.header, h):
		o.second, o.firstStands = true, o.intra && (o.header.idr || o.hasRecovery && o.recovery == 0)
		u.next = preface{}
	case h.first, !u.syntax.samePicture(o.header, h):
		o.damaged = o.damaged || !h.first // what begins in the middle shows that something is missing, perhaps of this one too
		if u.finish(); u.whole != nil {
			return nil
		}
		u.begin(h, at)
	default:
		u.joins(o, h)
		if h.dependent {
			h.intra = o.header.intra
		}
	}
	o := u.open
	o.header, o.packet, o.marked = h, u.packets, false
	o.damaged = o.damaged || doubtful || len(o.addresses) >= maxSlices
	o.intra = o.intra && h.intra
	if !o.damaged {
		o.addresses = append(o.addresses, h.address)
	}
	if u.unit.unwanted || !u.wanted(h) {
		o.partial = true
		return nil
	}
	return u.keep(o, nal)
}

// keep appends a slice to its picture.
func (u *accessUnits) keep(o *picture, nal []byte) error {
	size := len(o.data) + len(startCode) + len(nal) + len(o.sei) + u.sets.size()
	switch {
	case size > u.limit && o.intra:
		return ErrTooBig
	case size+len(u.refresh.data) > u.limit:
		o.partial = true
	default:
		o.data = append(append(withRoom(o.data, len(nal)+len(startCode), u.limit), startCode...), nal...)
	}
	return nil
}

// maxSlices is more than level 6.2 allows (H.265 table A.8: 600).
const maxSlices = 1024

// joins looks at a further slice of the picture that is open.
func (u *accessUnits) joins(o *picture, h sliceHeader) {
	u.doubt = false // what was missing was of this picture
	switch {
	case o.marked:
		u.sender.marksMidPicture = true
	case o.packet > 0 && o.packet != u.packets:
		u.sender.unmarked++
	}
	if h.known && o.header.known && h.address <= o.header.address {
		o.damaged = true // twice, or in the wrong order
	}
}

// begin opens a picture with its first slice, or what should be it.
func (u *accessUnits) begin(h sliceHeader, at time.Time) {
	u.next.begin(at)
	o := &picture{preface: u.next, intra: true, damaged: !h.first}
	if u.doubt && u.inBand && !o.renewed {
		o.damaged = true // new parameter sets may be among what is missing
	}
	u.open, u.next, u.doubt, u.isClosed = o, preface{}, false, false
}

// doubtful reports whether a slice must count as damaged because its sender says so: forbidden_zero_bit (RFC 6184 5.3, RFC 7798
// 4.4). Where every slice has it, it says nothing; it is cleared then, because decoders refuse it.
func (u *accessUnits) doubtful(nal []byte) bool {
	const enough = 8
	if nal[0]&0x80 == 0 {
		u.sender.plain++
		return u.sender.flagged > 0 && u.sender.plain == 1 // so the flag did mean something
	}
	nal[0] &^= 0x80
	u.sender.flagged++
	return u.sender.plain > 0 || u.sender.flagged <= enough
}

// wanted reports whether the bytes of a slice may be of use.
func (u *accessUnits) wanted(h sliceHeader) bool {
	switch o := u.open; {
	case u.held != nil, o != nil && o.damaged:
		return false
	case h.intra, u.refresh.active:
		return true
	case o != nil:
		return o.hasRecovery && o.recovery > 0 || o.second && o.firstStands
	}
	return u.next.hasRecovery
}

// finish takes the open picture for complete.
func (u *accessUnits) finish() {
	o := u.open
	u.open = nil
	if u.seen.pictures++; u.seen.begun.IsZero() {
		u.seen.begun = o.at
	}
	u.seen.last = u.now
	o.damaged = o.damaged || o.lacksField()
	if u.held != nil && !o.damaged {
		u.decide(u.held, o.addresses)
		u.held = nil
	}
	u.orient(o)
	switch {
	case u.whole != nil:
	case o.stands():
		u.candidate(o)
	default:
		u.gradual(o)
	}
	if !o.damaged {
		u.layout = o.addresses
	}
}

// orient remembers a display orientation that lasts, and gives it to pictures that have none of their own.
func (u *accessUnits) orient(o *picture) {
	switch {
	case !o.hasTurn:
		o.sei = append(o.sei, u.turned.sei...)
		o.turn = u.turned.turn
	case o.turn.set && o.turn.lasts:
		u.turned = preface{sei: o.sei, turn: o.turn}
	default:
		u.turned = preface{}
	}
}

// candidate looks at a picture that needs no other.
func (u *accessUnits) candidate(o *picture) {
	switch {
	case o.damaged || o.partial:
		u.refresh.end()
		if o.damaged {
			u.seen.damaged++
		}
	case !u.sets.complete(o.header.pps):
		u.seen.bare++
	case len(u.layout) > 0:
		u.decide(o, u.layout)
	case len(o.addresses) > 1:
		u.held = o // with the last slice lost it would look the same
	default:
		u.give(o)
	}
}

// decide gives a picture, unless another one of the stream has the same slices and more behind them: its own were lost before
// their packets were numbered.
func (u *accessUnits) decide(o *picture, other []uint32) {
	if n := len(o.addresses); n < len(other) && slices.Equal(o.addresses, other[:n]) {
		u.seen.damaged++
		return
	}
	u.give(o)
}

// give makes a picture the result.
func (u *accessUnits) give(o *picture) {
	u.whole = &KeyFrame{
		Codec: u.syntax.codec, Bytes: slices.Insert(o.data, 0, u.sets.annexB(o.sei)...), Pictures: 1,
		CapturedAt: o.at, Arriving: u.now.Sub(o.at),
	}
	u.shape(o)
}

// shape fills in what the parameter sets say.
func (u *accessUnits) shape(o *picture) {
	_, sps, ok := u.sets.of(o.header.pps)
	if !ok {
		return
	}
	u.whole.Width, u.whole.Height, u.whole.FullRange, u.whole.Monochrome = sps.width, sps.height, sps.fullRange, sps.monochrome
	if o.turn.set && o.turn.sideways {
		u.whole.Width, u.whole.Height = sps.height, sps.width
	}
}

// waiting reports whether a picture is whole as far as can be told, and only the beginning of another one would prove it.
func (u *accessUnits) waiting() bool {
	if u.held != nil {
		return u.open == nil || !u.open.damaged
	}
	o := u.open
	return o != nil && o.marked && !u.unit.open && !o.damaged && !o.partial && o.stands() && !o.lacksField() && u.sets.complete(o.header.pps)
}

// settle takes the picture that is waiting.
func (u *accessUnits) settle(now time.Time) *KeyFrame {
	u.now = now
	if u.held == nil && u.waiting() {
		u.finish()
	}
	if u.whole == nil && u.held != nil {
		u.give(u.held)
	}
	return u.whole
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
