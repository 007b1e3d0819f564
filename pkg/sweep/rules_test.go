package sweep_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// fiveMinutes are the rules as they stand when nobody changes them.
var fiveMinutes = sweep.Rules{OlderThan: 5 * time.Minute, SilentFor: 5 * time.Minute}

func withSilent(r sweep.Rules) sweep.Rules     { r.Silent = true; return r }
func withContainers(r sweep.Rules) sweep.Rules { r.Containers = true; return r }

// zoo is an observation that a test fills with animals.
type zoo struct{ observe.Observation }

// animal is a process of a camera that is an hour old; its one connection is silent for as long as said (negative: unknown).
func (z *zoo) animal(pid int, shape cmdline.Shape, silent time.Duration, change ...func(*observe.Process, *observe.Connection)) {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(pid >> 8), byte(pid)}), 554)
	p := observe.Process{
		ID: proc.Identity{BootID: boot, PID: pid, Start: uint64(pid)}, Name: "ffmpeg", Program: "/usr/bin/ffmpeg", Configured: true,
		State: "S", AgeMS: time.Hour.Milliseconds(), Shape: shape, Parents: []observe.Parent{{PID: 7, Name: "camserver"}},
		Targets: []observe.Target{{Address: at, Name: at.String()}},
	}
	ms := silent.Milliseconds()
	c := observe.Connection{Remote: at, State: proc.Established, PID: pid, Program: "ffmpeg", Held: true, SilentMS: &ms}
	if silent < 0 {
		c.SilentMS = nil
	}
	for _, f := range change {
		f(&p, &c)
	}
	z.Processes = append(z.Processes, p)
	if c.State != "" {
		z.Connections = append(z.Connections, c)
	}
}

func (z *zoo) decide(t *testing.T, rules sweep.Rules) sweep.Decision {
	t.Helper()
	all := sweep.Decide(z.Observation, rules)
	if len(all) == 0 || all[0].Why == "" {
		t.Fatalf("no decision, or one without a reason: %+v", all)
	}
	return all[0]
}

func TestRules_innocentNeighboursAreKept(t *testing.T) {
	t.Parallel()
	type change = func(*observe.Process, *observe.Connection)
	for name, c := range map[string]struct {
		shape  cmdline.Shape
		silent time.Duration
		change change
		rules  sweep.Rules
		why    string
	}{
		"a capture that is young": {cmdline.OneFrame, 0, func(p *observe.Process, _ *observe.Connection) { p.AgeMS = 299_999 }, fiveMinutes, "may still be at work"},
		"a capture that chooses its frame and still receives": {
			cmdline.OneFrame, time.Second, func(p *observe.Process, _ *observe.Connection) { p.Chooses = true }, fiveMinutes, "by a filter",
		},
		"a capture that chooses, and nobody can tell whether it receives": {
			cmdline.OneFrame, -1, func(p *observe.Process, _ *observe.Connection) { p.Chooses = true }, fiveMinutes, "cannot be told",
		},
		"a capture that chooses, over UDP": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Chooses, p.Datagrams = true, 2 }, fiveMinutes, "UDP",
		},
		"a recorder that receives":                    {cmdline.Streaming, time.Second, nil, withSilent(fiveMinutes), "was heard"},
		"a recorder whose camera is silent":           {cmdline.Streaming, time.Hour, nil, fiveMinutes, "--include silent"},
		"a recorder of whose camera nothing is known": {cmdline.Streaming, -1, nil, withSilent(fiveMinutes), "cannot be told"},
		"a recorder between two connections": {
			cmdline.Streaming, 0, func(_ *observe.Process, c *observe.Connection) { c.State = "" }, withSilent(fiveMinutes), "no connection",
		},
		"a reader that stalls": {
			cmdline.Streaming, time.Hour, func(_ *observe.Process, c *observe.Connection) { c.ReceiveQueue = 1 << 20 }, withSilent(fiveMinutes), "reader stalled",
		},
		"a recorder whose camera hung up": {
			cmdline.Streaming, time.Hour, func(_ *observe.Process, c *observe.Connection) { c.State, c.ReceiveQueue = proc.CloseWait, 1 }, withSilent(fiveMinutes), "hung up",
		},
		"media over UDP": {
			cmdline.Streaming, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Datagrams = 4 }, withSilent(fiveMinutes), "UDP",
		},
		"media that may come over UDP": {
			cmdline.Streaming, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Datagrams = -1 }, withSilent(fiveMinutes), "UDP",
		},
		"a transcode of a file": {
			cmdline.NoCamera, 0, func(p *observe.Process, c *observe.Connection) { p.Targets, c.State = nil, "" }, withSilent(fiveMinutes), "no camera",
		},
		"one of another user that hides where it reads from": {
			cmdline.NoCamera, 0, func(p *observe.Process, c *observe.Connection) { p.Targets, p.Unseen, c.State = nil, true, "" }, fiveMinutes, "only root can see",
		},
		"one whose command line says nothing": {cmdline.Unknown, time.Hour, nil, withSilent(fiveMinutes), "does not say"},
		"a child of go2rtc": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Go2rtc = true }, withSilent(withContainers(fiveMinutes)), "go2rtc",
		},
		"one in a container": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Container = true }, withSilent(fiveMinutes), "container",
		},
		"one that is only named ffmpeg": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Disguised, p.Program = true, "/usr/bin/python3" }, fiveMinutes, "only named",
		},
		"another program that holds a camera": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Configured, p.Name = false, "frigate" }, fiveMinutes, "frigate",
		},
		"a zombie": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.State = "Z" }, fiveMinutes, "camserver (pid 7)",
		},
		"one that a camwarden with another ledger answers for": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) {
				p.Owner = &observe.Owner{PID: 42, Presence: proc.Running}
			}, fiveMinutes, "another ledger",
		},
		"one with our mark, whose camwarden cannot be seen": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) {
				p.Owner = &observe.Owner{PID: 42, Presence: proc.Unknown}
			}, fiveMinutes, "cannot be seen",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var z zoo
			if c.change == nil {
				c.change = func(*observe.Process, *observe.Connection) {}
			}
			z.animal(1000, c.shape, c.silent, c.change)
			if d := z.decide(t, c.rules); d.Leaked || d.Rule != "" || !strings.Contains(d.Why, c.why) {
				t.Errorf("leaked %v (%s): %q does not say %q", d.Leaked, d.Rule, d.Why, c.why)
			}
		})
	}
}

func TestEveryLeakIsNamedWithItsRule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		shape  cmdline.Shape
		silent time.Duration
		change func(*observe.Process, *observe.Connection)
		rules  sweep.Rules
		rule   sweep.Rule
		why    string
	}{
		"a capture of an hour":           {cmdline.OneFrame, time.Hour, nil, fiveMinutes, sweep.Overdue, "1h00m now, started by camserver (pid 7)"},
		"one that gets bytes and no end": {cmdline.OneFrame, 0, nil, fiveMinutes, sweep.Overdue, "should take seconds"},
		"one that waits for its host name": {
			cmdline.OneFrame, 0, func(p *observe.Process, c *observe.Connection) { c.State = "" }, fiveMinutes, sweep.Overdue, "one frame",
		},
		"one that chooses its frame, and gets nothing": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Chooses = true }, fiveMinutes, sweep.Overdue, "one frame",
		},
		"a stopped one":                 {cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.State = "T" }, fiveMinutes, sweep.Overdue, "one frame"},
		"a silent recorder, when asked": {cmdline.Streaming, time.Hour, nil, withSilent(fiveMinutes), sweep.Mute, "nothing for 1h00m"},
		"one in a container, when asked": {
			cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Container = true }, withContainers(fiveMinutes), sweep.Overdue, "one frame",
		},
		"ours, whose camwarden is dead, however young": {
			cmdline.OneFrame, 0, func(p *observe.Process, _ *observe.Connection) {
				p.AgeMS, p.Owner = 1, &observe.Owner{PID: 42, Presence: proc.Gone}
			}, fiveMinutes, sweep.Unleased, "pid 42",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var z zoo
			if c.change == nil {
				c.change = func(*observe.Process, *observe.Connection) {}
			}
			z.animal(1000, c.shape, c.silent, c.change)
			if d := z.decide(t, c.rules); !d.Leaked || d.Rule != c.rule || !strings.Contains(d.Why, c.why) {
				t.Errorf("leaked %v (%s): %q does not say %q", d.Leaked, d.Rule, d.Why, c.why)
			}
		})
	}
}

func TestALeaseDecidesAboutOurOwn(t *testing.T) {
	t.Parallel()
	for standing, leaked := range map[string]bool{ledger.Live: false, ledger.DeadOwner: true, ledger.WedgedOwner: true} {
		var z zoo
		z.Leases = []observe.Lease{{ID: "L1", Run: "R1", Owner: 42, Standing: standing, LateMS: 90_000}}
		z.animal(1000, cmdline.OneFrame, time.Hour, func(p *observe.Process, _ *observe.Connection) { p.Lease, p.AgeMS = "L1", 1000 })
		if d := z.decide(t, fiveMinutes); d.Leaked != leaked || !strings.Contains(d.Why, "pid 42") || !strings.Contains(d.Why, "R1") {
			t.Errorf("%s: leaked %v, %q", standing, d.Leaked, d.Why)
		}
	}
}

func TestRules_silentSubnet(t *testing.T) {
	t.Parallel()
	silent := func(seconds ...int) (leaked []int) {
		var z zoo
		for i, s := range seconds {
			z.animal(0x1100+i, cmdline.Streaming, time.Duration(s)*time.Second)
		}
		for _, d := range sweep.Decide(z.Observation, withSilent(fiveMinutes)) {
			if d.Leaked {
				leaked = append(leaked, d.ID.PID-0x1100)
			} else if s := seconds[d.ID.PID-0x1100]; s >= 300 && !strings.Contains(d.Why, "network") {
				t.Errorf("silent for %d s, and the network is not named: %q", s, d.Why)
			}
		}
		return leaked
	}
	for _, c := range []struct {
		seconds []int
		leaked  []int
	}{
		{[]int{600, 604, 609, 611}, nil},                 // all at once
		{[]int{600, 604, 609, 1}, nil},                   // most
		{[]int{600, 604, 609, 3000}, []int{3}},           // one of them long before
		{[]int{600, 900, 1200, 1500}, []int{0, 1, 2, 3}}, // one after the other
		{[]int{600, 1, 1}, []int{0}},                     // one alone
		{[]int{600, 601, 1, 1}, []int{0, 1}},             // half is not most
		{[]int{600}, []int{0}},                           // nobody to compare with
	} {
		if got := silent(c.seconds...); !slices.Equal(got, c.leaked) {
			t.Errorf("silent for %v s: ended %v, want %v", c.seconds, got, c.leaked)
		}
	}
	// Two readers of one camera are no subnet.
	var z zoo
	for pid := range 2 {
		z.animal(0x1100+pid, cmdline.Streaming, 10*time.Minute, func(p *observe.Process, c *observe.Connection) {
			c.Remote = netip.MustParseAddrPort("10.0.17.9:554")
			p.Targets[0].Address = c.Remote
		})
	}
	if len(sweep.Outages(z.Observation, fiveMinutes)) != 0 {
		t.Error("one camera that died was taken for the network")
	}
}

func TestDecidingIsPure(t *testing.T) {
	t.Parallel()
	var z zoo
	for i := range 20 {
		z.animal(0x1100+i, []cmdline.Shape{cmdline.OneFrame, cmdline.Streaming}[i%2], 10*time.Minute)
	}
	if a, b := sweep.Decide(z.Observation, fiveMinutes), sweep.Decide(z.Observation, fiveMinutes); !reflect.DeepEqual(a, b) {
		t.Error("two readings of one observation differ")
	}
}
