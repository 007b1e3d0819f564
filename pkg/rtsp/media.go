package rtsp

import (
	"errors"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

var errBye = errors.New("RTCP BYE")

// afterBye is how long video is waited for behind a BYE. Most are not meant for us: a camera says goodbye on our connection to
// whoever was there before, or changes its source with every key frame.
const afterBye = time.Second

// interleaved takes a frame of the connection. Channels that were not announced are none of ours.
func (t *talk) interleaved(channel byte, raw []byte) error {
	switch {
	case !t.wire.ours(channel) || len(raw) < 2:
	case channel == t.wire.channels[0] && (!isRTCP(raw[1]) || raw[1]&0x7f == t.payload):
		t.bye = time.Time{}
		return t.receiver.Take(raw)
	case t.bye.IsZero() && saysBye(raw):
		t.bye = time.Now()
	}
	return nil
}

// saysBye looks for BYE in a compound RTCP packet (RFC 3550 section 6.6).
func saysBye(raw []byte) bool {
	const bye = 203
	for len(raw) >= 4 && raw[0]>>6 == 2 {
		if raw[1] == bye {
			return true
		}
		size := 4 * (1 + int(raw[2])<<8 + int(raw[3]))
		raw = raw[min(size, len(raw)):]
	}
	return false
}

// receive reads until the key frame is whole.
func (t *talk) receive() error {
	if t.receiver.KeyFrame() != nil {
		return nil
	}
	t.note(fault.Media)
	deadline := t.deadline()
	for t.receiver.KeyFrame() == nil {
		if t.step == fault.Media && t.receiver.Began() {
			t.note(fault.KeyFrame)
			deadline = t.whole
		}
		t.requestKeyFrame()
		if err := t.receiveOrSettle(deadline); err != nil {
			return err
		}
	}
	return nil
}

// receiveOrSettle receives, and takes a picture that looks whole where nothing more comes that would prove it.
func (t *talk) receiveOrSettle(deadline time.Time) error {
	settle, waiting := t.receiver.Waiting()
	if !waiting || !settle.Before(deadline) {
		return t.receiveUntil(deadline)
	}
	if time.Now().Before(settle) {
		err := t.receiveUntil(settle)
		if err == nil || !isTimeout(err) || t.ctx.Err() != nil {
			return err
		}
	}
	if !time.Now().Before(settle) {
		t.wire.failed = nil // nothing failed: there was nothing
		t.receiver.Settle()
	}
	return nil
}

func (t *talk) receiveUntil(deadline time.Time) error {
	until, bye := deadline, t.bye
	if end := bye.Add(afterBye); !bye.IsZero() && end.Before(deadline) {
		until = end
	}
	err := t.receiveOne(until)
	if err != nil && until != deadline && isTimeout(err) && !time.Now().Before(until) && t.ctx.Err() == nil {
		return errBye
	}
	return err
}

func (t *talk) receiveOne(deadline time.Time) error {
	if t.sockets != nil {
		return t.receiveUDP(deadline)
	}
	t.wire.until(deadline)
	m, err := t.wire.next()
	switch {
	case err != nil:
		return err
	case m.request != nil:
		return t.reply(m.request)
	case m.packet != nil:
		return t.interleaved(m.channel, m.packet)
	}
	return nil // an answer nobody waits for any more
}
