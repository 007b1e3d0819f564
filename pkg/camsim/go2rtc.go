package camsim

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Go2rtcConfig is one simulated go2rtc. Its zero value is a server of today on an address of its own, without a
// configuration file, that has the patience of the real one.
type Go2rtcConfig struct {
	Address  netip.AddrPort // of the API, on 127.0.0.0/8 or ::1; port 0 takes a free one; the zero value draws an address of its own
	Socket   string         // a Unix socket on which the API listens too; what stands at that path is replaced
	TLS      bool           // the API speaks TLS at Address, with a certificate made at start (RootCAs)
	BasePath string         // "/rtc": everything is below it, and 404 elsewhere

	Username, Password string // HTTP basic; it is asked of this host only with LocalAuth, as since 1.9.12
	LocalAuth          bool

	RTSP   netip.AddrPort // where the streams are served by name; the zero value takes a free port of 127.0.0.1
	NoRTSP bool           // rtsp.listen is ""

	Streams    map[string]string // name and source of those it starts with
	ConfigFile string            // which PUT and DELETE rewrite, and whose streams it starts with; "" is none: "config file disabled"

	Version  string // default 1.9.14, or 1.9.3 when Old
	Old      bool   // the JSON up to 1.9.3, which masks nothing
	Unmasked bool   // no redaction, as before 1.9.11
	NoFFmpeg bool   // ffmpeg is not installed: no picture of H264 or H265, and no test picture

	// The real one's times, and what they are here when zero.
	Patience  time.Duration // for a connect, an answer, and the next packet of a stream: 5 s. What it waits before it dials again follows: a fifth, one, two, twelve of these
	Leak      time.Duration // until the garbage collector closes what a failed DESCRIBE left open: 3 min
	Transcode time.Duration // what making a JPEG of a key frame takes: 0; the real one needs 120 to 250 ms
	Storm     time.Duration // from one dial to the next of a camera that closes after PLAY: 10 ms; the real one does 900 a second
	Hold      time.Duration // how long each call is kept during which another one may be deadly: 5 ms, so that a client that overlaps calls is found out
}

// Go2rtc is a running simulated go2rtc. Its methods may be called from several goroutines.
//
// It dials the cameras of its streams for real, over RTSP, and has the faults of the real one: it dies when calls overlap
// that must not, links streams that have a camera's path for a name, answers 200 with nothing when a camera fails, keeps
// consumers whose clients have gone, leaks the sockets of failed log-ins, forgets streams without closing them, and
// has no picture of an H265 camera that sends its parameter sets in an aggregation packet, as those here do unless
// they are SetsInSDP.
// Its pictures say which camera they are from: SightOf.
type Go2rtc struct {
	config Go2rtcConfig
	secure *tls.Config // nil without TLS
	roots  *x509.CertPool
	calls  callTally

	mu      sync.Mutex
	life    *life // nil while it is dead
	trouble trouble
	closed  bool
	wg      sync.WaitGroup // restarts that are under way
}

// StartGo2rtc brings a go2rtc to life. It listens when StartGo2rtc returns.
func StartGo2rtc(config Go2rtcConfig) (*Go2rtc, error) {
	config, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("camsim: go2rtc: %w", err)
	}
	g := &Go2rtc{config: config}
	g.calls.cameras = map[netip.AddrPort]Go2rtcDials{}
	if config.TLS {
		if g.secure, g.roots, err = certify(config.Address.Addr()); err != nil {
			return nil, fmt.Errorf("camsim: go2rtc: %w", err)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.begin(); err != nil {
		return nil, fmt.Errorf("camsim: go2rtc at %s: %w", config.Address, err)
	}
	return g, nil
}

func (c Go2rtcConfig) complete() (Go2rtcConfig, error) {
	if !c.Address.Addr().IsValid() {
		c.Address = netip.AddrPortFrom(DrawSubnet().Addr().Next(), c.Address.Port())
	}
	if !c.RTSP.Addr().IsValid() {
		// Where go2rtc's own ffmpeg hands over what it makes.
		c.RTSP = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), c.RTSP.Port())
	}
	c.Version = cmp.Or(c.Version, map[bool]string{false: "1.9.14", true: "1.9.3"}[c.Old])
	c.Patience = cmp.Or(c.Patience, 5*time.Second)
	c.Leak = cmp.Or(c.Leak, 3*time.Minute)
	c.Storm = cmp.Or(c.Storm, 10*time.Millisecond)
	c.Hold = cmp.Or(c.Hold, 5*time.Millisecond)
	switch {
	case !c.Address.Addr().IsLoopback() || !c.RTSP.Addr().IsLoopback():
		return c, errors.New("a simulated go2rtc stays on loopback")
	case c.BasePath != "" && (!strings.HasPrefix(c.BasePath, "/") || strings.HasSuffix(c.BasePath, "/")):
		return c, fmt.Errorf("base path %q does not begin with a slash, or ends with one", c.BasePath)
	case c.Patience < 0 || c.Leak < 0 || c.Transcode < 0 || c.Storm < 0 || c.Hold < 0:
		return c, errors.New("a negative time")
	}
	return c, nil
}

// Close ends the server for good: every connection is cut, its ports are free, no goroutine is left when it returns.
func (g *Go2rtc) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.Kill()
	g.wg.Wait()
}

// Kill ends the server as kill -9 does: no answer is finished and no camera is told. Connects are refused from then on.
func (g *Go2rtc) Kill() {
	g.mu.Lock()
	ended := g.life
	g.life = nil
	g.mu.Unlock()
	if ended != nil {
		ended.end()
		ended.wg.Wait()
	}
}

// Restart kills the server, if it lives, and starts it anew on the same addresses with what its configuration holds:
// streams that were only registered are lost, and so are the viewers.
func (g *Go2rtc) Restart() error {
	g.Kill()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.life != nil {
		return errors.New("camsim: go2rtc: closed, or started meanwhile")
	}
	g.calls.add(func(c *Go2rtcCounts) { c.Restarts++ })
	return g.begin()
}

// Alive reports whether the server lives: it was neither killed, nor has it died of calls that overlapped.
func (g *Go2rtc) Alive() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.life != nil && g.life.ctx.Err() == nil
}

// Config returns the configuration with every default filled in, and the real ports.
func (g *Go2rtc) Config() Go2rtcConfig { return g.config }

// URL returns that of the API, with its base path.
func (g *Go2rtc) URL() string {
	scheme := "http"
	if g.config.TLS {
		scheme = "https"
	}
	return scheme + "://" + g.config.Address.String() + g.config.BasePath
}

// StreamURL returns the rtsp:// URL at which a stream is served.
func (g *Go2rtc) StreamURL(name string) string {
	return "rtsp://" + g.config.RTSP.String() + "/" + name
}

// RootCAs returns what a client must trust to believe this server, nil without TLS.
func (g *Go2rtc) RootCAs() *x509.CertPool { return g.roots }

// wait sleeps for d, or until the life ends; it says whether the server still lives.
func (l *life) wait(d time.Duration) bool {
	if d <= 0 {
		return l.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}
