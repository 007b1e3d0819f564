package capture

import (
	"bytes"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// webbed is a camera with an HTTP side, and how camwarden knows it.
func webbed(t *testing.T, config camsim.Config) (*camsim.Camera, camera.Camera) {
	t.Helper()
	if config.Temper == "" {
		config.Temper = camsim.Healthy
	}
	sim, cam := start(t, config)
	cam.Snapshot, cam.SnapshotAuth, cam.HTTPConnections = sim.WebURL(), camera.AuthAuto, 1
	switch config.Web {
	case camsim.WebBasic:
		cam.SnapshotAuth = camera.AuthBasic
	case camsim.WebJSON:
		cam.Snapshot += "?user={username}&password={password}"
		cam.SnapshotAuth = camera.AuthQuery
	}
	return sim, cam
}

func (w workbench) http(picturing ffmpeg.Picturing) *HTTP {
	return NewHTTP(w.rtsp("ffmpeg", picturing), nil)
}

// For each habit: the class and the step, bounded, nothing left, one failed log-in at most, the password nowhere.
func TestHTTP_eachHabit(t *testing.T) {
	t.Parallel()
	expect := map[camsim.Habit]struct {
		class fault.Class // "": a picture
		step  fault.Step
	}{
		camsim.WebJSON: {}, camsim.WebOpen: {}, camsim.WebDigest: {}, camsim.WebSession: {}, camsim.WebSHA256: {}, camsim.WebBasic: {}, camsim.WebLocks: {},
		camsim.WebSingle: {}, camsim.WebStream: {}, camsim.WebSlow: {}, camsim.WebFrozen: {}, camsim.WebSelfSigned: {},
		camsim.WebPage: {fault.Auth, fault.Body}, camsim.WebEmpty: {fault.NotJPEG, fault.Body}, camsim.WebBusy: {fault.Exhausted, fault.Request},
		camsim.WebCut: {fault.NotJPEG, fault.Body}, camsim.WebEndless: {fault.NotJPEG, fault.Body}, camsim.WebToTLS: {fault.Protocol, fault.Request},
	}
	for _, habit := range camsim.Habits() {
		for name, password := range map[string]string{"right": odd, "wrong": "no such password"} {
			t.Run(string(habit)+"/"+name, func(t *testing.T) {
				t.Parallel()
				sim, cam := webbed(t, camsim.Config{Web: habit, Username: "viewer", Password: odd})
				w := newWorkbench(t)
				want, wrong := expect[habit], name == "wrong" && slices.Contains([]camsim.Habit{
					camsim.WebJSON, camsim.WebDigest, camsim.WebSession, camsim.WebSHA256, camsim.WebBasic, camsim.WebLocks, camsim.WebSelfSigned,
				}, habit)
				if wrong {
					want.class, want.step = fault.Auth, fault.Request
					if habit == camsim.WebJSON {
						want.step = fault.Body
					}
				}
				began := time.Now()
				still, report := capture(t, w.http(ffmpeg.Picturing{}), Visit{Camera: cam, Password: password, Strict: true}, 20*time.Second)
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("took %s", took)
				}
				switch {
				case want.class == "" && report.Err != nil:
					t.Fatalf("%+v", report.Err)
				case want.class == "":
					if picture, err := jpeg.Decode(bytes.NewReader(still.JPEG)); err != nil || picture.Bounds().Dx() != still.Width || still.Width != 640 || still.Codec != "mjpeg" {
						t.Errorf("%dx%d %s, %v", still.Width, still.Height, still.Codec, err)
					}
				case report.Err == nil || report.Err.Class != want.class || report.Err.Step != want.step || report.Err.Hint == "":
					t.Errorf("%+v, want %s at %s", report.Err, want.class, want.step)
				}
				if !report.Dialled {
					t.Error("not dialled")
				}
				if report.Err != nil && (strings.Contains(report.Err.Message+report.Err.Hint, odd) || strings.Contains(report.Err.Message+report.Err.Hint, password)) {
					t.Errorf("it tells the password: %+v", report.Err)
				}
				c := sim.WebCounts()
				mayRead := habit == camsim.WebBasic || habit == camsim.WebJSON
				if c.LoginsFailed > 1 || wrong && c.LoginsFailed != 1 || c.ConnectionsMost > 1 || c.InClear > 0 && !mayRead {
					t.Errorf("%+v", c)
				}
				if sim.Counts().ConnectionsTotal != 0 {
					t.Error("its RTSP port was dialled")
				}
				if kinds := w.leases(t); len(kinds) > 0 {
					t.Errorf("leases %v", kinds)
				}
				notConnected(t, sim.WebAddress())
			})
		}
	}
}

// In a round a refused log-in is not repeated; by hand it is tried, and what it gives is news.
func TestHTTP_aRefusedLogInIsRemembered(t *testing.T) {
	t.Parallel()
	sim, cam := webbed(t, camsim.Config{Web: camsim.WebLocks, Username: "viewer", Password: "right"})
	w := newWorkbench(t)
	visit := func(password string, byHand bool) Report {
		_, report := capture(t, w.http(ffmpeg.Picturing{}), Visit{Camera: cam, Password: password, LogIns: lockout.Open(w.ledger, byHand)}, time.Minute)
		return report
	}
	for round := range 8 {
		report := visit("wrong", false)
		if report.Err == nil || report.Err.Class != fault.Auth || report.Dialled != (round == 0) {
			t.Errorf("round %d: %+v, dialled: %v", round, report.Err, report.Dialled)
		}
	}
	if c := sim.WebCounts(); c.LoginsFailed != 1 {
		t.Fatalf("%+v", c)
	}
	if report := visit("right", false); report.Err != nil {
		t.Errorf("another password is tried: %+v", report.Err)
	}
	if report := visit("wrong", true); report.Err == nil || !report.Dialled || sim.WebCounts().LoginsFailed != 2 {
		t.Errorf("by hand: %+v %+v", report, sim.WebCounts())
	}
}

// A camera need not answer 401 to refuse a log-in. It is sent once for all channels of the address, and not over RTSP either.
func TestHTTP_refusalsOtherThan401(t *testing.T) {
	t.Parallel()
	page := func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html><body>Password</body></html>") }
	for name, c := range map[string]struct {
		most   int32 // log-ins that are sent
		answer func(w http.ResponseWriter, r *http.Request)
	}{
		"403":                        {1, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }},
		"a log-in page":              {1, func(w http.ResponseWriter, _ *http.Request) { page(w) }},
		"a redirect to one":          {1, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login.html", http.StatusFound) }},
		"a redirect, asks again":     {2, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }},
		"a redirect to what forbids": {1, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/no", http.StatusFound) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, cam := start(t, camsim.Config{Temper: camsim.Digest, Username: "viewer", Password: "right"})
			var logIns atomic.Int32
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Header.Get("Authorization") != "":
					logIns.Add(1)
					c.answer(w, r)
				case r.URL.Path == "/login.html":
					page(w)
				case r.URL.Path == "/no":
					w.WriteHeader(http.StatusForbidden)
				default:
					w.Header().Set("WWW-Authenticate", `Digest realm="cam", nonce="n", qop="auth"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			t.Cleanup(web.Close)
			cam.Snapshot, cam.SnapshotAuth, cam.HTTPConnections = web.URL+"/snap", camera.AuthAuto, 1
			w := newWorkbench(t)
			chain, err := NewChain(t.Context(), []Source{w.http(ffmpeg.Picturing{}), w.rtsp("no-such-ffmpeg", ffmpeg.Picturing{})})
			if err != nil {
				t.Fatal(err)
			}
			for channel := range 8 { // each as in a round of its own, which knows what was written down
				result := chain.Visit(t.Context(), Visit{Camera: cam, Password: "wrong", Timeout: time.Minute, LogIns: lockout.Open(w.ledger, false)})
				if result.Err == nil || result.Err.Class != fault.Auth || len(result.Attempts) != 1 || result.Dialled != (channel == 0) {
					t.Errorf("channel %d: %+v", channel, result)
				}
			}
			if n := logIns.Load(); n != c.most || sim.Counts().ConnectionsTotal != 0 {
				t.Errorf("%d log-ins over HTTP, want %d; RTSP: %+v", n, c.most, sim.Counts())
			}
		})
	}
}

// The same holds for RTSP: the channels of a recorder share one account, and the second is not tried.
func TestRTSP_aRefusedLogInIsRemembered(t *testing.T) {
	t.Parallel()
	sim, cam := start(t, camsim.Config{Temper: camsim.Digest, Username: "viewer", Password: "right"})
	w := newWorkbench(t)
	memory := lockout.Open(w.ledger, true) // not even by hand, in one run
	for channel := range 5 {
		_, report := capture(t, w.rtsp("no-such-ffmpeg", ffmpeg.Picturing{}), Visit{Camera: cam, Password: "wrong", LogIns: memory}, time.Minute)
		if report.Err == nil || report.Err.Class != fault.Auth || report.Dialled != (channel == 0) {
			t.Errorf("channel %d: %+v, dialled: %v", channel, report.Err, report.Dialled)
		}
	}
	if _, err := Ask(t.Context(), w.slots, cam, "wrong", memory, time.Minute); err == nil || err.Class != fault.Auth {
		t.Errorf("doctor: %v", err)
	}
	if c := sim.Counts(); c.LoginsFailed != 1 || c.ConnectionsTotal != 1 {
		t.Errorf("%+v", c)
	}
}

// Cameras of Dahua answer 401 when all their users are logged in. The password was right an hour ago, so this is no refusal.
func TestHTTP_whatWasRightIsNotCalledWrong(t *testing.T) {
	t.Parallel()
	_, cam := webbed(t, camsim.Config{Web: camsim.WebDigest, Username: "viewer", Password: "right"})
	cam.Brand = "dahua"
	w := newWorkbench(t)
	memory := lockout.Open(w.ledger, false)
	if _, report := capture(t, w.http(ffmpeg.Picturing{}), Visit{Camera: cam, Password: "right", LogIns: memory}, time.Minute); report.Err != nil {
		t.Fatal(report.Err)
	}
	full, other := webbed(t, camsim.Config{Address: netip.AddrPortFrom(cam.Address.Addr().Next(), 0), Web: camsim.WebDigest, Username: "viewer", Password: "changed"})
	cam.Snapshot = strings.Replace(cam.Snapshot, cam.Host, other.Host, 1)
	if err := memory.Accepted(lockout.LogIn{Address: full.WebAddress(), Username: "viewer", Password: "right"}, true); err != nil {
		t.Fatal(err)
	}
	_, report := capture(t, w.http(ffmpeg.Picturing{}), Visit{Camera: cam, Password: "right", LogIns: memory}, time.Minute)
	if report.Err == nil || report.Err.Class != fault.Exhausted || !strings.Contains(report.Err.Message, "Dahua") {
		t.Errorf("%+v", report.Err)
	}
}

// What fails at the HTTP side on its own leaves RTSP its turn; a refused log-in, or a camera that is not there, does not.
func TestHTTP_thenRTSP(t *testing.T) {
	t.Parallel()
	for habit, tried := range map[camsim.Habit]bool{
		camsim.WebOpen: false, camsim.WebEmpty: true, camsim.WebPage: true, camsim.WebBusy: true, camsim.WebCut: true, camsim.WebToTLS: true,
		camsim.WebBasic: true, // which is not answered in the clear
		camsim.WebLocks: false,
	} {
		t.Run(string(habit), func(t *testing.T) {
			t.Parallel()
			sim, cam := webbed(t, camsim.Config{Codec: camsim.MJPEG, Web: habit, Username: "viewer", Password: "right"})
			cam.SnapshotAuth = camera.AuthAuto
			password := "right"
			if habit == camsim.WebLocks {
				password = "wrong"
			}
			w := newWorkbench(t)
			chain, err := NewChain(t.Context(), []Source{w.http(ffmpeg.Picturing{}), w.rtsp("no-such-ffmpeg", ffmpeg.Picturing{})})
			if err != nil {
				t.Fatal(err)
			}
			result := chain.Visit(t.Context(), Visit{Camera: cam, Password: password, Timeout: time.Minute})
			if (result.Err == nil) != (habit != camsim.WebLocks) || (len(result.Attempts) == 2) != tried || (result.Source == "rtsp") != tried {
				t.Errorf("%+v", result)
			}
			if c := sim.Counts(); (c.ConnectionsTotal > 0) != tried || sim.WebCounts().LoginsFailed+c.LoginsFailed > 1 {
				t.Errorf("%+v", c)
			}
		})
	}
	gone := camera.Camera{ID: "gone", Host: "127.0.0.1", Port: 1, Scheme: "rtsp", Path: "/", Snapshot: "http://127.0.0.1:1/", SnapshotAuth: camera.AuthAuto, HTTPConnections: 1,
		MaxConnections: 2, Address: netip.MustParseAddrPort("127.0.0.1:1")}
	w := newWorkbench(t)
	chain, err := NewChain(t.Context(), []Source{w.http(ffmpeg.Picturing{}), w.rtsp("no-such-ffmpeg", ffmpeg.Picturing{})})
	if err != nil {
		t.Fatal(err)
	}
	if result := chain.Visit(t.Context(), Visit{Camera: gone, Timeout: time.Minute}); len(result.Attempts) != 2 || result.Err == nil || result.Err.Class != fault.Refused {
		t.Errorf("a closed HTTP port says nothing about the RTSP port: %+v", result)
	}
	gone.Snapshot = ""
	if result := chain.Visit(t.Context(), Visit{Camera: gone, Timeout: time.Minute}); len(result.Attempts) != 1 || result.Attempts[0].Source != "rtsp" {
		t.Errorf("without a snapshot the source is not mentioned: %+v", result)
	}
}

// The incident: RTSP has no connection left, and the camera gives its picture all the same, wherever http stands in the order. A source
// that dials RTSP is not tried again after that.
func TestHTTP_afterRTSP(t *testing.T) {
	t.Parallel()
	for temper, tried := range map[camsim.Temper]bool{
		camsim.BusyAtSetup: true, camsim.ClosesAtPlay: true, camsim.Refuses: true, camsim.NotFound: true,
		camsim.WrongPassword: false, camsim.SilentAfterPlay: false,
	} {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			sim, cam := webbed(t, camsim.Config{Temper: temper, Web: camsim.WebOpen, Username: "viewer", Password: "right"})
			w := newWorkbench(t)
			program := testkit.FFmpegFor(t, "good")
			chain, err := NewChain(t.Context(), []Source{w.rtsp(program, ffmpeg.Picturing{}), w.http(ffmpeg.Picturing{}), w.source(program)})
			if err != nil {
				t.Fatal(err)
			}
			result := chain.Visit(t.Context(), Visit{Camera: cam, Password: "right", Timeout: 3 * time.Second})
			if (result.Err == nil) != tried || (result.Source == "http") != tried || (sim.WebCounts().Pictures == 1) != tried {
				t.Errorf("%+v", result)
			}
			empty, _ := webbed(t, camsim.Config{Web: camsim.WebEmpty})
			cam.Snapshot = empty.WebURL()
			result = chain.Visit(t.Context(), Visit{Camera: cam, Password: "right", Timeout: 3 * time.Second})
			if result.Err == nil || tried && len(result.Attempts) != 2 {
				t.Errorf("ffmpeg dialled what had refused: %+v", result)
			}
		})
	}
}

// One picture of an address at a time, whoever asks for it.
func TestHTTP_oneAtATime(t *testing.T) {
	t.Parallel()
	sim, cam := webbed(t, camsim.Config{Web: camsim.WebSingle})
	w := newWorkbench(t)
	source := w.http(ffmpeg.Picturing{})
	reports := make(chan Report)
	for range 6 {
		go func() {
			_, report := capture(t, source, Visit{Camera: cam}, time.Minute)
			reports <- report
		}()
	}
	for range 6 {
		if report := <-reports; report.Err != nil {
			t.Error(report.Err)
		}
	}
	if c := sim.WebCounts(); c.ConnectionsMost != 1 || c.Pictures != 6 {
		t.Errorf("%+v", c)
	}
}

// The same bytes twice are a frozen camera or a cache; they are told, also by another run.
func TestHTTP_repeated(t *testing.T) {
	t.Parallel()
	for habit, repeats := range map[camsim.Habit]bool{camsim.WebFrozen: true, camsim.WebOpen: false} {
		_, cam := webbed(t, camsim.Config{Web: habit})
		w := newWorkbench(t)
		for run := range 2 {
			source := w.http(ffmpeg.Picturing{Width: 320}) // which changes the bytes that are kept, and not those that count
			if err := source.Construct(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			still, report := capture(t, source, Visit{Camera: cam}, time.Minute)
			if report.Err != nil || still.Width != 320 || still.Repeated != (repeats && run > 0) || (len(source.Notices()) > 0) != still.Repeated {
				t.Errorf("%s, run %d: %+v %d repeated: %v %v", habit, run, report.Err, still.Width, still.Repeated, source.Notices())
			}
			if err := source.Destruct(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Without --width the coded picture is kept bit for bit.
func TestHTTP_keepsTheBytes(t *testing.T) {
	t.Parallel()
	whole := testkit.Photo(t, 1280, 720)
	_, cam := webbed(t, camsim.Config{Web: camsim.WebFrozen, Still: string(whole)})
	still, report := capture(t, newWorkbench(t).http(ffmpeg.Picturing{}), Visit{Camera: cam}, time.Minute)
	if report.Err != nil || !bytes.HasSuffix(still.JPEG, whole[2:]) || still.Width != 1280 {
		t.Errorf("%+v, %d bytes", report.Err, len(still.JPEG))
	}
}
