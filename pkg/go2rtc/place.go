package go2rtc

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/camwarden/camwarden/pkg/redact"
)

// place is where a source's pictures come from: its URL without log-in and without go2rtc's options. It may still hold a
// secret, in the query, so it stands behind a pointer, which no %v follows.
type place struct {
	scheme, host, port, path string
	options                  string // what followed the first "#"
}

// placeOf reads a URL as go2rtc does: what follows "#" are options, port 554 also for TLS, rtspx is TLS.
func placeOf(raw string) *place {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil
	}
	rest, options, _ := strings.Cut(rest, "#")
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	authority = strings.ToLower(authority[strings.LastIndexByte(authority, '@')+1:])
	p := &place{scheme: strings.ToLower(scheme), host: authority, port: "554", options: options}
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		p.host, p.port = authority[:i], authority[i+1:]
	}
	p.host = sameHost(strings.Trim(p.host, "[]"))
	if p.scheme == "rtspx" {
		p.scheme = "rtsps"
	}
	p.path = samePath(path)
	return p
}

// sameHost gives all spellings of an address one form.
func sameHost(host string) string {
	if addr, err := netip.ParseAddr(strings.Replace(host, "%25", "%", 1)); err == nil {
		return addr.Unmap().String()
	}
	return strings.ToLower(host)
}

// samePath gives a path with its query one form: with a slash, and decoded before the query.
func samePath(path string) string {
	path, query, asked := strings.Cut(path, "?")
	if decoded, err := url.PathUnescape(path); err == nil {
		path = decoded
	}
	if path == "" {
		path = "/"
	}
	if asked {
		path += "?" + query
	}
	return path
}

// likeness is the result of a comparison.
type likeness int

const (
	different likeness = iota
	unclear            // they agree but for what go2rtc has masked
	same
)

// compare compares what go2rtc lists with what was meant.
func (p *place) compare(meant *place) likeness {
	if p == nil || meant == nil {
		return different
	}
	result := same
	for _, part := range [][2]string{{p.scheme, meant.scheme}, {p.host, meant.host}, {p.port, meant.port}, {p.path, meant.path}} {
		switch {
		case part[0] == part[1]:
		case masks(part[0], part[1]):
			result = unclear
		default:
			return different
		}
	}
	return result
}

// masks reports whether listed may be what go2rtc shows for meant: it replaces every occurrence of the values that its
// configuration takes from the environment, in names and addresses too.
func masks(listed, meant string) bool {
	parts := strings.Split(listed, redact.Mask)
	if len(parts) == 1 || !strings.HasPrefix(meant, parts[0]) {
		return false
	}
	meant = meant[len(parts[0]):]
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(meant, part)
		if i < 0 {
			return false
		}
		meant = meant[i+len(part):]
	}
	return strings.HasSuffix(meant, parts[last])
}
