package sweep_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// What is right to think of command lines as the field has them. cmd/camwarden runs them for real.
func TestCommandLines_judged(t *testing.T) {
	t.Parallel()
	lines := testkit.CommandLines(t)
	if len(lines) < 120 {
		t.Fatalf("%d command lines", len(lines))
	}
	at := netip.MustParseAddrPort("192.168.125.19:554")
	replace := strings.NewReplacer("{rtsp}", "rtsp://viewer:hidden@192.168.125.19:554/stream1", "{rtmp}", "rtmp://192.168.125.19:554/live", "{http}", "http://192.168.125.19:554/video.mjpg",
		"{tcp}", "tcp://192.168.125.19:554", "{movie}", `rtsp\\://192.168.125.19\\:554/stream1`, "{udp}", "5004")
	for _, c := range lines {
		line := cmdline.Read(c.Args(replace))
		connected := strings.ContainsAny(c.Text, "{") && strings.Contains(c.Text, "}") && c.Shape != "no-camera"
		if got := string(line.Shape(connected)); got != c.Shape {
			t.Errorf("%s\n is %s, want %s", c.Text, got, c.Shape)
			continue
		}
		if strings.Contains(line.Text, "viewer:hidden") || strings.Contains(line.Text, "MDEyMzQ1Njc4") {
			t.Errorf("a secret is shown: %s", line.Text)
		}
		for _, silent := range []time.Duration{time.Second, 20 * time.Hour} {
			want := c.Mute
			if silent == time.Second {
				want = c.Sends
			}
			var got []string
			for _, rules := range []sweep.Rules{fiveMinutes, withSilent(fiveMinutes)} {
				d := sweep.Decide(oneOf(line, at, silent, connected), rules)[0]
				if d.Why == "" {
					t.Errorf("%s: no reason", c.Text)
				}
				got = append(got, map[bool]string{true: "ended", false: "kept"}[d.Leaked])
			}
			verdict := map[string]string{"ended ended": "ended", "kept kept": "kept", "kept ended": "silent"}[strings.Join(got, " ")]
			if verdict != want {
				t.Errorf("%s\n silent for %s: %s, want %s", c.Text, silent, verdict, want)
			}
		}
	}
}

// oneOf is a day-old process of that command line, with one connection.
func oneOf(line cmdline.Line, at netip.AddrPort, silent time.Duration, connected bool) observe.Observation {
	const pid = 4711
	ms, received := silent.Milliseconds(), int64(1<<30)
	p := observe.Process{
		ID: proc.Identity{BootID: boot, PID: pid, Start: 1}, Name: line.Program, Program: "/usr/bin/" + line.Program, Configured: line.Grammar != cmdline.Foreign, State: "S",
		AgeMS: (24 * time.Hour).Milliseconds(), Shape: line.Shape(connected), Foreign: line.Grammar == cmdline.Foreign, Idle: line.Idle(),
		ForMS: line.For.Milliseconds(), Chooses: line.Waits != "", Why: line.Waits, Parents: []observe.Parent{{PID: 7, Name: "camserver"}},
		Targets: []observe.Target{{Address: at, Name: at.String()}},
	}
	o := observe.Observation{Processes: []observe.Process{p}}
	if connected {
		o.Connections = []observe.Connection{{Remote: at, State: proc.Established, PID: pid, Program: line.Program, Held: true, SilentMS: &ms, Received: &received}}
	}
	return o
}
