package cmdline

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/lazyre"
)

var (
	rtspURL   = lazyre.New(`(?i)\brtsp[stu]?://`)
	otherURL  = lazyre.New(`(?i)\b(?:https?|rtmp[ste]{0,2}|tcp|tls)://`) // that a camera may speak as well
	authority = lazyre.New(`(?i)\b[a-z][a-z0-9+.-]*://`)
	scheme    = lazyre.New(`(?i)^[a-z][a-z0-9+.-]*:`)
	listens   = lazyre.New(`(?i)[?&]listen(?:=1|&|$)`)
	ownName   = lazyre.New(`/[0-9a-f]{32}$`) // of a stream that go2rtc pulls from its own ffmpeg
	// A name of this host's own server, drawn by lot for one stream: it is hidden, but it is nobody's password.
	loopbackName = lazyre.New(`^(?:rtsp|http|tcp)://(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+/(?:[0-9a-f]{16,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
)

// input takes in what stands after -i.
func (l *Line) input(url string, g group) {
	l.Inputs++
	lower := strings.ToLower(url)
	switch {
	case g.format == "lavfi":
		l.movies(url)
	case l.named(url):
	case url == "-", strings.HasPrefix(lower, "pipe:"), strings.HasPrefix(lower, "fd:"), strings.HasPrefix(lower, "/dev/fd/"), lower == "/dev/stdin":
		l.Hidden, l.Fed = true, true
	case g.format == "concat",
		slices.Contains([]string{".txt", ".ffconcat", ".m3u8", ".m3u", ".sdp"}, filepath.Ext(lower)),
		scheme.Get().MatchString(url) && !strings.HasPrefix(lower, "file:") && !strings.HasPrefix(lower, "data:"):
		l.Hidden = true
	}
}

// named takes in the camera that a URL names; false when it names none.
func (l *Line) named(url string) bool {
	if at := rtspURL.Get().FindStringIndex(url); at != nil {
		target, ok := targetOf(url[at[0]:])
		if ok {
			l.camera(target)
		} else {
			l.Hidden = true
		}
		return true
	}
	at := otherURL.Get().FindStringIndex(url)
	if at == nil || listens.Get().MatchString(url) {
		return false
	}
	// A camera stands in a house. What is read from elsewhere is a film, and its socket tells if it is not.
	target, ok := targetOf(url[at[0]:])
	if !ok || !target.near() {
		l.Hidden = true
		return true
	}
	target.Exact = true
	l.camera(target)
	return true
}

// movies takes in the cameras that a filter graph opens by itself.
func (l *Line) movies(graph string) {
	urls := played(graph)
	for _, url := range urls {
		l.Inputs++
		l.named(url)
	}
	if by := chooser(graph); len(urls) > 0 && by != "" {
		l.waits("the filter " + calm(by) + " may need many pictures for one")
	}
}

// near reports whether a target is on a private network: by its address, or by a name that only such a network knows.
func (t Target) near() bool {
	if t.Address.IsValid() {
		return Near(t.Address.Addr())
	}
	host := strings.ToLower(strings.TrimSuffix(t.Host, "."))
	return !strings.Contains(host, ".") || slices.ContainsFunc(
		[]string{".local", ".lan", ".home", ".internal", ".home.arpa", ".localdomain", ".fritz.box", ".intranet", ".private", ".test"},
		func(suffix string) bool { return strings.HasSuffix(host, suffix) })
}

// Near reports whether an address is one of a private network or of this host, where cameras stand (RFC 1918, 4193, 3927, 6598).
func Near(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.Is4() && netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a)
}

func (l *Line) camera(target Target) {
	if !slices.Contains(l.Cameras, target) {
		l.Cameras = append(l.Cameras, target)
	}
}

// output takes in where something is written to.
func (l *Line) output(url string) {
	if at := authority.Get().FindStringIndex(url); at != nil {
		if target, ok := targetOf(url[at[0]:]); ok {
			l.Pushes = append(l.Pushes, target)
			if !target.Address.IsValid() {
				l.Named = append(l.Named, target.Port)
			}
			loopback := target.Address.IsValid() && target.Address.Addr().IsLoopback()
			l.Go2rtc = l.Go2rtc || loopback && ownName.Get().MatchString(url)
		}
	}
}

// probe reads the command line of an ffprobe: it has one input, and no output.
func (l *Line) probe(args []string) {
	for i := 0; i < len(args); i++ {
		name, isOption := option(args[i])
		switch {
		case isOption && name == "i" && i+1 < len(args):
			i++
			l.input(args[i], group{})
		case !isOption && (otherURL.Get().MatchString(args[i]) || rtspURL.Get().MatchString(args[i]) || args[i] == "-" || strings.HasPrefix(args[i], "pipe:")):
			l.input(args[i], group{})
		case isOption && (name == "f" || name == "of" || name == "user_agent" || name == "headers"):
			i++ // whose values may look like an input
		}
	}
}

// scan looks for cameras in the arguments of a program whose grammar we do not know.
func (l *Line) scan(args []string) {
	for _, arg := range args {
		for _, at := range rtspURL.Get().FindAllStringIndex(arg, -1) {
			if target, ok := targetOf(arg[at[0]:]); ok {
				l.camera(target)
			}
		}
	}
}

// targetOf reads where a URL leads. With a password that hides it there is no second guess: the socket tells.
func targetOf(url string) (Target, bool) {
	name, rest, _ := strings.Cut(url, "://")
	// The scheme decides nothing but the port, and ParseURL knows only those of cameras.
	parsed, err := camera.ParseURL("rtsp://"+rest, camera.Camera{})
	if before, _, cut := strings.Cut(rest, "#"); err != nil && cut {
		parsed, err = camera.ParseURL("rtsp://"+before, camera.Camera{})
	}
	if err != nil {
		return Target{}, false
	}
	t := Target{Host: parsed.Host, Port: parsed.Port, Address: parsed.Address}
	if t.Port == camera.DefaultPort && !strings.Contains(rest, ":"+strconv.Itoa(camera.DefaultPort)) {
		t.Port = portOf(strings.ToLower(name))
	}
	if t.Address.IsValid() {
		t.Address = netip.AddrPortFrom(t.Address.Addr().WithZone(""), t.Port)
	}
	return t, true
}

// portOf is the port of a scheme where a URL names none.
func portOf(scheme string) uint16 {
	switch scheme {
	case "rtsps":
		return camera.DefaultTLSPort
	case "http", "rtmpt":
		return 80
	case "https", "rtmps", "rtmpts":
		return 443
	case "rtmp", "rtmpe":
		return 1935
	default:
		return camera.DefaultPort
	}
}
