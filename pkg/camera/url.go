package camera

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lazyre"
)

// ParseURL reads an rtsp:// or rtsps:// URL; all that a URL does not say comes from defaults. The id is host_port_path.
// User-info becomes user name and password, also when the password holds raw "@", "/", "#", "?" or "%": where the host
// begins is decided by what looks most like one. A port that is not written is that of the scheme. A bad URL is a usage
// fault, whose text holds nothing of the URL, since any part of it may turn out to be a piece of the password.
func ParseURL(raw string, defaults Camera) (Camera, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	switch {
	case !ok:
		return Camera{}, badURL("this is not a URL that begins with rtsp:// or rtsps://")
	case scheme != "rtsp" && scheme != "rtsps":
		return Camera{}, badURL("a camera's URL begins with rtsp:// or rtsps://, this one does not")
	case strings.ContainsFunc(rest, unicode.IsControl):
		return Camera{}, badURL("the %s URL holds a control character", scheme)
	case !utf8.ValidString(rest):
		return Camera{}, badURL("the %s URL is not valid UTF-8", scheme)
	}
	best, fail := split(rest)
	if fail != "" {
		return Camera{}, badURL("the %s URL %s", scheme, fail)
	}
	path, err := CleanPath(best.path)
	if err != nil {
		return Camera{}, badURL("the %s URL %w", scheme, err)
	}

	c := defaults
	c.Scheme, c.Host, c.Port, c.Path = scheme, best.host, best.port, path
	if c.Port == 0 {
		c.Port = DefaultPort
		if scheme == "rtsps" {
			c.Port = DefaultTLSPort
		}
	}
	c.Address = netip.AddrPort{}
	if addr, ok := parseIP(c.Host); ok {
		c = c.At(addr)
	}
	typed := ""
	if best.login {
		user, password, has := strings.Cut(best.userInfo, ":")
		c.Username = unescape(user)
		if has {
			typed = password
			c.Password = PlainSecret(unescape(password))
		}
	}
	c.Password = c.Password.For(c.Username)
	c.ID = IDFor(c.Host, c.Port, c.Path, typed, unescape(typed))
	return c, nil
}

func badURL(format string, args ...any) error {
	return fault.New(fault.Usage, "", format, args...).
		WithHint("write it as rtsp://USER@HOST:PORT/PATH, with %%40 for @, %%2F for / and %%23 for # in USER")
}

// reading is one way to read what follows "://".
type reading struct {
	login    bool
	userInfo string
	host     string
	port     uint16 // 0: none written
	path     string
	rank     int // how much the host looks like one
}

// split chooses among the readings that the "@" signs allow; the second value says why there is none.
func split(rest string) (reading, string) {
	head := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		head = i
	}
	plain := strings.LastIndexByte(rest[:head], '@') // the reading of RFC 3986
	first, fail := read(rest, plain)
	if fail == "" && first.rank == rankAddress {
		return first, ""
	}
	// A password with a raw slash moves the host behind it. Only readings that find a password there are of interest.
	best, rivals := reading{rank: -1}, 0
	for at := head + 1; at < len(rest); at++ {
		if rest[at] != '@' {
			continue
		}
		r, unlike := read(rest, at)
		switch {
		case unlike != "" || !strings.Contains(r.userInfo, ":") || r.rank < best.rank:
		case r.rank == best.rank:
			rivals++
		default:
			best, rivals = r, 1
		}
	}
	switch {
	case rivals == 0:
		return first, fail
	case fail != "" && rivals == 1, fail == "" && rivals == 1 && first.rank < rankName && best.rank >= rankName:
		return best, ""
	case fail == "" && first.rank == rankName && best.rank <= rankName:
		return first, ""
	}
	// Dialling one half of a password as a host must not happen.
	return reading{}, "can be read in more than one way"
}

// How much a host looks like one.
const (
	rankWord    = iota // one word: could be half a password
	rankPort           // one word with a port
	rankName           // a name with dots, or localhost
	rankAddress        // an IP address
)

// hostName reports whether a text can be the name of a host: letters and numbers of any script, and underscores, with dots
// and hyphens between them, and perhaps the dot of the root. By hand, since to prepare such a pattern takes longer than to read
// all URLs of a configuration.
func hostName(text string) bool {
	word := func(r rune) bool { return r == '_' || unicode.In(r, unicode.L, unicode.M, unicode.N) }
	text = strings.TrimSuffix(text, ".")
	first, _ := utf8.DecodeRuneInString(text)
	last, _ := utf8.DecodeLastRuneInString(text)
	return word(first) && word(last) && !strings.ContainsFunc(text, func(r rune) bool { return r != '.' && r != '-' && !word(r) })
}

// read reads rest with the user-info ending at the "@" at that position; -1: there is none.
func read(rest string, at int) (reading, string) {
	r := reading{login: at >= 0, userInfo: rest[:max(at, 0)]}
	hostPort := rest[at+1:]
	if i := strings.IndexAny(hostPort, "/?#"); i >= 0 {
		hostPort, r.path = hostPort[:i], hostPort[i:]
	}
	var (
		host, port string
		hasPort    bool
	)
	if inner, ok := strings.CutPrefix(hostPort, "["); ok {
		var after string
		if host, after, ok = strings.Cut(inner, "]"); !ok {
			return r, "has a bracket that does not close"
		}
		if after != "" && after[0] != ':' {
			return r, "has something other than a port after the bracket"
		}
		port, hasPort = strings.CutPrefix(after, ":")
		host = strings.Replace(host, "%25", "%", 1) // RFC 6874
		if addr, ok := parseIP(host); !ok || !addr.Is6() {
			return r, "has no IPv6 address between its brackets"
		}
	} else if host, port, hasPort = strings.Cut(hostPort, ":"); strings.Contains(port, ":") {
		return r, "has more than one colon after the host; an IPv6 address needs brackets"
	}
	switch {
	case host == "":
		return r, "has no host"
	case hasPort && port != "":
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '+' {
			return r, "has a port that is not a number from 1 to 65535"
		}
		r.port = uint16(n)
	}
	r.host = host
	if r.rank = rankHost(host); r.rank < 0 {
		return r, "has a host that is neither an address nor a name"
	}
	if r.rank == rankWord && r.port != 0 {
		r.rank = rankPort
	}
	return r, ""
}

// rankHost says how much host looks like one; -1: not at all.
func rankHost(host string) int {
	if _, ok := parseIP(host); ok {
		return rankAddress
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := labels[len(labels)-1]
	switch {
	case len(host) > 253 || !hostName(host) || strings.Contains(host, ".."):
		return -1
	case strings.Trim(last, "0123456789") == "": // 192.168.125.300 is no name
		return -1
	case len(labels) > 1 || strings.EqualFold(host, "localhost"):
		return rankName
	default:
		return rankWord
	}
}

// zone is what Linux lets an interface be named, as far as a URL can hold it; netip takes any text.
var zone = lazyre.New(`^[\w.-]{0,15}$`)

// parseIP reads an IP address, and refuses a zone that is no interface name.
func parseIP(host string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(host)
	return addr, err == nil && zone.Get().MatchString(addr.Zone())
}

// ParseHost reads the host of a camera: a name, an IPv4 address, or an IPv6 address with or without brackets. It returns
// the host without brackets, and its address when it is one.
func ParseHost(text string) (string, netip.Addr, error) {
	host := text
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
	}
	if addr, ok := parseIP(host); ok && (host == text || addr.Is6()) {
		return host, addr.Unmap(), nil
	}
	if host != text || rankHost(host) < 0 {
		return "", netip.Addr{}, errors.New("neither an IP address nor a host name")
	}
	return host, netip.Addr{}, nil
}

// CleanPath makes a path that may stand in a request line: it begins with a slash, and what a URL cannot hold is
// percent-encoded. A path with a "#" is an error, whose text goes on after the word for what has the path.
func CleanPath(path string) (string, error) {
	if strings.Contains(path, "#") {
		return "", errors.New("has a # in its path; write %23 for it, and leave options of other programs out")
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	var out strings.Builder
	for i, b := range []byte(path) {
		switch {
		case b <= ' ' || b >= 0x7f || strings.IndexByte(`"<>\^{|}`+"`", b) >= 0, b == '%' && !escape(path[i:]):
			out.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(b)+0x100, 16))[1:])
		default:
			out.WriteByte(b)
		}
	}
	return out.String(), nil
}

// escape reports whether s begins with a percent sign and two hex digits.
func escape(s string) bool {
	if len(s) < 3 || s[0] != '%' {
		return false
	}
	_, err := strconv.ParseUint(s[1:3], 16, 8)
	return err == nil
}

// unescape decodes %XX, and leaves a percent sign that begins no such thing as it is.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if escape(s[i:]) {
			b, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			out.WriteByte(byte(b))
			i += 2
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
