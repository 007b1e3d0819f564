// Package go2rtc speaks to one go2rtc server, one call at a time, and looks again instead of believing a status.
//
// What the server's API leaves to its clients decides how this package works (all measured with 1.9.14, and read in its
// sources back to 1.9.3):
//   - overlapping calls can end the whole server: its map of streams is read, iterated and deleted from without its lock;
//   - DELETE forgets a name and closes nothing, and it rewrites the configuration file whether the name was in it or not;
//   - a status of 200 may mean nothing was done, and 400 that all was done but the file could not be written;
//   - PATCH may link the new name to another stream, of another camera;
//   - a picture that failed is an empty 200, and one nobody waits for any more may hold the camera for ever.
package go2rtc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/redact"
)

// The bounds of a call. A picture has its own size, and the caller's time.
const (
	CallTimeout  = 3 * time.Second
	FrameTimeout = 30 * time.Second // for a picture whose caller gave no deadline

	maxAnswer = 1 << 20
	maxList   = 8 << 20
	maxFrame  = 32 << 20
)

// Options say which server to speak to, and as whom.
type Options struct {
	// URL is http:// or https:// with an optional base path, unix:///path/to.sock, or
	// http+unix://%2Fpath%2Fto.sock/base. A log-in in it counts when Username is empty.
	URL                string
	Username, Password string         // HTTP basic; go2rtc asks for it from other hosts only, unless local_auth is set
	RootCAs            *x509.CertPool // whom to trust with https; nil: the system's authorities
	CAFile             string         // the same as a PEM file, when RootCAs is nil
	Version, Run       string         // of camwarden: they name us in go2rtc's lists; see RunOf

	// Lock is held around every call but Frame, so that no two of them overlap, host-wide. It must end its wait with
	// its context. Without it calls of this Client do not overlap each other, and that is all.
	Lock func(ctx context.Context) (unlock func(), err error)
}

// Client speaks to one server. It may be used from several goroutines: all but Frame wait for each other.
type Client struct {
	base      url.URL // without user-info, its path without a trailing slash
	where     string  // for messages
	agent     string
	username  string
	password  string
	http      *http.Client
	transport *http.Transport
	secrets   *redact.Redactor

	gate      chan struct{} // holds one token while a call is under way
	lock      func(ctx context.Context) (unlock func(), err error)
	abandoned bool // guarded by gate: the server may still be busy with a call we gave up

	mu     sync.Mutex
	info   *Info
	frames map[string]int  // under way, by stream
	tested map[string]bool // streams that may show a test picture; see Flush
}

// New returns a Client; it dials nothing. Its errors are usage faults.
func New(options Options) (*Client, error) {
	c := &Client{
		agent: Agent(options.Version, options.Run), username: options.Username, password: options.Password,
		secrets: redact.New(options.Password), gate: make(chan struct{}, 1), lock: options.Lock,
		frames: map[string]int{}, tested: map[string]bool{},
	}
	socket, err := c.parse(options.URL)
	if err != nil {
		return nil, err
	}
	roots, err := c.roots(options)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: CallTimeout}
	var onlyHTTP1 http.Protocols
	onlyHTTP1.SetHTTP1(true)
	c.transport = &http.Transport{
		// No proxy, also none of the environment: the server is on this host or near it.
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if socket != "" {
				return dialer.DialContext(ctx, "unix", socket)
			}
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    CallTimeout,
		DisableKeepAlives:      true, // a connection for each need, none left over
		DisableCompression:     true, // so that a bounded answer is bounded in memory as well
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              &onlyHTTP1,
	}
	c.http = &http.Client{Transport: c.transport, CheckRedirect: c.redirected}
	return c, nil
}

// Close ends what is idle. A call under way goes on; none should be.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Where is the server's URL, fit to be shown.
func (c *Client) Where() string { return c.where }

// UserAgent is what the server knows us by.
func (c *Client) UserAgent() string { return c.agent }

// parse reads the URL of the server, and returns the path of its socket when it listens on one.
func (c *Client) parse(raw string) (socket string, err error) {
	c.where = redact.String(raw)
	if escaped, ok := strings.CutPrefix(raw, "http+unix://"); ok {
		escaped, path, _ := strings.Cut(escaped, "/")
		socket, err = url.PathUnescape(escaped)
		c.base = url.URL{Scheme: "http", Host: "localhost", Path: strings.TrimRight("/"+path, "/")}
		if err != nil || !strings.HasPrefix(socket, "/") || strings.ContainsAny(path, "?#%") {
			return "", fault.New(fault.Usage, "", "the URL of go2rtc, %s, names no socket", c.where).
				WithHint("write it like unix:///run/go2rtc.sock, or http+unix://%%2Frun%%2Fgo2rtc.sock/base")
		}
		return socket, nil
	}
	u, err := url.Parse(raw)
	if err != nil { // whose text quotes the URL
		return "", fault.New(fault.Usage, "", "the URL of go2rtc cannot be read").WithHint("write it like http://127.0.0.1:1984")
	}
	if u.User != nil && c.username == "" {
		c.username = u.User.Username()
		c.password, _ = u.User.Password()
		c.secrets.Add(c.password)
	}
	u.User = nil
	c.where = redact.String(u.String())
	wrong := func(why string) (string, error) {
		return "", fault.New(fault.Usage, "", "the URL of go2rtc, %s, %s", c.where, why).
			WithHint("write it like http://127.0.0.1:1984, or unix:///run/go2rtc.sock")
	}
	switch {
	case u.RawQuery != "" || u.Fragment != "":
		return wrong("must end with its path")
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		socket = u.Path
		c.base = url.URL{Scheme: "http", Host: "localhost"}
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "":
		c.base = url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}
	default:
		return wrong("names no server")
	}
	return socket, nil
}

func (c *Client) roots(options Options) (*x509.CertPool, error) {
	if options.RootCAs != nil || options.CAFile == "" {
		return options.RootCAs, nil
	}
	pem, err := os.ReadFile(options.CAFile)
	if err != nil {
		return nil, fault.New(fault.Usage, "", "the authority of go2rtc's certificate cannot be read: %w", err).
			WithHint("see ca_file in the go2rtc section")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Usage, "", "%s holds no certificate in PEM form", options.CAFile).
			WithHint("ca_file is the certificate that signed go2rtc's tls_cert, or that certificate itself")
	}
	return pool, nil
}

// Agent returns the User-Agent of a run.
func Agent(version, run string) string {
	return "camwarden/" + token(version, "dev") + " run/" + token(run, "none")
}

// RunOf returns the run that a User-Agent names, if it is one of camwarden's.
func RunOf(agent string) (run string, ok bool) {
	product, rest, _ := strings.Cut(agent, " ")
	run, ok = strings.CutPrefix(rest, "run/")
	if !strings.HasPrefix(product, "camwarden/") || !ok || run == "" || token(run, "") != run {
		return "", false
	}
	return run, true
}

// token leaves what may stand in a User-Agent's product or version (RFC 9110 section 5.6.2), without the odder marks.
func token(text, otherwise string) string {
	text = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-", r) {
			return r
		}
		return '-'
	}, text)
	if text == "" {
		return otherwise
	}
	return text
}
