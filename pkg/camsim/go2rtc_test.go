package camsim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"image/color"
	"image/jpeg"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// relay is a simulated go2rtc and somebody who calls it.
type relay struct {
	*camsim.Go2rtc
	t *testing.T
}

// startRelay starts one and closes it with the test. One of little patience dials good cameras again on a busy machine.
func startRelay(t *testing.T, config camsim.Go2rtcConfig) *relay {
	t.Helper()
	g, err := camsim.StartGo2rtc(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return &relay{g, t}
}

// reply is an answer and its body.
type reply struct {
	status int
	kind   string
	body   string
}

// try makes a call, with parameters in pairs; status 0 is an answer that never came.
func (r *relay) try(ctx context.Context, method, path string, pairs ...string) reply {
	r.t.Helper()
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		query.Add(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL()+path+"?"+query.Encode(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("User-Agent", "camsim/test")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return reply{body: err.Error()}
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return reply{body: err.Error()}
	}
	return reply{res.StatusCode, res.Header.Get("Content-Type"), string(body)}
}

// call demands an answer with the status.
func (r *relay) call(status int, method, path string, pairs ...string) reply {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*patience)
	defer cancel()
	got := r.try(ctx, method, path, pairs...)
	if got.status != status {
		r.t.Fatalf("%s %s %q: status %d, want %d: %.200s", method, path, pairs, got.status, status, got.body)
	}
	return got
}

// safe is the fragment that keeps a source from being linked, and the camera from being dialled twice.
const safe = "#backchannel=0#%"

// register makes a stream of a camera.
func (r *relay) register(name string, camera *camsim.Camera) {
	r.t.Helper()
	r.call(200, "PATCH", "/api/streams", "name", name, "src", camera.LoginURL()+safe)
}

// picture takes one, and demands that it is of the camera.
func (r *relay) picture(name string, camera *camsim.Camera) []byte {
	r.t.Helper()
	got := r.call(200, "GET", "/api/frame.jpeg", "src", name)
	sight, err := camsim.SightOf([]byte(got.body))
	if err != nil || !sight.Of(camera) || got.kind != "image/jpeg" {
		r.t.Fatalf("the picture of %s shows %+v (%v), want %s", name, sight, err, camera.URL())
	}
	return []byte(got.body)
}

// shown is a stream as the API shows it.
type shown struct {
	Producers []struct {
		ID         uint32
		URL        string
		RemoteAddr string `json:"remote_addr"`
		BytesRecv  int    `json:"bytes_recv"`
		Type       string
	}
	Consumers []struct {
		ID         uint32
		Format     string `json:"format_name"`
		Protocol   string
		Agent      string `json:"user_agent"`
		RemoteAddr string `json:"remote_addr"`
		Type       string
	}
}

// look returns a stream without dialling it.
func (r *relay) look(name string) (s shown) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.call(200, "GET", "/api/streams", "src", name).body), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// until waits for a state of a stream.
func (r *relay) until(name, what string, holds func(shown) bool) shown {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		s := r.look(name)
		if holds(s) {
			return s
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("not within %s: %s; %+v", patience, what, s)
		}
	}
}

func idle(s shown) bool {
	return len(s.Consumers) == 0 && len(s.Producers) == 1 && s.Producers[0].ID == 0 && s.Producers[0].RemoteAddr == ""
}

// holdsUntil waits for what the server does to a camera's address.
func (r *relay) holdsUntil(camera *camsim.Camera, what string, holds func(camsim.Go2rtcDials) bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !holds(r.Dials(camera)); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within %s: %s; %+v", patience, what, r.Dials(camera))
		}
	}
}

// counts waits for what the server counts.
func (r *relay) counts(what string, holds func(camsim.Go2rtcCounts) bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !holds(r.Counts()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within %s: %s; %+v", patience, what, r.Counts())
		}
	}
}

func TestRelay_pictureOfEachCodec(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{})
	for i, codec := range camsim.Codecs() {
		camera := start(t, camsim.Config{Temper: camsim.Digest, Username: "admin", Password: "p#@/%: x", Codec: codec, Picture: i % 4, Sets: setsOf(codec)})
		name := "cw-" + string(codec)
		r.register(name, camera)
		if got := r.call(200, "GET", "/api/streams", "src", name).body; !strings.Contains(got, `"consumers": null`) || strings.Contains(got, "admin") {
			t.Errorf("a stream nobody was ever given: %s", got)
		}
		file := r.picture(name, camera)
		picture, err := jpeg.Decode(bytes.NewReader(file))
		if err != nil || len(file) < 1000 {
			t.Fatalf("%s: %d bytes: %v", codec, len(file), err)
		}
		want := barColours[i%4]
		if got := color.RGBAModel.Convert(picture.At(320, 12)).(color.RGBA); !near(got, want[0], want[1], want[2]) {
			t.Errorf("%s: the bar is %v, want %v", codec, got, want)
		}
		if got := r.call(200, "GET", "/api/streams", "src", name).body; !strings.Contains(got, `"consumers": []`) {
			t.Errorf("a stream that somebody was given: %s", got)
		}
		eventually(t, camera, "nothing open, one TEARDOWN", func(c camsim.Counts) bool {
			return c.Connections == 0 && c.Teardowns == 1 && c.ConnectionsTotal == 1 && c.Logins == 1 && c.LoginsFailed == 0
		})
		if got := r.Dials(camera); got != (camsim.Go2rtcDials{Most: 1, Ever: 1, Logins: 1}) {
			t.Errorf("%s: it counts %+v", codec, got)
		}
		r.call(200, "GET", "/api/streams")
		r.call(400, "DELETE", "/api/streams", "src", name) // it has no configuration file; the name is gone all the same
		if got := r.call(404, "GET", "/api/streams", "src", name); got.body != "\n" {
			t.Errorf("an unknown stream is %q", got.body)
		}
	}
	if got := r.call(200, "GET", "/api/streams"); got.body != "{}\n" || got.kind != "application/json" {
		t.Errorf("an empty list is %q, %s", got.body, got.kind)
	}
	n := len(camsim.Codecs())
	c := r.Counts()
	if c.Patches != n || c.Frames != n || c.Deletes != n || c.Gets != 3*n || c.Lists != n+1 || c.Others != 0 || c.CallsMost != 1 || c.Deaths != 0 {
		t.Errorf("it counts %+v", c)
	}
}

// setsOf is where the parameter sets of a camera must be for go2rtc to make a picture.
func setsOf(codec camsim.Codec) camsim.Sets {
	if strings.HasPrefix(string(codec), "h265") {
		return camsim.SetsInSDP
	}
	return camsim.SetsEverywhere
}

func TestParameterSetsInAnAggregationPacketAreLost(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy, Codec: camsim.H265})
	r := startRelay(t, camsim.Go2rtcConfig{})
	r.register("cw-1", camera)
	if got := r.call(500, "GET", "/api/frame.jpeg", "src", "cw-1"); got.body != "exit status 1\n" {
		t.Errorf("it says %q", got.body)
	}
	eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
}

func TestARelayGoesWhereACameraSendsIt(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Redirects})
	r := startRelay(t, camsim.Go2rtcConfig{})
	r.register("cw-1", camera)
	got := r.call(200, "GET", "/api/frame.jpeg", "src", "cw-1")
	if sight, err := camsim.SightOf([]byte(got.body)); err != nil || sight.Camera != camera.Elsewhere() {
		t.Errorf("the picture shows %+v (%v), want %s", sight, err, camera.Elsewhere())
	}
	eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 && c.ConnectionsTotal == 1 && c.Followed == 1 })
}

func TestTheListNeverDials(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy})
	r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"theirs": camera.URL()}})
	want := `{"theirs":{"producers":[{"url":"` + camera.URL() + `"}],"consumers":null}}` + "\n"
	if got := r.call(200, "GET", "/api/streams"); got.body != want {
		t.Errorf("the list is %s, want %s", got.body, want)
	}
	r.call(200, "HEAD", "/api/streams")
	r.look("theirs")
	if c := camera.Counts(); c.ConnectionsTotal != 0 {
		t.Errorf("the camera was dialled: %+v", c)
	}
}

func TestPicturesOfOneStreamShareOneDial(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{})
	camera := start(t, camsim.Config{Temper: camsim.LongGOP, GOP: 3 * time.Second})
	r.register("cw-1", camera)
	pictures := make(chan []byte, 6)
	for range cap(pictures) {
		go func() {
			got := r.try(t.Context(), "GET", "/api/frame.jpeg", "src", "cw-1")
			pictures <- []byte(got.body)
		}()
	}
	s := r.until("cw-1", "six are waiting", func(s shown) bool { return len(s.Consumers) == cap(pictures) })
	for _, c := range s.Consumers {
		if c.Format != "keyframe" || c.Protocol != "http" || c.Agent != "camsim/test" || c.ID == 0 || !strings.HasPrefix(c.RemoteAddr, "127.") {
			t.Errorf("a consumer is %+v", c)
		}
	}
	if p := s.Producers[0]; p.URL != camera.URL() || p.RemoteAddr != camera.Address().String() || p.ID == 0 {
		t.Errorf("the connected producer is %+v", p)
	}
	first := <-pictures
	if sight, err := camsim.SightOf(first); err != nil || !sight.Of(camera) {
		t.Fatalf("%+v, %v", sight, err)
	}
	for range cap(pictures) - 1 {
		if !bytes.Equal(first, <-pictures) {
			t.Error("two pictures of the same key frame differ")
		}
	}
	r.until("cw-1", "idle again", idle)
	eventually(t, camera, "one connection in all, closed", func(c camsim.Counts) bool { return c.Connections == 0 && c.ConnectionsTotal == 1 })
	if c := r.Counts(); c.FramesMost != 6 || c.Deaths != 0 {
		t.Errorf("it counts %+v", c)
	}
}
