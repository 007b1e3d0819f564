package camsim

import (
	"math/rand/v2"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/pion/rtcp"
)

// This file is what cameras do wrong: the entries of the scripts in the table of tempers.

// fallMute stops all answers, but not the listening: the end of the connection is noticed.
func fallMute(t *talk, _ *base.Request) { t.mute = true }

// hangUp ends the connection in order (FIN), without an answer.
func hangUp(t *talk, _ *base.Request) { t.over = true }

// slam ends the connection with a reset.
func slam(t *talk, _ *base.Request) {
	t.conn.abort()
	t.over = true
}

// say answers with a bare status.
func say(status base.StatusCode) func(*talk, *base.Request) {
	return func(t *talk, req *base.Request) { t.reply(req, base.Response{StatusCode: status}) }
}

// answerGarbage answers with random bytes, the same at each run, and then no more.
func answerGarbage(t *talk, _ *base.Request) {
	_ = t.write(garbage(1))
	t.mute = true
}

func garbage(seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, seed)) // the same noise every time
	noise := make([]byte, 512)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	return noise
}

// redirect sends the client to another URL (RFC 2326 section 11.3).
func redirect(location string) func(*talk, *base.Request) {
	return func(t *talk, req *base.Request) {
		t.reply(req, base.Response{StatusCode: base.StatusFound, Header: base.Header{
			"Location": base.HeaderValue{location},
		}})
	}
}

// sendNothing leaves the client waiting for its first packet.
func sendNothing(*talk) {}

// sendReports sends RTCP sender reports and no video: enough to keep a time-out on reads from ever passing.
func sendReports(t *talk) {
	for t.pause() {
		report := rtcp.SenderReport{SSRC: 1, RTPTime: uint32(time.Now().UnixMilli() * 90)}
		raw, err := report.Marshal()
		if err != nil || t.interleave(t.channel+1, raw) != nil {
			return
		}
	}
}

// sendGarbage sends what is framed like media and is none.
func sendGarbage(t *talk) {
	for seed := uint64(1); t.pause(); seed++ {
		if t.interleave(t.channel, garbage(seed)) != nil {
			return
		}
	}
}

// sendHalfAFrame sends the first half of a key frame's packets, then resets the connection.
func sendHalfAFrame(t *talk) {
	packets, err := t.c.film.packetizer(t.c.config.Sets)
	if err != nil {
		return
	}
	frame := packets.pack(t.c.film.loops[t.c.config.Picture][0], 0)
	for _, packet := range frame[:len(frame)/2] {
		raw, err := packet.Marshal()
		if err != nil || t.interleave(t.channel, raw) != nil {
			return
		}
	}
	t.conn.abort()
}

// pause waits for the camera's Delay; false when the conversation has ended.
func (t *talk) pause() bool { return t.sleep(t.c.config.Delay) }

// sleep waits; false when the conversation has ended.
func (t *talk) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// interleave sends one packet on a channel of the connection (RFC 2326 section 10.12).
func (t *talk) interleave(channel int, payload []byte) error {
	raw, err := base.InterleavedFrame{Channel: channel, Payload: payload}.Marshal()
	if err != nil {
		return err
	}
	return t.write(raw)
}
