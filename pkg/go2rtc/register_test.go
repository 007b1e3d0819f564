package go2rtc_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
)

const (
	gateURL    = "rtsp://admin:p%26%23%40%2F%25x@127.9.8.7:554/stream1?a=b%20c&d"
	gateSource = gateURL + "#backchannel=0#%"
)

func gate() go2rtc.Source { return go2rtc.Source{Name: "camwarden-gate", URL: gateURL} }

// one registers a single source.
func one(t *testing.T, c *go2rtc.Client, source go2rtc.Source) go2rtc.Registered {
	t.Helper()
	results, err := c.Register(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Name != source.Name {
		t.Fatalf("%+v", results)
	}
	return results[0]
}

func TestRegister_onePatchSourceUnharmed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if r := one(t, s.client(), gate()); !r.Created || r.Err != nil {
		t.Errorf("%+v", r)
	}
	if len(s.sources) != 1 || s.sources[0] != gateSource {
		t.Errorf("the server read %q, want %q", s.sources, gateSource)
	}
	if got := strings.Join(s.said(), ", "); got != "GET camwarden-gate, PATCH camwarden-gate, GET camwarden-gate" {
		t.Error(got)
	}
	if !s.agents["camwarden/1.0 run/01MINE"] || len(s.agents) != 1 {
		t.Errorf("we are known as %v", s.agents)
	}
}

func TestAStreamThatHasItsCameraIsNotPatched(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]*stream{
		"idle":                      idle(gateSource),
		"idle, by other options":    idle("rtsp://x:y@127.9.8.7/stream1?a=b%20c&d#backchannel=0"),
		"connected":                 connected("rtsp://***@127.9.8.7/stream1?a=b%20c&d", "127.9.8.7:554"),
		"masked, with our fragment": {producers: []string{`{"url":"rtsp://***@127.***.8.7:554/***1?a=b%20c&d#backchannel=0#%"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.set("camwarden-gate", there)
			if r := one(t, s.client(), gate()); r.Created || r.Err != nil || s.count("PATCH") != 0 {
				t.Errorf("%+v, %q", r, s.said())
			}
		})
	}
}

func TestANameThatHasAnotherSourceIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]*stream{
		"another host":         idle("rtsp://***@127.9.8.8:554/stream1?a=b%20c&d#backchannel=0#%"),
		"another port":         idle("rtsp://***@127.9.8.7:555/stream1?a=b%20c&d#backchannel=0#%"),
		"another path":         idle("rtsp://***@127.9.8.7:554/stream2?a=b%20c&d#backchannel=0#%"),
		"another query":        idle("rtsp://***@127.9.8.7:554/stream1#backchannel=0#%"),
		"another scheme":       idle("rtsps://***@127.9.8.7:554/stream1?a=b%20c&d#backchannel=0#%"),
		"a masked other":       idle("rtsp://***@127.***.8.9:554/stream1?a=b%20c&d#backchannel=0#%"),
		"masked, not by us":    idle("rtsp://***@127.***.8.7:554/stream1?a=b%20c&d"),
		"no URL":               idle("ffmpeg:stream1#video=mjpeg"),
		"no source":            {},
		"an unreadable source": {producers: []string{`5`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.set("camwarden-gate", there)
			r := one(t, s.client(), gate())
			wantFault(t, r.Err, fault.Go2rtc, "camwarden-gate", "another source", "purge camwarden-gate --force")
			if r.Created || s.count("PATCH")+s.count("DELETE") != 0 {
				t.Errorf("it was touched: %q", s.said())
			}
		})
	}
}

func TestRegister_linkToAnothersStream(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	theirs := connected("rtsp://***@127.0.0.99/stream1", "127.0.0.99:554").with(consumer(3, "mse/fmp4", "Mozilla/5.0"))
	s.set("stream1", theirs)
	s.patched = func(name, _ string) { s.streams[name] = theirs }
	r := one(t, s.client(), gate())
	wantFault(t, r.Err, fault.Go2rtc, "linked camwarden-gate to another stream", "127.0.0.99", "link is removed", "stream_prefix")
	if s.has("camwarden-gate") || !s.has("stream1") || s.count("PATCH") != 1 || s.count("DELETE") != 1 {
		t.Errorf("%q", s.said())
	}
}

func TestManyStreamsCostOnePatchEachAndTwoLists(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("cam3", idle(source(3).URL+"#backchannel=0#%"))
	s.set("cam4", idle("rtsp://127.1.1.1:554/other"))
	s.patched = func(name, _ string) {
		if name == "cam5" {
			s.streams[name] = idle("rtsp://127.1.1.1:554/linked")
		}
	}
	var sources []go2rtc.Source
	for i := range 24 {
		sources = append(sources, source(i))
	}
	sources = append(sources, go2rtc.Source{Name: "no name", URL: gateURL})
	results, err := s.client().Register(t.Context(), sources...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		created, failed := i != 3 && i != 4 && i != 24, i == 4 || i == 5 || i == 24
		if r.Name != sources[i].Name || r.Created != created || (r.Err != nil) != failed {
			t.Errorf("%d: %+v", i, r)
		}
	}
	// The link has cost a DELETE and a look.
	if s.count("PATCH") != 22 || s.count("GET") != 3 || s.count("DELETE") != 1 {
		t.Errorf("%q", s.said())
	}
}

func source(i int) go2rtc.Source {
	return go2rtc.Source{Name: fmt.Sprintf("cam%d", i), URL: fmt.Sprintf("rtsp://u:secret%d@127.7.7.%d:554/stream1", i, 10+i)}
}

func TestANameThatMayBeHiddenBehindAMaskIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("***-3", idle("rtsp://127.1.1.1:554/x"))
	s.set("cam-3", idle("rtsp://127.1.1.1:554/x"))
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && r.URL.RawQuery == "" {
			fmt.Fprint(w, `{"***-3":`+idle("rtsp://127.1.1.1:554/x").json()+`}`)
			return true
		}
		return false
	}
	a, b := source(3), source(4)
	a.Name, b.Name = "cam-3", "cam-4"
	results, err := s.client().Register(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, results[0].Err, fault.Go2rtc, "another source")
}

func TestRegister_sourcesReadOtherwise(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.client()
	for _, bad := range []go2rtc.Source{
		{Name: "", URL: gateURL},
		{Name: "a/b", URL: gateURL},
		{Name: "rtsp:x", URL: gateURL},
		{Name: "a\nb", URL: gateURL},
		{Name: "門", URL: gateURL},
		{Name: strings.Repeat("a", 101), URL: gateURL},
		{Name: "a", URL: ""},
		{Name: "a", URL: "exec:reboot"},
		{Name: "a", URL: "rtspx://127.0.0.1"},
		{Name: "a", URL: "http://127.0.0.1/x"},
		{Name: "a", URL: "rtsp:///x"},
		{Name: "a", URL: "rtsp://u:topsecret@127.0.0.1/a b"},
		{Name: "a", URL: "rtsp://u:topsecret@127.0.0.1/a#b"},
		{Name: "a", URL: "rtsp://u:topsecret@127.0.0.1/{input}"},
		{Name: "a", URL: "rtsp://u:topsecret@127.0.0.1/\n"},
	} {
		r := one(t, c, bad)
		f := wantFault(t, r.Err, fault.Go2rtc)
		if strings.Contains(f.Message+f.Hint, "topsecret") {
			t.Errorf("%s", f.Message)
		}
	}
	if calls := s.said(); len(calls) != 0 {
		t.Errorf("go2rtc was asked: %q", calls)
	}
}

func TestWhatGo2rtcSaysAgainstASourceIsSaid(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	refuse := replay(t, "patch-space-400.txt")
	s.instead = func(w http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodPatch && refuse(w, r) }
	r := one(t, s.client(), gate())
	wantFault(t, r.Err, fault.Go2rtc, "source with spaces may be insecure")
	if r.Created {
		t.Error("it counts as created")
	}
}

func TestRegister_serverDies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch {
			return false
		}
		hangUp()
		return true
	}
	results, err := s.client().Register(t.Context(), source(1), source(2), source(3))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		wantFault(t, r.Err, fault.Go2rtc, "closed the connection", "journalctl -u go2rtc")
	}
	if s.count("PATCH") != 1 {
		t.Errorf("%q", s.said())
	}
}

func TestRegister_newLogInOfTheSameCamera(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.client()
	wantFault(t, c.Renew(t.Context(), gate()), fault.Go2rtc, "no stream camwarden-gate")
	s.set("camwarden-gate", idle("rtsp://127.1.1.1:554/x"))
	wantFault(t, c.Renew(t.Context(), gate()), fault.Go2rtc, "another source")
	s.set("camwarden-gate", idle(gateSource))
	if err := c.Renew(t.Context(), gate()); err != nil || s.count("PATCH") != 1 {
		t.Errorf("%v, %q", err, s.said())
	}
}

func TestASourceDoesNotShowItsPassword(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, []go2rtc.Source{source(1)}); strings.Contains(got, "secret") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

// A lease must stand before the server hears of a name, and only for names that are made.
func TestWhoMakesAStreamIsAskedBefore(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.client()
	source := gate()
	asked := 0
	source.Making = func() error {
		asked++
		if s.has("camwarden-gate") {
			t.Error("asked after the server had heard of it")
		}
		return nil
	}
	if r := one(t, c, source); !r.Created || r.Err != nil || asked != 1 {
		t.Errorf("%+v, asked %d times", r, asked)
	}
	if r := one(t, c, source); r.Created || r.Err != nil || asked != 1 {
		t.Errorf("%+v, asked %d times for a stream that is there", r, asked)
	}
	refused := go2rtc.Source{Name: "camwarden-other", URL: gateURL, Making: func() error { return fault.New(fault.Local, "", "no room") }}
	if r := one(t, c, refused); r.Created || fault.ClassOf(r.Err) != fault.Local || s.has("camwarden-other") {
		t.Errorf("%+v", r)
	}
}
