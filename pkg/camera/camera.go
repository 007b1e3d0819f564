// Package camera says what a camera is, and which cameras a subnet holds.
package camera

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/redact"
)

// Transport is how a camera is asked to send its media.
type Transport string

// The transports. Auto leaves the choice to the source.
const (
	TCP  Transport = "tcp"
	UDP  Transport = "udp"
	Auto Transport = "auto"
)

// KeyFrameRequest is whether a camera is asked for a key frame, which every viewer of its stream then gets too.
type KeyFrameRequest string

// The ways to ask. Auto asks with a picture loss indication (RFC 4585) where a still would have to wait.
const (
	AutoRequest      KeyFrameRequest = "auto"
	FullIntraRequest KeyFrameRequest = "fir" // RFC 5104, for the few that know only this
	NoRequest        KeyFrameRequest = "off"
)

// Stream is which of a camera's streams is meant.
type Stream string

// The streams. Main is the large one.
const (
	Main Stream = "main"
	Sub  Stream = "sub"
)

// The values that hold where neither the configuration nor a URL says otherwise.
const (
	DefaultPort           = 554 // RTSP, RFC 7826 section 22
	DefaultTLSPort        = 322 // RTSP over TLS, RFC 7826 section 22
	DefaultPath           = "/stream1"
	DefaultMaxConnections = 2 // the least that consumer cameras are known to allow
	DefaultTimeout        = 10 * time.Second
	DefaultSessionTimeout = 60 * time.Second // what a server assumes when it names none, RFC 7826 section 18.49
	DefaultPasswordEnv    = "CAM_PASSWORD"
)

// Camera is one stream that one can take a still from.
type Camera struct {
	ID       string
	Host     string         // as written, without brackets
	Address  netip.AddrPort // where Host leads; invalid until that is known
	Port     uint16
	Scheme   string // rtsp or rtsps; http or https for a camera of which only its own picture is known
	Path     string // with its leading slash and its query, never with user-info
	SubPath  string // the path of the smaller stream, "" where nobody named it
	Stream   Stream // which of the two Path was chosen for
	Username string
	Password Secret
	Model    string
	Brand    string // the id of a brand, "" where none is known
	Channel  int    // of a recorder, counted from 1

	Snapshot        string       // its own picture: a path or an http(s) URL with {placeholders}; "" where it gives none
	SnapshotAuth    SnapshotAuth // how to log in there
	HTTPConnections int          // that its HTTP address allows us at the same time

	Transport       Transport
	KeyFrameRequest KeyFrameRequest
	DigestOnly      bool // over RTSP only a digest is answered: whether this is a camera at all is not known
	MaxConnections  int  // that the address allows, all clients together
	Reserve         int  // of these, how many are never ours
	LimitAssumed    bool // nobody said what the limit is
	Timeout         time.Duration
	SessionTimeout  time.Duration // how long the camera may hold a session that ended without TEARDOWN
}

// Defaults returns what a camera is when nothing is configured.
func Defaults() Camera {
	return Camera{
		Port: DefaultPort, Scheme: "rtsp", Path: DefaultPath, Stream: Main, Channel: 1, Password: ImpliedSecret(), Transport: TCP, KeyFrameRequest: AutoRequest,
		SnapshotAuth: AuthAuto, HTTPConnections: DefaultHTTPConnections,
		MaxConnections: DefaultMaxConnections, LimitAssumed: true,
		Timeout: DefaultTimeout, SessionTimeout: DefaultSessionTimeout,
	}
}

// URL returns the camera's URL with the host as it was written, without user-info. A password that the path or its
// query holds is still in it: redact before showing it.
func (c Camera) URL() string {
	// In a URL the "%" before an IPv6 zone is itself encoded (RFC 6874).
	return c.Scheme + "://" + hostPort(strings.Replace(c.Host, "%", "%25", 1), c.Port) + c.Path
}

// ShownPath returns a path of the camera with the secrets in it masked. What is a token depends on where it leads.
func (c Camera) ShownPath(path string) string {
	if path == "" {
		return ""
	}
	origin := c.Scheme + "://" + hostPort("192.0.2.1", c.Port) // of any camera: an address that is no name with an at-sign behind it
	return strings.TrimPrefix(redact.String(origin+path), origin)
}

// DialURL returns the URL to hand to a child on its standard input, and nowhere else: it holds the password.
// The host is the address when it is known, so that the child connects where the slot was taken. User name and password
// are percent-encoded; an IPv6 zone is not, since ffmpeg passes the host to the resolver as it stands.
func (c Camera) DialURL(password string) string {
	host, login := c.Host, ""
	if c.Address.IsValid() {
		host = c.Address.Addr().String()
	}
	if c.Username != "" || password != "" {
		login = escapeLogin(c.Username) + ":" + escapeLogin(password) + "@"
	}
	port := c.Port
	if c.Address.IsValid() && c.Address.Port() != 0 {
		port = c.Address.Port()
	}
	return c.Scheme + "://" + login + hostPort(host, port) + c.Path
}

// At returns the camera with its address known.
func (c Camera) At(addr netip.Addr) Camera {
	c.Address = netip.AddrPortFrom(addr.Unmap(), c.Port)
	return c
}

func hostPort(host string, port uint16) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}

// escapeLogin percent-encodes what is not certain to be safe in user-info. "+" is among it, which some decoders read as
// a blank, and so is "'", which ends a string in an ffconcat script. Plain characters stay: ffmpeg keeps no more than
// a short buffer for the encoded log-in.
func escapeLogin(s string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for _, b := range []byte(s) {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', strings.IndexByte("-._~!$*(),;=", b) >= 0:
			out.WriteByte(b)
		default:
			out.WriteByte('%')
			out.WriteByte(hex[b>>4])
			out.WriteByte(hex[b&15])
		}
	}
	return out.String()
}
