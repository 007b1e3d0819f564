package depacketize

import (
	"fmt"
	"time"
)

// refresh collects the pictures of a gradual refresh: from a recovery point on each renews a part of the picture, until the
// recovery point's count is over and all of it is new (H.264 D.2.8, H.265 D.3.8).
type refresh struct {
	active   bool
	pictures int
	target   int // H.264: the frame_num that is whole; H.265: how many pictures come before the one that is
	best     int // how many pictures the longest that was broken off had, for those who wait in vain
	at       time.Time
	data     []byte
}

// mostPictures bounds how many are collected: 10 s at 30 a second.
const mostPictures = 300

func (r *refresh) end() {
	r.active, r.best = false, max(r.best, r.pictures)
	r.data = r.data[:0]
}

// gradual takes a picture that needs others.
func (u *accessUnits) gradual(o *picture) {
	r := &u.refresh
	if o.damaged || o.partial || !u.sets.complete(o.header.pps) {
		r.end()
		return
	}
	_, sps, _ := u.sets.of(o.header.pps)
	if !r.active {
		if !o.hasRecovery || o.recovery <= 0 || o.recovery > mostPictures {
			return
		}
		u.seen.refreshes++
		*r = refresh{active: true, at: o.at, target: o.recovery, best: r.best, data: r.data[:0]}
		if u.syntax.codec == H264 {
			r.target = (int(o.header.frameNum) + o.recovery) & (1<<sps.frameNumBits - 1)
		}
		o.sei = append(o.sei, u.turned.sei...)
	}
	if len(r.data)+len(o.sei)+len(o.data)+u.sets.size() > u.limit || r.pictures >= mostPictures {
		r.end()
		return
	}
	if r.pictures == 0 || o.hasRecovery {
		r.data = append(withRoom(r.data, len(o.sei), u.limit), o.sei...)
	}
	r.data = append(withRoom(r.data, len(o.data), u.limit), o.data...)
	r.pictures++
	whole := r.pictures > r.target
	if u.syntax.codec == H264 {
		whole = o.header.reference && int(o.header.frameNum) == r.target && r.pictures > 1
	}
	if !whole {
		return
	}
	u.whole = &KeyFrame{
		Codec: u.syntax.codec, Bytes: append(u.sets.annexB(nil), r.data...), Pictures: r.pictures,
		CapturedAt: o.at, Arriving: u.now.Sub(o.at),
	}
	u.shape(o)
}

// troubles says what came instead of a key frame.
func (u *accessUnits) troubles() string {
	seen := u.seen
	switch {
	case seen.damaged > 0 || seen.bare > 0:
		return describeTroubles(seen.damaged, seen.bare)
	case seen.pictures == 0:
		return fmt.Sprintf(": %d packets came, and no whole picture", u.packets)
	case len(u.sets.list) == 0:
		return fmt.Sprintf(": %d pictures came, without parameter sets, and none that needs no other", seen.pictures)
	case seen.refreshes > 0:
		return fmt.Sprintf(": it renews its picture bit by bit (intra refresh), and no renewal was complete: %d pictures of the longest came", max(u.refresh.best, u.refresh.pictures))
	}
	return describeGroup(seen.pictures, seen.last.Sub(seen.begun))
}
