package capture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/supervise"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// visitFor makes the test binary a camwarden that visits the camera at the address again and again, until it is killed.
const visitFor = "CAPTURE_TEST_VISIT"

func TestMain(m *testing.M) {
	if code, called := testkit.FFmpeg(); called {
		os.Exit(code)
	}
	if address := os.Getenv(visitFor); address != "" {
		fmt.Fprintln(os.Stderr, visitUntilKilled(address, os.Args[1]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// visitUntilKilled visits the camera again and again.
func visitUntilKilled(address, dir string) error {
	book, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}, proc.Default(), "killed")
	if err != nil {
		return err
	}
	supervisor, err := supervise.New(proc.Default())
	if err != nil {
		return err
	}
	at := netip.MustParseAddrPort(address)
	source := NewRTSP("ffmpeg", ffmpeg.Picturing{}, supervisor, slot.Table{Ledger: book, FS: proc.Default()})
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, report := source.Capture(ctx, Visit{Camera: camera.Camera{
			ID: "gate", Host: at.Addr().String(), Port: at.Port(), Address: at, Scheme: "rtsp", Path: "/stream1",
			Transport: camera.TCP, MaxConnections: 1, SessionTimeout: time.Millisecond,
		}})
		cancel()
		if report.Err != nil {
			return report.Err
		}
	}
}

// The slow camera takes 300 ms for each answer, so a visit can be killed between any two words.
func TestRTSP_killedHoldsNoConnection(t *testing.T) {
	t.Parallel()
	testkit.RealFFmpeg(t)
	for n := range 5 { // before the first request, and after OPTIONS, DESCRIBE, SETUP and PLAY
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			sim, _ := start(t, camsim.Config{Temper: camsim.Slow})
			child := exec.Command("/proc/self/exe", t.TempDir())
			child.Env = append(os.Environ(), visitFor+"="+sim.Address().String())
			child.Stderr = os.Stderr
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(30 * time.Second)
			for (sim.Counts().ConnectionsTotal == 0 || sim.Counts().Requests < n) && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
			}
			if testkit.IsSoak() {
				time.Sleep(rand.N(2500 * time.Millisecond))
			}
			counts := sim.Counts()
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			state, err := child.Process.Wait()
			killed := time.Now()
			if err != nil || state.Exited() {
				t.Fatalf("it ended by itself: %v, %v", state, err)
			}
			if counts.ConnectionsTotal == 0 || counts.Requests < n {
				t.Fatalf("it did not come so far: %+v", counts)
			}
			// By the time that a dead process can be waited for, the kernel has closed its files.
			notConnected(t, sim.Address())
			t.Logf("killed with %d connections open, after %d requests; looked %s later", counts.Connections, counts.Requests, time.Since(killed))
			for marked(t, child.Process.Pid) {
				if time.Since(killed) > 10*time.Second {
					t.Fatal("a child of the dead process lives on")
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// marked reports whether a process lives that was started by the camwarden with that pid.
func marked(t *testing.T, owner int) bool {
	t.Helper()
	all, err := proc.Default().All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		text, _, _ := proc.Default().Environ(p.PID, ledger.MarkVariable)
		if mark, ok := ledger.ParseMark(text); ok && mark.Owner.PID == owner && !p.Dead() {
			return true
		}
	}
	return false
}
