package round_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// byRTSPOnly makes the source rtsp the only one of the bench.
func (b *bench) byRTSPOnly() *bench {
	b.deps.Sources = []capture.Source{capture.NewRTSP("ffmpeg", ffmpeg.Picturing{}, b.supervisor, slot.Table{Ledger: b.book, FS: proc.Default()})}
	return b
}

// channels are cameras that share one address.
func channels(sim *camsim.Camera, count, limit, reserve int) []camera.Camera {
	var cameras []camera.Camera
	for i := range count {
		cam := at(fmt.Sprintf("channel%d", i+1), sim.Address())
		cam.MaxConnections, cam.Reserve = limit, reserve
		cameras = append(cameras, cam)
	}
	return cameras
}

func TestRound_reservedForPeople(t *testing.T) {
	t.Parallel()
	for _, foreign := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d connections of others", foreign), func(t *testing.T) {
			t.Parallel()
			// A camera on a busy host may hear of one visit's hang-up after the next visit's dial, which then counts as two; if the
			// reserved connection were taken, it would be so each time.
			most := 0
			for range 4 {
				if most = mostWithOneReserved(t, foreign); most == 1+foreign {
					return
				}
			}
			t.Errorf("%d connections at once: of two one is reserved, and others have %d", most, foreign)
		})
	}
}

// mostWithOneReserved visits four channels of one camera, which takes two connections and reserves one, and returns how many
// there were at once.
func mostWithOneReserved(t *testing.T, foreign int) int {
	t.Helper()
	sim, err := camsim.Start(camsim.Config{Temper: camsim.LateKeyFrame, Delay: 500 * time.Millisecond}) // so that visits last
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	if foreign > 0 {
		hold(t, sim.Address(), foreign)
	}
	b := setUp(t, channels(sim, 4, 2, 1)...).byRTSPOnly()
	b.plan.Timeout = time.Minute
	report := b.run()
	mustBeClean(t, report)
	if report.Summary.OK != 4 {
		t.Errorf("%+v, %+v", report.Summary, report.Visits[0].Error)
	}
	counts := sim.Counts()
	if counts.SessionsMost != 1 {
		t.Errorf("of two connections one is reserved: %+v", counts)
	}
	return counts.ConnectionsMost
}

func TestRound_deadlineDoesNotBlameTheCamera(t *testing.T) {
	t.Parallel()
	b := setUp(t, subnet(t, camsim.LongGOP)...).byRTSPOnly()
	b.plan.Timeout, b.plan.Deadline = time.Minute, 3*time.Second
	report := b.run()
	mustBeClean(t, report)
	if v := report.Visits[0]; v.Skipped || v.Error == nil || v.Error.Class != fault.Deadline || v.Error.Step != fault.KeyFrame {
		t.Errorf("%+v, %+v", v, v.Error)
	}
}

func TestRound_visitSaysItsTimes(t *testing.T) {
	t.Parallel()
	sim, err := camsim.Start(camsim.Config{Temper: camsim.LateKeyFrame, Delay: 700 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	b := setUp(t, at("gate", sim.Address())).byRTSPOnly()
	b.plan.Timeout = time.Minute
	report := b.run()
	mustBeClean(t, report)
	v := report.Visits[0]
	if !v.OK || v.Source != "rtsp" || v.WaitedMS < 600 || v.DecodeMS < 1 || v.WaitedMS+v.KeyFrameMS+v.DecodeMS > v.DurationMS {
		t.Errorf("%+v", v)
	}
}

// TestRound_hostileCamerasAreCapped is not parallel: it watches this process's own memory.
func TestRound_hostileCamerasAreCapped(t *testing.T) {
	var configs []camsim.Config
	few := []camsim.Temper{camsim.EndlessDigest, camsim.FloodBeforePlay, camsim.NestedAggregation, camsim.EndlessKeyFrame}
	for _, temper := range testkit.Some(camsim.HostileTempers(), few...) {
		c := camsim.Config{Name: string(temper), Temper: temper}
		if temper == camsim.EndlessDigest {
			c.Username, c.Password = "warden", "secret"
		}
		configs = append(configs, c, camsim.Config{Name: "beside-" + string(temper), Temper: camsim.Healthy})
	}
	sim, err := camsim.StartSubnet(camsim.DrawSubnet(), configs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	var cameras []camera.Camera
	for i, c := range sim.Cameras {
		cam := at(c.Name(), c.Address())
		if configs[i].Password != "" {
			cam.Username, cam.Password = configs[i].Username, camera.PlainSecret(configs[i].Password)
		}
		cameras = append(cameras, cam)
	}
	b := setUp(t, cameras...).byRTSPOnly()
	b.plan.Timeout, b.plan.Jobs, b.plan.Deadline = 10*time.Second, 2, 5*time.Minute
	most := watchMemory(t)
	report := b.run()
	mustBeClean(t, report)
	for _, v := range report.Visits {
		t.Logf("%-30s %5d ms  %+v", v.Camera, v.DurationMS, v.Error)
		c := sim.Camera(v.Camera)
		if c.Temper() == camsim.Healthy && !v.OK {
			t.Errorf("%s: %+v", v.Camera, *v.Error)
		}
		if v.DurationMS > 11000 {
			t.Errorf("%s took %d ms of 10000", v.Camera, v.DurationMS)
		}
		refused := 1
		if c.Temper() == camsim.EndlessDigest {
			refused = 2 // a nonce that is called stale is no refusal: it is answered once more (RFC 7616, section 3.3)
		}
		if n := c.Counts(); n.ConnectionsTotal > 1 || n.Logins > 1 || n.LoginsFailed > refused {
			t.Errorf("%s: %+v", v.Camera, n)
		}
	}
	// Two visits at once, and the simulated cameras in the same process.
	if grown := most(); grown > 2*64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	nothingConnected(t, sim)
}

// watchMemory returns a function that stops watching and says by how much the heap had grown at most.
func watchMemory(t *testing.T) func() uint64 {
	t.Helper()
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	before, most := stats.HeapAlloc, uint64(0)
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				var stats runtime.MemStats
				runtime.ReadMemStats(&stats)
				if stats.HeapAlloc > before {
					most = max(most, stats.HeapAlloc-before)
				}
			}
		}
	})
	return func() uint64 {
		close(stop)
		watching.Wait()
		return most
	}
}
