package go2rtc_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
)

// stuck is a stream with a picture that nobody waits for.
func stuck(codec, agent string) *stream {
	s := connected("rtsp://***@127.9.8.7:554/stream1?a=b%20c&d", "127.9.8.7:554")
	c := strings.TrimSuffix(consumer(9, "keyframe", agent), "}") + `,"senders":[{"codec":{"codec_name":"` + codec + `","codec_type":"video"}}]}`
	return s.with(c)
}

func flush(t *testing.T, c *go2rtc.Client, limit time.Duration, source go2rtc.Source) go2rtc.Flushed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	results, err := c.Flush(ctx, mine(), source)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Name != source.Name {
		t.Fatalf("%+v", results)
	}
	return results[0]
}

// releases makes the server let go of a stuck stream some time after it was given a test picture.
func releases(s *server) {
	s.patched = func(name, source string) {
		if strings.HasPrefix(source, "ffmpeg:virtual?") {
			s.streams[name] = stuck("h264", ours)
			time.AfterFunc(300*time.Millisecond, func() { s.set(name, idle(source)) })
		}
	}
}

func TestFlush_stuckPictureGivesTheCameraBack(t *testing.T) {
	t.Parallel()
	for codec, want := range map[string]string{"h264": "h264", "hevc": "h265", "mjpeg": "mjpeg", "": "h264"} {
		s := newServer(t)
		releases(s)
		s.set("camwarden-gate", stuck(codec, ours))
		r := flush(t, s.client(), 30*time.Second, gate())
		if !r.Done || !r.Restored || r.Why != "" || r.Err != nil {
			t.Errorf("%+v", r)
		}
		if len(s.sources) != 2 || !strings.HasPrefix(s.sources[0], "ffmpeg:virtual?video") || !strings.HasSuffix(s.sources[0], "#video="+want) || s.sources[1] != gateSource {
			t.Errorf("%q", s.sources)
		}
	}
}

func TestFlush_noPictureUntilTheCameraIsBack(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	releases(s)
	s.set("camwarden-gate", stuck("h264", "camwarden/0.9 run/01DIED"))
	picture := replay(t, "frame-ok-headers.txt")
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "frame.jpeg") && picture(w, r)
	}
	c := s.client()
	refused := func() {
		t.Helper()
		_, err := c.Frame(t.Context(), "camwarden-gate")
		if !errors.Is(err, go2rtc.ErrTested) {
			t.Errorf("a picture was given: %v", err)
		}
	}
	var beside sync.WaitGroup
	beside.Go(func() {
		for s.count("PATCH") == 0 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		refused()
	})
	if r := flush(t, c, 30*time.Second, go2rtc.Source{Name: "camwarden-gate"}); !r.Done || r.Restored {
		t.Errorf("%+v", r)
	}
	beside.Wait()
	refused()
	if r := one(t, c, gate()); r.Err == nil {
		t.Error("the test picture was taken for the camera")
	}
	refused()
	if r := remove(t, c, "camwarden-gate"); !r.Gone {
		t.Errorf("%+v", r)
	}
	if r := one(t, c, gate()); !r.Created {
		t.Errorf("%+v", r)
	}
	if _, err := c.Frame(t.Context(), "camwarden-gate"); err != nil {
		t.Error(err)
	}
}

func TestNobodyElseIsShownTheTestPicture(t *testing.T) {
	t.Parallel()
	for why, there := range map[string]*stream{
		"1 viewer: a browser by MSE":              stuck("h264", ours).with(consumer(3, "mse/fmp4", "")),
		"1 viewer: a picture being taken":         stuck("h264", "curl/8"),
		"another run takes a picture of it":       stuck("h264", "camwarden/1.0 run/01LIVES"),
		"go2rtc preloads it":                      stuck("h264", ours).with(consumer(3, "preload", "")),
		"go2rtc does not tell who watches":        {whole: "null"},
		"still connected to rtsp://***@127.9.8.7": connected("rtsp://***@127.9.8.7:554/stream1?a=b%20c&d", "127.9.8.7:554"),
	} {
		s := newServer(t)
		s.set("camwarden-gate", there)
		r := flush(t, s.client(), 5*time.Second, go2rtc.Source{Name: "camwarden-gate"})
		if r.Done || !strings.Contains(r.Why, why) || s.count("PATCH") != 0 {
			t.Errorf("want %q: %+v", why, r)
		}
	}
	s := newServer(t)
	s.set("camwarden-gate", stuck("h264", ours))
	other := gate()
	other.URL = "rtsp://127.1.1.1:554/other"
	wantFault(t, flush(t, s.client(), 5*time.Second, other).Err, fault.Go2rtc, "another source")
}

func TestFlush_notWhileAPictureIsTaken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("camwarden-gate", stuck("h264", ours))
	taking := make(chan struct{})
	s.instead = func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "frame.jpeg") {
			return false
		}
		close(taking)
		<-r.Context().Done()
		return true
	}
	c := s.client()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = c.Frame(ctx, "camwarden-gate") }()
	<-taking
	if r := flush(t, c, 5*time.Second, gate()); r.Done || !strings.Contains(r.Why, "picture of it is being taken") || s.count("PATCH") != 0 {
		t.Errorf("%+v", r)
	}
	cancel()
	<-ended
}

func TestWhatIsNotStuckIsNotFlushed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("camwarden-gate", idle(gateSource))
	c := s.client()
	if r := flush(t, c, 5*time.Second, gate()); !r.Done || !r.Restored || s.count("PATCH") != 0 {
		t.Errorf("%+v", r)
	}
	s.set("camwarden-gate", nil)
	if r := flush(t, c, 5*time.Second, gate()); !r.Done || r.Restored || s.count("PATCH") != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAFlushThatDoesNotEndSaysWhatEndsIt(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	stays := stuck("h264", ours)
	s.patched = func(name, _ string) { s.streams[name] = stays }
	s.set("camwarden-gate", stays)
	c := s.client()
	r := flush(t, c, time.Second, gate())
	if r.Done || r.Err != nil || !strings.Contains(r.Why, "has not dialled again yet") {
		t.Errorf("%+v", r)
	}
	sends := stuck("h264", ours)
	sends.producers[0] = strings.Replace(sends.producers[0], `"bytes_recv":100`, `"bytes_recv":200`, 1)
	s.patched = func(name, _ string) { s.streams[name] = sends }
	s.set("camwarden-gate", stays)
	r = flush(t, c, time.Second, gate())
	if r.Done || !strings.Contains(r.Why, "ss -K dst 127.9.8.7 dport = 554") {
		t.Errorf("%+v", r)
	}
	if _, err := c.Frame(t.Context(), "camwarden-gate"); !errors.Is(err, go2rtc.ErrTested) {
		t.Errorf("a picture was given: %v", err)
	}
}

func TestFlush_notWhereNoPictureCanBeHandedOver(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		":8554": "", "0.0.0.0:8554": "", "[::]:8554": "", "127.0.0.1:554": "", "localhost:8554": "", "": "is empty", "192.168.125.2:8554": "is 192.168.125.2:8554", "[::1]:8554": "is [::1]:8554",
	} {
		if got := (go2rtc.Info{RTSPListen: listen}).NoHandOver(); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("rtsp.listen %q: %q, want %q", listen, got, want)
		}
	}
	s := newServer(t)
	patches := 0
	s.patched = func(string, string) { patches++ }
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		info := r.URL.Path == "/api"
		if info {
			_, _ = io.WriteString(w, `{"version":"1.9.14","rtsp":{"listen":"127.9.8.7:8554"}}`)
		}
		return info
	}
	s.set("camwarden-gate", stuck("h264", ours))
	began := time.Now()
	r := flush(t, s.client(), time.Minute, gate())
	if r.Done || r.Restored || !strings.Contains(r.Why, "rtsp.listen is 127.9.8.7:8554") || !strings.Contains(r.Why, "restart go2rtc") {
		t.Errorf("%+v", r)
	}
	if patches != 0 || time.Since(began) > 50*time.Second {
		t.Errorf("its source was changed %d times, in %s", patches, time.Since(began))
	}
}

func TestFlush_seenTestPictureIsNotRestored(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("camwarden-gate", stuck("h264", ours))
	s.patched = func(name, source string) {
		if source == gateSource { // too late: the test picture is connected
			s.streams[name] = connected("rtsp://127.0.0.1:8554/0123456789abcdef", "127.0.0.1:5").with(consumer(4, "mse/fmp4", ""))
		}
	}
	c := s.client()
	if r := flush(t, c, 5*time.Second, gate()); !r.Done || r.Restored {
		t.Errorf("%+v", r)
	}
	if _, err := c.Frame(t.Context(), "camwarden-gate"); !errors.Is(err, go2rtc.ErrTested) {
		t.Errorf("a picture was given: %v", err)
	}
}

func TestFlush_refusedLeavesTheStream(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("camwarden-gate", stuck("h264", ours))
	refuse := replay(t, "patch-space-400.txt")
	picture := replay(t, "frame-ok-headers.txt")
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodPatch && refuse(w, r) || strings.HasSuffix(r.URL.Path, "frame.jpeg") && picture(w, r)
	}
	c := s.client()
	wantFault(t, flush(t, c, 5*time.Second, gate()).Err, fault.Go2rtc, "refuses the stream")
	if _, err := c.Frame(t.Context(), "camwarden-gate"); err != nil {
		t.Error(err)
	}
}

func TestFlush_severalInTheTimeOfOne(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	releases(s)
	var sources []go2rtc.Source
	for i := range 6 {
		sources = append(sources, go2rtc.Source{Name: source(i).Name})
		s.set(source(i).Name, stuck("h264", ours))
	}
	tested := map[string]bool{}
	for i := range sources {
		sources[i].Testing = func() { tested[sources[i].Name] = true }
	}
	results, err := s.client().Flush(t.Context(), mine(), sources...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.Done || r.Err != nil || !tested[r.Name] {
			t.Errorf("%+v, told of the test picture: %v", r, tested[r.Name])
		}
	}
	// go2rtc's ffmpeg hands a picture over at a place that is named by its command line: two that are the same meet there.
	pictures := map[string]bool{}
	for _, source := range s.sources {
		pictures[source] = true
	}
	if len(pictures) != len(sources) {
		t.Errorf("%d test pictures for %d streams: %v", len(pictures), len(sources), s.sources)
	}
}
