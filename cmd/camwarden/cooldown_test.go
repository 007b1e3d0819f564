package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// TestCooldown_isQuiet makes rounds as cron would, with a camera that hangs in each of them, and
// looks every 50 ms from the end of one until its cool-down has passed. For every other round the next camwarden waits
// there already: it starts nothing, not even an ffmpeg to ask it what it can, before its turn has come.
func TestCooldown_isQuiet(t *testing.T) {
	t.Parallel()
	const cooldown = time.Second
	rounds := 6
	if testkit.IsLong() {
		rounds = 30
	}
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.SilentAfterPlay}}, asReleased)
	next := func(i int) *run { // one source after the other
		return s.start(s.round("office", "--source", []string{"ffmpeg", "rtsp"}[i/2%2], "--cooldown", cooldown.String(), "--if-busy", "wait")...)
	}

	looks, seen, pictures := 0, 0, 0
	r := next(0)
	for i := range rounds {
		r.ends(1) // the camera that hangs
		over := proc.BootTime()
		pictures += r.document().Summary.OK
		ended := s.lastRoundEnded()
		if ended > over || over-ended > within {
			t.Fatalf("round %d: the ledger says that it ended %s before it did", i, over-ended)
		}
		waiting := 0
		if i%2 == 1 && i+1 < rounds {
			r = next(i + 1)
			waiting = r.cmd.Process.Pid
		}
		every, before := time.NewTicker(50*time.Millisecond), looks
		for {
			found := s.nobodyBut(waiting)
			if proc.BootTime() >= ended+cooldown {
				break // it has passed while we looked
			}
			looks++
			if len(found) > 0 {
				t.Errorf("round %d, %s after its end: %s", i, proc.BootTime()-ended, strings.Join(found, ", "))
			}
			<-every.C
		}
		every.Stop()
		if looks > before {
			seen++
		}
		if i%2 == 0 && i+1 < rounds {
			r = next(i + 1)
		}
	}
	t.Logf("%d rounds, %d pictures, %d looks between them", rounds, pictures, looks)
	if seen < rounds/2 { // a very busy host may not come to look within one
		t.Errorf("only %d of %d cool-downs were looked into: they prove nothing", seen, rounds)
	}
	if pictures != rounds { // its camera has all the time it needs
		t.Errorf("%d pictures in %d rounds: rounds that do nothing prove nothing", pictures, rounds)
	}
	s.nothingLeft(r)
}

// nobodyBut lists every process of the site, but for one, and every connection to its cameras.
func (s *site) nobodyBut(pid int) []string {
	s.t.Helper()
	others := processes(s.t, func(other int, environ string) bool {
		return other != pid && strings.Contains(environ, "\x00CAMWARDEN_TEST_RUN="+s.mark+"\x00")
	})
	return append(others, s.connections()...)
}

// lastRoundEnded reads from the ledger when the last round ended, by the boot-time clock: the cool-down counts from there.
func (s *site) lastRoundEnded() time.Duration {
	s.t.Helper()
	paths, err := filepath.Glob(s.path("state", "state", "records", "turn-*"))
	check(s.t, err)
	if len(paths) != 1 {
		s.t.Fatalf("the ledger has %d records of a last round, want 1: %v", len(paths), paths)
	}
	var last struct {
		EndedBoot time.Duration `json:"ended_boot"`
	}
	content, err := os.ReadFile(paths[0])
	check(s.t, errors.Join(err, json.Unmarshal(content, &last)))
	return last.EndedBoot
}
