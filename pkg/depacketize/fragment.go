package depacketize

import "time"

// fragments is a NAL unit that comes in fragmentation units (RFC 6184 5.8, RFC 7798 4.4.3).
type fragments struct {
	open        bool
	at          time.Time // when its first came
	head        [2]byte
	data        []byte
	unwanted    bool // of no use: only what its header needs is kept
	first, last int  // sizes of the first and of the latest fragment

	// What we have learnt of who sends: there are cameras that never set the end bit, and such that set it early.
	endSeen   bool // an end bit has come
	endless   int  // NAL units that ended without it and with no packet missing
	endedFull bool // the one that ended last did so with a fragment of full size, so it may go on
	packets   int  // in that packet
}

// drop forgets the NAL unit that was being put together.
func (f *fragments) drop() { f.open, f.endedFull = false, false }

// take puts fragments together and hands on whole NAL units.
func (u *accessUnits) take(p nalPart) error {
	f := &u.unit
	if f.open && (!p.fragment || p.first || p.head != f.head) {
		if err := u.unended(); err != nil || u.whole != nil {
			return err
		}
	}
	switch {
	case !p.fragment:
		f.endedFull, f.unwanted = false, false
		return u.nals(p.data, u.now)
	case p.first:
		f.open, f.at, f.head, f.unwanted, f.endedFull = true, u.now, p.head, false, false
		f.first = len(p.data)
		f.data = append(f.data[:0], p.head[:u.syntax.head]...)
	case !f.open:
		if f.endedFull && f.packets == u.packets-1 && f.head == p.head {
			return u.resume(p)
		}
		u.damage() // its start never came
		return nil
	}
	f.last = len(p.data)
	if err := u.gather(p.data); err != nil {
		return err
	}
	if !p.last {
		return nil
	}
	f.open, f.endSeen = false, true
	f.endedFull, f.packets = !p.first && f.last == f.first, u.packets
	return u.nals(f.data, f.at)
}

// gather keeps the bytes of a fragment, as long as they may be of use.
func (u *accessUnits) gather(data []byte) error {
	f := &u.unit
	if f.unwanted {
		return nil
	}
	if len(f.data)+len(data) > u.limit {
		return ErrTooBig
	}
	had := len(f.data)
	f.data = append(withRoom(f.data, len(data), u.limit), data...)
	if had < headerBytes && len(f.data) >= headerBytes && u.syntax.kind(f.data) == sliceNAL {
		h := u.syntax.slice(f.data, &u.sets)
		f.unwanted = !h.dependent && !u.expected(h)
	}
	return nil
}

// expected is wanted, for a slice that may begin another picture than the one that is open.
func (u *accessUnits) expected(h sliceHeader) bool {
	return h.intra || u.refresh.active || u.next.hasRecovery || u.wanted(h) ||
		u.open != nil && u.open.intra && secondField(u.open.header, h)
}

// unended ends a NAL unit whose end bit never came, although no packet is missing. It counts as whole where that is how the
// camera ends all of them; the shorter last fragment shows that it did end.
func (u *accessUnits) unended() error {
	const habit = 2
	f := &u.unit
	f.open = false
	f.endless++
	whole := !f.endSeen && f.endless > habit && f.last < f.first
	if u.syntax.kind(f.data) != sliceNAL && !whole {
		u.damage()
		return nil
	}
	err := u.nals(f.data, f.at)
	if u.open != nil {
		u.open.packet = 0 // it is not this one, and its marker was not looked at
	}
	if !whole {
		u.damage()
	}
	return err
}

// resume takes a fragment behind an end bit: there are cameras that set it on every fragment but the first, which shows by
// fragments of full size. The slice is the last of the open picture.
func (u *accessUnits) resume(p nalPart) error {
	f, o := &u.unit, u.open
	f.packets, f.endedFull = u.packets, len(p.data) == f.first
	if o == nil {
		return nil
	}
	o.packet, o.marked = u.packets, false
	switch {
	case f.unwanted || o.partial || o.damaged:
	case len(o.data)+len(p.data)+len(o.sei)+u.sets.size() > u.limit:
		return ErrTooBig
	default:
		o.data = append(withRoom(o.data, len(p.data), u.limit), p.data...)
	}
	return nil
}
