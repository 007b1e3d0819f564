package rtsp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var (
	errFlood   = errors.New("byte limit exceeded")
	errNotRTSP = errors.New("not RTSP")
)

// ErrHTTP is wrapped by an error of class protocol where what answers is an HTTP server: no client of RTSP will fare better there.
var ErrHTTP = errors.New("HTTP, not RTSP")

// readBuffer saves system calls, and is what one look ahead can see.
const readBuffer = 32 << 10

// mostJunk is how much that is no message is passed over at a time in search of the next one: a frame that lost its head, say,
// which has at most 64 KiB. Before the first answer it is less: what speaks there may be no RTSP server at all.
const (
	mostJunk        = 128 << 10
	mostJunkAtFirst = 64
)

// meter is a connection that gives at most so many bytes.
type meter struct {
	net.Conn
	left int64
}

// Read reads from the connection, or fails with errFlood when the limit has been reached.
func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errFlood
	}
	p = p[:min(int64(len(p)), m.left)]
	n, err := m.Conn.Read(p)
	m.left -= int64(n)
	return n, err
}

// wire is the connection, read message by message. One goroutine uses it; only interrupt may come from another.
type wire struct {
	conn   net.Conn // what is spoken on: TLS, or the meter itself
	meter  *meter
	br     *bufio.Reader
	packet []byte // of the last interleaved frame; reused
	failed error  // of the first read that failed
	bareCR bool   // the last line ended with CR alone

	channels [2]byte   // of RTP and RTCP
	lost     bool      // what was read last was no message, so only what is certainly one is taken
	junk     int       // how much of that, since the last message
	answered bool      // an answer has come
	http     bool      // what came before any began like an answer of HTTP's
	types    [128]bool // payload types that came on the channel of RTP
	typed    bool      // any
	deadline time.Time // that was asked for

	mu          sync.Mutex
	interrupted bool
	deaf        bool // to interrupts: the goodbye has its own bound
}

func newWire(conn net.Conn, limit int64) *wire {
	w := &wire{meter: &meter{Conn: conn, left: limit}, channels: [2]byte{0, 1}}
	w.speak(w.meter)
	return w
}

// speak makes conn, which must be w.meter or stand on it, what the wire reads and writes.
func (w *wire) speak(conn net.Conn) {
	w.conn = conn
	w.br = bufio.NewReaderSize(remember{w}, readBuffer)
}

// remember reads from the wire's connection and keeps the first error.
type remember struct{ w *wire }

func (r remember) Read(p []byte) (int, error) {
	n, err := r.w.conn.Read(p)
	if err != nil && r.w.failed == nil {
		r.w.failed = err
	}
	return n, err
}

// until sets the deadline of everything that follows. After an interrupt it has passed already.
func (w *wire) until(deadline time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = deadline
	if w.interrupted && !w.deaf {
		deadline = time.Unix(1, 0)
	}
	_ = w.conn.SetDeadline(deadline) // fails only on a closed connection, and then so does what comes next
}

// passed reports whether the deadline has passed, as it has after an interrupt. Bytes that have come already can be read all the same.
func (w *wire) passed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.interrupted && !w.deaf || !w.deadline.IsZero() && !time.Now().Before(w.deadline)
}

// interrupt ends whatever is being waited for, now and later.
func (w *wire) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = true
	if !w.deaf {
		_ = w.meter.SetDeadline(time.Unix(1, 0))
	}
}

// farewell makes the wire deaf to interrupts, gives it so many bytes more, and sets its last deadline.
func (w *wire) farewell(deadline time.Time, bytes int64) {
	w.mu.Lock()
	w.deaf = true
	w.mu.Unlock()
	w.failed = nil
	w.meter.left = bytes
	w.until(deadline)
}

// message is one of the three things that come over the wire.
type message struct {
	answer  *answer
	request *request
	channel byte
	packet  []byte // of the channel; valid until the next read
}

// next reads one message. What is none is passed over, within a bound.
func (w *wire) next() (message, error) {
	for {
		m, ok, err := w.read()
		if err != nil {
			if w.failed != nil {
				err = w.failed
			}
			return message{}, w.doubt(err)
		}
		if ok {
			w.lost, w.junk = false, 0
			w.answered = w.answered || m.answer != nil
			return m, nil
		}
		if err := w.pass(); err != nil {
			return message{}, w.doubt(err)
		}
	}
}

// doubt says of an ended wait that what came instead was not RTSP, where something came and nothing else did.
func (w *wire) doubt(err error) error {
	if w.junk > 0 && (isTimeout(err) && w.lost || !w.answered && errors.Is(err, io.EOF)) {
		err = errNotRTSP
	}
	if w.http && !w.answered && errors.Is(err, errNotRTSP) {
		return ErrHTTP
	}
	return err
}

// isTimeout reports whether a deadline has passed.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// read reads what comes next, if it is a message.
func (w *wire) read() (m message, ok bool, err error) {
	for n := 1; ; n++ {
		if _, err := w.br.Peek(n); err != nil {
			return message{}, false, err
		}
		ahead, _ := w.br.Peek(w.br.Buffered())
		yes, maybe := w.startsMessage(ahead)
		switch {
		case yes && ahead[0] == '$':
			m, err = w.interleaved()
			return m, true, err
		case yes:
			if yes, _ := startsAnswer(ahead); yes {
				m.answer, err = w.answer()
			} else {
				m.request, err = w.request()
			}
			return m, true, err
		case !maybe:
			return message{}, false, nil
		}
		n = max(n, len(ahead))
	}
}

// startsMessage reports whether data begins like a message; maybe, when it is too short to tell.
func (w *wire) startsMessage(data []byte) (yes, maybe bool) {
	if data[0] == '$' {
		return w.startsFrame(data)
	}
	if yes, maybe = startsAnswer(data); yes || maybe || w.lost {
		return yes, maybe
	}
	return startsRequest(data)
}

// startsFrame reports whether data begins like a binary frame (RFC 2326 section 10.12): '$', channel, length, and then RTP or RTCP,
// both of version 2. Where the framing was lost, it must be on a channel of ours, and of a kind that came there before.
func (w *wire) startsFrame(data []byte) (yes, maybe bool) {
	const head, least = 4, 4 // the least RTCP packet
	if len(data) < head+2 {
		return false, !w.lost || len(data) < 2 || w.ours(data[1])
	}
	size := int(binary.BigEndian.Uint16(data[2:]))
	switch {
	case size == 0:
		return !w.lost, false
	case data[head]>>6 != 2, size < least:
		return false, false
	case !w.lost:
		return true, false
	}
	kind := data[head+1]
	return w.ours(data[1]) && (isRTCP(kind) || !w.typed || w.types[kind&0x7f]), false
}

func (w *wire) ours(channel byte) bool { return channel == w.channels[0] || channel == w.channels[1] }

// isRTCP reports whether the second byte of a packet is a packet type of RTCP (RFC 5761 section 4).
func isRTCP(kind byte) bool { return kind >= 192 && kind <= 223 }

// pass passes over what is no message, up to the next thing that may be one. Blanks and zeros are common between messages: a
// body that is longer than its length says, a string with its end.
func (w *wire) pass() error {
	ahead, err := w.br.Peek(w.br.Buffered())
	if err != nil {
		return err
	}
	w.http = w.http || !w.lost && !w.answered && bytes.HasPrefix(ahead, []byte("HTTP/"))
	if w.lost = w.lost || !isFiller(ahead[0]); w.lost && !w.answered && w.foreign(ahead) {
		return errNotRTSP
	}
	at := 1
	for ; at < len(ahead); at++ {
		if yes, maybe := w.startsMessage(ahead[at:]); yes || maybe {
			break
		}
		w.lost = w.lost || !isFiller(ahead[at])
	}
	if w.junk += at; w.junk > mostJunk {
		return errNotRTSP
	}
	_, err = w.br.Discard(at)
	return err
}

func isFiller(c byte) bool { return c == 0 || c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// foreign reports whether what came before any answer is another protocol's: too much, or words, and no answer behind them.
func (w *wire) foreign(ahead []byte) bool {
	for i := range ahead {
		if yes, maybe := startsAnswer(ahead[i:]); yes || maybe {
			return false
		}
	}
	words := 0
	for words < len(ahead) && ahead[words] > ' ' && ahead[words] <= '~' {
		words++
	}
	return words >= 3 || w.junk+len(ahead) > mostJunkAtFirst
}

// interleaved reads a binary frame; its start has been seen.
func (w *wire) interleaved() (message, error) {
	var head [4]byte
	if _, err := io.ReadFull(w.br, head[:]); err != nil {
		return message{}, err
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if cap(w.packet) < size {
		w.packet = make([]byte, size, max(size, 2048))
	}
	w.packet = w.packet[:size]
	if _, err := io.ReadFull(w.br, w.packet); err != nil {
		return message{}, err
	}
	if head[1] == w.channels[0] && size > 1 && !isRTCP(w.packet[1]) {
		w.typed, w.types[w.packet[1]&0x7f] = true, true
	}
	return message{channel: head[1], packet: w.packet}, nil
}

// nextAnswer reads the next answer and discards everything else, garbage included. It fails only when reading does.
func (w *wire) nextAnswer() (*answer, error) {
	for {
		if err := w.skipToAnswer(); err != nil {
			return nil, err
		}
		if a, err := w.answer(); err == nil {
			return a, nil
		}
		if w.failed != nil {
			return nil, w.failed
		}
	}
}

// skipToAnswer discards everything up to the beginning of an answer. A goodbye may begin in the middle of a frame or of
// garbage, where no framing can be trusted.
func (w *wire) skipToAnswer() error {
	for {
		ahead, err := w.br.Peek(max(1, w.br.Buffered()))
		if err != nil {
			return err
		}
		at, found, partial := 0, false, false
		for ; at < len(ahead) && !found && !partial; at++ {
			found, partial = startsAnswer(ahead[at:])
		}
		if found || partial {
			at--
		}
		if _, err = w.br.Discard(at); err != nil || found {
			return err
		}
		if partial {
			if _, err := w.br.Peek(len(ahead) - at + 1); err != nil {
				return err
			}
		}
	}
}

// send writes a text message whole.
func (w *wire) send(raw []byte) error {
	_, err := w.conn.Write(raw)
	return err
}

// hangUp says that we have nothing more to say (FIN), and goes on listening. It reports whether it could.
func (w *wire) hangUp() bool {
	conn, ok := w.meter.Conn.(*net.TCPConn)
	return ok && conn.CloseWrite() == nil
}

// acknowledged reports whether the kernel of the other side has taken all that we sent (SIOCOUTQ of tcp(7) counts what it has not).
func (w *wire) acknowledged() bool {
	conn, ok := w.meter.Conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	left := 1
	err = raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return err == nil && left == 0
}

// hungUp reports whether the camera closed the connection in order (FIN).
func (w *wire) hungUp() bool { return errors.Is(w.failed, io.EOF) }

// broken reports whether nothing can be said on the connection any more. A passed deadline or limit does not break it.
func (w *wire) broken() bool {
	return w.failed != nil && !errors.Is(w.failed, errFlood) && !isTimeout(w.failed)
}
