package ffmpeg

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lazyre"
)

// evidence is what the verdict over a failed ffmpeg rests on.
type evidence struct {
	account
	elapsed time.Duration
	idle    time.Duration // ffmpeg's own time-out, which starts anew with every byte; 0: it has none
	script  bool          // the URL went in as an ffconcat script on stdin
	home    []string      // host:port spellings of the camera: a redirect to any of these is none
}

// late says whether the camera was silent until a time-out of ffmpeg's, rather than that it closed the connection:
// ffmpeg 4 and 5 word both alike, 7 names the reason.
func (e evidence) late() bool {
	switch {
	case ranOut.Get().MatchString(e.text):
		return true
	case hungUp.Get().MatchString(e.text):
		return false
	}
	return e.idle > 0 && e.elapsed >= e.idle
}

var (
	ranOut = lazyre.New(`Failed reading RTSP data: Connection timed out`)
	hungUp = lazyre.New(`Failed reading RTSP data: (End of file|Connection reset by peer|Broken pipe)`)
)

// furthest is the step that the conversation had reached, or "" when the text cannot tell.
func (e evidence) furthest() fault.Step {
	switch {
	case e.streaming, e.opened && e.media, e.setUp && e.media:
		return fault.KeyFrame
	case e.opened, parametersMissing.Get().MatchString(e.text):
		return fault.Media
	case e.setUp:
		return fault.Play
	case e.described:
		return fault.Setup
	case e.connected: // OPTIONS and DESCRIBE look alike
		return ""
	case e.dialled, strings.Contains(e.text, "Immediate exit requested") && !strings.Contains(e.text, "Failed reading RTSP data"):
		return fault.Connect
	}
	return ""
}

const noParameters = `Could not find codec parameters for stream \d+ \(Video`

var parametersMissing = lazyre.New(noParameters)

// rule is one line of the table. The first whose pattern is in ffmpeg's text, and whose condition holds, decides.
type rule struct {
	pattern *lazyre.Regexp
	when    func(evidence) bool // nil: always
	class   fault.Class
	step    fault.Step // "": the method that the pattern captured, else unknown
	reach   bool       // the step is the furthest one reached
	message string     // %s is the text the pattern captured, or " at STEP"
	hint    string
}

func late(e evidence) bool  { return e.late() }
func early(e evidence) bool { return !e.late() }

// What to try next, by the kind of trouble; %s is the camera's address.
const (
	hintSlots   = "end other viewers of this camera or wait for its session_timeout; raise max_connections only if the camera truly allows more"
	hintLogin   = "check username and password of this camera (password_file, password_env)"
	hintPath    = "check path of this camera in the configuration"
	HintMute    = "restart the camera if it stays silent; a slow one needs a longer timeout"
	hintAlive   = "is it on, and is this its address? ping %s"
	hintServer  = "is this the camera's RTSP port? check host, port and path"
	HintInstall = "apt install ffmpeg, or set ffmpeg.path"
	hintFFmpeg  = "check ffmpeg.path; try another ffmpeg (5 or later)"
	hintFlaky   = "try again; if it stays, look at the stream: ffplay -rtsp_transport tcp URL"
	hintProfile = "let the camera, or the server in front of it, offer RTP/AVP; in GStreamer: set_profiles(AVP)"
	hintRTSP    = "let the source rtsp read it: it knows VP8, VP9, AV1, MPEG-4 and MPEG-2 too"
	// ffmpeg takes only what it calls a key frame, which a stream of intra refresh never has.
	hintInterval = "set a shorter key-frame interval in the camera, or a longer timeout here; without key frames (intra refresh) only the source rtsp has a still"
	hintOurSide  = "look at this host: its firewall (nft list ruleset), its limits (ulimit -n), its disk"
)

// rules turns ffmpeg's words into classes. Measured with live servers and injected errnos on ffmpeg 4.3, 5.1 and 7.1,
// see testdata/ffmpeg-stderr; 7.1 prints "401Unauthorized" without the space.
var rules = []rule{
	// What we asked of ffmpeg, before the camera had a say.
	{pattern: lazyre.New(`Unrecognized option|Option \S+ not found|Unknown (encoder|decoder|format)|Error splitting the argument list|no decoder found`),
		class: fault.Local, message: "this ffmpeg lacks something we need: %s", hint: hintFFmpeg},
	{pattern: lazyre.New(`\[concat .*(Line \d+: .*|Unsafe file name)`),
		class: fault.Local, message: "ffmpeg did not understand the hand-over of the URL", hint: hintFFmpeg},
	{pattern: lazyre.New(`Protocol not found|Protocol '\S+' not on whitelist`),
		class: fault.Local, message: "this ffmpeg cannot speak the protocol of the URL", hint: hintFFmpeg},
	{pattern: lazyre.New(`Port missing in uri`),
		class: fault.Local, message: "ffmpeg cannot read the URL", hint: "check host and port of this camera in the configuration"},

	// Our own side of the network.
	{pattern: lazyre.New(`Failed to resolve hostname`), class: fault.DNS, step: fault.Connect,
		message: "the camera's name does not resolve", hint: "check host of this camera in the configuration"},
	{pattern: lazyre.New(`\[tcp .*failed: ((?:Operation not permitted|Permission denied))`), class: fault.Local, step: fault.Connect,
		message: "this host forbids the connection (%s)", hint: hintOurSide},
	{pattern: lazyre.New(`\[tcp .*failed: (Too many open files.*|No buffer space available|Cannot assign requested address|Cannot allocate memory)`),
		class: fault.Local, step: fault.Connect, message: "this host cannot open a connection (%s)", hint: hintOurSide},

	// The socket's answer.
	{pattern: lazyre.New(`\[tcp .*failed: Connection refused`), class: fault.Refused, step: fault.Connect,
		message: "the camera refused the connection", hint: hintServer},
	{pattern: lazyre.New(`\[tcp .*failed: (No route to host|Network is unreachable|Host is down|Host is unreachable)`), class: fault.Unreachable, step: fault.Connect,
		message: "the camera cannot be reached (%s)", hint: hintAlive},
	{pattern: lazyre.New(`\[tcp .*failed: Connection timed out`), when: late, class: fault.Timeout, step: fault.Connect,
		message: "the camera did not accept the connection in time", hint: hintAlive},
	{pattern: lazyre.New(`\[tcp .*failed: Connection timed out`), class: fault.Unreachable, step: fault.Connect, // the kernel gave up before we did
		message: "the camera cannot be reached (connection timed out)", hint: hintAlive},
	{pattern: lazyre.New(`\[tcp .*failed: (Connection reset by peer|Software caused connection abort)`), class: fault.Closed, step: fault.Connect,
		message: "the connection was cut as soon as it stood (%s)", hint: hintSlots},

	// The camera's answer to a method.
	{pattern: lazyre.New(`method PLAY failed`), when: func(e evidence) bool { return e.described && !e.video }, class: fault.NoVideo, step: fault.Describe,
		message: "the camera offers no video under this path", hint: hintPath},
	{pattern: lazyre.New(`method (\S+) failed: 401`), class: fault.Auth, message: "the camera refused the log-in (401%s)", hint: hintLogin},
	{pattern: lazyre.New(`method (\S+) failed: 403`), class: fault.Auth, message: "the camera forbids this user the stream (403%s)", hint: hintLogin},
	{pattern: lazyre.New(`method (\S+) failed: 404`), class: fault.NotFound, message: "the camera has no such stream (404%s)", hint: hintPath},
	{pattern: lazyre.New(`method (\S+) failed: (?:453|503)`), class: fault.Exhausted, message: "the camera has no connection left%s", hint: hintSlots},
	{pattern: lazyre.New(`method (\S+) failed: 461`), when: func(e evidence) bool { return e.feedback }, class: fault.Protocol,
		message: "the camera sends video with the profile RTP/AVPF alone, which ffmpeg does not ask for (461%s)", hint: hintProfile},
	{pattern: lazyre.New(`method (\S+) failed: 461`), class: fault.Protocol, message: "the camera does not offer this transport (461%s)", hint: "set transport: auto for this camera"},
	{pattern: lazyre.New(`method (\S+) failed: \d+`), class: fault.Protocol, message: "the camera answered with an error%s", hint: hintServer},
	{pattern: lazyre.New(`Server returned 401|401 ?Unauthorized`), class: fault.Auth, message: "the camera refused the log-in (401)", hint: hintLogin},
	{pattern: lazyre.New(`Server returned 403|403 ?Forbidden`), class: fault.Auth, message: "the camera forbids this user the stream (403)", hint: hintLogin},
	{pattern: lazyre.New(`Server returned 404|404 ?Not Found`), class: fault.NotFound, message: "the camera has no such stream (404)", hint: hintPath},
	{pattern: lazyre.New(`Server returned (4\d\d|4XX|5\d\d|5XX)`), class: fault.Protocol, message: "the camera answered with an error (%s)", hint: hintServer},
	{pattern: lazyre.New(`CSeq \d+ expected, 0 received`), when: func(e evidence) bool { return early(e) && !e.described }, class: fault.Protocol,
		message: "what answers there does not speak RTSP", hint: hintServer},

	// Our own side of the output. Before the decoder's words: ffmpeg ends both with "Conversion failed!".
	{pattern: lazyre.New(`av_interleaved_write_frame\(\): (.*)|Could not open file`), class: fault.Local,
		message: "ffmpeg could not hand over the picture", hint: hintOurSide},

	// A conversation that ended without an answer. ffmpeg says "Operation not permitted" when PLAY gets none.
	{pattern: lazyre.New(`(?m)^(?:[^\[].*: |\[in#0 .*: )Operation not permitted$`), when: late, class: fault.Timeout, step: fault.Play,
		message: "the camera did not answer PLAY in time", hint: HintMute},
	{pattern: lazyre.New(`(?m)^(?:[^\[].*: |\[in#0 .*: )Operation not permitted$`), class: fault.Exhausted, step: fault.Play,
		message: "the camera closed the connection at PLAY, as it does when it has no slot left", hint: hintSlots},
	{pattern: lazyre.New(unknownCodecText), class: fault.NoVideo, step: fault.Setup,
		message: "this ffmpeg cannot receive the codec of the camera's video", hint: hintRTSP},
	{pattern: lazyre.New(noParameters), when: func(e evidence) bool { return e.late() && !e.media }, class: fault.Timeout, step: fault.Media,
		message: "the camera sent no video in time", hint: HintMute},
	{pattern: lazyre.New(noParameters), when: func(e evidence) bool { return !e.media }, class: fault.Closed, step: fault.Media,
		message: "the camera closed the connection before it sent video", hint: hintSlots},
	{pattern: lazyre.New(noParameters), when: late, class: fault.Timeout, step: fault.KeyFrame,
		message: "no key frame came in time", hint: hintInterval},
	{pattern: lazyre.New(`Error submitting|Error while decoding|Decoding error|Conversion failed!|Could not find codec parameters`), class: fault.Decode, step: fault.Decoding,
		message: "the video could not be decoded", hint: hintFlaky},
	{pattern: lazyre.New(`does not contain any stream|matches no streams`), class: fault.NoVideo,
		message: "the camera offers no video under this path", hint: hintPath},
	{pattern: lazyre.New(`(?m)^pipe:0: Invalid data found`), when: func(e evidence) bool { return e.script && !strings.Contains(e.text, "Impossible to open") }, class: fault.Local,
		message: "ffmpeg did not understand the hand-over of the URL", hint: hintFFmpeg},
	{pattern: lazyre.New(`Invalid data found when processing input|Input/output error|Error opening input`), when: late, class: fault.Timeout, reach: true,
		message: "the camera stopped answering%s", hint: HintMute},
	{pattern: lazyre.New(`Invalid data found when processing input|Input/output error|Error opening input`), class: fault.Closed, reach: true,
		message: "the camera closed the connection%s, or does not speak RTSP", hint: hintSlots},
}

// classify finds the words for an ffmpeg that failed by itself. The caller has dealt with the signals that we sent.
func classify(e evidence) *fault.Error {
	if err := e.ledAway(); err != nil {
		return err
	}
	for _, r := range rules {
		found := r.pattern.Get().FindStringSubmatch(e.text)
		if found == nil || r.when != nil && !r.when(e) {
			continue
		}
		return r.apply(e, found)
	}
	step := e.furthest()
	if said := e.lastLine(); said != "" {
		return fault.New(fault.Protocol, step, "ffmpeg failed%s: %s", step.At(), said).WithHint(hintServer)
	}
	return fault.New(fault.Local, step, "ffmpeg failed without a word").WithHint(hintFFmpeg)
}

func (r rule) apply(e evidence, found []string) *fault.Error {
	detail := strings.TrimSpace(strings.Join(found[1:], ""))
	step := r.step
	switch {
	case r.reach:
		step = e.furthest()
		detail = step.At()
	case step == "" && len(found) > 1 && stepOf(found[1]) != "":
		step = stepOf(found[1])
		detail = step.At()
	case strings.Contains(r.message, ": %s"):
		detail = found[0]
	}
	message := r.message
	if strings.Contains(message, "%s") {
		message = fmt.Sprintf(message, plain(detail, 80))
	}
	hint := r.hint
	if strings.Contains(hint, "%s") {
		hint = fmt.Sprintf(hint, e.host())
	}
	return fault.New(r.class, step, "%s", message).WithHint("%s", hint)
}

// host is the camera's address for hints.
func (e evidence) host() string {
	if len(e.home) == 0 {
		return "ADDRESS"
	}
	if at, err := netip.ParseAddrPort(e.home[0]); err == nil {
		return at.Addr().String()
	}
	return e.home[0]
}

func stepOf(method string) fault.Step {
	switch method {
	case "OPTIONS":
		return fault.Options
	case "DESCRIBE":
		return fault.Describe
	case "SETUP":
		return fault.Setup
	case "PLAY":
		return fault.Play
	}
	return ""
}

// ledAway is the error of a camera that redirects to another address. ffmpeg has followed by the time we read of it:
// it has no option against that, follows without a word at -loglevel error, and the kernel gives us no cheap way to
// hold a child to one address. So the attempt fails even when a picture came: it would be some other camera's.
// (It tells the other address nothing that the redirecting camera could not have learnt itself.)
func (e evidence) ledAway() *fault.Error {
	if e.redirect == "" {
		return nil
	}
	target, err := url.Parse(e.redirect)
	where := "another address"
	if err == nil && target.Host != "" {
		where = target.Host
		if target.Port() == "" {
			where += ":554"
		}
		for _, home := range e.home {
			if strings.EqualFold(where, home) {
				return nil
			}
		}
	}
	return fault.New(fault.Protocol, fault.Describe, "the camera redirects to %s, and a still from there would not be its own", plain(where, 80)).
		WithHint("if that is right, give this address to the camera in the configuration")
}

// homeOf lists the spellings under which a camera may name itself.
func homeOf(address netip.AddrPort, host string, port uint16) []string {
	home := []string{address.String()}
	if host != "" {
		home = append(home, host+":"+strconv.Itoa(int(port)))
	}
	return home
}
