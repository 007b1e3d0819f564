package commands

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/olekukonko/tablewriter"

	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/round"
	"github.com/camwarden/camwarden/pkg/sweep"
)

func exampleReport() round.Report {
	at := time.Date(2026, 1, 5, 22, 0, 0, 123e6, time.UTC)
	mute := fault.New(fault.Timeout, fault.Media, "the camera sent no video in time").WithHint("restart the camera if it stays silent; a slow one needs a longer timeout")
	full := fault.New(fault.Exhausted, "", "all 2 connections of 192.168.125.19:554 are in use by others: pid 4711 (ffmpeg), pid 4712 (ffmpeg)").
		WithHint("end them, or raise max_connections if the camera truly allows more")
	return round.Report{
		Schema: round.RoundSchema, Run: "01KE7Z0G0R4M3YB5Q8V9T2XWCD", Subnets: []string{"192.168.125.0/24"}, StartedAt: at, DurationMS: 9120,
		Phases:  round.Phases{ConstructMS: 40, VisitMS: 8800, DestructMS: 90, VerifyMS: 12},
		Summary: round.Summary{Cameras: 3, OK: 1, Failed: 1, Skipped: 1},
		Visits: []round.Visit{
			{
				Camera: "門-gate", Address: "192.168.125.45:554", OK: true, Source: "ffmpeg", File: "out/門-gate/20260105T220000.123Z.jpg", CapturedAt: &at,
				WaitedMS: 640, DurationMS: 812, Width: 1920, Height: 1080, Bytes: 81234, Codec: "h264",
				Attempts: []capture.Attempt{{Source: "ffmpeg", OK: true, DurationMS: 812}},
			},
			{
				Camera: "yard", Address: "192.168.125.46:554", DurationMS: 10012, Error: mute,
				Attempts: []capture.Attempt{{Source: "ffmpeg", DurationMS: 10010, Error: mute}},
			},
			{Camera: "attic", Address: "192.168.125.19:554", Skipped: true, Attempts: []capture.Attempt{}, Error: full},
		},
		Streams:   round.Streams{Kept: []sweep.KeptStream{}},
		Recovered: []sweep.Leftover{{Kind: sweep.Process, Subject: "pid 4242 (ffmpeg)", Camera: "yard", Why: "its run 01KE7YX ended without cleaning up (camwarden pid 4200 is dead)", Outcome: sweep.Gone}},
		Leftovers: []sweep.Leftover{},
		Blind:     []observe.Blind{},
		Looked:    round.Looked{Processes: 212, Connections: 2, Leases: 1, By: "netlink"},
		Verdict:   round.Clean,
	}
}

func render(t *testing.T, terminal Terminal, flags globalFlags) string {
	t.Helper()
	c := &cli{world: World{Terminal: terminal, Getenv: func(string) (string, bool) { return "", false }}, flags: flags}
	text, err := c.render(reportDocument(exampleReport(), reportView{}), CameraFailed)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func inFormat(format string) globalFlags {
	flags := defaultFlags()
	flags.output = format
	return flags
}

func TestTable_plainInAPipe(t *testing.T) {
	t.Parallel()
	text := render(t, Terminal{}, defaultFlags())
	Golden(t, "testdata/round-pipe.txt", text)
	if strings.ContainsAny(text, "│─\x1b…") || strings.Contains(text, " \n") {
		t.Error("the pipe got borders, colour, cuts or blanks at the end of a line")
	}
	if wide := render(t, Terminal{Width: 40}, defaultFlags()); wide != text {
		t.Error("the width of a screen that nobody looks at changed the bytes in the pipe")
	}
}

func TestATableOnAScreenFitsIt(t *testing.T) {
	t.Parallel()
	flags := defaultFlags()
	flags.color = "never"
	for _, width := range []int{80, 100, 140} {
		text := render(t, Terminal{Stdout: true, Width: width}, flags)
		Golden(t, fmt.Sprintf("testdata/round-%d.txt", width), text)
		for line := range strings.Lines(text) {
			if strings.ContainsAny(line, "│─") && tablewriter.DisplayWidth(strings.TrimRight(line, "\n")) > width {
				t.Errorf("too wide for a screen of %d columns: %s", width, line)
			}
		}
	}
}

func TestColourFollowsFlagVariablesAndTerminal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		flag        string
		environment map[string]string
		terminal    bool
		want        bool
	}{
		{"auto", nil, true, true},
		{"auto", nil, false, false},
		{"auto", map[string]string{"NO_COLOR": "1"}, true, false},
		{"auto", map[string]string{"NO_COLOR": ""}, true, true},
		{"auto", map[string]string{"TERM": "dumb"}, true, false},
		{"auto", map[string]string{"CLICOLOR_FORCE": "1"}, false, true},
		{"auto", map[string]string{"CLICOLOR_FORCE": "0"}, false, false},
		{"auto", map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false, false},
		{"always", map[string]string{"NO_COLOR": "1"}, false, true},
		{"never", map[string]string{"CLICOLOR_FORCE": "1"}, true, false},
	}
	for _, tt := range tests {
		c := &cli{world: World{
			Terminal: Terminal{Stdout: tt.terminal},
			Getenv:   func(name string) (string, bool) { value, set := tt.environment[name]; return value, set },
		}}
		c.flags.color = tt.flag
		if got := c.colour(); got != tt.want {
			t.Errorf("--color %s, %v, terminal %v: colour %v, want %v", tt.flag, tt.environment, tt.terminal, got, tt.want)
		}
	}
}

func TestJSONLinesAreTheVisitsAndThenTheRest(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSuffix(render(t, Terminal{}, inFormat(asJSONL)), "\n"), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines, want one a visit and a summary", len(lines))
	}
	for i, line := range lines {
		var head struct {
			Schema, Run, Camera string
			Summary             *round.Summary
			Visits              []any
		}
		if err := json.Unmarshal([]byte(line), &head); err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
		last := i == len(lines)-1
		if head.Schema != round.RoundSchema || head.Run == "" || last != (head.Summary != nil) || last != (head.Camera == "") || head.Visits != nil {
			t.Errorf("line %d: %s", i, line)
		}
	}
}

func TestDocuments_followTheirSchema(t *testing.T) {
	t.Parallel()
	Validate(t, "round", []byte(render(t, Terminal{}, inFormat(asJSON))))
}

// A path cannot be wrapped, so what is expendable goes before a frame leaves the screen.
func TestATableWithALongPathStaysOnTheScreen(t *testing.T) {
	t.Parallel()
	const width = 100
	p := &page{screen: true, width: width}
	p.table([]string{"CAMERA", "ADDRESS", "RESULT", "SOURCE", "SIZE", "TIME", "FILE"},
		[][]string{{"gate", "127.88.5.1:8554", "ok", "rtsp", "640x360", "303ms", "stills/gate/20261128T140754.654Z.jpg"}}, "SIZE", "SOURCE")
	for line := range strings.Lines(p.out.String()) {
		if wide := tablewriter.DisplayWidth(strings.TrimRight(line, "\n")); wide > width {
			t.Errorf("%d columns of %d: %s", wide, width, line)
		}
	}
	if text := p.out.String(); strings.Contains(text, "SIZE") || !strings.Contains(text, "SOURCE") || !strings.Contains(text, "654Z.jpg") {
		t.Errorf("one column was to go:\n%s", text)
	}
}
