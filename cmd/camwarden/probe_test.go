package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// doctor is a command line that is limited to the site's own subnet.
func (s *site) doctor(more ...string) []string {
	return append([]string{"camwarden", "doctor", s.subnet.Prefix.String(), "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json"}, more...)
}

func (s *site) examined(code int, more ...string) examination {
	s.t.Helper()
	r := s.start(s.doctor(more...)...)
	r.ends(code)
	var doc examination
	conforms(s.t, "doctor", r.stdout.String(), r.stderr.String(), &doc)
	return doc
}

// state is how a camera stands, with the class of its error.
func (e examination) state(camera string) string {
	for _, c := range e.Cameras {
		if c.Camera != camera {
			continue
		}
		if c.Error != nil {
			return c.State + " " + c.Error.Class
		}
		return c.State
	}
	return "not listed"
}

func TestProbe_asksEachCameraOnce(t *testing.T) {
	t.Parallel()
	for _, uid := range eitherUser(1) {
		t.Run(fmt.Sprintf("uid %d", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{
				{Temper: camsim.Healthy}, {Temper: camsim.Digest, Username: "viewer", Password: "S3cretPass"}, {Temper: camsim.Refuses},
				{Temper: camsim.MuteAtOptions}, {Temper: camsim.MuteAtDescribe}, {Temper: camsim.WrongPassword, Username: "viewer", Password: "S3cretPass"},
				{Temper: camsim.ClosesAtPlay}, {Temper: camsim.NotFound}, {Temper: camsim.MuteAtConnect, Name: "full"},
			}, asUser(uid))
			for range 2 {
				s.ffmpegOn("full", overTCP, oneFrame)
			}
			s.busy(2)

			// Without --probe no camera is touched.
			still := s.examined(1)
			for _, c := range s.subnet.Cameras {
				if n := c.Counts().ConnectionsTotal; c.Name() != "full" && n != 0 {
					t.Errorf("%s was dialled %d times without --probe", c.Name(), n)
				}
			}
			if still.state("healthy") != "unknown" || still.state("full") != "exhausted" {
				t.Errorf("%+v", still.Cameras)
			}

			got := s.examined(1, "--probe")
			for camera, want := range map[string]string{
				"healthy": "ok", "digest": "ok", "refuses": "refused refused", "mute-at-options": "mute timeout", "mute-at-describe": "mute timeout",
				"wrong-password": "auth auth", "closes-at-play": "ok", "not-found": "unknown not-found", "full": "exhausted exhausted",
			} {
				if state := got.state(camera); state != want {
					t.Errorf("%s is %q, want %q", camera, state, want)
				}
			}
			for _, c := range s.subnet.Cameras {
				counts := c.Counts()
				switch {
				case c.Name() == "full" && counts.ConnectionsTotal != 2:
					t.Errorf("the exhausted camera was dialled: %+v", counts)
				case c.Name() != "full" && c.Temper() != camsim.Refuses && (counts.ConnectionsTotal != 1 || counts.Sessions != 0 || counts.Plays != 0):
					t.Errorf("%s: %+v, want one connection and no session", c.Name(), counts)
				}
			}
			for _, c := range got.Cameras {
				if c.State == "ok" && c.RTTMS == nil {
					t.Errorf("no round-trip time: %+v", c)
				}
			}
			var auth string
			missing := false
			for _, f := range got.Findings {
				missing = missing || f.Code == "server-not-found" // a simulated camera is a server of this host
				if f.Code == "server-auth" {
					auth = f.Evidence
				}
			}
			if !missing {
				t.Errorf("nobody says that there is no such stream: %+v", got.Findings)
			}
			if !strings.Contains(auth, "no proof of a wrong password") {
				t.Errorf("401 is not explained: %+v", got.Findings)
			}
			if leases := s.leases(); len(leases) != 0 {
				t.Errorf("the probe left leases: %+v", leases)
			}
		})
	}
}

func TestDoctorChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}})
	before := s.listing()
	s.examined(0)
	s.nothingNew(before)
	if _, err := os.Stat(s.path("state")); !os.IsNotExist(err) {
		t.Errorf("doctor made a state directory: %v", err)
	}
	// Secrets and file modes are findings, and no reason to stay away.
	check(t, os.MkdirAll(s.path("state", "run", "leases"), 0o777))
	check(t, os.Chmod(s.path("state", "run", "leases"), 0o777))
	if got := s.examined(0); got.Status != "unknown" || len(got.Blind) == 0 || got.Findings[0].Code != "blind-ledger" {
		t.Errorf("an unsafe ledger: %+v", got)
	}
}
