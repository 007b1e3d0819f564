package cmdline

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

// group is the options that stand before one input or output, and so belong to it (man 1 ffmpeg, DESCRIPTION).
type group struct {
	format string // of -f
	frames string // the last explicit number of video frames; empty: none
	waits  string // why its picture may take long
	blind  bool   // -vn: a number of video frames does not end it
	maps   int    // streams that are chosen by hand
	video  bool   // one of these may be video
	limit  time.Duration
	loose  bool // an option that we do not know stands among them
}

// outputLike is what names of outputs look like.
var outputLike = lazyre.New(`(?i)\.(?:jpe?g|png|bmp|webp|gif|mkv|mp4|m4a|mov|ts|webm|flv|avi|m3u8|mpd|mp3|wav|aac|h26[45])$|^(?:rtsps?|rtmps?|srt|udp|tcp|rtp|file):|^-$`)

// parse follows ffmpeg's own rules: an option takes the next argument unless it is one of the few that do not, what
// stands after -i is an input, and what stands alone is an output.
func (l *Line) parse(args []string) {
	var g group
	r := reading{single: true}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, isOption := option(arg)
		switch {
		case isOption && name == "i":
			if i++; i < len(args) {
				l.input(args[i], g)
				l.waits(g.waits)
				r.inputs = append(r.inputs, g.limit)
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
				l.sources(name, args[i])
				// A flag that we do not know has taken the output behind it for its value, if that looks like one.
				g.loose = g.loose || !known(name)
				l.Unsure = l.Unsure || !known(name) && outputLike.Get().MatchString(args[i])
			}
			continue
		case arg == "--" && i+1 < len(args):
			i++
			arg = args[i]
		}
		l.Outputs++
		l.output(arg)
		r.single = r.single && one(g.frames) && !g.deaf(arg)
		r.outputs = append(r.outputs, g.limit)
		l.waits(g.waits)
		g = group{}
	}
	l.waits(g.waits) // of filters that stand behind the last output
	l.loose = g.loose
	l.Single = r.single && l.Outputs > 0
	l.For = r.limit()
}

// reading is what the inputs and outputs of a line come to.
type reading struct {
	single          bool
	inputs, outputs []time.Duration // their limits; 0: none
}

// limit is how much time of the stream the process takes; 0: as much as there is.
func (r reading) limit() time.Duration {
	if len(r.outputs) == 0 {
		return 0
	}
	if !slices.Contains(r.outputs, 0) {
		return slices.Max(r.outputs)
	}
	if len(r.inputs) > 0 && !slices.Contains(r.inputs, 0) {
		return slices.Max(r.inputs)
	}
	return 0
}

func (l *Line) waits(why string) {
	if l.Waits == "" {
		l.Waits = why
	}
}

// sources takes in the cameras that the sources of a filter graph open.
func (l *Line) sources(option, value string) {
	if name, _, _ := strings.Cut(option, ":"); slices.Contains([]string{"vf", "af", "filter", "filter_complex", "lavfi"}, name) {
		l.movies(value)
	}
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

// longestProbe is for how long an input may be read before the first picture is taken without a word about it here.
const longestProbe = time.Minute

// set takes in an option with its value.
func (g *group) set(option, value string) {
	name, specifier, _ := strings.Cut(option, ":")
	// A count for another than the first video stream does not end the first, and so is no count of the output.
	video := slices.Contains([]string{"", "v", "V", "v:0", "V:0", "0"}, specifier)
	seen := !strings.HasPrefix(specifier, "a") && !strings.HasPrefix(specifier, "s") && !strings.HasPrefix(specifier, "d")
	switch name {
	case "f":
		g.format = value
	case "vframes":
		g.frames = value
	case "frames":
		if video {
			g.frames = value
		}
	case "map":
		g.maps++
		g.video = g.video || maybeVideo(value)
	case "t", "to":
		g.limit, _ = parseTime(value)
	case "/vf", "/filter", "/filter_complex", "/lavfi", "filter_script", "filter_complex_script":
		g.wait("its filters stand in a file, and may choose their picture")
	case "vf", "filter", "filter_complex", "lavfi":
		if by := chooser(value); seen && by != "" {
			g.wait("the filter " + calm(by) + " may need many pictures for one")
		}
	case "bsf", "vbsf":
		if by := streamChooser(value); seen && by != "" {
			g.wait("the bitstream filter " + calm(by) + " may drop what it needs")
		}
	case "ss", "sseof":
		g.wait("it begins at a later time (-" + name + ")")
	case "analyzeduration":
		if us, ok := withPrefix(value); ok && us > float64(longestProbe.Microseconds()) {
			g.wait("it may look at the stream for " + (time.Duration(us) * time.Microsecond).Round(time.Second).String() + " first (-analyzeduration)")
		}
	}
}

// withPrefix reads a number that may have an SI prefix behind it, as ffmpeg's options do.
func withPrefix(text string) (float64, bool) {
	factor := 1.0
	for prefix, by := range map[string]float64{"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9} {
		if bare, found := strings.CutSuffix(text, prefix); found {
			text, factor = bare, by
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return n * factor, err == nil
}

func (g *group) wait(why string) {
	if g.waits == "" {
		g.waits = why
	}
}

// calm makes a word of a command line fit to be shown: the name of a filter is letters, digits and underscores.
func calm(name string) string {
	const longest = 32
	name = name[:min(len(name), longest)]
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	}) {
		return "that it names"
	}
	return name
}

// maybeVideo reports whether a stream that is chosen by hand may be video: "0", "0:v", "[out]", and not "0:a:0".
func maybeVideo(choice string) bool {
	if strings.HasPrefix(choice, "-") {
		return false // it takes streams away
	}
	_, kind, found := strings.Cut(choice, ":")
	return !found || kind == "" || strings.IndexByte("asdt", kind[0]) < 0
}

// deaf reports whether the output takes no video, so that a number of video frames does not end it.
func (g group) deaf(output string) bool {
	if g.blind || g.maps > 0 && !g.video {
		return true
	}
	kind := g.format
	if i := strings.LastIndexByte(output, '.'); kind == "" && i >= 0 {
		kind = strings.ToLower(output[i+1:])
	}
	return slices.Contains([]string{"aac", "ac3", "adts", "alaw", "flac", "m4a", "mp2", "mp3", "mulaw", "ogg", "oga", "opus", "s16le", "wav"}, kind)
}

// parseTime reads a time as ffmpeg does: "90", "1.5", "00:01:30", "200ms" (man 1 ffmpeg-utils, "Time duration").
func parseTime(text string) (time.Duration, bool) {
	if strings.Contains(text, ":") {
		var seconds float64
		for part := range strings.SplitSeq(text, ":") {
			n, err := strconv.ParseFloat(part, 64)
			if err != nil {
				return 0, false
			}
			seconds = seconds*60 + n
		}
		return inSeconds(seconds)
	}
	unit := 1.0
	switch {
	case strings.HasSuffix(text, "us"):
		text, unit = text[:len(text)-2], 1e-6
	case strings.HasSuffix(text, "ms"):
		text, unit = text[:len(text)-2], 1e-3
	default:
		text = strings.TrimSuffix(text, "s")
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, false
	}
	return inSeconds(n * unit)
}

func inSeconds(n float64) (time.Duration, bool) {
	const most = 1e9 // thirty years
	if !(n > 0 && n < most) {
		return 0, false
	}
	return time.Duration(n * float64(time.Second)), true
}
