package camsim

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// life is what ends with the process of a go2rtc: its streams, its sockets, its numbers.
type life struct {
	g      *Go2rtc
	config Go2rtcConfig
	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup
	ids    atomic.Uint32 // of the last connection or track
	once   sync.Once     // it dies
	gate   sync.Mutex    // between what comes in and the end

	server    *http.Server
	listeners []net.Listener

	mu      sync.Mutex // of the two maps; the real one's is forgotten by some, which is why it dies
	streams map[string]*relay
	preload map[string]*preloaded

	relays   []*relay // with and without a name
	meetings meetings

	writing sync.Mutex // of the configuration file, as since 1.9.10
	sockets sockets
	films   films
}

// begin starts a life; g.mu is held. The addresses are settled by the first.
func (g *Go2rtc) begin() error {
	l := &life{g: g, streams: map[string]*relay{}, preload: map[string]*preloaded{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.sockets.life = l
	api, err := l.listen(&g.config.Address)
	if err != nil {
		return err
	}
	rtsp := net.Listener(nil)
	if !g.config.NoRTSP {
		if rtsp, err = l.listen(&g.config.RTSP); err != nil {
			l.end()
			return err
		}
	}
	l.config = g.config
	if err := l.configured(); err != nil {
		l.end()
		return err
	}
	l.server = &http.Server{
		Handler: l.handler(), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // clients that hang up are no news here
	}
	if g.secure != nil {
		l.server.TLSConfig = g.secure.Clone()
		l.server.TLSConfig.NextProtos = []string{"http/1.1"}
		l.wg.Go(func() { _ = l.server.ServeTLS(api, "", "") })
	} else {
		l.wg.Go(func() { _ = l.server.Serve(api) })
	}
	if g.config.Socket != "" {
		_ = os.Remove(g.config.Socket) // as the real one does
		socket, err := new(net.ListenConfig).Listen(l.ctx, "unix", g.config.Socket)
		if err != nil {
			l.end()
			l.wg.Wait()
			return err
		}
		l.listeners = append(l.listeners, socket)
		l.wg.Go(func() { _ = l.server.Serve(socket) })
	}
	if rtsp != nil {
		l.wg.Go(func() { l.serveRTSP(rtsp) })
	}
	g.life = l
	return nil
}

// listen opens an address and settles it. After a restart the old port may be a moment in the kernel's hands.
func (l *life) listen(at *netip.AddrPort) (net.Listener, error) {
	var listener net.Listener
	var err error
	for range 50 {
		listener, err = new(net.ListenConfig).Listen(l.ctx, "tcp", at.String())
		if err == nil || at.Port() == 0 || !l.wait(20*time.Millisecond) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	l.listeners = append(l.listeners, listener)
	if at.Port() == 0 {
		*at, err = netip.ParseAddrPort(listener.Addr().String())
	}
	return listener, err
}

// end ends the life: who waits for it to be over waits for its group too, which the caller may belong to.
func (l *life) end() {
	l.gate.Lock()
	l.stop()
	l.gate.Unlock()
	for _, listener := range l.listeners {
		_ = listener.Close()
	}
	if l.server != nil {
		_ = l.server.Close()
	}
	l.sockets.closeAll()
}

// enter joins the life's group, if it still lives.
func (l *life) enter() bool {
	l.gate.Lock()
	defer l.gate.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	l.wg.Add(1)
	return true
}

// die is the end of a server two of whose calls met in its map of streams.
func (l *life) die() {
	l.once.Do(func() {
		if l.ctx.Err() == nil { // else it was killed meanwhile
			l.g.calls.add(func(c *Go2rtcCounts) { c.Deaths++ })
		}
	})
	l.end()
}

// sockets are the connections a life holds, those to cameras among them.
type sockets struct {
	life *life
	mu   sync.Mutex
	open map[*socket]struct{}
}

// socket is one connection; of those to cameras it is counted where they lead.
type socket struct {
	net.Conn
	set    *sockets
	camera netip.AddrPort // the zero AddrPort for that of a client
	once   sync.Once
}

// dial opens a connection to a camera. Its error is what the real one shows.
func (s *sockets) dial(ctx context.Context, address string, secure *tls.Config) (*socket, error) {
	dialer := net.Dialer{Timeout: s.life.config.Patience}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	remote, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	camera := netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	if secure != nil {
		conn = tls.Client(conn, secure)
	}
	s.life.g.calls.dialled(camera, func(d *Go2rtcDials) {
		d.Open++
		d.Ever++
		d.Most = max(d.Most, d.Open)
	})
	return s.take(&socket{Conn: conn, set: s, camera: camera}), nil
}

// hold takes the connection of a client into the set.
func (s *sockets) hold(conn net.Conn) *socket { return s.take(&socket{Conn: conn, set: s}) }

func (s *sockets) take(held *socket) *socket {
	s.mu.Lock()
	if s.open == nil {
		s.open = map[*socket]struct{}{}
	}
	s.open[held] = struct{}{}
	s.mu.Unlock()
	if s.life.ctx.Err() != nil {
		_ = held.Close() // closeAll may have passed before we noted it
	}
	return held
}

func (s *sockets) closeAll() {
	s.mu.Lock()
	open := make([]*socket, 0, len(s.open))
	for held := range s.open {
		open = append(open, held)
	}
	s.mu.Unlock()
	for _, held := range open {
		_ = held.Close()
	}
}

// Close closes the connection and counts that once.
func (s *socket) Close() error {
	err := s.Conn.Close()
	s.once.Do(func() {
		s.set.mu.Lock()
		delete(s.set.open, s)
		s.set.mu.Unlock()
		if s.camera.IsValid() {
			s.set.life.g.calls.dialled(s.camera, func(d *Go2rtcDials) { d.Open-- })
		}
	})
	return err
}

// leak leaves the connection open to nobody, until the garbage collector comes.
func (s *socket) leak() {
	l := s.set.life
	l.g.calls.dialled(s.camera, func(d *Go2rtcDials) { d.Leaked++ })
	l.wg.Go(func() {
		l.wait(l.config.Leak)
		_ = s.Close()
		l.g.calls.dialled(s.camera, func(d *Go2rtcDials) { d.Leaked-- })
	})
}

var errDead = errors.New("go2rtc has ended")
