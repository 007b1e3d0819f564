package camsim_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// player dials the RTSP port of the server for a stream.
func (r *relay) player(name string) *client {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", r.Config().RTSP.String(), patience)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return &client{t: r.t, conn: conn, reader: bufio.NewReader(conn), url: r.StreamURL(name)}
}

func TestRelay_servesRTSPUntilHangUp(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy})
	r := startRelay(t, camsim.Go2rtcConfig{})
	r.register("cw-1", camera)
	p := r.player("cw-1")
	p.options()
	got := p.ask(200, "DESCRIBE", p.url, "Accept: application/sdp", "User-Agent: Lavf59.27.100")
	if !strings.Contains(got.body, "a=rtpmap:96 H264/90000") || !strings.Contains(got.body, "s=go2rtc/1.9.14") {
		t.Errorf("the description is %s", got.body)
	}
	p.setup(200)
	p.play()
	if types := p.pictures(20); !strings.Contains(string(types), "\x05") {
		t.Errorf("within 20 pictures there is no key frame: %v", types)
	}
	s := r.look("cw-1")
	if len(s.Consumers) != 1 || s.Consumers[0].Format != "rtsp" || s.Consumers[0].Protocol != "rtsp+tcp" || s.Consumers[0].Agent != "Lavf59.27.100" || s.Producers[0].BytesRecv == 0 {
		t.Errorf("it shows %+v", s)
	}
	r.picture("cw-1", camera) // through the same connection
	if d := r.Dials(camera); d.Ever != 1 {
		t.Errorf("it counts %+v", d)
	}
	if r.look("cw-1").Consumers[0].ID != s.Consumers[0].ID {
		t.Error("the viewer is another one after a picture")
	}
	_ = p.conn.Close()
	eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 && c.Teardowns == 1 })
	r.until("cw-1", "idle", idle)
}

func TestWhatCannotBeServedByRTSPIsNotFound(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{})
	camera := start(t, camsim.Config{Temper: camsim.NotFound})
	r.register("cw-1", camera)
	for _, name := range []string{"cw-1", "nobody"} {
		p := r.player(name)
		p.ask(404, "DESCRIBE", p.url)
		if way := p.ending(patience); way != "eof" {
			t.Errorf("%s: the connection ended by %s", name, way)
		}
	}
	good := start(t, camsim.Config{Temper: camsim.Healthy})
	r.register("cw-2", good)
	p := r.player("cw-2")
	p.describe()
	p.ask(461, "SETUP", p.url+"/trackID=0", "Transport: RTP/AVP;unicast;client_port=5000-5001")
	p.teardown()
	eventually(t, good, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
}

func TestFFmpegReadsEachCodecThroughTheRelay(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{})
	for i, codec := range []camsim.Codec{camsim.H264, camsim.H265, camsim.MJPEG} {
		camera := start(t, camsim.Config{Temper: camsim.Healthy, Codec: codec, Picture: i})
		r.register("cw-1", camera)
		run := ffmpeg(t, r.StreamURL("cw-1"), fair("tcp"))
		shows(t, run, i)
		eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 && c.ConnectionsTotal == 1 })
	}
}

func TestAViewerByRTSPOutlivesACameraThatGoes(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy})
	r := startRelay(t, camsim.Go2rtcConfig{Patience: 2 * time.Second, Streams: map[string]string{"theirs": camera.URL()}})
	p := r.player("theirs")
	p.watch()
	p.pictures(3)
	before := r.look("theirs").Producers[0]
	camera.Close()
	time.Sleep(time.Second)
	s := r.look("theirs") // the old connection's last state, for as long as it is dialled again
	if p := s.Producers[0]; p.ID != before.ID || p.RemoteAddr != before.RemoteAddr || len(s.Consumers) != 1 {
		t.Errorf("while it reconnects it shows %+v", s)
	}
	again := start(t, camsim.Config{Temper: camsim.Healthy, Address: camera.Address()})
	p.pictures(3)
	r.until("theirs", "another connection", func(s shown) bool { return s.Producers[0].ID != before.ID })
	eventually(t, again, "one connection", func(c camsim.Counts) bool { return c.Connections == 1 })
}

func TestViewersByHTTPAreListedAndLeave(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{})
	for path, row := range map[string]struct {
		codec        camsim.Codec
		format, kind string
	}{
		"/api/stream.mjpeg": {camsim.MJPEG, "mjpeg", "multipart/x-mixed-replace; boundary=frame"},
		"/api/stream.mp4":   {camsim.H264, "mp4", "video/mp4"},
		"/api/stream.ts":    {camsim.H264, "mpegts", "video/mp2t"},
	} {
		camera := start(t, camsim.Config{Temper: camsim.Healthy, Codec: row.codec})
		r.register("cw-1", camera)
		ctx, leave := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL()+path+"?src=cw-1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", "Mozilla/5.0 test")
		req.Header.Set("X-Forwarded-For", "127.9.9.9")
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != row.kind {
			t.Fatalf("%s: %+v, %v", path, res, err)
		}
		if _, err := io.CopyN(io.Discard, res.Body, 20_000); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		s := r.look("cw-1")
		if len(s.Consumers) != 1 || s.Consumers[0].Format != row.format || s.Consumers[0].Agent != "Mozilla/5.0 test" || !strings.HasSuffix(s.Consumers[0].RemoteAddr, " forwarded 127.9.9.9") {
			t.Errorf("%s: %+v", path, s)
		}
		r.picture("cw-1", camera)
		if c := camera.Counts(); c.ConnectionsTotal != 1 {
			t.Errorf("%s: the camera counts %+v", path, c)
		}
		leave()
		_ = res.Body.Close()
		eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
		r.call(404, "GET", path, "src", "nobody")
	}
	h264 := start(t, camsim.Config{Temper: camsim.Healthy})
	r.register("cw-2", h264)
	if got := r.call(200, "GET", "/api/stream.mjpeg", "src", "cw-2"); got.body != "" {
		t.Errorf("MJPEG of H264: %q", got.body)
	}
	jpegs := start(t, camsim.Config{Temper: camsim.Healthy, Codec: camsim.MJPEG})
	r.register("cw-3", jpegs)
	if got := r.call(500, "GET", "/api/stream.mp4", "src", "cw-3"); got.body != "streams: codecs not matched: video:JPEG => video:H264, video:H265, audio:AAC\n" {
		t.Errorf("MP4 of MJPEG: %q", got.body)
	}
	eventually(t, h264, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
}

func TestAPreloadHoldsItsCamera(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy})
	r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"theirs": camera.URL()}})
	if got := r.call(200, "GET", "/api/preload"); got.body != "{}\n" {
		t.Errorf("no preload is %q", got.body)
	}
	r.call(200, "PUT", "/api/preload", "src", "theirs", "video", "")
	if s := r.look("theirs"); len(s.Consumers) != 1 || s.Consumers[0].Format != "preload" || s.Consumers[0].Protocol != "" || s.Consumers[0].RemoteAddr != "" {
		t.Errorf("it shows %+v", s)
	}
	if got := r.call(200, "GET", "/api/preload").body; !strings.HasPrefix(got, `{"theirs":{"consumer":{"id":`) || !strings.HasSuffix(got, `"query":"video="}}`+"\n") {
		t.Errorf("the preloads are %s", got)
	}
	r.call(400, "DELETE", "/api/streams", "src", "theirs") // it survives that
	eventually(t, camera, "still connected", func(c camsim.Counts) bool { return c.Connections == 1 })
	r.call(200, "DELETE", "/api/preload", "src", "theirs")
	eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
	if got := r.call(500, "DELETE", "/api/preload", "src", "theirs"); got.body != "streams: preload not found: theirs\n" {
		t.Errorf("%q", got.body)
	}
	if got := r.call(500, "PUT", "/api/preload", "src", "nobody"); got.body != "streams: stream not found: nobody\n" {
		t.Errorf("%q", got.body)
	}
}
