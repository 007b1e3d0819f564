// Package cmdline reads what the command line of somebody else's program says, ffmpeg's above all: from which cameras it takes,
// whether it ends by itself after one picture, and all of it without the secrets.
package cmdline

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/camwarden/camwarden/pkg/redact"
)

// Shape is what a process is there for, as documents name it.
type Shape string

// The shapes. Only one-frame says that the process was meant to be gone long ago.
const (
	OneFrame  Shape = "one-frame" // every output has an explicit frame count of 1
	Streaming Shape = "streaming" // anything else that reads a camera: a recorder, a time-lapse, a relay
	NoCamera  Shape = "no-camera" // it reads none
	Unknown   Shape = "unknown"   // it has to do with a camera, and its command line does not say what
)

// Target is where a URL leads.
type Target struct {
	Host    string         // as written, without brackets
	Port    uint16         //
	Address netip.AddrPort // when the host is an address; else invalid
	Exact   bool           // what speaks to other addresses on its port is no camera's by that: the port is one of HTTP, say
}

// String is host:port, with brackets around an IPv6 address.
func (t Target) String() string {
	host := t.Host
	if t.Address.IsValid() {
		return t.Address.String()
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(t.Port))
}

// Line is one command line, read.
type Line struct {
	Program string        // the name it was called by, without its folder
	Grammar Grammar       // by whose rules it was read
	Cameras []Target      // its inputs that lead to cameras, in order, each once
	Pushes  []Target      // its outputs that are on the network
	Named   []uint16      // the ports of those outputs that have a name for a host
	Hidden  bool          // an input does not say where it leads (standard input, a list, another protocol): its sockets tell
	Fed     bool          // an input is a pipe, that another process fills
	Single  bool          // every output has an explicit frame count of 1, and there is an output
	Waits   string        // why one picture may take long while the camera sends; empty: it takes the first
	For     time.Duration // what every output, or the input, is limited to; 0: one is not
	Unsure  bool          // an option that we do not know leaves it open where the outputs are
	Inputs  int           //
	Outputs int           //
	Go2rtc  bool          // go2rtc made this command line
	Text    string        // all of it in one line that a shell would read again, secrets masked
	Secret  bool          // something had to be masked

	loose bool // behind the last input or output stands an option that we do not know
}

// Read reads an argument list, the program's name first, by the grammar of the program. What else is known of its name, the
// file it runs and what the kernel calls it, counts too. It never fails: what it cannot understand it leaves open.
func Read(args []string, names ...string) Line {
	var l Line
	if len(args) == 0 {
		return l
	}
	l.Program = filepath.Base(args[0])
	l.Text, l.Secret = text(args)
	for _, name := range append([]string{l.Program}, names...) {
		if l.Grammar = GrammarOf(name); l.Grammar != Foreign {
			break
		}
	}
	switch l.Grammar {
	case FFprobe:
		l.probe(args[1:])
	case FFmpeg:
		l.parse(args[1:])
	default:
		l.scan(args[1:])
	}
	for _, arg := range args[1:] {
		l.Go2rtc = l.Go2rtc || arg == "go2rtc/ffmpeg" || arg == "ffmpeg/go2rtc"
	}
	return l
}

// Shape says what the process is there for. Connected says that it has a connection to a camera's port.
func (l Line) Shape(connected bool) Shape {
	switch {
	case len(l.Cameras) == 0 && !connected:
		return NoCamera
	case l.Grammar != FFmpeg:
		return Unknown // a probe keeps nothing, and of the others we do not know what they keep
	case len(l.Cameras) == 0 && !l.Hidden:
		return Unknown // connected, and no input could be the reason
	case l.Outputs == 0 || l.Single && l.Unsure:
		return Unknown
	case l.Single:
		return OneFrame
	default:
		return Streaming
	}
}

// Idle reports whether the process keeps nothing of what it reads: a probe, and an ffmpeg with an input and no output.
func (l Line) Idle() bool {
	return l.Grammar == FFprobe || l.Grammar == FFmpeg && l.Inputs > 0 && l.Outputs == 0 && !l.Unsure && !l.loose
}

// Understood reports whether the line could be read to its end by its grammar.
func (l Line) Understood() bool { return l.Grammar != Foreign && l.Inputs > 0 && !l.Unsure }

// How much of a command line is shown. A person reads it, a process may have megabytes of it, and an argument that is
// cut in the middle could no longer be told for a secret.
const (
	longest    = 4096
	longestArg = 2048
)

// text joins arguments into one line and masks what looks like a secret.
func text(args []string) (line string, secret bool) {
	args = slices.Clone(args[:min(len(args), longest)])
	for i, arg := range args {
		if len(arg) > longestArg {
			args[i] = fmt.Sprintf("(%d bytes)", len(arg))
		}
	}
	shown := redact.Args(args)
	var out strings.Builder
	for i, arg := range shown {
		secret = secret || arg != args[i] && !loopbackName.Get().MatchString(args[i])
		if i > 0 {
			out.WriteByte(' ')
		}
		if out.Len() < longest {
			out.WriteString(quote(arg))
		}
	}
	line = out.String()
	if len(line) > longest {
		line = strings.ToValidUTF8(line[:longest], "") + "..."
	}
	return line, secret
}

// quote writes an argument as a shell reads it, and keeps it from speaking to a terminal.
func quote(arg string) string {
	plain := arg != ""
	for _, r := range arg {
		switch {
		case r == utf8.RuneError || !unicode.IsPrint(r):
			arg = strings.Map(func(r rune) rune {
				if r == utf8.RuneError || !unicode.IsPrint(r) {
					return '?'
				}
				return r
			}, arg)
			return quote(arg)
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r > 0x7f, strings.ContainsRune("-_./:=,@%+*", r):
		default:
			plain = false
		}
	}
	if plain {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
