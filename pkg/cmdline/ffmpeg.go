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

// group is the options that stand before one input or output, and so belong to it (man 1 ffmpeg, DESCRIPTION).
type group struct {
	format string // of -f
	frames string // the last explicit number of video frames; empty: none
	waits  bool
	blind  bool // -vn: a number of video frames does not end it
}

// parse follows ffmpeg's own rules: an option takes the next argument unless it is one of the few that do not, what
// stands after -i is an input, and what stands alone is an output.
func (l *Line) parse(args []string) {
	var g group
	single := true
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, isOption := option(arg)
		switch {
		case isOption && name == "i":
			if i++; i < len(args) {
				l.input(args[i], g)
				l.Waits = l.Waits || g.waits
			}
			g = group{}
			continue
		case isOption && takesNone(name):
			g.blind = g.blind || name == "vn"
			continue
		case isOption:
			if i+1 < len(args) {
				if next, also := option(args[i+1]); also && (next == "i" || !number(args[i+1])) && !known(name) {
					l.Unsure = true // an option whose value looks like another option: it may take none
					continue
				}
				i++
				g.set(name, args[i])
			}
			continue
		case arg == "--" && i+1 < len(args):
			i++
			arg = args[i]
		}
		l.Outputs++
		l.output(arg)
		single = single && one(g.frames) && !g.blind
		l.Waits = l.Waits || g.waits
		g = group{}
	}
	l.Single = single && l.Outputs > 0
}

// option returns the name of an option. A dash alone is the standard output.
func option(arg string) (string, bool) {
	if len(arg) < 2 || arg[0] != '-' || arg == "--" {
		return "", false
	}
	return strings.TrimPrefix(arg[1:], "-"), true // "/name" reads its value from a file
}

func number(text string) bool {
	_, err := strconv.ParseFloat(strings.TrimRight(text, "dBkKmMs"), 64)
	return err == nil
}

// one reports whether a number of frames is 1; ffmpeg reads numbers as strtod does.
func one(frames string) bool {
	n, err := strconv.ParseFloat(frames, 64)
	return err == nil && n == 1
}

// set takes in an option with its value.
func (g *group) set(option, value string) {
	name, specifier, _ := strings.Cut(option, ":")
	// A count for another than the first video stream does not end the first, and so is no count of the output.
	video := slices.Contains([]string{"", "v", "V", "v:0", "V:0"}, specifier)
	switch name {
	case "f":
		g.format = value
	case "vframes":
		g.frames = value
	case "frames":
		if video {
			g.frames = value
		}
	case "/vf", "/filter", "/filter_complex", "/lavfi":
		g.waits = true // the filters stand in a file
	case "vf", "filter", "filter_complex", "lavfi":
		g.waits = g.waits || choosing.Get().MatchString(value)
	case "filter_script", "filter_complex_script", "ss", "sseof":
		g.waits = true
	}
}

// choosing finds the filters that let only some frames pass, or none for a while (man 1 ffmpeg-filters).
var choosing = lazyre.New(`(?:^|[\],;])\s*(?:select|thumbnail|thumbnail_cuda|fps|framestep|trim|mpdecimate|decimate|freezedetect|tile|tmix|minterpolate|metadata|cue|reverse)(?:@\w+)?\s*(?:=|$|[,;\[])`)

// input takes in what stands after -i.
func (l *Line) input(url string, g group) {
	if at := rtspURL.Get().FindStringIndex(url); at != nil {
		if target, ok := targetOf(url[at[0]:]); ok {
			l.camera(target)
			return
		}
		l.Hidden = true
		return
	}
	lower := strings.ToLower(url)
	switch {
	case g.format == "lavfi":
	case g.format == "concat", url == "-", strings.HasPrefix(lower, "/dev/fd/"), lower == "/dev/stdin",
		slices.Contains([]string{".txt", ".ffconcat", ".m3u8", ".m3u", ".sdp"}, filepath.Ext(lower)),
		scheme.Get().MatchString(url) && !strings.HasPrefix(lower, "file:") && !strings.HasPrefix(lower, "data:"):
		l.Hidden = true
	}
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
			if !target.Address.IsValid() && rtspURL.Get().MatchString(url) {
				l.Named = append(l.Named, target.Port)
			}
			loopback := target.Address.IsValid() && target.Address.Addr().IsLoopback()
			l.Go2rtc = l.Go2rtc || loopback && ownName.Get().MatchString(url)
		}
	}
}

// probe reads the command line of an ffprobe: it has one input, and no output.
func (l *Line) probe(args []string) {
	for _, arg := range args {
		if at := rtspURL.Get().FindStringIndex(arg); at != nil {
			l.input(arg[at[0]:], group{})
		} else if arg == "-" || strings.HasPrefix(arg, "pipe:") {
			l.Hidden = true
		}
	}
}

var (
	rtspURL   = lazyre.New(`(?i)\brtsp[su]?://`)
	authority = lazyre.New(`(?i)\b[a-z][a-z0-9+.-]*://`)
	scheme    = lazyre.New(`(?i)^[a-z][a-z0-9+.-]*:`)
	ownName   = lazyre.New(`/[0-9a-f]{32}$`) // of a stream that go2rtc pulls from its own ffmpeg
	// A name of this host's own server, drawn by lot for one stream: it is hidden, but it is nobody's password.
	loopbackName = lazyre.New(`^(?:rtsp|http|tcp)://(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+/(?:[0-9a-f]{16,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
)

// targetOf reads where a URL leads. With a password that hides it there is no second guess: the socket tells.
func targetOf(url string) (Target, bool) {
	name, rest, _ := strings.Cut(url, "://")
	port := uint16(camera.DefaultPort)
	if strings.EqualFold(name, "rtsps") {
		port = camera.DefaultTLSPort
	}
	// The scheme decides nothing but the port, and ParseURL knows only those of cameras.
	parsed, err := camera.ParseURL("rtsp://"+rest, camera.Camera{})
	if before, _, cut := strings.Cut(rest, "#"); err != nil && cut {
		parsed, err = camera.ParseURL("rtsp://"+before, camera.Camera{})
	}
	if err != nil {
		return Target{}, false
	}
	t := Target{Host: parsed.Host, Port: parsed.Port, Address: parsed.Address}
	if t.Port == camera.DefaultPort && port != t.Port && !strings.Contains(rest, ":554") {
		t.Port = port
	}
	if t.Address.IsValid() {
		t.Address = netip.AddrPortFrom(t.Address.Addr().WithZone(""), t.Port)
	}
	return t, true
}
