package go2rtc_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
)

const ours = "camwarden/1.0 run/01MINE"

func mine() go2rtc.Runs {
	return go2rtc.Runs{Mine: "01MINE", Living: []string{"01LIVES"}, Dead: []string{"01DIED"}}
}

func remove(t *testing.T, c *go2rtc.Client, name string) go2rtc.Removal {
	t.Helper()
	results, err := c.Remove(t.Context(), mine(), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Name != name {
		t.Fatalf("%+v", results)
	}
	return results[0]
}

func TestRemove_idleWhateverTheFileSays(t *testing.T) {
	t.Parallel()
	for note, file := range map[string]string{"": "", "config file disabled": "delete-noconfig-400.txt"} {
		s := newServer(t)
		s.set("camwarden-gate", idle(gateSource))
		if file != "" {
			answer := replay(t, file)
			s.removal = func(w http.ResponseWriter) { answer(w, nil) }
		}
		r := remove(t, s.client(), "camwarden-gate")
		if !r.Gone || r.Err != nil || r.Note != note || s.has("camwarden-gate") {
			t.Errorf("%+v", r)
		}
		if got := strings.Join(s.said(), ", "); got != "GET camwarden-gate, DELETE camwarden-gate, GET camwarden-gate" {
			t.Error(got)
		}
	}
}

func TestRemove_claimedOnlyIsAnError(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("camwarden-gate", idle(gateSource))
	s.instead = func(_ http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodDelete }
	r := remove(t, s.client(), "camwarden-gate")
	wantFault(t, r.Err, fault.Go2rtc, "still has the stream camwarden-gate")
	if r.Gone {
		t.Error("it counts as gone")
	}
}

func TestRemove_keepsWhatIsWatchedOrConnected(t *testing.T) {
	t.Parallel()
	live := func(consumers ...string) *stream {
		return connected("rtsp://***@127.9.8.7:554/stream1", "127.9.8.7:554").with(consumers...)
	}
	for why, there := range map[string]*stream{
		"1 viewer: a browser by MSE at 127.0.0.1:40003 (Mozilla/5.0)":                       live(consumer(3, "mse/fmp4", "Mozilla/5.0")),
		"1 viewer: a consumer of the unknown kind holodeck at 127.0.0.1:40003 (Enterprise)": live(consumer(3, "holodeck", "Enterprise")),
		"of ours: a picture being taken at 127.0.0.1:40003 (" + ours + ")":                  live(consumer(3, "keyframe", ours)),
		"harmless: go2rtc's preload at 127.0.0.1:40003":                                     live(consumer(3, "preload", "")),
		"still connected to rtsp://***@127.9.8.7:554/stream1":                               live(),
		"go2rtc does not tell who watches":                                                  {whole: "null"},
		"1 viewer: a consumer of the unknown kind unreadable":                               live("17"),
		"still connected to ": {producers: []string{"null"}},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.set("camwarden-gate", there)
			r := remove(t, s.client(), "camwarden-gate")
			if r.Gone || r.Err != nil || r.Why != why || s.count("DELETE") != 0 || !s.has("camwarden-gate") {
				t.Errorf("%+v, %q\nwant %q", r, s.said(), why)
			}
		})
	}
}

func TestWhatIsAboutToEndIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("camwarden-gate", connected("rtsp://127.9.8.7:554/stream1", "127.9.8.7:554").with(consumer(3, "keyframe", ours)))
	time.AfterFunc(200*time.Millisecond, func() { s.set("camwarden-gate", idle(gateSource)) })
	if r := remove(t, s.client(), "camwarden-gate"); !r.Gone || r.Err != nil {
		t.Errorf("%+v", r)
	}
}

func TestManyStreamsAreRemovedWithTwoLists(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var names []string
	for i := range 24 {
		names = append(names, fmt.Sprintf("cam%d", i))
		s.set(names[i], idle(source(i).URL))
	}
	s.set("cam4", connected("rtsp://127.7.7.14:554/stream1", "127.7.7.14:554").with(consumer(4, "rtsp", "Lavf59")))
	s.set("cam5", nil)
	results, err := s.client().Remove(t.Context(), mine(), append(names, "")...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Gone != (i != 4 && i != 24) || (r.Err != nil) != (i == 24) {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if len(results[4].Kept.Viewers) != 1 || s.count("DELETE") != 22 || s.count("GET") != 2 {
		t.Errorf("%+v, %q", results[4], s.said())
	}
}

func TestARemovalThatIsNotAnsweredIsLookedAfter(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("cam1", idle(source(1).URL))
	s.set("cam2", idle(source(2).URL))
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodDelete {
			return false
		}
		s.set("cam1", nil)
		hangUp()
		return true
	}
	results, err := s.client().Remove(t.Context(), mine(), "cam1", "cam2")
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; !r.Gone || r.Err != nil {
		t.Errorf("it is gone: %+v", r)
	}
	wantFault(t, results[1].Err, fault.Go2rtc, "closed the connection")
	if s.count("DELETE") != 1 {
		t.Errorf("%q", s.said())
	}
}
