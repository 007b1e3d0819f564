package snapshot

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/httpwire"
	"github.com/camwarden/camwarden/pkg/login"
)

// follow goes where an answer sends us, which must be the same server. The log-in is that of the new target (RFC 7616 section 3.4):
// it is asked for again.
func (t *talk) follow(a *httpwire.Answer) error {
	to := strings.TrimSpace(a.First("location"))
	to, _, _ = strings.Cut(to, "#")
	if to == "" {
		return t.fault(fault.Protocol, "it redirects (%d) and does not say where to", a.Status).WithHint("check the snapshot path in the camera's manual")
	}
	scheme, rest, absolute := strings.Cut(to, "://")
	switch {
	case strings.HasPrefix(to, "//"):
		absolute, scheme, rest = true, t.scheme(), to[2:]
	case strings.ContainsAny(scheme, "/?"):
		absolute = false
	}
	path := to
	if absolute {
		authority := rest
		path = "/"
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			authority, path = rest[:i], rest[i:]
		}
		if err := t.sameServer(strings.ToLower(scheme), authority[strings.LastIndexByte(authority, '@')+1:], path, a.Status); err != nil {
			return err
		}
	}
	switch {
	case strings.HasPrefix(path, "?"):
		current, _, _ := strings.Cut(t.target.Path, "?")
		path = current + path
	case !strings.HasPrefix(path, "/"):
		current, _, _ := strings.Cut(t.target.Path, "?")
		path = current[:strings.LastIndexByte(current, '/')+1] + path
	}
	if unfit(path) {
		return t.fault(fault.Protocol, "it redirects to what cannot stand in a request")
	}
	if t.target.Auth == Query && t.carries(path) { // it wants the log-in once more, in another path
		if t.logIns++; t.logIns > maxLogIns {
			return t.inCircles()
		}
	}
	t.target.Path, t.login = path, nil
	return nil
}

// carries reports whether the password stands in a path.
func (t *talk) carries(path string) bool {
	plain, err := url.QueryUnescape(path)
	return t.target.Password != "" && (strings.Contains(path, t.target.Password) || err == nil && strings.Contains(plain, t.target.Password))
}

// inCircles is the error of a camera that wants the log-in again behind each redirect: what it does to a wrong one is not found out.
func (t *talk) inCircles() error {
	return t.fault(fault.Auth, "it redirects each request that carries the log-in, and asks for it again").Because(login.ErrRefused).
		WithHint("open the snapshot path in a browser, and take the URL where that ends")
}

func (t *talk) scheme() string {
	if t.target.TLS {
		return "https"
	}
	return "http"
}

// sameServer refuses to follow to any other address: neither the slot nor the log-in is for it.
func (t *talk) sameServer(scheme, authority, path string, status int) error {
	host, port := authority, ""
	if h, p, err := net.SplitHostPort(authority); err == nil {
		host, port = h, p
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	host = strings.Trim(host, "[]")
	address := t.target.Address
	own := strings.EqualFold(host, t.target.Host) || host == address.Addr().WithZone("").Unmap().String()
	if own && scheme == t.scheme() && port == strconv.Itoa(int(address.Port())) {
		return nil
	}
	path, _, _ = strings.Cut(path, "?")
	where := t.clean(scheme + "://" + authority + path)
	err := t.fault(fault.Protocol, "it redirects to %s (%d), where we do not follow", where, status)
	if own && (scheme == "http" || scheme == "https") {
		return err.WithHint("give this camera that URL: snapshot: %s", where)
	}
	return err.WithHint("if that is the camera's real address, use it")
}
