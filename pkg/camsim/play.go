package camsim

import "time"

// play sends the video of one session until it ends: from the beginning of the film, or from where the stream is.
func (g *goodServer) play(session *goodSession) {
	packets, err := g.c.film.packetizer(g.c.config.Sets)
	if err != nil {
		return
	}
	n, times := 0, g.c.runs
	if times != nil {
		n = times.next(time.Now())
	} else {
		times = &timetable{feed: g.feed, began: time.Now(), frameTime: g.c.film.frameTime}
	}
	media := session.stream.Desc.Medias[0]
	ahead := 0 // pictures that were left out for key frames that were asked for
	for timer := time.NewTimer(time.Until(times.due(n))); ; timer.Reset(time.Until(times.due(n))) {
		select {
		case <-timer.C:
		case <-session.ctx.Done():
			timer.Stop()
			return
		}
		select {
		case <-session.asked:
			for !g.feed.at(n + ahead).key {
				ahead++
			}
		default:
		}
		for _, packet := range packets.pack(g.feed.at(n+ahead), n) {
			if session.stream.WritePacketRTP(media, packet) != nil {
				timer.Stop()
				return
			}
		}
		n++
	}
}

// sent notes when the last byte of a key frame has gone.
func (c *Camera) sent(raw []byte) {
	if c.film.codec.syntax().endsKeyFrame(raw) {
		c.lastKey.Store(time.Now().UnixNano())
	}
}

// LastKeyFrame returns when the last byte of the most recent key frame had been written to a client's connection, and
// the zero time when none has. It knows the tempers that give a picture, and TCP only.
func (c *Camera) LastKeyFrame() time.Time {
	if at := c.lastKey.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// NextKeyFrame returns when the running stream of the camera comes to its next key frame, and the zero time
// when there is no such stream: each client then has its own (LongGOP and JoinAnywhere have one).
func (c *Camera) NextKeyFrame() time.Time {
	if c.runs == nil {
		return time.Time{}
	}
	return c.runs.nextKey(time.Now())
}
