package commands

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/sweep"
)

func exampleExamination() doctor.Report {
	at := time.Date(2026, 1, 5, 22, 24, 0, 0, time.UTC)
	silent, rtt := int64(15_200_000), int64(1286)
	process := func(pid int, camera, target string, age int64) doctor.Process {
		return doctor.Process{
			PID: pid, PIDNS: "host", StartedAt: at.Add(-time.Duration(age) * time.Millisecond), AgeMS: age, State: "S", Program: "ffmpeg",
			Parent: doctor.Parent{PID: 1468583, Name: "camserver"}, Parents: []string{"camserver", "systemd"}, Camera: camera, Target: target,
			Shape: "one-frame", Owner: "foreign", Connections: 1, SilentMS: &silent, RSSBytes: 60 << 20, CPUMS: 120, FDs: 9,
			Command: "ffmpeg -i 'rtsp://***@192.168.125.12:554/stream1' -frames:v 1 -", Verdict: "leaked", Why: "a capture of one frame that should take seconds",
		}
	}
	kept := process(4242, "yard", "192.168.125.45:554", 3_600_000)
	kept.Shape, kept.Verdict, kept.Why = "streaming", "kept", "it streams, and its camera was heard, or dialled, 40ms ago"
	return doctor.Report{
		Schema: doctor.Schema, Host: "nvr01", TakenAt: at, Status: doctor.InDanger,
		Processes: doctor.Processes{Total: 3, Overdue: 2, List: []doctor.Process{kept, process(1504968, "cam12", "192.168.125.12:554", 15_240_000), process(1504999, "gate", "192.168.125.19:554", 4_620_000)}},
		Connections: doctor.Connections{Total: 24, List: []doctor.Connection{
			{Local: "192.168.125.246:40112", Remote: "192.168.125.19:554", State: "ESTABLISHED", SilentMS: &silent, PID: 1504999, Program: "ffmpeg"},
		}},
		Go2rtc: &doctor.Go2rtc{URL: "http://127.0.0.1:1984", Reachable: true, Version: "1.9.14", Streams: 17, Ours: 17, StillsBy: observe.Stills{FFmpeg: 17}},
		Cameras: []doctor.Camera{
			{Camera: "cam12", Address: "192.168.125.12:554", Connections: 1, Limit: 2, LimitAssumed: true, Processes: 1, OldestAgeMS: 15_240_000, State: "ok"},
			{Camera: "gate", Address: "192.168.125.19:554", Model: "Tapo C110", Connections: 22, Limit: 2, Processes: 22, OldestAgeMS: 4_620_000, State: "exhausted"},
			{Camera: "yard", Address: "192.168.125.45:554", Connections: 1, Limit: 4, Processes: 1, OldestAgeMS: 3_600_000, State: "ok", RTTMS: &rtt, Note: "log-in and path are right"},
			{Camera: "shed", Address: "192.168.125.13:554", Limit: 2, LimitAssumed: true, State: "unreachable", Error: fault.New(fault.Unreachable, fault.Connect, "192.168.125.13:554: no route to it")},
		},
		Timeline: []doctor.Event{{At: at.Add(-4 * time.Hour), Event: "first hung capture", Camera: "cam12", PID: 1504968}, {At: at, Event: "looked"}},
		Summary:  "2 processes leaked at 2 cameras, the oldest 4h14m ago", Commands: []string{"camwarden reap 192.168.125.0/24 --dry-run"},
		Leases: doctor.Leases{Live: 1}, Blind: []observe.Blind{{Where: "camera attic", Why: "its host attic.local does not resolve"}},
		Findings: []doctor.Finding{
			{Code: "process-overdue", Severity: doctor.Critical, Subject: "192.168.125.19:554", Summary: "22 captures of one frame should have been gone", Evidence: "pid 1504999, by camserver (pid 1468583)", Remedy: "camwarden reap 192.168.125.19"},
			{Code: "camera-exhausted", Severity: doctor.Critical, Subject: "192.168.125.19:554", Summary: "gate has no free connection: 22 are open, the limit is 2", Evidence: "22 ffmpeg of camserver", Remedy: "camwarden reap 192.168.125.19"},
			{Code: "go2rtc-bypassed", Severity: doctor.Info, Subject: "http://127.0.0.1:1984", Summary: "all 17 stills were taken by ffmpeg", Evidence: "by go2rtc 0, by rtsp 0, by ffmpeg 17", Remedy: "put go2rtc first in sources"},
		},
	}
}

// drawn renders a document as a page.
func drawn(t *testing.T, terminal Terminal, flags globalFlags, d document) string {
	t.Helper()
	c := &cli{world: World{Terminal: terminal, Getenv: func(string) (string, bool) { return "", false }}, flags: flags}
	text, err := c.render(d, CameraFailed)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func examinationDocument(r doctor.Report) document {
	return document{value: r, list: "findings", table: func(p *page) { examinationPage(p, r, true) }, markdown: func() string { return incidentReport(r) }}
}

func TestExamination_forPersonPipeAndFile(t *testing.T) {
	t.Parallel()
	d := examinationDocument(exampleExamination())
	pipe := drawn(t, Terminal{}, defaultFlags(), d)
	Golden(t, "testdata/doctor-pipe.txt", pipe)
	if strings.ContainsAny(pipe, "│─█\x1b") || strings.Contains(pipe, " \n") {
		t.Error("the pipe got borders, bars, colour, or blanks at the end of a line")
	}
	plain := defaultFlags()
	plain.color = "never"
	Golden(t, "testdata/doctor-140.txt", drawn(t, Terminal{Stdout: true, Width: 140}, plain, d))
	Golden(t, "testdata/doctor.md", drawn(t, Terminal{}, inFormat(asMarkdown), d))
	Validate(t, "doctor", []byte(drawn(t, Terminal{}, inFormat(asJSON), d)))
}

func TestIncidentReport_sectionsHaveNoGaps(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*doctor.Report){
		"all":                 func(*doctor.Report) {},
		"no process":          func(r *doctor.Report) { r.Processes.List = nil },
		"nothing blind":       func(r *doctor.Report) { r.Blind = nil },
		"nothing but a table": func(r *doctor.Report) { r.Processes.List, r.Blind, r.Timeline, r.Findings = nil, nil, nil, nil },
	} {
		r := exampleExamination()
		change(&r)
		section, part := 0, 0
		for line := range strings.Lines(incidentReport(r)) {
			var n, m int
			if _, err := fmt.Sscanf(line, "### %d.%d ", &n, &m); err == nil {
				if part++; n != section || m != part {
					t.Errorf("%s: %q stands where %d.%d should", name, line, section, part)
				}
			} else if _, err := fmt.Sscanf(line, "## %d. ", &n); err == nil {
				if section, part = section+1, 0; n != section {
					t.Errorf("%s: %q stands where %d should", name, line, section)
				}
			}
		}
		if section != 5 {
			t.Errorf("%s: %d sections", name, section)
		}
	}
}

func TestExamination_noAddressTwice(t *testing.T) {
	t.Parallel()
	r := exampleExamination()
	for _, text := range []string{drawn(t, Terminal{}, defaultFlags(), examinationDocument(r)), incidentReport(r)} {
		for line := range strings.Lines(text) {
			if strings.Count(line, "192.168.125.13:554") > 1 {
				t.Errorf("twice in a line: %s", line)
			}
		}
	}
}

func TestAReapForAPersonAndForAPipe(t *testing.T) {
	t.Parallel()
	r := sweep.Reaping{
		Schema: sweep.ReapSchema, OlderThanMS: 300_000, Blind: []observe.Blind{}, Verdict: sweep.SomethingLeft,
		Summary: sweep.Counts{Killed: 1, Kept: 1, NotPermitted: 1},
		Outcomes: []sweep.Outcome{
			{Kind: sweep.Process, PID: 4242, Name: "ffmpeg", Camera: "yard", Target: "192.168.125.45:554", AgeMS: 3_600_000, Why: "it streams, and its camera was heard", Action: sweep.Kept},
			{Kind: sweep.Process, PID: 4711, Name: "ffmpeg", Camera: "gate", Target: "192.168.125.19:554", AgeMS: 4_620_000, Why: "a capture of one frame", Action: sweep.Killed, Signal: "TERM", TookMS: 18},
			{Kind: sweep.Process, PID: 4712, Name: "ffmpeg", Camera: "gate", Target: "192.168.125.19:554", AgeMS: 4_320_000, Why: "a capture of one frame; it belongs to another user", Action: sweep.NotPermitted},
		},
	}
	d := document{value: r, list: "outcomes", table: func(p *page) { reapingPage(p, r) }}
	Golden(t, "testdata/reap-pipe.txt", drawn(t, Terminal{}, defaultFlags(), d))
	plain := defaultFlags()
	plain.color = "never"
	Golden(t, "testdata/reap-100.txt", drawn(t, Terminal{Stdout: true, Width: 100}, plain, d))
	Validate(t, "reap", []byte(drawn(t, Terminal{}, inFormat(asJSON), d)))
}
