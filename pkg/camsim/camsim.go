// Package camsim simulates a subnet of network cameras on loopback, each a real RTSP server with a temper of its own,
// and counts what clients do to them. It shares no code with the rest of camwarden: it is the independent witness of the tests.
package camsim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Config is one simulated camera. Only Temper is required.
type Config struct {
	Name    string         // for tables and counts; the address when empty
	Address netip.AddrPort // on 127.0.0.0/8 or ::1; port 0 takes a free one; the zero value draws an address of its own (DrawSubnet)
	Temper  Temper
	Path    string // of the stream, with leading slash; default /stream1
	Also    string // further paths of it, separated by blanks, as a recorder has one for each channel; of the tempers that give a picture

	Username, Password string // set: every DESCRIBE and SETUP must log in (required for Digest and Basic)

	Delay    time.Duration // what it delays is said by the temper: an answer, the first key frame, the time between two RTCP packets
	GOP      time.Duration // from key frame to key frame; default 1 s, LongGOP 30 s; at most 60 s. Only H264 and H265 know another than their own
	Slots    int           // sessions at once; 0 is no limit, except for the tempers with slots: 2
	Full     Full          // what the session after the last slot gets; default RefuseSetup
	Linger   time.Duration // how long a session that ended without TEARDOWN keeps its slot; LingeringSlots: default 10 s
	Requests Requests      // how it takes a request for a key frame; default IgnoresRequests. The tempers that give a picture, over TCP
	UDP      bool          // the tempers that give a picture also send it over UDP, from a free pair of ports
	Picture  int           // 0 to 3: which of four pictures the camera sees (red, lime, blue, yellow bar on top)

	Codec        Codec // default H264
	Clip         *Clip // to show instead of the embedded film of the codec: Codec, GOP and Picture are then the clip's
	Sets         Sets  // where the parameter sets are; default SetsEverywhere
	JoinAnywhere bool  // the tempers that give a picture have a stream that runs by the camera's clock, and clients join it where it is
	TLS          bool  // rtsps, with a certificate made at start (RootCAs)

	Web     Habit  // how it gives its own picture over HTTP (WebURL); default: not at all
	WebPort uint16 // default DefaultWebPort
	Still   string // the bytes of that picture, a JPEG; default a small one. Each is sent with a remark that makes it another, but for WebFrozen
}

// Full is how a camera with no free slot says so.
type Full string

// The two ways seen in the field.
const (
	RefuseSetup Full = "453"   // "453 Not Enough Bandwidth" at SETUP
	CloseAtPlay Full = "close" // SETUP is granted, PLAY is answered by FIN (Tapo)
)

// Requests is how a camera takes RTCP that asks for a key frame (RFC 4585, RFC 5104).
type Requests string

// The ways cameras take it.
const (
	IgnoresRequests  Requests = "ignore"
	ObeysRequests    Requests = "obey"    // the next picture is a key frame
	DislikesRequests Requests = "dislike" // it closes the connection
)

// Camera is one running simulated camera. Its methods may be called from several goroutines.
type Camera struct {
	config Config
	tally  tally
	slots  slots
	film   *film

	secure *tls.Config // nil without TLS
	roots  *x509.CertPool
	runs   *timetable // nil where each client has its own beginning

	lastKey atomic.Int64 // when the last key frame had been sent, in Unix nanoseconds

	ctx  context.Context // ends at Close: everything that waits inside a conversation waits for it too
	stop context.CancelFunc
	wg   sync.WaitGroup

	shutdown  func()  // ends what holds the address
	web       *web    // its HTTP side, if it has one
	elsewhere *Camera // where a redirecting camera sends its clients
	close     sync.Once
}

// Start brings a camera to life. It listens (or refuses to) when Start returns.
func Start(config Config) (*Camera, error) {
	row, known := behaviourOf(config.Temper)
	if !known {
		return nil, fmt.Errorf("camsim: unknown temper %q", config.Temper)
	}
	film, err := config.film()
	if err == nil {
		config, err = row.complete(config, film)
	}
	if err != nil {
		return nil, fmt.Errorf("camsim: camera %s: %w", config.Name, err)
	}
	c := &Camera{config: config, film: film}
	if config.TLS {
		if c.secure, c.roots, err = certify(config.Address.Addr()); err != nil {
			return nil, fmt.Errorf("camsim: camera %s: %w", config.Name, err)
		}
	}
	c.slots = slots{limit: config.Slots, linger: config.Linger}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.shutdown, err = row.open(c)
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("camsim: camera %s (%s) at %s: %w", config.Name, config.Temper, config.Address, err)
	}
	if err := c.openWeb(); err != nil {
		c.Close()
		return nil, fmt.Errorf("camsim: camera %s (%s over HTTP) at %s: %w", config.Name, config.Web, config.Address.Addr(), err)
	}
	return c, nil
}

// settle notes the real address; the openers of the tempers call it before the first client is let in.
func (c *Camera) settle(at netip.AddrPort) {
	c.config.Address = at
	if c.config.Name == "" {
		c.config.Name = at.String()
	}
}

// Close ends the camera: every connection is cut, the port is free, no goroutine is left when it returns.
// Further calls do nothing.
func (c *Camera) Close() {
	c.close.Do(func() {
		c.stop()
		c.shutdown()
		c.web.close()
		c.wg.Wait()
	})
}

// Name returns the configured name, or the address.
func (c *Camera) Name() string { return c.config.Name }

// Address returns where the camera is (or would be), with the real port.
func (c *Camera) Address() netip.AddrPort { return c.config.Address }

// Temper returns what kind of camera it is.
func (c *Camera) Temper() Temper { return c.config.Temper }

// Config returns the configuration with every default filled in.
func (c *Camera) Config() Config { return c.config }

// Elsewhere returns the address a redirecting camera names; the zero AddrPort for any other temper.
func (c *Camera) Elsewhere() netip.AddrPort {
	if c.elsewhere == nil {
		return netip.AddrPort{}
	}
	return c.elsewhere.Address()
}

// URL returns the rtsp:// URL of the stream, rtsps:// with TLS, without credentials.
func (c *Camera) URL() string {
	return c.scheme() + "://" + c.config.Address.String() + c.config.Path
}

func (c *Camera) scheme() string {
	if c.config.TLS {
		return "rtsps"
	}
	return "rtsp"
}

// LoginURL returns the URL with the percent-encoded credentials of the camera in it, if it has any.
func (c *Camera) LoginURL() string {
	if c.config.Username == "" {
		return c.URL()
	}
	user := url.UserPassword(c.config.Username, c.config.Password)
	return c.scheme() + "://" + user.String() + "@" + c.config.Address.String() + c.config.Path
}

// Counts returns what has happened at this camera so far.
func (c *Camera) Counts() Counts {
	counts := c.tally.read()
	counts.Slots = c.slots.held()
	if c.elsewhere != nil {
		counts.Followed = c.elsewhere.Counts().ConnectionsTotal
	}
	return counts
}

// wait sleeps for d, or until the camera is closed; it says whether the camera is still there.
func (c *Camera) wait(d time.Duration) bool {
	if d <= 0 {
		return c.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}
