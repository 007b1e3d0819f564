package rtsp

import (
	"errors"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

var errBye = errors.New("RTCP BYE")

// interleaved takes a frame of the connection. Channels that were not announced are none of ours.
func (t *talk) interleaved(channel byte, raw []byte) error {
	switch {
	case channel == t.channel:
		return t.receiver.Take(raw)
	case channel == t.channel+1 && saysBye(raw):
		return errBye
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
		if err := t.receiveOne(deadline); err != nil {
			return err
		}
	}
	return nil
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
