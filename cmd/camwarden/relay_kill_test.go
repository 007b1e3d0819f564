package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// strayName is a stream with our prefix that another host may have made.
const strayName = "camwarden-elsewhere-0badcafe"

func TestRelay_nextRunRemovesStreamsOfAKilledOne(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"construct", "visit", "destruct"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			kinds(t, func(t *testing.T, genuine bool) { killRelayed(t, phase, genuine) })
		})
	}
}

func killRelayed(t *testing.T, phase string, genuine bool) {
	s := newSite(t, append(healthy(12), camsim.Config{Temper: camsim.SilentAfterPlay}), through(relaying{genuine: genuine, sim: func(c *camsim.Go2rtcConfig) {
		c.Hold = 30 * time.Millisecond // each phase lasts, so that we come before it is over
	}}), asReleased)
	s.register(strayName, s.subnet.Cameras[0].URL()+"#backchannel=0#%")
	before := s.file()
	const attempts = 6 // a phase may be over before we come
	want, killed := 1, 0
	var random chance
	if testkit.IsSoak() {
		want, random = attempts, drawn(t)
	}
	for attempt := 0; attempt < attempts && killed < want; attempt++ {
		r := s.start(s.round("office", "--timeout", "60s", "-j", "4")...)
		if !s.reaches(phase, r, random) {
			continue // it was quicker than we
		}
		check(t, r.cmd.Process.Kill())
		r.end()
		killed++
		s.answered()
		left := s.streamLeases()
		held := s.names()
		next := s.start(s.round("well", "--timeout", "1m")...)
		next.ends(0)
		doc := next.document()
		if doc.Verdict != "clean" {
			t.Errorf("attempt %d: %s", attempt, next.stdout)
		}
		var recovered []string
		for _, l := range doc.Recovered {
			if l.Kind == "stream" {
				recovered = append(recovered, strings.TrimPrefix(l.Subject, "stream "))
				if l.Outcome != "gone" {
					t.Errorf("attempt %d: %+v", attempt, l)
				}
			}
		}
		slices.Sort(left)
		slices.Sort(recovered)
		if !slices.Equal(left, recovered) {
			t.Errorf("attempt %d: the ledger held %v, go2rtc %v, recovered %v", attempt, left, held, recovered)
		}
		// Whatever go2rtc held beside the stray one had a lease.
		for _, name := range held {
			if name != strayName && !slices.Contains(left, name) {
				t.Errorf("attempt %d: %s had no lease", attempt, name)
			}
		}
		if names := s.names(); !slices.Equal(names, []string{strayName}) {
			t.Errorf("attempt %d: go2rtc holds %v", attempt, names)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	if killed < want/2+1 && phase != "destruct" || killed == 0 {
		t.Errorf("only %d rounds were killed in the phase", killed)
	}
	if !same(before, s.file()) {
		t.Errorf("go2rtc's configuration is now %s", s.file())
	}
	r := s.start(s.streams("list")...)
	r.ends(0)
	if !strings.Contains(r.stdout.String(), "stray: our prefix, and not in this ledger") {
		t.Errorf("%s", r.stdout)
	}
}

// answered waits until go2rtc is done with what the killed one had asked: to ask for a list before might end it.
func (s *site) answered() {
	s.t.Helper()
	if r, ok := s.relay.(*simRelay); ok {
		eventually(s.t, func() error {
			if c := r.Counts(); c.InFlight > c.FramesMost {
				return fmt.Errorf("%d calls are under way", c.InFlight)
			}
			return nil
		})
	}
	<-time.After(100 * time.Millisecond)
}

// reaches waits until a round is in a phase, and reports whether that came before its end.
func (s *site) reaches(phase string, r *run, random chance) bool {
	s.t.Helper()
	ours := func() int { return len(s.streamLeases()) } // go2rtc itself must not be asked: it might not survive a list just now
	ended := make(chan struct{})
	go func() {
		for {
			if stat, err := proc.Default().Stat(r.pid()); err != nil || stat.Dead() {
				close(ended)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	connected := func() bool {
		return slices.ContainsFunc(s.subnet.Cameras, func(c *camsim.Camera) bool { return c.Counts().Plays > 0 && c.Counts().Connections > 0 })
	}
	full := false
	for {
		select {
		case <-ended:
			r.end()
			return false
		default:
		}
		n := ours()
		full = full || n == len(s.subnet.Cameras)
		switch {
		case phase == "construct" && n > 0,
			phase == "visit" && full && connected():
			random.pause(200 * time.Millisecond)
			return true
		case phase == "destruct" && full && n < len(s.subnet.Cameras):
			return true
		}
		if phase == "destruct" && full && connected() { // it is cut short, so that it comes to that
			_ = r.cmd.Process.Signal(syscall.SIGINT)
		}
	}
}

// Two runs at a time: neither removes what the other uses, and the last one leaves nothing.
func TestRelay_runsBesideEachOther(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		s := newSite(t, healthy(4), limitedTo(4), through(relaying{genuine: genuine}))
		for round := range 4 {
			a := s.start(s.round("office")...)
			b := s.start("camwarden", "snapshot", "cam0", "cam1", "cam2", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json", "-d", s.dir)
			for _, r := range []*run{a, b} {
				if code := r.end(); code != 0 {
					t.Errorf("round %d: exit %d: %s%s", round, code, r.stdout, r.stderr)
				}
			}
		}
		if !s.relay.alive() {
			t.Error("go2rtc is dead")
		}
		s.nothingRelayed()
		if !genuine {
			if c := s.simulated().Counts(); c.CallsMost > 1 || c.Deaths > 0 {
				t.Errorf("calls overlapped: %+v", c)
			}
		}
	})
}

// Root's cron and a user's shell have ledgers of their own, and one go2rtc.
func TestUsersDoNotOverlapTheirCalls(t *testing.T) {
	t.Parallel()
	if len(users()) < 2 {
		t.Skip("needs root, to be two users")
	}
	s := newSite(t, healthy(6), limitedTo(4), asUser(nobody), through(relaying{}))
	for range 3 {
		user := s.start(s.round("office")...)
		s.uid = 0
		root := s.start("camwarden", "round", "office", "-c", s.path("cameras.yaml"), "--state-dir", s.path("root-state"), "-o", "json")
		s.uid = nobody
		for _, r := range []*run{user, root} {
			if code := r.end(); code != 0 && code != 1 { // each may find the other's connections
				t.Errorf("exit %d: %s%s", code, r.stdout, r.stderr)
			}
		}
	}
	if c := s.simulated().Counts(); c.CallsMost > 1 || c.Deaths > 0 {
		t.Errorf("calls overlapped: %+v", c)
	}
	if names := s.names(); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}
