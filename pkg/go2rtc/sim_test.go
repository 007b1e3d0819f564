package go2rtc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// startSim starts a simulated go2rtc with a configuration file of its own. It must not have died when the test ends.
func startSim(t *testing.T, config camsim.Go2rtcConfig, streams string) *running {
	t.Helper()
	config.ConfigFile = filepath.Join(t.TempDir(), "go2rtc.yaml")
	if err := os.WriteFile(config.ConfigFile, []byte("log:\n  level: error\n"+streams), 0o600); err != nil {
		t.Fatal(err)
	}
	sim, err := camsim.StartGo2rtc(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c := sim.Counts(); c.Deaths > 0 || c.CallsMost > 1 || !sim.Alive() {
			t.Errorf("calls overlapped: %+v", c)
		}
		sim.Close()
	})
	r := &running{t: t, url: sim.URL(), config: config.ConfigFile, patience: sim.Config().Patience, sim: sim}
	r.Client = newClient(t, go2rtc.Options{URL: r.url, Version: "1.0", Run: "01MINE"})
	return r
}

// eachGeneration plays a scenario with both generations of JSON, the old and the new; but for a long run only with those named.
func eachGeneration(t *testing.T, patience time.Duration, scenario func(*testing.T, starter), generations ...bool) {
	t.Helper()
	for _, old := range testkit.Some([]bool{false, true}, generations...) {
		t.Run(fmt.Sprintf("old=%v", old), func(t *testing.T) {
			t.Parallel()
			scenario(t, func(t *testing.T, streams string) *running {
				t.Helper()
				return startSim(t, camsim.Go2rtcConfig{Old: old, Patience: patience}, streams)
			})
		})
	}
}

func TestSimulatedServer_registersAndForgets(t *testing.T) {
	t.Parallel()
	eachGeneration(t, 0, registersTakesAPictureAndForgets, false, true)
}

func TestSimulatedServerSaysWhyACameraFails(t *testing.T) {
	t.Parallel()
	eachGeneration(t, time.Second, saysWhyACameraFails, true)
}

func TestSimulatedServersStuckPictureIsFlushed(t *testing.T) {
	t.Parallel()
	eachGeneration(t, 2*time.Second, flushesAStuckPicture, false)
}

func TestSimulatedServer_pictureThatNeverComes(t *testing.T) {
	t.Parallel()
	saysHowAPictureThatNeverComesEnds(t, func(t *testing.T, streams string) *running {
		t.Helper()
		return startSim(t, camsim.Go2rtcConfig{}, streams)
	})
}

func TestSimulatedServersViewerIsSeenAndKept(t *testing.T) {
	t.Parallel()
	eachGeneration(t, time.Minute, seesAndKeepsAViewer, false, true) // it dials again when a busy host keeps the camera silent for longer
}

func TestSimulatedServer_basePathLogInSocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "g.sock")
	sim, err := camsim.StartGo2rtc(camsim.Go2rtcConfig{
		Socket: socket, BasePath: "/rtc", Username: "admin", Password: "p:w #%ß", LocalAuth: true, NoRTSP: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	isReachedBehindBasePathLogInAndSocket(t, socket)
}

func TestSimulatedServerOverTLS(t *testing.T) {
	t.Parallel()
	sim, err := camsim.StartGo2rtc(camsim.Go2rtcConfig{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	if _, err := newClient(t, go2rtc.Options{URL: sim.URL(), RootCAs: sim.RootCAs()}).List(t.Context()); err != nil {
		t.Error(err)
	}
	_, err = newClient(t, go2rtc.Options{URL: sim.URL()}).List(t.Context())
	wantFault(t, err, fault.Go2rtc, "signed by an authority that is not known here", "ca_file")
}

// TestCallsOfOneClientNeverMeet is why there is a client at all: whatever its callers do at a time, the server lives.
func TestCallsOfOneClientNeverMeet(t *testing.T) {
	t.Parallel()
	r := startSim(t, camsim.Go2rtcConfig{}, "streams:\n  stream1: rtsp://127.0.0.2:9/elsewhere\n")
	var callers sync.WaitGroup
	for i := range 6 {
		camera := simulated(t, camsim.Config{Temper: camsim.Healthy})
		name := fmt.Sprintf("camwarden-%d", i)
		callers.Go(func() {
			for range 3 {
				reg, err := r.Register(t.Context(), go2rtc.Source{Name: name, URL: camera.URL()})
				if err != nil || reg[0].Err != nil {
					t.Errorf("%+v, %v", reg, err)
					return
				}
				picture, err := r.frame(name, 20*time.Second)
				if sight, wrong := camsim.SightOf(picture.JPEG); err != nil || wrong != nil || !sight.Of(camera) {
					t.Errorf("%s shows %+v: %v, %v", name, sight, wrong, err)
				}
				if removed, err := r.Remove(t.Context(), mine(), name); err != nil || !removed[0].Gone {
					t.Errorf("%+v, %v", removed, err)
				}
				if _, err := r.List(t.Context()); err != nil {
					t.Error(err)
				}
			}
			free(t, camera)
		})
	}
	callers.Wait()
	c := r.sim.Counts()
	if c.FramesMost < 2 || c.Deletes != 18 || c.Patches != 18 || c.Streams != 1 {
		t.Errorf("%+v", c)
	}
	for _, dials := range c.Cameras {
		if dials.Ever != 3 || dials.Most != 1 || dials.Open != 0 {
			t.Errorf("%+v", dials)
		}
	}
}

// TestTwoClientsWithoutALockKillTheServer is why the lock comes from outside: it must be one for the host.
func TestTwoClientsWithoutALockKillTheServer(t *testing.T) {
	t.Parallel()
	sim, err := camsim.StartGo2rtc(camsim.Go2rtcConfig{Hold: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	var callers sync.WaitGroup
	for range 2 {
		client := newClient(t, go2rtc.Options{URL: sim.URL()})
		callers.Go(func() { _, _ = client.Info(t.Context()) })
	}
	callers.Wait()
	if sim.Alive() || sim.Counts().Deaths != 1 {
		t.Errorf("alive: %v, %+v", sim.Alive(), sim.Counts())
	}
	_, err = newClient(t, go2rtc.Options{URL: sim.URL()}).List(t.Context())
	wantFault(t, err, fault.Go2rtc, "connection refused")
}
