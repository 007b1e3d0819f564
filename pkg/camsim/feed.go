package camsim

import "time"

// feed is the order of frames a camera sends.
type feed struct {
	group []frame // a key frame and what follows it
	gop   int     // frames from key frame to key frame, or to the beginning of the loop
	lead  int     // frames before the first key frame
	rest  []frame // those of the group that are no key frames
}

// newFeed returns the feed of a camera that sees the picture, with a key frame every gop, the first after wait.
// A film without a calm part has its key frames where they are.
func (f *film) newFeed(picture int, gop, wait time.Duration) feed {
	fd := feed{group: f.loops[picture], lead: int(wait / f.frameTime)}
	fd.gop = len(fd.group)
	if f.calm != nil {
		fd.gop = max(1, int(gop/f.frameTime))
		if fd.gop > len(fd.group) || fd.lead > 0 {
			fd.group = f.calm
		}
	}
	for _, frame := range fd.group {
		if !frame.key {
			fd.rest = append(fd.rest, frame)
		}
	}
	return fd
}

// at returns the n-th frame.
func (fd feed) at(n int) frame {
	if n < fd.lead {
		if len(fd.rest) == 0 {
			return frame{} // every picture is a key frame: there is nothing to send
		}
		// Counted back from the key frame, and round the clip again if it is far: nobody can decode these anyway.
		last := len(fd.rest) - 1
		return frame{units: fd.rest[last-(fd.lead-n-1)%len(fd.rest)].units}
	}
	n = (n - fd.lead) % fd.gop
	if n >= len(fd.group) {
		return fd.rest[(n-1)%len(fd.rest)]
	}
	return fd.group[n]
}

// timetable is when a camera that does not wait for its clients sends which frame.
type timetable struct {
	feed      feed
	began     time.Time
	frameTime time.Duration
}

// due returns when the n-th frame is to be sent.
func (t *timetable) due(n int) time.Time { return t.began.Add(time.Duration(n) * t.frameTime) }

// next returns the number of the first frame that is due after now.
func (t *timetable) next(now time.Time) int { return int(now.Sub(t.began)/t.frameTime) + 1 }

// nextKey returns when the first key frame after now is due.
func (t *timetable) nextKey(now time.Time) time.Time {
	n := t.next(now)
	for !t.feed.at(n).key {
		n++
	}
	return t.due(n)
}
