package commands

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/olekukonko/tablewriter"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// leaking is a host with so many hung captures at so many cameras, beside forty recorders that are well.
func leaking(leaks, cameras int) doctor.Report {
	at := time.Date(2026, 1, 5, 22, 24, 0, 0, time.UTC)
	o := observe.Observation{
		Schema: observe.Schema, Host: "nvr01", TakenAt: at, Processes: []observe.Process{}, Connections: []observe.Connection{}, Leases: []observe.Lease{}, Blind: []observe.Blind{},
	}
	add := func(camera int, shape cmdline.Shape, age, silent time.Duration) {
		pid := 1_504_000 + len(o.Processes)
		address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 23, 6, byte(camera)}), 554)
		ms := silent.Milliseconds()
		o.Processes = append(o.Processes, observe.Process{
			ID: proc.Identity{BootID: "b", PIDNS: 1, PID: pid, Start: uint64(pid)}, Name: "ffmpeg", Program: "/usr/bin/ffmpeg", Configured: true, State: "S",
			StartedAt: at.Add(-age), AgeMS: age.Milliseconds(), Shape: shape, Targets: []observe.Target{{Address: address, Name: address.String()}},
			Parents: []observe.Parent{{PID: 1_468_583, Name: "camserver", StartedAt: at.Add(-6 * time.Hour)}, {PID: 1, Name: "systemd"}},
			Command: "ffmpeg -i rtsp://***@127.23.6.1/stream1 -frames:v 1 -f image2 pipe:1", Secret: shape == cmdline.OneFrame,
		})
		o.Connections = append(o.Connections, observe.Connection{
			Local: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(20000+pid%20000)), Remote: address, State: proc.Established, SilentMS: &ms, PID: pid, Program: "ffmpeg", Held: true,
		})
	}
	for i := range leaks {
		camera := 1 + i%cameras
		if i < leaks/2 {
			camera = 19 // half of them at one
		}
		age := 4*time.Hour + 14*time.Minute - time.Duration(i)*20*time.Second
		add(camera, cmdline.OneFrame, age, age)
	}
	for i := range 40 {
		add(100+i, cmdline.Streaming, 30*time.Hour, 40*time.Millisecond)
	}
	return doctor.Examine(o, doctor.Terms{
		Rules: sweep.Rules{OlderThan: 5 * time.Minute, SilentFor: 5 * time.Minute}, DefaultLimit: 2, ProcessesWarning: 5, ProcessesCritical: 20,
		Subnets: []doctor.Named{{Name: "office", Prefixes: []netip.Prefix{netip.MustParsePrefix("127.23.6.0/24")}}},
	})
}

func TestScreen_leakWithoutScrolling(t *testing.T) {
	t.Parallel()
	plain := defaultFlags()
	plain.color = "never"
	for _, size := range []struct{ width, height int }{{80, 24}, {100, 30}} {
		for _, leak := range []struct {
			leaks, cameras int
			command        string
		}{{1, 1, "camwarden reap 127.23.6.1 --dry-run"}, {25, 4, "camwarden reap office --dry-run"}, {300, 60, "camwarden reap office --dry-run"}} {
			name := fmt.Sprintf("%dx%d-%d", size.width, size.height, leak.leaks)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := leaking(leak.leaks, leak.cameras)
				d := document{value: r, list: "findings", table: func(p *page) { examinationPage(p, r, false) }}
				screen := drawn(t, Terminal{Stdout: true, Width: size.width, Height: size.height}, plain, d)
				Golden(t, "testdata/doctor-"+name+".txt", screen)
				lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
				if len(lines) > size.height-1 {
					t.Errorf("%d lines on a screen of %d", len(lines), size.height)
				}
				for _, line := range lines {
					if tablewriter.DisplayWidth(line) > size.width {
						t.Errorf("wider than the screen: %q", line)
					}
				}
				if last := lines[len(lines)-1]; !strings.HasPrefix(last, leak.command) {
					t.Errorf("the last line is %q, want %q", last, leak.command)
				}
				if !strings.Contains(screen, fmt.Sprintf("status: critical: %s leaked at", sweep.Processes(leak.leaks))) && leak.leaks > 1 || !strings.Contains(screen, "camserver") {
					t.Errorf("count and cause are not on the screen:\n%s", screen)
				}
				Validate(t, "doctor", []byte(drawn(t, Terminal{}, inFormat(asJSON), d)))
				all := document{value: r, list: "findings", table: func(p *page) { examinationPage(p, r, true) }}
				if n := strings.Count(drawn(t, Terminal{Stdout: true, Width: size.width, Height: size.height}, plain, all), "\n"); n < leak.leaks+40 {
					t.Errorf("-v shows %d lines", n)
				}
			})
		}
	}
}

// TestScreen_anySize: whatever the screen, the last line is the command; from 24 lines on nothing scrolls.
func TestScreen_anySize(t *testing.T) {
	t.Parallel()
	plain := defaultFlags()
	plain.color = "never"
	for _, leaks := range testkit.Some([]int{0, 1, 2, 7, 40, 300}, 0, 1, 40) {
		r := leaking(leaks, max(1, min(60, leaks/3)))
		d := document{value: r, list: "findings", table: func(p *page) { examinationPage(p, r, false) }}
		for _, height := range testkit.Some([]int{1, 9, 24, 25, 33, 50}, 1, 24, 33) {
			for _, width := range []int{20, 80, 131} {
				screen := drawn(t, Terminal{Stdout: true, Width: width, Height: height}, plain, d)
				lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
				if last := lines[len(lines)-1]; leaks > 0 && !strings.HasPrefix(last, "camwarden reap ") || leaks == 0 && last != "status: ok" {
					t.Errorf("%d leaks on %dx%d: the last line is %q", leaks, width, height, last)
				}
				if len(lines) > height-1 && height >= 24 && width >= 80 {
					t.Errorf("%d leaks on %dx%d: %d lines", leaks, width, height, len(lines))
				}
			}
		}
	}
}
