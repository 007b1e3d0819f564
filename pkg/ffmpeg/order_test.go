package ffmpeg

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/supervise"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestMain(m *testing.M) {
	if code, called := testkit.FFmpeg(); called {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// workbench is a ledger of the test's own with a supervisor.
type workbench struct {
	ledger     *ledger.Ledger
	supervisor *supervise.Supervisor
}

func newWorkbench(t *testing.T) workbench {
	t.Helper()
	dir := t.TempDir()
	l, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}, proc.Default(), "test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := supervise.New(proc.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return workbench{ledger: l, supervisor: s}
}

// leases returns the kinds of what the ledger holds.
func (w workbench) leases(t *testing.T) []ledger.Kind {
	t.Helper()
	leases, torn, err := w.ledger.Read()
	if err != nil || len(torn) > 0 {
		t.Errorf("ledger: %v, torn %v", err, torn)
	}
	kinds := []ledger.Kind{}
	for _, l := range leases {
		kinds = append(kinds, l.Kind)
	}
	return kinds
}

// nowhere is a camera that no stand-in dials.
func nowhere() camera.Camera {
	return camera.Camera{
		ID: "gate", Host: "127.45.67.89", Port: 8554, Address: netip.MustParseAddrPort("127.45.67.89:8554"), Scheme: "rtsp",
		Path: "/stream1", Username: "viewer", MaxConnections: 2, Timeout: 10 * time.Second, SessionTimeout: time.Minute,
	}
}

func TestALineBreakCannotAddADirectiveToTheScript(t *testing.T) {
	t.Parallel()
	c := nowhere()
	c.Path = "/x'\nfile '/etc/passwd"
	o, err := Tool{script: true, idle: "timeout"}.order(Call{Camera: c, Password: "'\nfile x"}, Picturing{}, time.Second)
	if err == nil && strings.Count(string(o.stdin), "\nfile ") != 1 {
		t.Errorf("script:\n%s", o.stdin)
	}
}

func TestAQuoteInTheURLDoesNotEndItsQuotes(t *testing.T) {
	t.Parallel()
	got := string(script("rtsp://a/x'y", [][2]string{{"timeout", "1"}}))
	if want := "ffconcat version 1.0\nfile 'rtsp://a/x'\\''y'\noption timeout 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFFmpegsOwnTimeoutLeavesItTimeToSayGoodBye(t *testing.T) {
	t.Parallel()
	for _, left := range []time.Duration{10 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, time.Minute} {
		idle := idleFor(left)
		if idle <= 0 || idle >= left || left >= time.Second && left-idle < 300*time.Millisecond {
			t.Errorf("of %s ffmpeg gets %s", left, idle)
		}
	}
}
