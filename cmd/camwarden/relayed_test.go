package main

import (
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// faulty are cameras that a look of our own tells apart: they must never cost go2rtc a dial.
func faulty() []camsim.Config {
	return []camsim.Config{
		{Temper: camsim.Refuses},
		{Temper: camsim.MuteAtConnect},
		{Temper: camsim.WrongPassword, Username: "admin", Password: "not-this-one"},
	}
}

func healthy(n int) []camsim.Config {
	var list []camsim.Config
	for i := range n {
		list = append(list, camsim.Config{Temper: camsim.Healthy, Name: fmt.Sprint("cam", i), Picture: i % 4})
	}
	return list
}

func TestARelayedRoundLeavesNothing(t *testing.T) {
	t.Parallel()
	for i, way := range []string{"frame", "restream"} {
		for _, uid := range eitherUser(i) {
			t.Run(fmt.Sprint(way, " uid ", uid), func(t *testing.T) {
				t.Parallel()
				kinds(t, func(t *testing.T, genuine bool) {
					s := newSite(t, append(faulty(), healthy(3)...), asUser(uid), limitedTo(1), through(relaying{genuine: genuine, settings: "snapshot: " + way}))
					before := s.file()
					for _, refused := range [][2]string{{"auth", "describe"}, {"auth", ""}} { // the second round does not try it again
						r := s.start(s.round("office", "-d", s.path("out"))...)
						r.ends(1)
						doc := r.document()
						if doc.Verdict != "clean" || doc.Summary.OK != 3 || doc.Streams.Registered != 6 || doc.Streams.Removed != 6 || len(doc.Streams.Kept) != 0 {
							t.Errorf("%s\n%s", r.stdout, r.stderr)
						}
						for camera, want := range map[string][2]string{
							"refuses": {"refused", "connect"}, "mute": {"timeout", "options"}, "wrong-password": refused,
						} {
							if got := doc.visit(camera).Error; got == nil || got.Class != want[0] || got.Step != want[1] {
								t.Errorf("%s: %+v", camera, got)
							}
						}
						s.nothingRelayed()
					}
					for _, c := range s.subnet.Cameras {
						counts := c.Counts()
						if counts.ConnectionsMost > s.limit {
							t.Errorf("%s had %d connections at once, of %d", c.Name(), counts.ConnectionsMost, s.limit)
						}
						if c.Temper() == camsim.WrongPassword && counts.LoginsFailed > 1 {
							t.Errorf("%d failed log-ins in two rounds", counts.LoginsFailed)
						}
						if c.Temper() == camsim.Healthy && counts.ConnectionsTotal != 4 {
							t.Errorf("%s was dialled %d times in two rounds: a look and a picture each are 4", c.Name(), counts.ConnectionsTotal)
						}
					}
					if !same(before, s.file()) {
						t.Errorf("go2rtc's configuration was\n%s\nand is\n%s", before, s.file())
					}
					if !s.relay.alive() {
						t.Error("go2rtc is dead")
					}
				})
			})
		}
	}
}

func TestEachCallToGo2rtcIsMadeOnceARound(t *testing.T) {
	t.Parallel()
	const cameras = 6
	s := newSite(t, healthy(cameras), through(relaying{}))
	r := s.start(s.round("office")...)
	r.ends(0)
	counts := s.simulated().Counts()
	if counts.Patches != cameras || counts.Deletes != cameras || counts.Puts != 0 || counts.Frames != cameras || counts.Lists > 4 || counts.Gets != 0 || counts.Infos > 1 {
		t.Errorf("%+v", counts)
	}
	if counts.CallsMost > 1 {
		t.Errorf("%d calls at a time", counts.CallsMost)
	}
}

func TestStandingStreamsAreMadeOnce(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		s := newSite(t, healthy(3), through(relaying{genuine: genuine, settings: "lifecycle: standing"}))
		before := s.file()
		for i := range 3 {
			r := s.start(s.round("office")...)
			r.ends(0)
			doc := r.document()
			want := 0
			if i == 0 {
				want = 3
			}
			if doc.Streams.Registered != want || doc.Streams.Removed != 0 || doc.Verdict != "clean" || len(doc.Recovered) != 0 {
				t.Errorf("round %d: %s", i, r.stdout)
			}
		}
		if names := s.names(); len(names) != 3 {
			t.Errorf("go2rtc holds %v", names)
		}
		if string(before) != string(s.file()) {
			t.Errorf("go2rtc's configuration was written, although nothing was removed")
		}
		for _, c := range s.subnet.Cameras {
			eventually(t, func() error { return atMost(0, c.Counts().Connections, c.Name()) })
		}
		// What stood is purged when asked, or when streams are to be ephemeral again.
		r := s.start(s.streams("purge")...)
		r.ends(0)
		s.nothingRelayed()
	})
}

func atMost(want, got int, what string) error {
	if got > want {
		return fmt.Errorf("%s has %d connections, want at most %d", what, got, want)
	}
	return nil
}

// streams is the command line of a command about streams.
func (s *site) streams(what string, more ...string) []string {
	return append([]string{"camwarden", "streams", what, "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json"}, more...)
}

// All cameras of the subnet have the path /stream1, and the user has a stream of that name, of another camera: go2rtc would
// link our streams to it.
func TestEveryStillIsFromTheRightCamera(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		s := newSite(t, healthy(4), through(relaying{genuine: genuine, streams: func(s *site) map[string]string {
			return map[string]string{"stream1": s.subnet.Camera("cam0").URL()}
		}}))
		before := s.file()
		r := s.start(s.round("office", "-d", s.path("out"))...)
		r.ends(0)
		for i, c := range s.subnet.Cameras {
			v := r.document().visit(c.Name())
			path := filepath.Join(s.path("out"), c.Name(), "latest.jpg")
			if !genuine {
				if seen := sight(t, path); !seen.Of(c) || seen.Test {
					t.Errorf("the picture of %s (%s) is of %+v", c.Name(), c.Address(), seen)
				}
			}
			if bar := barOf(t, path); bar != i%4 {
				t.Errorf("the picture of %s has bar %d, want %d", c.Name(), bar, i%4)
			}
			if !v.OK || v.Source != "go2rtc" {
				t.Errorf("%+v", v)
			}
			if total := c.Counts().ConnectionsTotal; total != 2 {
				t.Errorf("%s was dialled %d times, want 2", c.Name(), total)
			}
		}
		if !same(before, s.file()) {
			t.Errorf("the user's streams were touched: %s", s.file())
		}
		s.nothingRelayed()
	})
}

// A stream that answers no call of ours for what the look does not show: the reason is found and classified.
func TestAnEmptyAnswerIsExplained(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		s := newSite(t, []camsim.Config{{Temper: camsim.BusyAtSetup}, {Temper: camsim.MuteAtSetup}}, through(relaying{genuine: genuine}))
		r := s.start(s.round("office", "--timeout", "20s")...)
		r.ends(1)
		doc := r.document()
		if e := doc.visit("busy-at-setup").Error; e == nil || e.Class != "protocol" || e.Step != "setup" {
			t.Errorf("busy at SETUP: %+v", e)
		}
		if e := doc.visit("mute-after-describe").Error; e == nil || e.Class != "timeout" || e.Step != "setup" {
			t.Errorf("mute at SETUP: %+v", e)
		}
		if doc.Verdict != "clean" {
			t.Errorf("%s", r.stdout)
		}
		s.nothingRelayed()
	})
}

// A camera that falls silent after PLAY, or sends no key frame, hangs in go2rtc for ever if nobody ends it.
func TestAPictureThatNeverComesIsEnded(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		s := newSite(t, append(healthy(1),
			camsim.Config{Temper: camsim.SilentAfterPlay}, camsim.Config{Temper: camsim.ClosesAtPlay},
			camsim.Config{Temper: camsim.LateKeyFrame, Delay: time.Minute, GOP: time.Minute}), through(relaying{genuine: genuine}))
		began := time.Now()
		r := s.start(s.round("office", "--timeout", "4s")...)
		code := r.end()
		took := time.Since(began)
		doc := r.document()
		if took > time.Minute { // 4 s, then at most 8 s
			t.Errorf("it took %s", took)
		}
		if doc.visit("cam0").OK != true {
			t.Errorf("%+v", doc.visit("cam0"))
		}
		for _, name := range []string{"silent-after-play", "closes-at-play", "late-key-frame"} {
			if e := doc.visit(name).Error; e == nil || e.Class != "timeout" {
				t.Errorf("%s: %+v", name, e)
			}
		}
		switch {
		case code == 1 && doc.Verdict == "clean":
		case code == 3 && doc.Verdict == "left":
			for _, l := range doc.Leftovers {
				if l.Kind == "stream" && (!strings.Contains(l.Why, "restart go2rtc") || !strings.Contains(l.Why, "camwarden streams flush camwarden-")) {
					t.Errorf("it does not say how to end %+v", l)
				}
			}
		default:
			t.Errorf("exit %d, %s", code, r.stdout)
		}
		t.Logf("exit %d after %s, left %+v", code, took.Round(time.Millisecond), doc.Leftovers)
		// The next run ends what is left, whichever cameras it visits.
		eventually(t, func() error {
			next := s.start(append([]string{"camwarden", "snapshot", "cam0", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json", "-f", s.path("x.jpg")}, "--timeout", "30s")...)
			next.end()
			if names := s.names(); len(names) > 0 {
				return fmt.Errorf("left: %v after %s", names, next.stdout)
			}
			return nil
		})
		s.nothingRelayed()
	})
}

// barOf tells which of the four pictures of a simulated camera a file shows, by the colour of the bar on top; -1 for none.
func barOf(t *testing.T, path string) int {
	t.Helper()
	file, err := os.Open(path)
	check(t, err)
	defer file.Close()
	picture, err := jpeg.Decode(file)
	check(t, err)
	r, g, b, _ := picture.At(picture.Bounds().Dx()/2, 4).RGBA()
	high := func(c uint32) bool { return c > 0xa000 }
	switch [3]bool{high(r), high(g), high(b)} {
	case [3]bool{true, false, false}:
		return 0
	case [3]bool{false, true, false}:
		return 1
	case [3]bool{false, false, true}:
		return 2
	case [3]bool{true, true, false}:
		return 3
	}
	return -1
}

// What hangs by frame.jpeg leaves nothing by restream: our own client hangs up, and with it the camera is free.
func TestRelay_restreamedRoundOfBadCameras(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		s := newSite(t, append(healthy(1),
			camsim.Config{Temper: camsim.SilentAfterPlay}, camsim.Config{Temper: camsim.ClosesAtPlay},
			camsim.Config{Temper: camsim.BusyAtSetup}, camsim.Config{Temper: camsim.RTCPOnly},
			camsim.Config{Temper: camsim.LateKeyFrame, Delay: time.Minute, GOP: time.Minute}),
			through(relaying{genuine: genuine, settings: "snapshot: restream"}))
		r := s.start(s.round("office")...)
		r.ends(1)
		doc := r.document()
		if doc.Verdict != "clean" || !doc.visit("cam0").OK || doc.Summary.Failed != 5 {
			t.Errorf("%s", r.stdout)
		}
		for _, name := range []string{"silent-after-play", "closes-at-play", "busy-at-setup", "rtcp-only", "late-key-frame"} {
			t.Logf("%s: %+v", name, doc.visit(name).Error)
		}
		s.nothingRelayed()
	})
}
