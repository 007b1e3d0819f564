package camsim_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// fetch makes a request with a client of the test's own.
func fetch(t *testing.T, transport *http.Transport, url string, change func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	transport.DisableKeepAlives = true
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	res, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, string(body)
}

func TestTheLogInIsAskedOfThisHostOnlyWhenToldTo(t *testing.T) {
	t.Parallel()
	for local, want := range map[bool]int{false: 200, true: 401} {
		r := startRelay(t, camsim.Go2rtcConfig{Username: "admin", Password: "p:w #%ß", LocalAuth: local})
		for _, password := range []string{"", "wrong", "p:w #%ß"} {
			status, header, body := fetch(t, &http.Transport{}, r.URL()+"/api/streams", func(req *http.Request) {
				if password != "" {
					req.SetBasicAuth("admin", password)
				}
			})
			expected := want
			if password == "p:w #%ß" {
				expected = 200
			}
			if status != expected {
				t.Errorf("local_auth %v, password %q: %d, want %d", local, password, status, expected)
			}
			if status == 401 && (header.Get("WWW-Authenticate") != `Basic realm="go2rtc"` || body != "Unauthorized\n") {
				t.Errorf("401 says %v %q", header, body)
			}
		}
	}
}

func TestEverythingIsBelowTheBasePath(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{BasePath: "/rtc"})
	r.call(200, "GET", "/api/streams")
	r.call(404, "GET", "/api/streams/")
	r.call(200, "GET", "//api/streams") // by way of 307
	status, _, body := fetch(t, &http.Transport{}, "http://"+r.Config().Address.String()+"/api/streams", nil)
	if status != 404 || body != "404 page not found\n" {
		t.Errorf("outside the base path: %d %q", status, body)
	}
}

func TestTheAPIListensOnASocketToo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "g.sock")
	r := startRelay(t, camsim.Go2rtcConfig{Socket: path, NoRTSP: true})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	for range 2 { // and again after a restart
		if status, _, body := fetch(t, transport, "http://localhost/api", nil); status != 200 || !strings.Contains(body, `"rtsp":{"listen":"",`) || strings.Contains(body, "config_path") {
			t.Errorf("over the socket: %d %s", status, body)
		}
		if err := r.Restart(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheAPISpeaksTLSToThoseWhoTrustIt(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{TLS: true})
	trusting := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.RootCAs()}}
	if status, _, body := fetch(t, trusting, r.URL()+"/api/streams", nil); status != 200 {
		t.Errorf("with its certificate: %d %s", status, body)
	}
	if status, _, body := fetch(t, &http.Transport{}, r.URL()+"/api/streams", nil); status != 0 {
		t.Errorf("without its certificate: %d %s", status, body)
	}
	plain := strings.Replace(r.URL(), "https", "http", 1)
	if status, _, body := fetch(t, &http.Transport{}, plain+"/api/streams", nil); status != 400 || body != "Client sent an HTTP request to an HTTPS server.\n" {
		t.Errorf("without TLS: %d %q", status, body)
	}
}

func TestAnOldRelayShowsTypesAndNoNumbers(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.LateKeyFrame, Delay: 2 * time.Second})
	mute := start(t, camsim.Config{Temper: camsim.MuteAtConnect})
	r := startRelay(t, camsim.Go2rtcConfig{Old: true, Patience: 3 * time.Second, Streams: map[string]string{"theirs": strings.Replace(camera.URL(), "rtsp://", "rtsp://u:secret@", 1), "mute": mute.URL() + safe}})
	if s := r.look("theirs"); !strings.Contains(s.Producers[0].URL, "u:secret@") {
		t.Errorf("the idle producer is %+v: nothing was masked then", s.Producers)
	}
	leave := r.Watch("theirs", camsim.Viewer{Format: "mse/fmp4", UserAgent: "Mozilla/5.0"})
	defer leave()
	done := make(chan reply, 2)
	go func() { done <- r.try(context.Background(), "GET", "/api/frame.jpeg", "src", "theirs") }()
	r.until("theirs", "two consumers", func(s shown) bool { return len(s.Consumers) == 2 })
	s := r.look("theirs")
	if p := s.Producers[0]; p.Type != "RTSP active producer" || p.ID != 0 || p.URL != camera.URL()+"/" || p.RemoteAddr == "" {
		t.Errorf("the producer is %+v", p)
	}
	if c := s.Consumers[0]; c.Type != "MSE/WebSocket passive consumer" || c.ID != 0 || c.Format != "" {
		t.Errorf("the viewer is %+v", c)
	}
	if c := s.Consumers[1]; c.Type != "" || c.Agent != "camsim/test" || c.Format != "" {
		t.Errorf("the picture is %+v", c)
	}
	<-done
	go func() { done <- r.try(context.Background(), "GET", "/api/frame.jpeg", "src", "mute") }()
	r.holdsUntil(mute, "dialled", func(d camsim.Go2rtcDials) bool { return d.Open == 1 })
	var list map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.call(200, "GET", "/api/streams").body), &list); err != nil || string(list["mute"]) != "null" {
		t.Errorf("a busy stream is %s (%v)", list["mute"], err)
	}
	<-done
	if info := r.call(200, "GET", "/api").body; !strings.Contains(info, `"version":"1.9.3"`) {
		t.Errorf("it says of itself %s", info)
	}
	r.call(404, "GET", "/api/schemes")
}

func TestAnAilingRelay(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"theirs": "rtsp://127.0.0.2:9/x"}})
	whole := r.call(200, "GET", "/api/streams").body
	for trouble, check := range map[camsim.Go2rtcTrouble]func(reply) bool{
		camsim.TroubleMute:    func(got reply) bool { return got.status == 0 && strings.Contains(got.body, "deadline") },
		camsim.TroubleHangsUp: func(got reply) bool { return got.status == 0 && strings.Contains(got.body, "EOF") },
		camsim.TroubleCutOff:  func(got reply) bool { return got.status == 0 && strings.Contains(got.body, "EOF") },
		camsim.TroubleGarbage: func(got reply) bool { return got.status == 200 && !json.Valid([]byte(got.body)) },
		camsim.TroubleHuge:    func(got reply) bool { return got.status == 200 && len(got.body) >= camsim.HugeAnswer },
		camsim.TroubleNoHTTP:  func(got reply) bool { return got.status == 0 && !strings.Contains(got.body, "deadline") },
	} {
		r.SetTrouble(trouble, 0)
		limit := 2 * patience
		if trouble == camsim.TroubleMute {
			limit = 300 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if got := r.try(ctx, "GET", "/api/streams"); !check(got) {
			t.Errorf("%s: %d, %.80q", trouble, got.status, got.body)
		}
		cancel()
	}
	r.SetTrouble(camsim.TroubleSlow, 500*time.Millisecond)
	began := time.Now()
	if got := r.call(200, "GET", "/api/streams").body; got != whole || time.Since(began) < 500*time.Millisecond {
		t.Errorf("slow: %s after %s", got, time.Since(began))
	}
	// Who gives a slow call up and sends the next kills it.
	r.SetTrouble(camsim.TroubleSlow, patience)
	ctx, giveUp := context.WithCancel(t.Context())
	given := make(chan reply)
	go func() { given <- r.try(ctx, "DELETE", "/api/streams", "src", "nobody") }()
	r.counts("it is being done", func(c camsim.Go2rtcCounts) bool { return c.Deletes == 1 })
	giveUp()
	<-given
	r.try(t.Context(), "DELETE", "/api/streams", "src", "nobody")
	if c := r.Counts(); c.Deaths != 1 {
		t.Errorf("counts %+v", c)
	}
	r.SetTrouble(camsim.NoTrouble, 0)
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := r.call(200, "GET", "/api/streams").body; got != whole {
		t.Errorf("well again: %s", got)
	}
}

func TestWhatCannotBeARelayIsRefused(t *testing.T) {
	t.Parallel()
	taken := startRelay(t, camsim.Go2rtcConfig{})
	for what, config := range map[string]camsim.Go2rtcConfig{
		"an address in the network": {Address: addrPort("192.0.2.1:0")}, "RTSP in the network": {RTSP: addrPort("192.0.2.1:0")},
		"a base path without a slash": {BasePath: "rtc"}, "a negative time": {Leak: -1}, "an address that is taken": {Address: taken.Config().Address},
		"a socket nowhere": {Socket: "/nonexistent/g.sock"},
	} {
		if g, err := camsim.StartGo2rtc(config); err == nil {
			g.Close()
			t.Errorf("%s: started", what)
		}
	}
}
