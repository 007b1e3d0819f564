package go2rtc_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/go2rtc"
)

// stream reads a recorded stream through the client.
func streamFrom(t *testing.T, file string) go2rtc.Stream {
	t.Helper()
	s := newServer(t)
	s.instead = replay(t, file)
	got, ok, err := s.client().Get(t.Context(), "camwarden-gate")
	if err != nil || !ok {
		t.Fatalf("%s: %v, %v", file, ok, err)
	}
	return got
}

func TestJudge_viewersAsTheServerSaysThem(t *testing.T) {
	t.Parallel()
	const idle, live = false, true
	for file, want := range map[string]struct {
		connected                      bool
		viewers, ours, stuck, harmless int
		words                          string
	}{
		"stream-idle.json":                          {connected: idle},
		"stream-dial-pending.json":                  {connected: idle},
		"stream-after-viewer.json":                  {connected: idle},
		"stream-after-snapshot-idle.json":           {connected: idle},
		"stream-with-viewer-rtsp.json":              {connected: live, viewers: 1, words: "1 viewer: an RTSP player at 127.0.0.1:42780 (Lavf59.27.100)"},
		"stream-with-viewer-go2rtc-relay.json":      {connected: live, viewers: 1, words: "1 viewer: an RTSP player at 127.0.0.1:37658 (go2rtc/1.9.14+dev.)"},
		"stream-with-viewer-hls.json":               {connected: live, viewers: 2},
		"stream-with-viewer-mjpeg.json":             {connected: live, viewers: 1},
		"stream-with-viewer-mp4.json":               {connected: live, viewers: 1},
		"stream-with-viewer-mpegts.json":            {connected: live, viewers: 1},
		"stream-with-viewer-mse.json":               {connected: live, viewers: 1, words: "1 viewer: a browser by MSE at 127.0.0.1:38252 (Mozilla/5.0 (test browser))"},
		"stream-with-viewer-webrtc.json":            {connected: live, viewers: 1, words: "1 viewer: a browser by WebRTC at 127.0.0.1:34031 (Go-http-client/1.1)"},
		"stream-with-viewer-ws-mjpeg.json":          {connected: live, viewers: 1},
		"stream-reconnecting.json":                  {connected: live, viewers: 1},
		"stream-with-preload.json":                  {connected: live, harmless: 1, words: "harmless: go2rtc's preload"},
		"stream-probe.json":                         {connected: live, harmless: 1},
		"stream-stuck-snapshot.json":                {connected: live, viewers: 1},
		"stream-with-own-snapshot.json":             {connected: live, viewers: 1}, // names no run
		"stream-with-internal-ffmpeg-consumer.json": {connected: live, viewers: 2, words: "2 viewers: an MJPEG viewer at 127.0.0.1:33540 (curl/7.88.1), go2rtc's own ffmpeg at 127.0.0.1:46074 (go2rtc/ffmpeg)"},
		"stream-with-viewer-and-snapshot.json":      {connected: live, viewers: 2},
		"stream-with-concurrent-snapshots.json":     {connected: live, viewers: 6},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			s := streamFrom(t, file)
			j := go2rtc.Judge(s, mine(), time.Now())
			if len(s.Producers) == 0 || s.Producers[0].Connected() != want.connected || s.Idle() == want.connected {
				t.Errorf("connected: %+v", s.Producers)
			}
			if len(j.Viewers) != want.viewers || len(j.Ours) != want.ours || len(j.Stuck) != want.stuck || len(j.Harmless) != want.harmless || j.Watched() != (want.viewers > 0) {
				t.Errorf("%s", j.Words())
			}
			if want.words != "" && j.Words() != want.words {
				t.Errorf("%q, want %q", j.Words(), want.words)
			}
		})
	}
}

func TestAnOldServerIsReadToo(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"stream-idle.json":                          "",
		"stream-stuck-snapshot.json":                "of ours: a picture being taken at 127.0.0.1:55242 (camwarden/1.0 run/01MINE)",
		"stream-with-viewer-mp4.json":               "1 viewer: an MP4 viewer at 127.0.0.1:59328 (Go-http-client/1.1)",
		"stream-with-internal-ffmpeg-consumer.json": "1 viewer: go2rtc's own ffmpeg at 127.0.0.1:43558 (go2rtc/ffmpeg)",
	} {
		s := streamFrom(t, "../legacy/"+file)
		if got := go2rtc.Judge(s, mine(), time.Now()).Words(); got != want || s.Idle() != (want == "") {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	s := streamFrom(t, "../legacy/stream-with-viewer-mp4.json")
	if p := s.Producers[0]; p.ID != 0 || p.BytesRecv != 12026 || p.Codec != "h264" || !p.Connected() {
		t.Errorf("%+v", p)
	}
	if c := streamFrom(t, "../legacy/stream-stuck-snapshot.json").Consumers[0]; c.Codec != "h264" {
		t.Errorf("%+v", c)
	}
	// It lists a connected source under the camera's own name, here with a slash at the end.
	address := netip.MustParseAddrPort("127.0.125.12:8554")
	camera := go2rtc.Target{Scheme: "rtsp", Host: "gate.lan", Address: address, Path: "/stream1"}
	if len(go2rtc.Watched([]go2rtc.Stream{s}, camera, mine(), time.Now())) != 1 {
		t.Error("the camera is not found to be watched")
	}
	camera.Path = "/stream2"
	if len(go2rtc.Watched([]go2rtc.Stream{s}, camera, mine(), time.Now())) != 0 {
		t.Error("another camera is")
	}
}

func TestTheTracksOfAStillOlderServerAreRead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.instead = says("application/json", `{"producers":[{"type":"RTSP active producer","receivers":["97 MPEG4-GENERIC/16000","96 H265/90000, bytes=8147, senders=1"]}]}`)
	got, _, err := s.client().Get(t.Context(), "camwarden-gate")
	if err != nil || got.Producers[0].Codec != "h265" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheFieldsOfAConnectionAreRead(t *testing.T) {
	t.Parallel()
	s := streamFrom(t, "stream-with-viewer-rtsp.json")
	p := s.Producers[0]
	if p.Source != "rtsp://***@127.0.125.12:554/stream2" || p.ID != 9 || p.RemoteAddr != "127.0.125.12:554" || p.BytesRecv != 23742 || p.Codec != "h264" || p.Format != "rtsp" || p.Protocol != "rtsp+tcp" {
		t.Errorf("%+v", p)
	}
	if c := s.Consumers[0]; c.ID != 8 || c.Format != "rtsp" || c.Protocol != "rtsp+tcp" || c.UserAgent != "Lavf59.27.100" || c.Codec != "h264" {
		t.Errorf("%+v", c)
	}
}

func picture(id uint64, agent string) go2rtc.Consumer {
	return go2rtc.Consumer{ID: id, Format: "keyframe", Protocol: "http", RemoteAddr: fmt.Sprintf("127.0.0.1:%d", id), UserAgent: agent}
}

func TestJudge_ourPictureIsNoViewer(t *testing.T) {
	t.Parallel()
	internal := go2rtc.Consumer{ID: 9, Format: "rtsp", UserAgent: "go2rtc/ffmpeg", Source: "ffmpeg:gate#video=mjpeg"}
	for name, c := range map[string]struct {
		consumers []go2rtc.Consumer
		want      string // viewers, ours, stuck, harmless
	}{
		"mine":                           {[]go2rtc.Consumer{picture(1, ours)}, "0 1 0 0"},
		"of another living run":          {[]go2rtc.Consumer{picture(1, "camwarden/1.0 run/01LIVES")}, "0 1 0 0"},
		"of a dead run":                  {[]go2rtc.Consumer{picture(1, "camwarden/1.0 run/01DIED")}, "0 0 1 0"},
		"of another host's run":          {[]go2rtc.Consumer{picture(1, "camwarden/1.0 run/01OTHER")}, "1 0 0 0"},
		"of nobody":                      {[]go2rtc.Consumer{picture(1, "")}, "1 0 0 0"},
		"of one who claims too little":   {[]go2rtc.Consumer{picture(1, "camwarden/1.0")}, "1 0 0 0"},
		"of one who claims too much":     {[]go2rtc.Consumer{picture(1, "x camwarden/1.0 run/01MINE")}, "1 0 0 0"},
		"our RTSP":                       {[]go2rtc.Consumer{{ID: 1, Format: "rtsp", UserAgent: ours}}, "0 1 0 0"},
		"the RTSP of a dead run":         {[]go2rtc.Consumer{{ID: 1, Format: "rtsp", UserAgent: "camwarden/1.0 run/01DIED"}}, "1 0 0 0"},
		"go2rtc's ffmpeg, for ours":      {[]go2rtc.Consumer{internal, picture(1, ours)}, "0 1 0 1"},
		"go2rtc's ffmpeg, for who knows": {[]go2rtc.Consumer{internal}, "1 0 0 0"},
		"go2rtc's ffmpeg, for a viewer":  {[]go2rtc.Consumer{internal, picture(1, ours), {ID: 2, Format: "mjpeg"}}, "2 1 0 0"},
		"an old server's picture":        {[]go2rtc.Consumer{{RemoteAddr: "127.0.0.1:5", UserAgent: ours}}, "0 1 0 0"},
		"an old server's viewer":         {[]go2rtc.Consumer{{Format: "MSE/WebSocket passive consumer", UserAgent: "Mozilla"}}, "1 0 0 0"},
		"a kind nobody knows":            {[]go2rtc.Consumer{{ID: 1, Format: "probeX"}, {ID: 2}}, "2 0 0 0"},
	} {
		j := go2rtc.Judge(go2rtc.Stream{Name: "gate", Consumers: c.consumers}, mine(), time.Now())
		if got := fmt.Sprint(len(j.Viewers), len(j.Ours), len(j.Stuck), len(j.Harmless)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestJudge_pictureOfHalfAMinuteIsStuck(t *testing.T) {
	t.Parallel()
	now := time.Now()
	list := []go2rtc.Stream{{Name: "gate", Consumers: []go2rtc.Consumer{picture(1, "curl/8"), picture(2, "curl/8"), {ID: 3, Format: "mjpeg"}}}}
	runs := mine()
	runs.Seen = runs.Seen.Note(list, now)
	list[0].Consumers[1].ID = 4 // another one, from the same port
	runs.Seen = runs.Seen.Note(list, now.Add(20*time.Second))

	// They live through being stored.
	stored, err := json.Marshal(runs.Seen)
	if err != nil {
		t.Fatal(err)
	}
	runs.Seen = nil
	if err := json.Unmarshal(stored, &runs.Seen); err != nil || len(runs.Seen) != 3 {
		t.Fatalf("%d: %v", len(runs.Seen), err)
	}
	for after, want := range map[time.Duration]int{29 * time.Second: 0, 31 * time.Second: 1, 49 * time.Second: 1, 51 * time.Second: 2} {
		j := go2rtc.Judge(list[0], runs, now.Add(after))
		if len(j.Stuck) != want || len(j.Viewers) != 3-want {
			t.Errorf("after %s: %s", after, j.Words())
		}
	}
	if seen := runs.Seen.Note(list, now.Add(-time.Hour)); len(go2rtc.Judge(list[0], go2rtc.Runs{Seen: seen}, now.Add(-time.Hour)).Stuck) != 0 {
		t.Error("a clock that was set back makes a picture stuck")
	}
}

func TestACameraIsWatchedByWhateverStreamLeadsToIt(t *testing.T) {
	t.Parallel()
	viewer := go2rtc.Consumer{ID: 2, Format: "mse/fmp4"}
	at := func(source string) go2rtc.Stream {
		return go2rtc.Stream{Name: "theirs", Producers: []go2rtc.Producer{{Source: "ffmpeg:x"}, {Source: source, ID: 1}}, Consumers: []go2rtc.Consumer{viewer}}
	}
	gate := go2rtc.Target{Scheme: "rtsp", Host: "gate.lan", Address: netip.MustParseAddrPort("192.168.125.19:554"), Path: "/stream1?x=1"}
	six := go2rtc.Target{Scheme: "rtsps", Host: "fe80::7", Address: netip.MustParseAddrPort("[fe80::7]:322"), Port: 322, Path: "/"}
	elsewhere := at("rtsp://other.lan/stream1?x=1")
	elsewhere.Producers[1].RemoteAddr = "192.168.125.19:554 forwarded"
	nobody, idle, mine := at("rtsp://gate.lan/stream1?x=1"), at("rtsp://gate.lan/stream1?x=1"), at("rtsp://gate.lan/stream1?x=1")
	nobody.Consumers, idle.Producers[1].ID, mine.Consumers = nil, 0, []go2rtc.Consumer{picture(1, ours)}
	for name, c := range map[string]struct {
		stream go2rtc.Stream
		camera go2rtc.Target
		want   bool
	}{
		"by name":             {at("rtsp://***@gate.lan/stream1?x=1"), gate, true},
		"by name, other case": {at("RTSP://***@Gate.LAN:554/stream1?x=1"), gate, true},
		"by address":          {at("rtsp://***@192.168.125.19:554/%73tream1?x=1"), gate, true},
		"by mapped address":   {at("rtsp://[::ffff:192.168.125.19]/stream1?x=1"), gate, true},
		"by its connection":   {elsewhere, gate, true},
		"another name":        {at("rtsp://other.lan/stream1?x=1"), gate, false},
		"another path":        {at("rtsp://gate.lan/stream2?x=1"), gate, false},
		"another query":       {at("rtsp://gate.lan/stream1"), gate, false},
		"another port":        {at("rtsp://gate.lan:8554/stream1?x=1"), gate, false},
		"another scheme":      {at("rtsps://gate.lan:554/stream1?x=1"), gate, false},
		"TLS, over IPv6":      {at("rtspx://[FE80::7]:322"), six, true},
		"masked":              {at("rtsp://gate.lan/***?x=1"), gate, false},
		"with nobody":         {nobody, gate, false},
		"not connected":       {idle, gate, false},
		"by ourselves":        {mine, gate, false},
		"something else":      {at("exec:ffmpeg"), gate, false},
	} {
		got := go2rtc.Watched([]go2rtc.Stream{{Name: "other"}, c.stream}, c.camera, go2rtc.Runs{Mine: "01MINE"}, time.Now())
		if (len(got) == 1) != c.want {
			t.Errorf("%s: %+v", name, got)
		}
		if c.want && len(got) == 1 && (got[0].Stream.Name != "theirs" || len(got[0].Viewers) != 1) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestTheListsOfTheRealServerAreRead(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"streams-idle.json":                 "multi usercam",
		"streams-mixed.json":                "cw-12 cw-13 multi usercam",
		"streams-secret-masks-name.json":    "***1(masked)",
		"streams-with-dynamic-raw-url.json": "cw-12 cw-13 f-silent f-silent2 f-silent3 multi mv rtsp://***@127.0.125.12/stream2(masked) usercam",
		"patch-alias-wrong-camera.json":     "camlong cammjpeg cw-12 multi stream1 usercam",
		"../legacy/streams-list.json":       "cw-1",
	} {
		s := newServer(t)
		s.instead = replay(t, file)
		list, err := s.client().List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range list {
			name := one.Name
			if one.Masked {
				name += "(masked)"
			}
			got = append(got, name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q", file, got)
		}
	}
}

func TestStreamsOfOneNameAreBothKept(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.instead = says("application/json", `{"rtsp://***@a/1":{"producers":[{"url":"rtsp://a/1"}]},"rtsp://***@a/1":{"producers":[{"url":"rtsp://a/1","id":4}]}}`)
	list, err := s.client().List(t.Context())
	if err != nil || len(list) != 2 || !list[0].Idle() || list[1].Idle() {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestAnUnknownStreamIsNoError(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.instead = replay(t, "stream-unknown-404.txt")
	if _, ok, err := s.client().Get(t.Context(), "camwarden-gate"); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

func TestNothingThatIsReturnedHoldsASecret(t *testing.T) {
	t.Parallel()
	const said = `{"rtsp://admin:hush1@10.0.0.9/1":{"producers":[
		{"url":"rtsp://admin:hush2#x/@10.0.0.9:554/s?user=a&password=hush3#backchannel=0"},
		{"id":1,"url":"rtsp://10.0.0.9/s","source":"exec:ffmpeg -i rtsp://a:hush4@10.0.0.9/x","remote_addr":"10.0.0.9:554 \u001b[2J"}],
		"consumers":[{"id":2,"format_name":"rtsp","user_agent":"VLC token=hush5\u0007\u202e","source":"ffmpeg:rtsp://a:hush6@b/c"}]}}`
	s := newServer(t)
	s.instead = says("application/json", said)
	c := s.client(func(o *go2rtc.Options) { o.Username, o.Password = "api", "hush7" })
	list, err := c.List(t.Context())
	if err != nil || len(list) != 1 || !list[0].Masked {
		t.Fatalf("%+v %v", list, err)
	}
	document, _ := json.Marshal(list)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", list, list, list), string(document), list[0].Consumers[0].Who(), c.Where()} {
		if strings.Contains(text, "hush") || strings.ContainsAny(text, "\x1b\a") {
			t.Error(text)
		}
	}
}

func FuzzStreams(f *testing.F) {
	files, _ := filepath.Glob("testdata/recorded/stream*.json")
	legacy, _ := filepath.Glob("testdata/legacy/*.json")
	for _, file := range append(files, legacy...) {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, body, _ := strings.Cut(string(raw), "\r\n\r\n")
		f.Add([]byte(body))
	}
	for _, seed := range []string{`null`, `{"a":null}`, `{"a":{"producers":[{}],"consumers":[null,5,{"id":1e99}]}}`, `{"a":{"producers":[{"receivers":["96 H264/90000"],"url":"://@"}]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := go2rtc.DecodeList(body)
		if err != nil {
			return
		}
		if !json.Valid(body) && !strings.HasPrefix(strings.TrimSpace(string(body)), "{") {
			t.Error("what is no object was read")
		}
		seen := go2rtc.Sightings{}.Note(list, time.Now())
		for _, s := range list {
			j := go2rtc.Judge(s, go2rtc.Runs{Mine: "x", Seen: seen}, time.Now())
			if len(j.Viewers)+len(j.Ours)+len(j.Stuck)+len(j.Harmless) != len(s.Consumers) {
				t.Errorf("somebody was lost: %+v", s)
			}
			if s.Idle() && (j.Watched() || len(s.Consumers) > 0) {
				t.Errorf("idle, and not: %+v", s)
			}
			for _, p := range s.Producers {
				if rest, ok := strings.CutPrefix(p.Source, "rtsp://"); ok && strings.Contains(rest, "@") && !strings.Contains(rest, "***") {
					t.Errorf("user-info: %q", p.Source)
				}
			}
			fmt.Fprint(io.Discard, j.Words())
		}
		_ = go2rtc.Watched(list, go2rtc.Target{Scheme: "rtsp", Host: "a", Port: 554, Path: "/"}, go2rtc.Runs{}, time.Now())
	})
}

func TestTheNameOfAStreamDoesNotSpeakToTheTerminal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.instead = says("application/json", `{"front\u001b[2J\u0007\ndoor":{"producers":[]},"門":{"producers":[]}}`)
	list, err := s.client().List(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "front?[2J??door" || !list[0].Masked || list[1].Name != "門" || list[1].Masked {
		t.Errorf("%+v, %v", list, err)
	}
}
