package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// roundOverFrameLoop compares a round of 24 cameras through go2rtc, with a key frame every second, with a loop that asks the same server for one
// frame.jpeg after the other, and counts the calls of a round. With GO2RTC set the server is that program, else the
// simulated one, which needs as long for a JPEG as the real one was seen to (150 ms).
func roundOverFrameLoop(t *testing.T) []figure {
	const times, cameras, jobs = 5, 24, 8
	genuine := os.Getenv("GO2RTC") != ""
	running := healthy(cameras)
	for i := range running {
		running[i].JoinAnywhere = true // whoever comes waits for the next key frame, as at a real camera
	}
	s := newSite(t, running, through(relaying{genuine: genuine, sim: func(c *camsim.Go2rtcConfig) { c.Transcode = 150 * time.Millisecond }}))
	camwarden := newWorkshop(t).build(".")
	for _, c := range s.subnet.Cameras {
		s.register("loop-"+c.Name(), c.URL()+"#backchannel=0#%")
	}
	loop := func() time.Duration {
		began := time.Now()
		for _, c := range s.subnet.Cameras {
			res, err := http.Get(s.relay.url() + "/api/frame.jpeg?src=loop-" + c.Name())
			check(t, err)
			picture, err := io.ReadAll(res.Body)
			res.Body.Close()
			check(t, err)
			if len(picture) == 0 {
				t.Fatalf("no picture of %s", c.Name())
			}
		}
		return time.Since(began)
	}
	var calls camsim.Go2rtcCounts
	round := func() time.Duration {
		before := s.counts()
		began := time.Now()
		r := s.startWith(nil, s.round("office", "-j", fmt.Sprint(jobs))...)
		r.ends(0)
		took := time.Since(began)
		var doc report
		check(t, json.Unmarshal([]byte(r.stdout.String()), &doc))
		if doc.Summary.OK != cameras || doc.Verdict != "clean" {
			t.Fatalf("%s", r.stdout)
		}
		t.Logf("construct, visit, destruct, verify: %s", phases(r.stdout.String()))
		after := s.counts()
		calls.Lists, calls.Gets = max(calls.Lists, after.Lists-before.Lists), max(calls.Gets, after.Gets-before.Gets)
		calls.Patches, calls.Deletes = max(calls.Patches, after.Patches-before.Patches), max(calls.Deletes, after.Deletes-before.Deletes)
		return took
	}
	// The site's camwarden is the test binary, which is larger: the real one takes its place.
	binary, err := os.ReadFile(camwarden)
	check(t, err)
	check(t, os.Remove(s.path("bin", "camwarden")))
	check(t, os.WriteFile(filepath.Join(s.path("bin"), "camwarden"), binary, 0o755))
	var rounds, loops []time.Duration
	for range times {
		loops, rounds = append(loops, loop()), append(rounds, round())
	}
	server := "a simulated go2rtc that needs 150 ms for a JPEG"
	if genuine {
		server = "a real go2rtc"
	}
	figures := []figure{ratio(fmt.Sprintf("a round of %d cameras through go2rtc, `-j %d` / a loop of frame.jpeg, one camera after the other", cameras, jobs),
		float64(median(rounds))/float64(median(loops)), 0.6,
		fmt.Sprintf("%d of each in turns, the whole program, on %s; medians %.2f s the round (streams registered, each camera looked at first, streams removed, and looked at again) and %.2f s the loop.",
			times, server, median(rounds).Seconds(), median(loops).Seconds()))}
	if genuine {
		return figures // it does not count
	}
	return append(figures, figure{
		fmt.Sprintf("calls to go2rtc in that round: PATCH, DELETE, lists, GETs of one stream, at most in %d rounds", times),
		fmt.Sprintf("%d, %d, %d, %d", calls.Patches, calls.Deletes, calls.Lists, calls.Gets),
		fmt.Sprintf("%d, %d, at most 4, only of doubtful ones", cameras, cameras),
		calls.Patches == cameras && calls.Deletes == cameras && calls.Lists <= 4 && calls.Gets <= cameras/4,
		[]string{"As the simulated go2rtc counts them. A GET asks whether go2rtc lives when a picture takes more than 3 s, as on a busy host."},
	})
}

// phases are how long each part of a round took, in milliseconds, as its document says.
func phases(document string) string {
	var doc struct{ Phases map[string]int64 }
	if json.Unmarshal([]byte(document), &doc) != nil {
		return "unknown"
	}
	p := doc.Phases
	return fmt.Sprint(p["construct_ms"], " ", p["visit_ms"], " ", p["destruct_ms"], " ", p["verify_ms"])
}

// counts are those of the simulated go2rtc, and zero for the real one.
func (s *site) counts() camsim.Go2rtcCounts {
	if r, ok := s.relay.(*simRelay); ok {
		return r.Counts()
	}
	return camsim.Go2rtcCounts{}
}
