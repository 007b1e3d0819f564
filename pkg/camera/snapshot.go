package camera

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
)

// SnapshotAuth is how a camera is logged in to for the picture that it gives over HTTP.
type SnapshotAuth string

// The ways to log in over HTTP. Nothing is sent before the camera asks, but by AuthQuery.
const (
	AuthAuto   SnapshotAuth = "auto"   // Digest; Basic only over TLS
	AuthDigest SnapshotAuth = "digest" // nothing else
	AuthBasic  SnapshotAuth = "basic"  // also in the clear
	AuthQuery  SnapshotAuth = "query"  // {username} and {password} stand in the snapshot
	AuthNone   SnapshotAuth = "none"   // never
)

// SnapshotAuths are all ways to log in, in the order of the documentation.
func SnapshotAuths() []string {
	return []string{string(AuthAuto), string(AuthDigest), string(AuthBasic), string(AuthQuery), string(AuthNone)}
}

// The ports of HTTP (RFC 9110 section 4.2).
const (
	httpPort  = 80
	httpsPort = 443
)

// DefaultHTTPConnections is how many pictures are taken of an HTTP address at the same time: many cameras refuse a second one.
const DefaultHTTPConnections = 1

// Web is where a camera gives its own picture.
type Web struct {
	TLS     bool
	Host    string         // as written, without brackets
	Address netip.AddrPort // where it leads; invalid while that is not known
	Port    uint16
	path    string // with placeholders
}

// placeholders are what may stand in braces in a snapshot.
func placeholders() []string {
	return []string{"{host}", "{channel}", "{username}", "{password}", "{random}"}
}

// OverHTTP reports whether the camera is nothing but a picture over HTTP, as one that was named by an http:// URL.
func (c Camera) OverHTTP() bool { return c.Scheme == "http" || c.Scheme == "https" }

// Web returns where the camera's own picture is. ok is false for a camera that names none.
func (c Camera) Web() (web Web, ok bool) {
	if c.Snapshot == "" {
		return Web{}, false
	}
	web, err := c.parseSnapshot(c.Snapshot)
	return web, err == nil
}

// CheckSnapshot says what is wrong with a snapshot: neither a path nor an http:// or https:// URL, a log-in that belongs elsewhere, or a
// placeholder that nobody knows. The text goes on after the word for what has the snapshot.
func CheckSnapshot(snapshot string) error {
	c := Defaults()
	c.Host = "127.0.0.1"
	_, err := c.parseSnapshot(snapshot)
	return err
}

func (c Camera) parseSnapshot(snapshot string) (Web, error) {
	for rest := snapshot; ; {
		begin := strings.IndexByte(rest, '{')
		if begin < 0 {
			break
		}
		rest = rest[begin:]
		end := strings.IndexByte(rest, '}')
		if end < 0 || !slices.Contains(placeholders(), rest[:end+1]) {
			return Web{}, errors.New("holds a placeholder that is none of " + strings.Join(placeholders(), ", "))
		}
		rest = rest[end+1:]
	}
	web := Web{Host: c.Host, Port: httpPort, path: snapshot}
	if c.OverHTTP() {
		web.TLS, web.Port = c.Scheme == "https", c.Port
	}
	if scheme, rest, absolute := strings.Cut(snapshot, "://"); absolute && !strings.ContainsAny(scheme, "/?") {
		web.TLS = strings.EqualFold(scheme, "https")
		if !web.TLS && !strings.EqualFold(scheme, "http") {
			return Web{}, errors.New("is neither a path nor an http:// or https:// URL")
		}
		authority := rest
		web.path = "/"
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			authority, web.path = rest[:i], rest[i:]
		}
		if strings.Contains(authority, "@") {
			return Web{}, errors.New("holds a user name; write username and password_file instead")
		}
		if web.Port = httpPort; web.TLS {
			web.Port = httpsPort
		}
		host, port, err := splitPort(strings.ReplaceAll(authority, "{host}", hostOnly(c.Host)))
		if err != nil {
			return Web{}, err
		}
		web.Host = host
		if port != 0 {
			web.Port = port
		}
	}
	if strings.HasPrefix(web.path, "?") {
		web.path = "/" + web.path
	}
	if _, err := CleanPath(c.filled(web.path, "", "")); err != nil {
		return Web{}, err
	}
	switch addr, ok := parseIP(web.Host); {
	case ok:
		web.Address = netip.AddrPortFrom(addr.Unmap(), web.Port)
	case strings.EqualFold(web.Host, c.Host) && c.Address.IsValid():
		web.Address = netip.AddrPortFrom(c.Address.Addr(), web.Port)
	}
	return web, nil
}

// hostOnly is a host as it stands in a URL.
func hostOnly(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

func splitPort(authority string) (host string, port uint16, err error) {
	at := strings.LastIndexByte(authority, ':')
	if at > strings.LastIndexByte(authority, ']') {
		n, err := strconv.ParseUint(authority[at+1:], 10, 16)
		if err != nil || n == 0 {
			return "", 0, errors.New("has a port that is no number from 1 to 65535")
		}
		authority, port = authority[:at], uint16(n)
	}
	if host, _, err = ParseHost(authority); err != nil {
		return "", 0, errors.New("has a host that is neither a name nor an address")
	}
	return host, port, nil
}

// Target returns what is asked for, as it stands in the request: path and query with the placeholders filled in. random is a text that
// no request had before.
func (w Web) Target(c Camera, password, random string) string {
	path, _ := CleanPath(c.filled(w.path, password, random)) // an error was found when the camera was read
	return path
}

func (c Camera) filled(path, password, random string) string {
	return strings.NewReplacer(
		"{host}", hostOnly(c.Host), "{channel}", strconv.Itoa(max(c.Channel, 1)), "{random}", random,
		"{username}", escapeQuery(c.Username), "{password}", escapeQuery(password),
	).Replace(path)
}

// escapeQuery percent-encodes all but what RFC 3986 section 2.3 leaves alone everywhere.
func escapeQuery(s string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for _, b := range []byte(s) {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', strings.IndexByte("-._~", b) >= 0:
			out.WriteByte(b)
		default:
			out.WriteString("%" + string(hex[b>>4]) + string(hex[b&15]))
		}
	}
	return out.String()
}

// IsHTTP reports whether an argument is an http:// or https:// URL.
func IsHTTP(arg string) bool {
	scheme, _, absolute := strings.Cut(arg, "://")
	return absolute && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// ParseHTTP reads an http:// or https:// URL: a camera of which nothing is known but its own picture. User-info becomes user name and
// password. A bad URL is a usage fault, whose text holds nothing of the URL.
func ParseHTTP(raw string, defaults Camera) (Camera, error) {
	scheme, rest, _ := strings.Cut(raw, "://")
	head := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		head = rest[:i]
	}
	user, has := "", false
	if at := strings.LastIndexByte(head, '@'); at >= 0 {
		user, has, rest = rest[:at], true, rest[at+1:]
	}
	c := defaults
	c.Snapshot, c.SubPath, c.Stream = scheme+"://"+rest, "", Main
	c.Host, c.Address = "", netip.AddrPort{}
	web, err := c.parseSnapshot(c.Snapshot)
	if err != nil {
		return Camera{}, fault.New(fault.Usage, "", "the %s URL %w", strings.ToLower(scheme), err).
			WithHint("write it as http://USER@HOST:PORT/PATH, with %%40 for @, %%2F for / and %%23 for # in USER")
	}
	c.Scheme, c.Host, c.Port, c.Address = strings.ToLower(scheme), web.Host, web.Port, web.Address
	c.Path, _ = CleanPath(web.path) // it has just been read
	c.Snapshot = web.path
	c.MaxConnections, c.Reserve, c.LimitAssumed = c.HTTPConnections, 0, false
	typed := ""
	if has {
		name, password, both := strings.Cut(user, ":")
		c.Username = unescape(name)
		if both {
			typed = password
			c.Password = PlainSecret(unescape(password))
		}
	}
	c.Password = c.Password.For(c.Username)
	c.ID = IDFor(c.Host, c.Port, c.Path, typed, unescape(typed))
	return c, nil
}
