package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// TestManyRelayedRoundsLeaveGo2rtcAsItWas is the short form of the soak below.
func TestManyRelayedRoundsLeaveGo2rtcAsItWas(t *testing.T) {
	t.Parallel()
	rounds := 2
	if testkit.IsLong() {
		rounds = 6
	}
	kinds(t, func(t *testing.T, genuine bool) { manyRelayed(t, genuine, rounds) })
}

func TestSoakManyRelayedRoundsLeaveGo2rtcAsItWas(t *testing.T) {
	testkit.Soak(t, "takes many minutes")
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) { manyRelayed(t, genuine, 200) })
}

// manyRelayed makes rounds over 12 cameras, 3 of them faulty.
func manyRelayed(t *testing.T, genuine bool, rounds int) {
	s := newSite(t, append(faulty(), healthy(9)...), limitedTo(2), through(relaying{genuine: genuine}), asReleased)
	before := s.file()
	failed := s.subnet.Camera("wrong-password")
	registered, pictures, busy := 0, 0, 0
	for i := range rounds {
		logins := failed.Counts().LoginsFailed
		r := s.start(s.round("office")...)
		code := r.end()
		doc := r.document()
		if code == 3 && doc.Verdict == "unverified" && strings.Contains(fmt.Sprint(doc.Blind), "context canceled") {
			busy++ // a host so busy that destruct and verify did not get done within 8 s; the next round finishes it
			registered += doc.Streams.Registered
			continue
		}
		if busy > 0 && len(doc.Recovered) > 0 {
			doc.Recovered = nil
		}
		if code != 1 || doc.Verdict != "clean" || len(doc.Leftovers) > 0 || len(doc.Recovered) > 0 {
			t.Fatalf("round %d: %s", i, r.stdout)
		}
		registered += doc.Streams.Registered
		pictures += doc.Summary.OK
		if more := failed.Counts().LoginsFailed - logins; more > 1 {
			t.Errorf("round %d: %d failed log-ins", i, more)
		}
		if leases := s.streamLeases(); len(leases) > 0 {
			t.Fatalf("round %d: the ledger holds %v", i, leases)
		}
	}
	if !s.relay.alive() {
		t.Fatal("go2rtc is dead")
	}
	if busy > rounds/10 {
		t.Errorf("%d of %d rounds had no time to look: they prove nothing", busy, rounds)
	}
	s.nothingRelayed()
	if !same(before, s.file()) {
		t.Errorf("its configuration was\n%s\nand is\n%s", before, s.file())
	}
	for _, c := range s.subnet.Cameras {
		if most := c.Counts().ConnectionsMost; most > s.limit {
			t.Errorf("%s had %d connections at once, of %d", c.Name(), most, s.limit)
		}
	}
	if pictures < (rounds-busy)*9*9/10 || registered != rounds*12 {
		t.Errorf("%d pictures, %d streams registered in %d rounds", pictures, registered, rounds)
	}
	t.Logf("%d rounds, %d pictures, %d streams registered and removed, %d rounds unverified because the host was busy", rounds, pictures, registered, busy)
	if !genuine {
		c := s.simulated().Counts()
		if c.CallsMost > 1 || c.Deaths > 0 || c.Patches != registered || c.Deletes > registered+12*busy || c.Puts > 0 || c.Lists > 4*rounds+4*busy+1 {
			t.Errorf("%+v", c)
		}
	}
}

// TestBetweenRelayedRoundsNobodyIsConnected is the short form of the soak below.
func TestBetweenRelayedRoundsNobodyIsConnected(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) { coolRelayed(t, genuine, 2*time.Second, 100*time.Millisecond) })
}

func TestSoakBetweenRelayedRoundsNobodyIsConnected(t *testing.T) {
	testkit.Soak(t, "takes minutes")
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) { coolRelayed(t, genuine, time.Minute, time.Second) })
}

// coolRelayed looks through the cool-down between two rounds, at the kernel's table and at what the cameras say.
func coolRelayed(t *testing.T, genuine bool, cooldown, every time.Duration) {
	for _, lifecycle := range []string{"ephemeral", "standing"} {
		t.Run(lifecycle, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, append(faulty(), healthy(4)...), through(relaying{genuine: genuine, settings: "lifecycle: " + lifecycle}))
			command := s.round("office", "--cooldown", cooldown.String(), "--if-busy", "wait")
			s.start(command...).ends(1)
			ended := s.lastRoundEnded()
			for _, c := range s.subnet.Cameras { // which hear of an end a moment later
				eventually(t, func() error { return atMost(0, c.Counts().Connections, c.Name()) })
			}
			next := s.start(command...)
			looks := 0
			for {
				looks++
				if found := s.connections(); len(found) > 0 && proc.BootTime() < ended+cooldown {
					t.Errorf("%s after the round: %s", proc.BootTime()-ended, strings.Join(found, ", "))
				}
				for _, c := range s.subnet.Cameras {
					if n := c.Counts().Connections; n > 0 && proc.BootTime() < ended+cooldown {
						t.Errorf("%s after the round %s has %d connections", proc.BootTime()-ended, c.Name(), n)
					}
				}
				if proc.BootTime()+every >= ended+cooldown-100*time.Millisecond {
					break // the next one is about to begin
				}
				<-time.After(every)
			}
			next.ends(1)
			t.Logf("%d looks in %s", looks, cooldown)
		})
	}
}

// TestSoakASecondClientPollsTheList keeps go2rtc's own web page open, as it were, through rounds: it asks for the list each
// second, and no lock keeps its calls from meeting ours. It fails only if camwarden does not say so when go2rtc dies of it.
func TestSoakASecondClientPollsTheList(t *testing.T) {
	testkit.Soak(t, "takes many minutes")
	t.Parallel()
	if os.Getenv("GO2RTC") == "" {
		t.Skip("GO2RTC names no go2rtc, and the simulated one is made to die of it")
	}
	const rounds = 200
	s := newSite(t, healthy(12), through(relaying{genuine: true}))
	asked, stop := s.poll(time.Second)
	defer stop()
	deaths, calls := 0, 0
	for i := range rounds {
		r := s.start(s.round("office")...)
		code := r.end()
		doc := r.document()
		calls += doc.Streams.Registered + doc.Streams.Removed
		if !s.relay.alive() {
			deaths++
			if code == 0 {
				t.Errorf("round %d: go2rtc died, and the exit code is 0: %s", i, r.stdout)
			}
			s.relay.restart()
			continue
		}
		if code != 0 {
			t.Errorf("round %d: exit %d: %s", i, code, r.stdout)
		}
	}
	t.Logf("%d rounds, %d calls of ours that create or delete, %d lists by the other client: go2rtc died %d times", rounds, calls, asked(), deaths)
}

// Of both generations of JSON, behind a log-in and a base path, and by a socket.
func TestARelayedRoundReachesGo2rtcEveryWay(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *site, c *camsim.Go2rtcConfig) string{
		"old JSON":   func(_ *site, c *camsim.Go2rtcConfig) string { c.Old = true; return "" },
		"base path":  func(_ *site, c *camsim.Go2rtcConfig) string { c.BasePath = "/rtc"; return "" },
		"no file":    func(_ *site, c *camsim.Go2rtcConfig) string { c.ConfigFile = ""; return "" },
		"no masking": func(_ *site, c *camsim.Go2rtcConfig) string { c.Unmasked = true; return "" },
		"log-in": func(s *site, c *camsim.Go2rtcConfig) string {
			c.Username, c.Password, c.LocalAuth = "admin", "p:w #%ß", true
			check(s.t, os.WriteFile(s.path("go2rtc.pw"), []byte(c.Password), 0o600))
			return fmt.Sprintf("username: admin, password_file: %q", s.path("go2rtc.pw"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s *site
			r := relaying{}
			s = newSite(t, append(healthy(2), camsim.Config{Temper: camsim.Digest, Username: "admin", Password: "p&#@/%:x y"}), func(made *site) {
				r.sim = func(c *camsim.Go2rtcConfig) { r.settings = change(made, c) }
				config := camsim.Go2rtcConfig{}
				r.settings = change(made, &config)
				through(r)(made)
			})
			run := s.start(s.round("office")...)
			run.ends(0)
			if doc := run.document(); doc.Verdict != "clean" || doc.Summary.OK != 3 || doc.Streams.Removed != 3 {
				t.Errorf("%s", run.stdout)
			}
			if strings.Contains(run.stdout.String()+run.stderr.String(), "p&#@") || strings.Contains(run.stdout.String(), "p%26") {
				t.Errorf("a password is shown: %s", run.stdout)
			}
			if leases := s.streamLeases(); len(leases) > 0 {
				t.Errorf("%v", leases)
			}
		})
	}
}
