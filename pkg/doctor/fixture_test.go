package doctor_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
)

var update = flag.Bool("update", false, "write the saved observations and the reports of them instead of comparing")

// observations are the scenes that testdata keeps as files, as "camwarden doctor --save" writes them.
func observations() map[string]*scene {
	incident := newScene()
	incident.Cameras = []observe.Camera{
		{ID: "cam12", Host: "192.168.125.12", Address: host(12), Port: 554, Limit: 2, LimitAssumed: true},
		{ID: "gate", Host: "192.168.125.19", Address: host(19), Port: 554, Model: "Tapo C110", Limit: 2},
		{ID: "cam62", Host: "192.168.125.62", Address: host(62), Port: 554, Limit: 2, LimitAssumed: true},
		{ID: "cam79", Host: "192.168.125.79", Address: host(79), Port: 554, Model: "Tapo C110", Limit: 4},
	}
	incident.process(host(12), cmdline.OneFrame, 4*time.Hour+14*time.Minute, secret)
	for i := range 22 {
		incident.process(host(19), cmdline.OneFrame, 77*time.Minute-time.Duration(i)*3*time.Minute, secret)
	}
	incident.process(host(62), cmdline.OneFrame, 40*time.Minute, secret)
	incident.process(host(79), cmdline.OneFrame, 35*time.Minute, secret)

	healthy := newScene()
	for i := range 3 {
		healthy.process(host(i+1), cmdline.Streaming, 30*time.Hour, heard)
	}
	healthy.process(host(4), cmdline.OneFrame, 2*time.Second, heard)

	nobody := newScene()
	nobody.UID, nobody.HidesOthers = 65534, true
	for range 3 {
		nobody.process(gate, cmdline.OneFrame, time.Hour)
	}
	nobody.Processes = nobody.Processes[:0]
	for i := range nobody.Connections {
		nobody.Connections[i].PID, nobody.Connections[i].Program = 0, ""
	}
	nobody.Blind = []observe.Blind{{Where: "processes of other users", Why: "this /proc is mounted with hidepid: look as root"}}

	outage := newScene()
	for i := range 6 {
		outage.process(host(i+1), cmdline.Streaming, 10*time.Hour, func(_ *observe.Process, c *observe.Connection) {
			*c.SilentMS = (10*time.Minute + time.Duration(i)*time.Second).Milliseconds()
		})
	}
	outage.process(netip.MustParseAddrPort("10.0.0.9:554"), cmdline.Streaming, 10*time.Hour, heard)

	noNetlink := newScene()
	noNetlink.Method = proc.Procfs
	noNetlink.process(gate, cmdline.Streaming, time.Hour, func(_ *observe.Process, c *observe.Connection) { c.SilentMS = nil })
	noNetlink.process(gate, cmdline.OneFrame, time.Hour, func(_ *observe.Process, c *observe.Connection) { c.SilentMS = nil })
	noNetlink.Blind = []observe.Blind{{Where: "how long connections are silent", Why: "sock_diag: operation not permitted"}}
	return map[string]*scene{"incident": incident, "healthy": healthy, "hidepid": nobody, "outage": outage, "no-netlink": noNetlink}
}

// TestSavedObservationsAreJudgedAsTheyWere judges every file of testdata, those that no code here makes too.
func TestSavedObservationsAreJudgedAsTheyWere(t *testing.T) {
	t.Parallel()
	if *update {
		for name, s := range observations() {
			var text bytes.Buffer
			if err := s.Save(&text); err != nil {
				t.Fatal(err)
			}
			write(t, name+".json", text.String())
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) < len(observations()) {
		t.Fatalf("%v, %v (go test ./pkg/doctor -update writes them)", files, err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			seen, err := observe.Load(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			report := doctor.Examine(seen, terms())
			encoded, err := json.Marshal(report)
			if err != nil {
				t.Fatal(err)
			}
			validate(t, encoded)
			golden := strings.TrimSuffix(filepath.Base(path), ".json") + ".txt"
			got := inShort(report)
			if *update {
				write(t, golden, got)
				return
			}
			want, err := os.ReadFile(filepath.Join("testdata", golden))
			if err != nil || string(want) != got {
				t.Errorf("%v; it is now judged:\n%s\nwant:\n%s", err, got, want)
			}
		})
	}
}

// inShort is what of a report is a judgement.
func inShort(r doctor.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "status %s, %d processes, %d overdue, %d connections\n", r.Status, r.Processes.Total, r.Processes.Overdue, r.Connections.Total)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %s: %s\n  %s\n  %s\n", f.Severity, f.Code, f.Subject, f.Summary, f.Evidence, f.Remedy)
	}
	for _, c := range r.Cameras {
		fmt.Fprintf(&b, "camera %s %s: %d of %d, %d processes, %s\n", c.Camera, c.Address, c.Connections, c.Limit, c.Processes, c.State)
	}
	for _, p := range r.Processes.List {
		fmt.Fprintf(&b, "process %d %s: %s: %s\n", p.PID, p.Camera, p.Verdict, p.Why)
	}
	for _, e := range r.Timeline {
		fmt.Fprintf(&b, "at %s %s %s\n", e.At.UTC().Format(time.DateTime), e.Event, e.Camera)
	}
	return b.String()
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func validate(t *testing.T, document []byte) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "schema", "doctor.json"))
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, document)
	}
}
