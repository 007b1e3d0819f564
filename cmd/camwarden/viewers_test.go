package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// longestGap is how long a viewer may receive nothing: the cameras send 25 pictures a second, and the host is busy with
// a round.
const longestGap = 10 * time.Second

// TestViewer_isLeftAloneThroughRounds watches by RTSP and by MJPEG over HTTP, once on the user's own stream of a camera and
// once on ours, through many rounds.
func TestViewer_isLeftAloneThroughRounds(t *testing.T) {
	t.Parallel()
	rounds := 3
	if testkit.IsLong() {
		rounds = 20
	}
	for _, whose := range []string{"the user's", "ours"} {
		t.Run(strings.ReplaceAll(whose, "'", ""), func(t *testing.T) {
			t.Parallel()
			kinds(t, func(t *testing.T, genuine bool) { viewersThroughRounds(t, genuine, whose == "ours", rounds) })
		})
	}
}

func viewersThroughRounds(t *testing.T, genuine, ours bool, rounds int) {
	s := newSite(t, []camsim.Config{
		{Temper: camsim.Healthy, Name: "player"},
		{Temper: camsim.Healthy, Name: "page", Codec: camsim.MJPEG},
		{Temper: camsim.Healthy, Name: "plain"},
	}, asReleased, limitedTo(1), through(relaying{genuine: genuine, streams: func(s *site) map[string]string {
		if ours {
			return nil
		}
		return map[string]string{"theirs-player": s.subnet.Camera("player").URL(), "theirs-page": s.subnet.Camera("page").URL()}
	}}))
	player, page := "theirs-player", "theirs-page"
	if ours {
		s.start(s.streams("add", "player", "page")...).ends(0)
		names := s.names()
		page, player = names[0], names[1]
	}
	viewers := map[string]*viewer{player: s.watchRTSP(player), page: s.watchHTTP(page, "stream.mjpeg")}
	for i := range rounds {
		r := s.start(s.round("office", "-d", s.path("out"))...)
		r.ends(0)
		doc := r.document()
		kept := 0
		if ours {
			kept = 2
		}
		if len(doc.Streams.Kept) != kept || doc.Verdict != "clean" || doc.Streams.Removed != 3-kept {
			t.Fatalf("round %d: %s", i, r.stdout)
		}
		for _, k := range doc.Streams.Kept {
			if !strings.Contains(k.Why, "1 viewer: ") {
				t.Errorf("round %d: %+v", i, k)
			}
		}
		held := s.held()
		for name, v := range viewers {
			if !strings.Contains(held, `"`+name+`"`) {
				t.Fatalf("round %d: the stream %s was removed under its viewer: %s", i, name, held)
			}
			if bytes, gap := v.received(); gap > longestGap {
				t.Fatalf("round %d: the viewer of %s got nothing for %s (%d bytes in all)", i, name, gap, bytes)
			}
		}
	}
	for _, name := range []string{"player", "page"} {
		if c := s.subnet.Camera(name).Counts(); c.ConnectionsTotal != 1 || c.Teardowns != 0 {
			t.Errorf("%s was connected to %d times while somebody watched it", name, c.ConnectionsTotal)
		}
	}
	if c := s.subnet.Camera("plain").Counts(); c.ConnectionsTotal != 2*rounds {
		t.Errorf("plain was connected to %d times in %d rounds", c.ConnectionsTotal, rounds)
	}
	for name, v := range viewers {
		bytes, gap := v.received()
		t.Logf("%s: %d bytes, longest gap %s", name, bytes, gap.Round(time.Millisecond))
		v.leaves()
	}
	// After they have left the next round, or a purge, removes what is ours.
	eventually(t, func() error { return atMost(0, s.subnet.Camera("page").Counts().Connections, "page") })
	if ours {
		s.start(s.streams("purge", player)...).ends(0)
	}
	r := s.start(s.round("office")...)
	r.ends(0)
	if doc := r.document(); doc.Verdict != "clean" || len(doc.Streams.Kept) > 0 {
		t.Errorf("after they left: %s", r.stdout)
	}
	s.nothingRelayed()
	if !ours && !strings.Contains(s.held(), "theirs-player") {
		t.Errorf("the user's stream is gone: %s", s.held())
	}
}

// Viewers of kinds that the tests have no program for, and consumers that are none.
func TestViewer_everyKindKeepsItsStream(t *testing.T) {
	t.Parallel()
	kinds := map[string]struct {
		viewer camsim.Viewer
		keeps  bool
	}{
		"webrtc":   {camsim.Viewer{Format: "webrtc/whep"}, true},
		"mse":      {camsim.Viewer{Format: "mse/fmp4"}, true},
		"hls":      {camsim.Viewer{Format: "hls/fmp4"}, true},
		"unheard":  {camsim.Viewer{Format: "holo/3d"}, true},
		"stranger": {camsim.Viewer{Format: "keyframe", UserAgent: "curl/8"}, true},
		"ffmpeg":   {camsim.Viewer{Format: "rtsp", UserAgent: "go2rtc/ffmpeg", Source: "ffmpeg:x#video=mjpeg"}, true},
		"preload":  {camsim.Viewer{Format: "preload"}, false},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, healthy(1), through(relaying{}))
			s.start(s.streams("add", "cam0")...).ends(0)
			stream := s.names()[0]
			leave := s.simulated().Watch(stream, kind.viewer)
			defer leave()
			r := s.start(s.round("office")...)
			code := r.end()
			doc := r.document()
			if !slices.Contains(s.names(), stream) {
				t.Fatalf("the stream was removed while %+v had it: %s", kind.viewer, r.stdout)
			}
			if got := len(doc.Streams.Kept) == 1; got != kind.keeps {
				t.Errorf("kept: %+v", doc.Streams.Kept)
			}
			switch {
			case kind.keeps && (code != 0 || doc.Verdict != "clean"):
				t.Errorf("exit %d, %s", code, r.stdout)
			case !kind.keeps && (code != 3 || !strings.Contains(fmt.Sprint(doc.Leftovers), "preload")):
				// It is ours, and it keeps the camera for nobody.
				t.Errorf("exit %d, %s", code, r.stdout)
			}
			if total := s.subnet.Cameras[0].Counts().ConnectionsTotal; kind.keeps && total != 1 {
				t.Errorf("a camera that is watched was dialled again: %d connections", total)
			}
		})
	}
}

// A picture taken from somebody else's stream that hangs there is not flushed: its viewer would see the test picture.
func TestStreams_hungPictureOfTheUsersIsKept(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.LongGOP, Name: "slow", GOP: time.Minute}}, through(relaying{streams: func(s *site) map[string]string {
		return map[string]string{"theirs": s.subnet.Cameras[0].URL()}
	}}))
	leave := s.simulated().Watch("theirs", camsim.Viewer{})
	defer leave()
	r := s.start(s.round("office", "--timeout", "3s")...)
	r.ends(3)
	doc := r.document()
	if doc.Verdict != "left" || len(doc.Leftovers) != 1 || !strings.Contains(doc.Leftovers[0].Subject, "a picture of the stream theirs") {
		t.Errorf("%s", r.stdout)
	}
	if !strings.Contains(s.held(), s.subnet.Cameras[0].Address().String()) || strings.Contains(s.held(), "virtual") {
		t.Errorf("the user's stream was given another source: %s", s.held())
	}
	if c := s.subnet.Cameras[0].Counts(); c.ConnectionsTotal != 1 {
		t.Errorf("dialled %d times", c.ConnectionsTotal)
	}
}

// A picture that hangs because its round was killed is ended by hand, while no later round has come by; and not while
// somebody watches.
func TestAPictureThatHangsIsFlushedByHand(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		s := newSite(t, []camsim.Config{{Temper: camsim.LongGOP, Name: "slow", GOP: time.Minute}}, through(relaying{genuine: genuine}))
		slow := s.subnet.Camera("slow")
		r := s.start(s.round("office", "--timeout", "60s")...)
		eventually(t, func() error {
			if slow.Counts().Plays == 0 { // go2rtc must not be asked now: it might not survive
				return errors.New("go2rtc has not asked the camera to play yet")
			}
			return nil
		})
		check(t, r.cmd.Process.Kill())
		r.killed()
		names := s.streamLeases()
		if len(names) != 1 {
			t.Fatalf("the ledger holds %v", names)
		}
		type document struct {
			Streams []struct{ Name, Action, Why string }
		}
		flush := func(code int) document {
			f := s.start(s.streams("flush", names[0])...)
			f.ends(code)
			var doc document
			conforms(t, "streams", f.stdout.String(), f.stderr.String(), &doc)
			return doc
		}
		if !genuine { // whose viewer needs a key frame to be seen
			leave := s.simulated().Watch(names[0], camsim.Viewer{})
			if doc := flush(3); !slices.ContainsFunc(doc.Streams, func(row struct{ Name, Action, Why string }) bool {
				return row.Name == names[0] && row.Action != "flushed" && row.Why != ""
			}) {
				t.Errorf("while somebody watches: %+v", doc)
			}
			leave()
		}
		if doc := flush(0); !slices.ContainsFunc(doc.Streams, func(row struct{ Name, Action, Why string }) bool {
			return row.Name == names[0] && row.Action == "flushed"
		}) {
			t.Errorf("%+v", doc)
		}
		eventually(t, func() error { return atMost(0, slow.Counts().Connections, "slow") })
		purge := s.start(s.streams("purge")...)
		purge.ends(0)
		s.nothingRelayed()
	})
}
