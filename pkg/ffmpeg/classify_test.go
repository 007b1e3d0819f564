package ffmpeg

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// fixture is what one recorded ffmpeg said, and how it ended.
type fixture struct {
	name, fault string
	version     string
	exit        int
	signal      bool // a signal of the recorder's ended it
	script      bool
	args        string
	stderr      []byte
}

var headerField = regexp.MustCompile(`(\S+?)=(\S+)`)

func fixtures(t *testing.T) []fixture {
	t.Helper()
	paths, err := filepath.Glob("testdata/ffmpeg-stderr/*.txt")
	if err != nil || len(paths) < 100 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	var all []fixture
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		header, stderr, _ := strings.Cut(string(content), "\n")
		f := fixture{name: filepath.Base(path), stderr: []byte(stderr)}
		var fields string
		fields, f.args, _ = strings.Cut(header, "args=")
		for _, field := range headerField.FindAllStringSubmatch(fields, -1) {
			switch field[1] {
			case "exit":
				if f.exit, err = strconv.Atoi(field[2]); err != nil {
					t.Fatal(err)
				}
			case "version":
				f.version = field[2]
			case "fault":
				f.fault = field[2]
			case "signal", "killed-by-recorder-after":
				f.signal = true
			}
		}
		f.script = strings.Contains(f.args, "-f concat")
		all = append(all, f)
	}
	return all
}

// ending is the fixture as the supervisor would have told it.
func (f fixture) ending(secret string) (evidence, supervise.Ending) {
	const idle = 3 * time.Second
	ending := supervise.Ending{Kind: supervise.Exited, Code: f.exit, PID: 4711, Duration: 100 * time.Millisecond}
	if strings.Contains(f.fault, "timeout") {
		ending.Duration = idle + 50*time.Millisecond
	}
	if f.signal {
		ending.Kind, ending.Sent, ending.Duration = supervise.Expired, []string{"TERM"}, 4*time.Second
		if f.exit < 0 {
			ending.Signal, ending.Sent = "KILL", []string{"TERM", "KILL"}
		}
	}
	if f.exit == 0 {
		ending.Stdout = []byte{0xff, 0xd8}
	}
	ending.Stderr = redact.New(secret, "wrongPass").Bytes(f.stderr)
	return evidence{account: read(ending.Stderr), elapsed: ending.Duration, idle: idle, script: f.script, home: []string{"127.0.0.1:22123"}}, ending
}

// want is what each recorded fault must be called. Where versions differ in what they let us know, the version is in the key.
var want = map[string]struct {
	class fault.Class
	step  fault.Step
}{
	"auth-401-digest-rejected": {fault.Auth, fault.Describe},
	"auth-401-no-credentials":  {fault.Auth, fault.Describe},
	"auth-401-wrong-password":  {fault.Auth, fault.Describe},
	"concat-auth-401":          {fault.Auth, fault.Describe},
	"forbidden-403":            {fault.Auth, fault.Describe},

	"notfound-404":              {fault.NotFound, fault.Describe},
	"notfound-404-no-publisher": {fault.NotFound, fault.Describe},
	"concat-notfound-404":       {fault.NotFound, fault.Describe},

	"busy-453-at-play":          {fault.Exhausted, fault.Play},
	"busy-453-at-setup":         {fault.Exhausted, fault.Setup},
	"busy-503-at-describe":      {fault.Exhausted, fault.Describe},
	"busy-503-at-setup":         {fault.Exhausted, fault.Setup},
	"concat-busy-453-at-setup":  {fault.Exhausted, fault.Setup},
	"closed-at-play-fin":        {fault.Exhausted, fault.Play},
	"closed-at-play-rst":        {fault.Exhausted, fault.Play},
	"concat-closed-at-play-rst": {fault.Exhausted, fault.Play},

	"badrequest-400":               {fault.Protocol, ""},
	"server-error-500":             {fault.Protocol, fault.Describe},
	"session-454-at-play":          {fault.Protocol, fault.Play},
	"unsupported-transport-461":    {fault.Protocol, fault.Setup},
	"redirect-302":                 {fault.Protocol, fault.Describe},
	"protocol-not-rtsp-http-reply": {fault.Closed, ""}, // at loglevel info nothing tells it from a camera that hangs up

	"closed-on-accept-fin":       {fault.Closed, ""},
	"closed-on-accept-rst":       {fault.Closed, ""},
	"closed-on-accept-rst 4.3.7": {fault.Closed, fault.Connect},
	"closed-on-accept-rst 7.1.5": {fault.Closed, fault.Connect},
	"closed-at-options-rst":      {fault.Closed, ""},
	"closed-at-describe-fin":     {fault.Closed, ""},
	"closed-at-describe-rst":     {fault.Closed, ""},
	"closed-at-setup-fin":        {fault.Closed, ""},
	"closed-at-setup-rst":        {fault.Closed, ""},
	"closed-after-play-fin":      {fault.Closed, fault.Media},
	"recv-ehostunreach":          {fault.Closed, ""}, // 5.1 swallows the errno of a read
	"recv-etimedout":             {fault.Closed, ""},

	"refused":                      {fault.Refused, fault.Connect},
	"concat-refused":               {fault.Refused, fault.Connect},
	"concat-url-with-single-quote": {fault.Refused, fault.Connect},
	"connect-ehostunreach":         {fault.Unreachable, fault.Connect},
	"connect-enetunreach":          {fault.Unreachable, fault.Connect},
	"connect-etimedout":            {fault.Unreachable, fault.Connect}, // before our limit: the kernel gave up
	"dns-not-found":                {fault.DNS, fault.Connect},

	"connect-eacces":        {fault.Local, fault.Connect},
	"connect-eaddrnotavail": {fault.Local, fault.Connect},
	"connect-enobufs":       {fault.Local, fault.Connect},
	"connect-eperm":         {fault.Local, fault.Connect},
	"socket-eacces":         {fault.Local, fault.Connect},
	"socket-emfile":         {fault.Local, fault.Connect},
	"socket-eperm":          {fault.Local, fault.Connect},

	"timeout-connect-syn-dropped":         {fault.Timeout, fault.Connect},
	"timeout-mute-before-describe":        {fault.Timeout, ""},
	"timeout-mute-at-setup":               {fault.Timeout, ""},
	"timeout-mute-at-play":                {fault.Timeout, fault.Play},
	"timeout-mute-after-play":             {fault.Timeout, fault.Media},
	"concat-timeout-connect-syn-dropped":  {fault.Timeout, fault.Connect},
	"concat-timeout-mute-before-describe": {fault.Timeout, ""},
	"concat-timeout-mute-after-play":      {fault.Timeout, fault.Media},

	"sigterm-in-connect":      {fault.Timeout, fault.Connect},
	"sigterm-mute":            {fault.Timeout, ""},
	"sigint-mute":             {fault.Timeout, ""},
	"sigkill-mute":            {fault.Timeout, ""},
	"sigterm-mute-after-play": {fault.Timeout, fault.Media},
	"sigterm-streaming":       {fault.Timeout, fault.KeyFrame},
	"no-keyframe-long-gop":    {fault.Timeout, fault.KeyFrame},

	"av1-unknown-codec":          {fault.NoVideo, fault.Setup},
	"vp9-stuck":                  {fault.Decode, fault.Decoding},
	"unsupported-transport-avpf": {fault.Protocol, fault.Setup},

	"no-video-audio-only": {fault.NoVideo, ""},
	"garbage-rtp-h264":    {fault.Decode, fault.Decoding},

	"output-dir-missing":            {fault.Local, ""},
	"output-disk-full":              {fault.Local, ""},
	"output-pipe-closed-epipe":      {fault.Local, ""},
	"concat-bad-script":             {fault.Local, ""},
	"concat-empty-stdin":            {fault.Local, ""},
	"unknown-option-rw_timeout":     {fault.Local, ""},
	"unknown-option-stimeout":       {fault.Local, ""},
	"unknown-option-stimeout 4.3.7": {fault.Timeout, ""}, // it knows the option; the camera was mute
	"unknown-protocol":              {fault.Local, ""},
	"invalid-port":                  {fault.Local, ""},

	"ok":        {"", ""},
	"concat-ok": {"", ""},
}

func TestEveryRecordedEndingHasItsClassAndStep(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range fixtures(t) {
		key := f.fault + " " + f.version
		expect, known := want[key]
		if !known {
			key = f.fault
			expect, known = want[key]
		}
		if !known {
			t.Errorf("%s: fault %q is not in the table", f.name, f.fault)
			continue
		}
		seen[key] = true
		e, ending := f.ending("S3cretPass")
		err := verdict(t.Context(), e, ending)
		if err == nil {
			if expect.class != "" {
				t.Errorf("%s: no error, want class %q", f.name, expect.class)
			}
			continue
		}
		if err.Class != expect.class || err.Step != expect.step {
			t.Errorf("%s: class %q step %q, want %q %q (%s)", f.name, err.Class, err.Step, expect.class, expect.step, err.Message)
		}
		if err.Hint == "" || err.Message == "" || strings.ContainsAny(err.Message+err.Hint, "\n\r") || strings.Contains(err.Message+err.Hint, "%!") || strings.Contains(err.Message, "0x") {
			t.Errorf("%s: message %q, hint %q", f.name, err.Message, err.Hint)
		}
		if len(err.Message) > 160 {
			t.Errorf("%s: %d bytes of message: %s", f.name, len(err.Message), err.Message)
		}
	}
	for key := range want {
		if !seen[key] {
			t.Errorf("no fixture shows %q", key)
		}
	}
}

func TestNoErrorSpeaksTheRecordedPassword(t *testing.T) {
	t.Parallel()
	found := 0
	for _, f := range fixtures(t) {
		if strings.Contains(string(f.stderr), "S3cretPass") {
			found++
		}
		e, ending := f.ending("S3cretPass")
		text := string(ending.Stderr) + e.lastLine()
		if err := verdict(t.Context(), e, ending); err != nil {
			text += err.Message + err.Hint
		}
		for _, secret := range []string{"S3cretPass", "wrongPass", "S3cret'Pass"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %s survived redaction", f.name, secret)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d fixtures hold the password at all: this test proves nothing", found)
	}
}

func TestClassify_laterLineTellsTheStep(t *testing.T) {
	t.Parallel()
	const (
		connecting = "[tcp @ 0x1] Starting connection attempt to 127.0.0.1 port 554\n"
		connected  = connecting + "[tcp @ 0x1] Successfully connected to 127.0.0.1 port 554\n"
		described  = connected + "[rtsp @ 0x2] SDP:\nv=0\r\ns=401 Unauthorized\r\nm=video 0 RTP/AVP 96\r\n\r\n"
		audioOnly  = connected + "[rtsp @ 0x2] SDP:\nv=0\nm=audio 0 RTP/AVP 8\n\n"
		setUp      = described + "[rtsp @ 0x2] setting jitter buffer size to 0\n"
		failed     = "[concat @ 0x3] Impossible to open 'rtsp://***@127.0.0.1/x'\npipe:0: Invalid data found when processing input\n"
	)
	for _, c := range []struct {
		name, stderr string
		elapsed      time.Duration
		class        fault.Class
		step         fault.Step
	}{
		{"mute at SETUP", described + failed, 3 * time.Second, fault.Timeout, fault.Setup},
		{"closed at SETUP", described + failed, time.Second, fault.Closed, fault.Setup},
		{"mute before DESCRIBE was answered", connected + failed, 3 * time.Second, fault.Timeout, ""},
		{"not RTSP", connected + "[rtsp @ 0x2] CSeq 1 expected, 0 received.\n" + failed, time.Second, fault.Protocol, ""},
		{"no video", audioOnly + "[rtsp @ 0x2] method PLAY failed: 455 Method Not Valid In This State\n", time.Second, fault.NoVideo, fault.Describe},
		{"the description is not ffmpeg's word", described + failed, time.Second, fault.Closed, fault.Setup},
		{"video without key frame", setUp + "[h264 @ 0x9] no frame!\n[rtsp @ 0x2] Could not find codec parameters for stream 0 (Video: h264, none): unspecified size\n", 3 * time.Second, fault.Timeout, fault.KeyFrame},
	} {
		e := evidence{account: read([]byte(c.stderr)), elapsed: c.elapsed, idle: 3 * time.Second, script: true}
		if err := classify(e); err.Class != c.class || err.Step != c.step {
			t.Errorf("%s: class %q step %q, want %q %q (%s)", c.name, err.Class, err.Step, c.class, c.step, err.Message)
		}
	}
}

func TestARedirectToTheCameraItselfIsNone(t *testing.T) {
	t.Parallel()
	for url, away := range map[string]bool{
		"rtsp://127.0.0.1:8554/other": false,
		"rtsp://gate:8554/other":      false,
		"rtsp://127.0.0.1:8555/other": true,
		"rtsp://127.0.0.1/other":      true,
		"rtsp://192.0.2.7:8554/other": true,
		"":                            true, // a header that says nothing
	} {
		text := "[rtsp @ 0x1] Status 302: Redirecting to " + url + "\n"
		e := evidence{account: read([]byte(text)), home: []string{"127.0.0.1:8554", "gate:8554"}}
		if got := e.ledAway() != nil; got != away && url != "" {
			t.Errorf("redirect to %q: led away %v, want %v", url, got, away)
		}
	}
}

func TestSettle_coolsWhenTheEndWasNotTold(t *testing.T) {
	t.Parallel()
	const (
		connected = "[tcp @ 0x1] Starting connection attempt to 127.0.0.1 port 554\n[tcp @ 0x1] Successfully connected to 127.0.0.1 port 554\n"
		described = connected + "[rtsp @ 0x2] SDP:\nv=0\nm=video 0 RTP/AVP 96\n\n"
		setUp     = described + "[rtsp @ 0x2] setting jitter buffer size to 0\n"
		opened    = setUp + "Input #0, concat, from 'pipe:0':\n"
		streaming = opened + "Stream mapping:\n"
	)
	term := supervise.Ending{Kind: supervise.Expired, PID: 1, Sent: []string{"TERM"}, Duration: 4 * time.Second}
	killed := supervise.Ending{Kind: supervise.Expired, PID: 1, Sent: []string{"TERM", "KILL"}, Signal: "KILL", Duration: 4 * time.Second}
	failed := supervise.Ending{Kind: supervise.Exited, PID: 1, Code: 1, Duration: time.Second}
	late := supervise.Ending{Kind: supervise.Exited, PID: 1, Code: 1, Duration: 3 * time.Second}
	for _, c := range []struct {
		name, stderr string
		ending       supervise.Ending
		lingers      bool
	}{
		{"never started", "", supervise.Ending{Kind: supervise.Refused}, false},
		{"success", streaming, supervise.Ending{Kind: supervise.Exited, PID: 1}, false},
		{"TERM before SETUP", connected, term, false},
		{"KILL before SETUP", connected, killed, false},
		{"TERM at SETUP", described, term, true},
		{"TERM at PLAY", setUp, term, true},
		{"TERM while mute after PLAY", opened, term, true},
		{"TERM while streaming", streaming, term, false},
		{"KILL while streaming", streaming, killed, true},
		{"KILL at an unknown step", "", killed, true},
		{"crash while streaming", streaming, supervise.Ending{Kind: supervise.Exited, PID: 1, Code: -1, Signal: "SEGV"}, true},
		{"mute at SETUP", described + "pipe:0: Invalid data found when processing input\n", late, true},
		{"mute at PLAY, left by ffmpeg itself", setUp + "pipe:0: Operation not permitted\n", late, false},
		{"mute after PLAY, left by ffmpeg itself", opened, late, false},
		{"closed at PLAY", setUp + "pipe:0: Operation not permitted\n", failed, false},
		{"453 at SETUP", described + "[rtsp @ 0x2] method SETUP failed: 453 Not Enough Bandwidth\n", failed, false},
		{"453 at PLAY", setUp + "[rtsp @ 0x2] method PLAY failed: 453 Not Enough Bandwidth\n", failed, false},
		{"453 at PLAY, ffmpeg 4", "[rtsp @ 0x2] method PLAY failed: 453 Not Enough Bandwidth\n", failed, true},
		{"mute at PLAY, ffmpeg 4", "rtsp://***@127.0.0.1/x: Operation not permitted\n", late, true},
		{"454 at PLAY", setUp + "[rtsp @ 0x2] method PLAY failed: 454 Session Not Found\n", failed, false},
		{"led away", connected + "[rtsp @ 0x2] Status 302: Redirecting to rtsp://192.0.2.1/x\n" + setUp, term, false},
	} {
		c.ending.Stderr = []byte(c.stderr)
		e := evidence{account: read(c.ending.Stderr), elapsed: c.ending.Duration, idle: 3 * time.Second, script: true}
		if got := mayLinger(e, c.ending); got != c.lingers {
			t.Errorf("%s: lingers %v, want %v", c.name, got, c.lingers)
		}
	}
}
