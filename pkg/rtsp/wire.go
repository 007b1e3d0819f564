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

	"github.com/bluenviron/gortsplib/v5/pkg/base"
)

var (
	errFlood   = errors.New("byte limit exceeded")
	errNotRTSP = errors.New("not RTSP")
)

// answerStart is how every answer begins that the parser of base takes.
const answerStart = "RTSP/1.0 "

// readBuffer must hold one header line of base.Response, 2 KiB; the rest saves system calls.
const readBuffer = 32 << 10

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
	failed error  // of the first read that failed: the parsers of base hide it behind texts of their own

	mu          sync.Mutex
	interrupted bool
	deaf        bool // to interrupts: the goodbye has its own bound
}

func newWire(conn net.Conn, limit int64) *wire {
	w := &wire{meter: &meter{Conn: conn, left: limit}}
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
	if w.interrupted && !w.deaf {
		deadline = time.Unix(1, 0)
	}
	_ = w.conn.SetDeadline(deadline) // fails only on a closed connection, and then so does what comes next
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
	answer  *base.Response
	request *base.Request
	channel byte
	packet  []byte // of the channel; valid until the next read
}

// next reads one message.
func (w *wire) next() (message, error) {
	m, err := w.parse()
	if err != nil && w.failed != nil {
		err = w.failed
	}
	return m, err
}

func (w *wire) parse() (message, error) {
	for {
		first, err := w.br.Peek(1)
		if err != nil {
			return message{}, err
		}
		switch c := first[0]; {
		case c == base.InterleavedFrameMagicByte:
			return w.interleaved()
		case c == '\r' || c == '\n': // some cameras end a body with an empty line that its length does not count
			if _, err := w.br.Discard(1); err != nil {
				return message{}, err
			}
		case c >= 'A' && c <= 'Z':
			return w.text()
		default:
			return message{}, errNotRTSP
		}
	}
}

// text reads an answer, or a request of the camera's. The parsers of base allow 255 headers of 2 KiB and 128 KiB of body.
func (w *wire) text() (message, error) {
	start, err := w.br.Peek(len(answerStart))
	if err != nil {
		return message{}, err
	}
	if string(start) == answerStart {
		answer := &base.Response{}
		return message{answer: answer}, answer.Unmarshal(w.br)
	}
	request := &base.Request{}
	return message{request: request}, request.Unmarshal(w.br)
}

// interleaved reads a binary frame (RFC 2326 section 10.12): '$', channel, length.
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
	_, err := io.ReadFull(w.br, w.packet)
	return message{channel: head[1], packet: w.packet}, err
}

// nextAnswer reads the next answer and discards everything else, garbage included. It fails only when reading does.
func (w *wire) nextAnswer() (*base.Response, error) {
	for {
		if err := w.skipToAnswer(); err != nil {
			return nil, err
		}
		m, err := w.next()
		if err == nil && m.answer != nil {
			return m.answer, nil
		}
		if w.failed != nil {
			return nil, w.failed
		}
		_, _ = w.br.Discard(1) // so that the next search begins behind it
	}
}

// skipToAnswer discards everything up to the beginning of an answer. A goodbye may begin in the middle of a frame or of
// garbage, where no framing can be trusted.
func (w *wire) skipToAnswer() error {
	for {
		if _, err := w.br.Peek(len(answerStart)); err != nil {
			return err
		}
		buffered, err := w.br.Peek(w.br.Buffered())
		if err != nil {
			return err
		}
		at := bytes.Index(buffered, []byte(answerStart))
		if at >= 0 {
			_, err = w.br.Discard(at)
			return err
		}
		if _, err := w.br.Discard(len(buffered) - len(answerStart) + 1); err != nil {
			return err
		}
	}
}

// send writes a text message whole.
func (w *wire) send(raw []byte) error {
	_, err := w.conn.Write(raw)
	return err
}

// hungUp reports whether the camera closed the connection in order (FIN).
func (w *wire) hungUp() bool { return errors.Is(w.failed, io.EOF) }

// broken reports whether nothing can be said on the connection any more. A passed deadline or limit does not break it.
func (w *wire) broken() bool {
	var timeout net.Error
	return w.failed != nil && !errors.Is(w.failed, errFlood) && (!errors.As(w.failed, &timeout) || !timeout.Timeout())
}
