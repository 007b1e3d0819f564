package sweep_test

import (
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/sweep"
)

func TestForeign_judgedBySilence(t *testing.T) {
	t.Parallel()
	type change = func(*observe.Process, *observe.Connection)
	foreign := func(p *observe.Process, _ *observe.Connection) { p.Name, p.Foreign = "python3", true }
	idle := func(p *observe.Process, _ *observe.Connection) { p.Name, p.Idle = "ffprobe", true }
	few, many := int64(9000), int64(1<<20)
	reports := func(p *observe.Process, c *observe.Connection) { p.Chooses, c.Received = true, &few }
	for name, c := range map[string]struct {
		shape  cmdline.Shape
		silent time.Duration
		change change
		rules  sweep.Rules
		leaked bool
		why    string
	}{
		"a script nobody named": {cmdline.Unknown, 50 * time.Minute, func(p *observe.Process, c *observe.Connection) { foreign(p, c); p.Configured = false },
			withSilent(fiveMinutes), false, "python3 is none of the programs that are looked at (reap: programs); its connection is freed when pid 1000 ends, which was started by camserver (pid 7)"},
		"a script that is named":              {cmdline.Unknown, 50 * time.Minute, foreign, fiveMinutes, false, "--include silent ends it"},
		"a script that is named, when asked":  {cmdline.Unknown, 50 * time.Minute, foreign, withSilent(fiveMinutes), true, "nothing for 50m00s"},
		"a script that is named, and heard":   {cmdline.Unknown, time.Second, foreign, withSilent(fiveMinutes), false, "was heard"},
		"a probe of a silent camera":          {cmdline.Unknown, 50 * time.Minute, idle, fiveMinutes, true, "keeps nothing, and its camera has sent nothing for 50m00s"},
		"a probe that monitors for days":      {cmdline.Unknown, time.Second, idle, fiveMinutes, false, "its camera was heard"},
		"a young probe":                       {cmdline.Unknown, time.Minute, func(p *observe.Process, c *observe.Connection) { idle(p, c); p.AgeMS = 60_000 }, fiveMinutes, false, "may still be at work"},
		"a probe over UDP":                    {cmdline.Unknown, 50 * time.Minute, func(p *observe.Process, c *observe.Connection) { idle(p, c); p.Datagrams = 2 }, fiveMinutes, false, "UDP"},
		"ten seconds, an hour ago":            {cmdline.Streaming, 50 * time.Minute, func(p *observe.Process, _ *observe.Connection) { p.ForMS = 10_000 }, fiveMinutes, true, "it was to take 10s"},
		"ten seconds, and still heard":        {cmdline.Streaming, time.Second, func(p *observe.Process, _ *observe.Connection) { p.ForMS = 10_000 }, fiveMinutes, false, "was heard"},
		"two hours, and one is over":          {cmdline.Streaming, 50 * time.Minute, func(p *observe.Process, _ *observe.Connection) { p.ForMS = 7_200_000 }, fiveMinutes, false, "--include silent"},
		"it chooses, and hears reports alone": {cmdline.OneFrame, time.Second, reports, fiveMinutes, true, "should take seconds"},
		"it chooses, and hears media": {cmdline.OneFrame, time.Second, func(p *observe.Process, c *observe.Connection) {
			reports(p, c)
			c.Received, p.Why = &many, "the filter tile may"
		},
			fiveMinutes, false, "the filter tile may; its camera was heard"},
		"what is fed": {cmdline.OneFrame, time.Hour, func(p *observe.Process, c *observe.Connection) {
			c.State, p.Feeder = "", &observe.Parent{PID: 77, Name: "curl"}
		}, withSilent(fiveMinutes), false, "it reads what curl (pid 77) gives it"},
		"a publisher": {cmdline.NoCamera, time.Hour, func(p *observe.Process, c *observe.Connection) { c.State, p.Pushes = "", "127.0.0.1:8554" }, withSilent(fiveMinutes), false, "it sends a stream to 127.0.0.1:8554"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var z zoo
			z.animal(1000, c.shape, c.silent, c.change)
			if d := z.decide(t, c.rules); d.Leaked != c.leaked || !strings.Contains(d.Why, c.why) {
				t.Errorf("leaked %v: %q does not say %q", d.Leaked, d.Why, c.why)
			}
		})
	}
}

func TestOutage_notOfOneLeak(t *testing.T) {
	t.Parallel()
	judge := func(lived time.Duration) (leaked int) {
		var z zoo
		for i := range 6 {
			silent := 40 * time.Minute
			z.animal(0x1100+i, cmdline.Streaming, silent, func(p *observe.Process, _ *observe.Connection) { p.AgeMS = (silent + lived).Milliseconds() })
		}
		for _, d := range sweep.Decide(z.Observation, withSilent(fiveMinutes)) {
			if d.Leaked {
				leaked++
			}
		}
		return leaked
	}
	if n := judge(4 * time.Second); n != 6 {
		t.Errorf("six captures that began together and fell silent together: %d of them leaked", n)
	}
	if n := judge(time.Hour); n != 0 {
		t.Errorf("six recorders of a subnet that fell silent: %d of them leaked", n)
	}
}
