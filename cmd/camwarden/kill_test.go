package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// hanging is a subnet at which a round hangs in every way: at connect, in the conversation, in the stream; one camera that
// keeps ffmpeg's own time-out from ever passing; and healthy ones beside them.
func hanging() []camsim.Config {
	return []camsim.Config{
		{Temper: camsim.MuteAtConnect},
		{Temper: camsim.Healthy},
		{Temper: camsim.MuteAtDescribe},
		{Temper: camsim.SilentAfterPlay},
		{Temper: camsim.RTCPOnly},
		{Temper: camsim.MuteAtConnect, Name: "mute2"},
	}
}

// hang is how many of them hold on to whoever connects.
const hang = 5

func TestKill_roundsLeaveNothingAlive(t *testing.T) {
	t.Parallel()
	for _, uid := range users() {
		moments := 4 // of every kind that killRounds knows
		if uid == nobody {
			moments = 2
		}
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			killRounds(t, chance{}, uid, moments)
		})
	}
}

func TestSoakKill_roundsLeaveNothingAlive(t *testing.T) {
	testkit.Soak(t, "takes minutes")
	t.Parallel()
	for _, uid := range users() {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			killRounds(t, drawn(t), uid, 60)
		})
	}
}

// killRounds kills that many rounds by SIGKILL, in each phase, and looks each time who survived and what the next one says.
func killRounds(t *testing.T, random chance, uid, moments int) {
	s := newSite(t, hanging(), asUser(uid), asReleased)
	var tally struct{ withChildren, withLeases, recovered int }
	var slowest time.Duration
	for i := range moments {
		r := s.start(s.round("office", "--timeout", "60s")...)
		s.awaitMoment(random, i)
		children := len(s.alive()) - 1
		check(t, r.cmd.Process.Kill())
		// Every other one is not collected by its parent, as happens under an init that does not, until all is over;
		// and its successor comes at once, while the children may still be dying.
		eventually(t, func() error { return stands(r, "Z") })
		if i%2 == 0 {
			r.killed()
			slowest = max(slowest, s.deserted(r))
		}
		if i%4 == 2 { // the one that comes to recover may be killed as well
			heir := s.start(s.round("office", "--timeout", "60s")...)
			if random.Rand == nil {
				s.busy(1) // it has recovered, and dials
			}
			random.pause(time.Second)
			check(t, heir.cmd.Process.Kill())
			heir.killed()
			slowest = max(slowest, s.deserted(heir))
		}
		left := s.leases()

		// The next round finishes what this one left, whichever of the subnet's cameras it visits, and says so.
		subnet, code, more := "well", 0, []string(nil)
		if i%4 == 3 {
			subnet, code, more = "office", 1, []string{"--timeout", "1500ms"}
		}
		next := s.start(s.round(subnet, more...)...)
		doc := s.clean(next, code)
		recovered(t, doc, left)
		if i%2 != 0 {
			r.killed()
		}
		if subnet == "well" && !doc.visit("healthy").OK {
			t.Errorf("moment %d: the healthy camera: %+v", i, doc.visit("healthy"))
		}
		if children > 0 {
			tally.withChildren++
		}
		if len(left) > 0 {
			tally.withLeases++
		}
		tally.recovered += len(doc.Recovered)
		if t.Failed() {
			t.Fatalf("moment %d", i)
		}
	}
	for _, c := range s.subnet.Cameras {
		// A camera hears of the end of a killed client a moment later than the kernel: one more may count there.
		if most := c.Counts().ConnectionsMost; most > s.limit {
			t.Errorf("%s had %d connections at once", c.Name(), most)
		}
	}
	t.Logf("%d rounds killed: %d with living children, %d with leases, %d leftovers recovered, all gone within %s",
		moments, tally.withChildren, tally.withLeases, tally.recovered, slowest.Round(time.Millisecond))
	if tally.withChildren < moments/3 || tally.recovered < moments/3 {
		t.Errorf("the moments do not show what they should: %+v", tally)
	}
}

// killed collects a round that SIGKILL must have ended.
func (r *run) killed() {
	r.t.Helper()
	if code := r.end(); code != -1 {
		r.t.Errorf("the round ended by itself, with %d:\n%s%s", code, r.stdout, r.stderr)
	}
}

// deserted waits until nothing that the killed round had started lives or is connected, and says how long that took.
func (s *site) deserted(r *run) time.Duration {
	s.t.Helper()
	return eventually(s.t, func() error { return none("alive after SIGKILL", s.alive(), markedBy(s.t, r.id), s.connections()) })
}

// chance says at which moments of a phase something happens. The zero chance leaves nothing to chance: at the first.
type chance struct{ *rand.Rand }

// drawn is a chance that can be had again.
func drawn(t *testing.T) chance {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CAMWARDEN_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		check(t, err)
	}
	t.Logf("random moments: CAMWARDEN_SEED=%d", seed)
	return chance{rand.New(rand.NewPCG(seed, 0))}
}

// pause waits for less than most.
func (c chance) pause(most time.Duration) {
	if c.Rand != nil {
		<-time.After(time.Duration(c.Int64N(int64(most))))
	}
}

// below is a number below n: i's own where nothing is left to chance.
func (c chance) below(n, i int) int {
	if c.Rand == nil {
		return i % n
	}
	return c.IntN(n)
}

// awaitMoment lets time pass until the i-th moment of a round: while it starts, while its children come, when all hang.
func (s *site) awaitMoment(random chance, i int) {
	s.t.Helper()
	switch {
	case i%4 == 0 && random.Rand == nil:
		eventually(s.t, func() error {
			if len(s.leases()) == 0 {
				return errors.New("no lease")
			}
			return nil
		})
	case i%4 == 0:
		random.pause(time.Second)
	case i%4 == 1:
		s.busy(1 + random.below(hang, 0))
		random.pause(50 * time.Millisecond)
	default:
		s.busy(hang)
		random.pause(300 * time.Millisecond)
	}
}

// recovered demands that a round names everything that an earlier one left, camera by camera, and saw it gone.
func recovered(t *testing.T, doc report, left []lease) {
	t.Helper()
	var want, got []string
	for _, l := range left {
		want = append(want, l.Camera)
	}
	for _, l := range doc.Recovered {
		got = append(got, l.Camera)
		if l.Outcome != "gone" || l.Why == "" {
			t.Errorf("recovered %+v", l)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("left for cameras %q, recovered for %q: %+v", want, got, doc.Recovered)
	}
}

func none(what string, lists ...[]string) error {
	if all := slices.Concat(lists...); len(all) > 0 {
		return fmt.Errorf("%s: %s", what, strings.Join(all, ", "))
	}
	return nil
}

// A picture is there whole or not at all, also in the folder's hidden corners, where nobody would ever clear it away.
func TestKill_whileWritingLeavesNoHalfPicture(t *testing.T) {
	t.Parallel()
	rounds, random := 2, chance{}
	if testkit.IsLong() {
		rounds, random = 6, drawn(t)
	}
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.Healthy, Name: "yard"}}, asReleased, byRTSP)
	whole := 0
	for range rounds {
		out, folders := s.path("out"), func() []string { found, _ := filepath.Glob(s.path("out", "*")); return found }
		check(t, os.RemoveAll(out))
		r := s.start(s.round("office", "-d", out)...)
		for end := time.Now().Add(within); len(folders()) == 0 && time.Now().Before(end); { // made just before the picture
			<-time.After(50 * time.Microsecond)
		}
		random.pause(3 * time.Millisecond)
		check(t, r.cmd.Process.Kill())
		r.end()
		for _, folder := range folders() {
			entries, err := os.ReadDir(folder)
			check(t, err)
			for _, entry := range entries {
				if !entry.Type().IsRegular() {
					continue // latest.jpg is a link
				}
				jpeg, err := os.ReadFile(filepath.Join(folder, entry.Name()))
				check(t, err)
				if !strings.HasSuffix(entry.Name(), ".jpg") || !isWhole(jpeg) {
					t.Errorf("%s/%s was left, of %d bytes", filepath.Base(folder), entry.Name(), len(jpeg))
				}
				whole++
			}
		}
		s.deserted(r)
	}
	s.clean(s.start(s.round("office")...), 0)
	t.Logf("%d whole pictures of killed rounds", whole)
}

func isWhole(jpeg []byte) bool {
	return bytes.HasPrefix(jpeg, []byte("\xff\xd8")) && bytes.HasSuffix(jpeg, []byte("\xff\xd9"))
}

// forks is an ffmpeg that is a wrapper: what it starts is not killed by the kernel when camwarden is.
const forks = `case "$*" in *demuxer=rtsp*|*pipe,data*) exec ffmpeg "$@";; esac
ffmpeg "$@"
exit $?
`

func TestWrapper_leftoverEndedByTheNextRound(t *testing.T) {
	t.Parallel()
	for _, uid := range users() {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.RTCPOnly}, {Temper: camsim.Healthy}}, asUser(uid), withFFmpeg(forks))
			alone := netip.PrefixFrom(s.subnet.Camera("rtcp-only").Address().Addr(), 32) // what is left of it does not end by itself
			r := s.start(s.round(alone.String(), "--timeout", "60s")...)
			eventually(t, func() error {
				if s.subnet.Camera("rtcp-only").Counts().Plays == 0 {
					return fmt.Errorf("nobody plays rtcp-only: %s", r.stderr)
				}
				return nil
			})
			check(t, r.cmd.Process.Kill())
			r.end()
			var orphans []string
			eventually(t, func() error { // the wrapper itself dies with camwarden, if not in the same moment
				orphans = s.alive()
				if slices.ContainsFunc(orphans, func(line string) bool { return strings.Contains(line, "/bin/sh") }) {
					return fmt.Errorf("the wrapper lives: %v", orphans)
				}
				return nil
			})
			if len(orphans) == 0 {
				t.Fatal("the wrapper's child died with camwarden: this test shows nothing")
			}
			doc := s.clean(s.start(s.round("well")...), 0)
			i := slices.IndexFunc(doc.Recovered, func(l leftover) bool { return l.Camera == "rtcp-only" })
			if i < 0 || doc.Recovered[i].Kind != "process" || doc.Recovered[i].Outcome != "gone" || len(doc.Recovered) < len(orphans) {
				t.Errorf("recovered %+v, want %v", doc.Recovered, orphans)
			}
			if text := r.stderr.String(); !strings.Contains(text, "is a script") || !strings.Contains(text, s.ffmpeg) {
				t.Errorf("the wrapper is not warned of: %s", text)
			}
		})
	}
}

// strays is an ffmpeg that leaves its group and session, forks, and goes on as if nothing had happened.
const strays = `case "$*" in *demuxer=rtsp*|*pipe,data*) exec ffmpeg "$@";; esac
setsid sh -c 'setsid sleep 600 & sleep 600' </dev/null >/dev/null 2>&1 &
exec ffmpeg "$@"
`

func TestRound_noProcessCarriesItsMark(t *testing.T) {
	t.Parallel()
	for _, uid := range users() {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, hanging(), asUser(uid), withFFmpeg(strays))
			r := s.start(s.round("office", "--timeout", "5m")...)
			s.busy(hang)
			var during []string
			eventually(t, func() error {
				if during = markedBy(t, r.id); len(during) < 3*hang {
					return fmt.Errorf("marked while the round goes on: %v", during)
				}
				return nil
			})
			r.signal(syscall.SIGTERM)
			s.clean(r, 143) // which looks at every process for the mark
			t.Logf("%d marked processes during the round, none after", len(during))
		})
	}
}

// A stopped round is neither dead nor alive: its locks and leases hold, until they count no more.
func TestRound_stoppedForLongIsTakenOver(t *testing.T) {
	testkit.Long(t, "waits 95 s")
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.RTCPOnly}, {Temper: camsim.RTCPOnly, Name: "drip"}, {Temper: camsim.Healthy}})
	wedged := s.start(s.round("office", "-j", "2", "--timeout", "8s", "--deadline", "9s")...)
	s.busy(2)
	var deadline time.Duration
	eventually(t, func() error {
		if n := len(s.leases()); n != 2 {
			return fmt.Errorf("%d leases, want 2", n)
		}
		return nil
	})
	for _, l := range s.leases() {
		deadline = max(deadline, l.Deadline)
	}
	stopped := time.Now()
	wedged.signal(syscall.SIGSTOP)
	eventually(t, func() error { return stands(wedged, "T") })

	early := s.start(s.round("office")...)
	early.ends(75)
	if e := early.failed(); e.Class != "busy" || !strings.Contains(e.Message, fmt.Sprintf("pid %d", wedged.pid())) {
		t.Errorf("the stopped round is not named as busy: %+v", e)
	}
	well := s.start(s.round("well")...)
	well.ends(0)
	if doc := well.document(); len(doc.Recovered) > 0 || doc.Verdict != "clean" {
		t.Errorf("a round beside the stopped one took its living leases: %+v", doc)
	}
	if n := len(s.alive()); n != 3 {
		t.Errorf("alive beside the stopped round: %v", s.alive())
	}

	// What passes here is what the design promises to wait: the deadline, and 60 s.
	for time.Since(stopped) < 91*time.Second || bootTime(t) <= deadline+60*time.Second {
		<-time.After(250 * time.Millisecond)
	}
	connected := s.subnet.Camera("healthy").Counts().ConnectionsTotal
	next := s.start(s.round("office", "-j", "3")...)
	next.ends(1)
	doc := next.document()
	if doc.Verdict != "clean" || len(doc.Recovered) != 2 || !doc.visit("healthy").OK || doc.Summary.Cameras != 3 {
		t.Errorf("the round that took over: %+v\n%s", doc, next.stderr)
	}
	for _, l := range doc.Recovered {
		if l.Outcome != "gone" || !strings.Contains(l.Why, fmt.Sprintf("pid %d", wedged.pid())) || !strings.Contains(l.Why, "wedged") {
			t.Errorf("recovered %+v, which does not name the wedged pid %d", l, wedged.pid())
		}
	}
	if found := s.alive(); len(found) != 1 {
		t.Errorf("alive beside the stopped round, of which nothing but itself should be: %v", found)
	}

	check(t, wedged.cmd.Process.Signal(syscall.SIGCONT))
	wedged.ends(1)
	late := wedged.document()
	if late.Verdict != "clean" || len(late.Leftovers) > 0 || late.visit("healthy").class() != "deadline" {
		t.Errorf("the round that was stopped: %+v", late)
	}
	if now := s.subnet.Camera("healthy").Counts().ConnectionsTotal; now != connected+1 {
		t.Errorf("%d connections to the healthy camera since the take-over, want 1: the stopped round must not dial any more", now-connected)
	}
	s.nothingLeft(wedged, next)
	t.Logf("stopped for %s", time.Since(stopped).Round(time.Second))
}
