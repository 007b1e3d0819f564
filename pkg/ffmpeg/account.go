// Package ffmpeg runs ffmpeg: what it is asked, what its words mean, what it leaves behind at a camera, and how many of them
// decode at once.
package ffmpeg

import (
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

// account is what ffmpeg told on stderr, at -loglevel verbose. Measured with 4.3, 5.1 and 7.1; a line that an older or
// newer one does not print leaves a step unknown and never makes it wrong.
type account struct {
	text string // without the camera's session description, which the camera words

	dialled   bool   // it began to connect, so the lines below can be relied on: their absence means something
	connected bool   // the camera accepted
	described bool   // DESCRIBE was answered, so SETUP went out
	video     bool   // the description holds a video track
	feedback  bool   // with the profile RTP/AVPF (RFC 4585), and none without
	setUp     bool   // SETUP was answered, so PLAY went out
	media     bool   // a decoder complained or rejoiced: packets came
	opened    bool   // the input was opened: PLAY was answered (or probing it was given up)
	streaming bool   // from here on ffmpeg says TEARDOWN when it gets SIGTERM
	redirect  string // where the camera wanted to send us, last one first heard
	codec     string
}

var (
	sdpLine      = lazyre.New(`\] SDP:$`)
	redirectLine = lazyre.New(`Status 3\d\d: Redirecting to (\S+)`)
	decoderLine  = lazyre.New(`(?m)^\[(?:h264|hevc|mjpeg|mpeg4|mpeg[12]video|vp[89]|av1|libdav1d|libaom-av1) @ `)
	codecLine    = lazyre.New(`Stream #0:\d+.*?: Video: (\w+)`)
)

func read(stderr []byte) account {
	var a account
	var videos []string
	a.text, videos, a.described = withoutSDP(string(stderr))
	a.video = len(videos) > 0
	a.feedback = a.video && !slices.ContainsFunc(videos, func(line string) bool { return !strings.Contains(line, "AVPF") })
	a.connected = strings.Contains(a.text, "Successfully connected to ")
	a.dialled = a.connected || strings.Contains(a.text, "Starting connection attempt to ")
	a.setUp = strings.Contains(a.text, "setting jitter buffer size to ")
	a.media = decoderLine.Get().MatchString(a.text)
	a.opened = strings.Contains(a.text, "Input #0, ")
	a.streaming = strings.Contains(a.text, "Stream mapping:")
	if found := redirectLine.Get().FindStringSubmatch(a.text); found != nil {
		a.redirect = found[1]
	}
	if input, _, _ := strings.Cut(a.text, "Output #0"); a.opened {
		if found := codecLine.Get().FindStringSubmatch(input); found != nil {
			a.codec = found[1]
		}
	}
	return a
}

// withoutSDP cuts the session description out: its lines are the camera's, and must not be taken for ffmpeg's. It returns
// those of video tracks.
func withoutSDP(text string) (rest string, videos []string, described bool) {
	var kept []string
	inside := false
	for line := range strings.Lines(strings.ReplaceAll(text, "\r", "\n")) {
		line = strings.TrimRight(line, "\n")
		if inside && len(line) > 1 && line[1] == '=' {
			if strings.HasPrefix(line, "m=video") {
				videos = append(videos, line)
			}
			continue
		}
		if inside && line == "" {
			continue // the end of a line that ended in CR LF
		}
		inside = sdpLine.Get().MatchString(line)
		described = described || inside
		kept = append(kept, line)
	}
	return strings.Join(kept, "\n"), videos, described
}

// lastLine is the last thing ffmpeg said, for an error that no rule knows: printable, without its pointers, at most 200 bytes.
func (a account) lastLine() string {
	lines := strings.Split(strings.TrimSpace(a.text), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		if line == "" || noise.Get().MatchString(line) {
			continue
		}
		line = pointer.Get().ReplaceAllString(line, "]")
		return plain(line, 200)
	}
	return ""
}

var (
	pointer = lazyre.New(` @ 0x[0-9a-f]+\]`)
	noise   = lazyre.New(`^(Exiting normally|\[AVIOContext|frame=|video:|Conversion failed!|Last message repeated)`)
)

// plain makes a foreign text fit for a one-line message on a terminal.
func plain(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\ufffd' {
			return -1
		}
		return r
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
