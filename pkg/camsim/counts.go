package camsim

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"golang.org/x/sys/unix"
)

// Counts is what a camera has seen. A connection counts from its accept until the camera has noticed its end; of those open
// at once one does not count any more whose client has closed it, whether or not the camera, on a busy host, has noticed.
type Counts struct {
	Connections      int `json:"connections"`       // open now
	ConnectionsMost  int `json:"connections_most"`  // open at once, at most
	ConnectionsTotal int `json:"connections_total"` // accepted ever

	Sessions      int `json:"sessions"`       // between a granted SETUP and the end of the session, now
	SessionsMost  int `json:"sessions_most"`  // at once, at most
	SessionsTotal int `json:"sessions_total"` // ever
	Slots         int `json:"slots"`          // taken now: sessions, and those that linger after an abrupt end
	Turned        int `json:"turned_away"`    // sessions refused because no slot was free

	Logins       int `json:"logins"`        // connections on which credentials were accepted
	LoginsFailed int `json:"logins_failed"` // requests whose credentials were refused
	Challenges   int `json:"challenges"`    // requests without credentials answered by 401

	Requests  int `json:"requests"` // of any method
	Options   int `json:"options"`
	Describes int `json:"describes"`
	Setups    int `json:"setups"`
	Plays     int `json:"plays"`
	Teardowns int `json:"teardowns"`

	KeyFrameRequests int `json:"key_frame_requests"` // by RTCP, about the source that it has: PLI and FIR

	Followed int `json:"followed"` // connections at the address a redirecting camera named
}

// tally is a Counts that many conversations write to.
type tally struct {
	mu     sync.Mutex
	counts Counts
	open   map[*countedConn]struct{}
}

func (t *tally) read() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

func (t *tally) add(change func(*Counts)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.counts)
}

func (t *tally) connected(conn *countedConn) {
	t.add(func(c *Counts) {
		if t.open == nil {
			t.open = map[*countedConn]struct{}{}
		}
		t.open[conn] = struct{}{}
		c.Connections++
		c.ConnectionsTotal++
		atOnce := 0
		for each := range t.open {
			if each == conn || each.established() {
				atOnce++
			}
		}
		c.ConnectionsMost = max(c.ConnectionsMost, atOnce)
	})
}

func (t *tally) disconnected(conn *countedConn) {
	t.add(func(c *Counts) {
		delete(t.open, conn)
		c.Connections--
	})
}

func (t *tally) sessionBegan() {
	t.add(func(c *Counts) {
		c.Sessions++
		c.SessionsTotal++
		c.SessionsMost = max(c.SessionsMost, c.Sessions)
	})
}

func (t *tally) sessionEnded() { t.add(func(c *Counts) { c.Sessions-- }) }

func (t *tally) requested(method base.Method) {
	t.add(func(c *Counts) {
		c.Requests++
		switch method {
		case base.Options:
			c.Options++
		case base.Describe:
			c.Describes++
		case base.Setup:
			c.Setups++
		case base.Play:
			c.Plays++
		case base.Teardown:
			c.Teardowns++
		default: // counted among the requests
		}
	})
}

// countingListener counts the connections of a listener, from accept to close.
type countingListener struct {
	net.Listener
	camera *Camera
}

// Accept waits for a connection and counts it.
func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.camera.secure != nil {
		conn = tls.Server(conn, l.camera.secure) // the handshake comes with the first byte read or written
	}
	counted := &countedConn{Conn: conn, camera: l.camera}
	l.camera.tally.connected(counted)
	return counted, nil
}

type countedConn struct {
	net.Conn
	once   sync.Once
	camera *Camera
}

// Write writes, and pretends to when the client has gone: the end of a connection is noticed by reading, so that what
// the client said before it went is heard first. ffmpeg sends TEARDOWN and closes without waiting for an answer;
// a failed write of media would end the conversation before that TEARDOWN was read.
func (c *countedConn) Write(raw []byte) (int, error) {
	n, err := c.Conn.Write(raw)
	if err == nil {
		c.camera.sent(raw)
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return len(raw), nil
	}
	return n, err
}

// Close closes the connection and counts that once.
func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.camera.tally.disconnected(c) })
	return err
}

// raw returns the connection below TLS.
func (c *countedConn) raw() net.Conn {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c.Conn
}

// established asks the kernel whether neither end has been closed (man 7 tcp, TCP_INFO).
func (c *countedConn) established() bool {
	tcp, ok := c.raw().(*net.TCPConn)
	if !ok {
		return true
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	const established = 1 // TCP_ESTABLISHED of the kernel's include/net/tcp_states.h
	var info *unix.TCPInfo
	asking := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return asking == nil && err == nil && info.State == established
}

// abort closes the connection with RST instead of FIN.
func (c *countedConn) abort() {
	if tcp, ok := c.raw().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// Report is one camera with its counts, as CountsHandler shows it.
type Report struct {
	Camera  string `json:"camera"`
	Address string `json:"address"`
	URL     string `json:"url"`
	Temper  Temper `json:"temper"`
	Counts  Counts `json:"counts"`
}

// Report returns the camera's present counts with its name.
func (c *Camera) Report() Report {
	return Report{Camera: c.Name(), Address: c.Address().String(), URL: c.URL(), Temper: c.Temper(), Counts: c.Counts()}
}

// CountsHandler serves GET /counts: a JSON list of Report, one per camera in the given order.
func CountsHandler(cameras []*Camera) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		reports := make([]Report, 0, len(cameras))
		for _, camera := range cameras {
			reports = append(reports, camera.Report())
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reports)
	})
	return mux
}
