package onvif

import (
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
)

// servicePath returns the path of a service from its XAddr, whatever host and port that names: behind NAT, in a container or with
// a wrong network mask a device does not know by which address it is reached. Of several addresses one that is ours counts, else
// the first.
func (t *talk) servicePath(xaddr string) string {
	var best string
	for _, one := range strings.Fields(xaddr) {
		path, host := one, ""
		if _, rest, ok := strings.Cut(one, "://"); ok {
			host, path = cutAuthority(rest)
		}
		if fit, err := camera.CleanPath(path); err == nil && (best == "" || strings.HasPrefix(host, t.host())) {
			best = fit
		}
	}
	if best == "" || best == "/" {
		return t.target.Path
	}
	return best
}

// cutAuthority parts host and port, without user-info, from the path with its query.
func cutAuthority(rest string) (authority, path string) {
	authority, path = rest, "/"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	return authority[strings.LastIndexByte(authority, '@')+1:], path
}

// place reads a URI that the device gives for one of its streams or pictures. Only port and path of it count: the host is the
// one that was dialled. The port is kept, unless the URI is of HTTP and names another host, whose ports are not this one's.
func (t *talk) place(uri string, schemes ...string) Address {
	uri = strings.ReplaceAll(strings.TrimSpace(uri), "&amp;", "&") // some escape twice
	scheme, rest, ok := strings.Cut(uri, "://")
	web := schemes[0] == "http"
	if !ok && web && strings.HasPrefix(uri, "/") {
		scheme, rest = t.scheme(), t.hostPort()+uri
	}
	scheme = strings.ToLower(scheme)
	for _, known := range schemes {
		if scheme != known {
			continue
		}
		authority, path := cutAuthority(rest)
		path, _, _ = strings.Cut(path, "#")
		clean, err := camera.CleanPath(path)
		if err != nil || authority == "" || len(clean) > maxText {
			return Address{}
		}
		host, port := hostAndPort(authority, usualPort(scheme))
		if web && host != t.host() {
			scheme, port = t.scheme(), t.target.Address.Port()
		}
		return Address{Scheme: scheme, Port: port, Path: clean}
	}
	return Address{}
}

func usualPort(scheme string) uint16 {
	switch scheme {
	case "rtsp":
		return camera.DefaultPort
	case "rtsps":
		return camera.DefaultTLSPort
	case "https":
		return 443
	default:
		return 80
	}
}

func hostAndPort(authority string, usual uint16) (string, uint16) {
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.Contains(authority[i:], "]") {
		host, port = authority[:i], authority[i+1:]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
		return host, uint16(n)
	}
	return host, usual
}
