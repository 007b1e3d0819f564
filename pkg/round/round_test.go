package round_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/round"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// bench is everything a round works with, and a subnet to work on.
type bench struct {
	t    *testing.T
	book *ledger.Ledger
	plan round.Plan
	deps round.Deps

	supervisor *supervise.Supervisor
}

func setUp(t *testing.T, cameras ...camera.Camera) *bench {
	t.Helper()
	dir := t.TempDir()
	book, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}, proc.Default(), "run-"+t.Name())
	if err != nil {
		t.Fatal(err)
	}
	supervisor, err := supervise.New(proc.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(supervisor.Close)
	return &bench{
		t: t, book: book, supervisor: supervisor,
		plan: round.Plan{
			Schema: round.RoundSchema, Exclusive: true, Jobs: 8, Timeout: 3 * time.Second, Deadline: time.Minute, IfBusy: round.Fail,
			Selection: camera.Selection{Subnets: []string{"test"}, Key: "test", Cameras: cameras},
		},
		deps: round.Deps{
			Ledger: book, FS: proc.Default(), Run: book.Run(),
			Sources: []capture.Source{capture.NewFFmpeg("ffmpeg", ffmpeg.Picturing{}, supervisor, slot.Table{Ledger: book, FS: proc.Default()})},
			Lookup:  func(host string) (netip.Addr, error) { return netip.Addr{}, fmt.Errorf("no such host: %s", host) },
		},
	}
}

func (b *bench) run() round.Report {
	b.t.Helper()
	report, err := round.Run(b.t.Context(), b.plan, b.deps, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return report
}

// at is a camera of the inventory at that address.
func at(id string, address netip.AddrPort) camera.Camera {
	return camera.Camera{
		ID: id, Host: address.Addr().String(), Port: address.Port(), Address: address, Scheme: "rtsp", Path: "/stream1",
		Transport: camera.TCP, MaxConnections: 2, Timeout: 3 * time.Second, SessionTimeout: time.Minute,
	}
}

// subnet starts one simulated camera of each temper and returns them as cameras named by their temper.
func subnet(t *testing.T, tempers ...camsim.Temper) []camera.Camera {
	t.Helper()
	var configs []camsim.Config
	for i, temper := range tempers {
		configs = append(configs, camsim.Config{Name: fmt.Sprintf("%s-%d", temper, i), Temper: temper})
	}
	sim, err := camsim.StartSubnet(camsim.DrawSubnet(), configs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	var cameras []camera.Camera
	for _, c := range sim.Cameras {
		cameras = append(cameras, at(c.Name(), c.Address()))
	}
	return cameras
}

func visitOf(t *testing.T, report round.Report, id string) round.Visit {
	t.Helper()
	i := slices.IndexFunc(report.Visits, func(v round.Visit) bool { return v.Camera == id })
	if i < 0 {
		t.Fatalf("no visit of %s in %+v", id, report.Visits)
	}
	return report.Visits[i]
}

func mustBeClean(t *testing.T, report round.Report) {
	t.Helper()
	if report.Verdict != round.Clean || len(report.Leftovers) != 0 {
		t.Errorf("verdict %s, leftovers %+v, blind %+v", report.Verdict, report.Leftovers, report.Blind)
	}
	if report.Looked.Processes == 0 || report.Looked.By == "" {
		t.Errorf("the verdict rests on nothing: %+v", report.Looked)
	}
}

func TestRound_muteCameraCostsItsOwnTimeOut(t *testing.T) {
	t.Parallel()
	b := setUp(t, subnet(t, camsim.Healthy, camsim.MuteAtConnect, camsim.Refuses, camsim.Healthy)...)
	dir := t.TempDir()
	b.plan.Keeper = round.Archive{Dir: dir}
	report := b.run()
	mustBeClean(t, report)
	if report.Summary != (round.Summary{Cameras: 4, OK: 2, Failed: 2}) {
		t.Errorf("summary %+v", report.Summary)
	}
	for _, id := range []string{"healthy-0", "healthy-3"} {
		v := visitOf(t, report, id)
		if !v.OK || v.Source != "ffmpeg" || v.Width == 0 || v.CapturedAt == nil {
			t.Errorf("%+v (%+v)", v, v.Error)
			continue
		}
		if size := fileSize(t, v.File); size != int64(v.Bytes) {
			t.Errorf("%s has %d bytes, the document says %d", v.File, size, v.Bytes)
		}
		if target, err := os.Readlink(filepath.Join(dir, id, "latest.jpg")); err != nil || target != filepath.Base(v.File) {
			t.Errorf("latest.jpg points at %q (%v)", target, err)
		}
	}
	mute := visitOf(t, report, "mute-1")
	if mute.Error == nil || mute.Error.Class != fault.Timeout || mute.Skipped || mute.DurationMS > 4000+3000 {
		t.Errorf("mute: %+v (%+v)", mute, mute.Error)
	}
	if v := visitOf(t, report, "refuses-2"); v.Error == nil || v.Error.Class != fault.Refused || v.Error.Step != fault.Connect {
		t.Errorf("refuses: %+v", v.Error)
	}
	if left, _, _ := b.book.Read(); len(left) != 0 {
		t.Errorf("leases are left: %+v", left)
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestRound_cancelledStillTakesDown(t *testing.T) {
	t.Parallel()
	b := setUp(t, subnet(t, camsim.MuteAtConnect, camsim.MuteAtConnect, camsim.MuteAtConnect)...)
	b.plan.Jobs, b.plan.Timeout = 2, time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	report, err := round.Run(ctx, b.plan, b.deps, func(e round.Event) {
		if e.Phase == round.Visiting {
			once.Do(func() { time.AfterFunc(500*time.Millisecond, cancel) })
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	mustBeClean(t, report)
	skipped := 0
	for _, v := range report.Visits {
		if v.Error == nil || v.Error.Class != fault.Cancelled {
			t.Errorf("%s: %+v", v.Camera, v.Error)
		}
		if v.Skipped {
			skipped++
		}
	}
	if skipped != 1 {
		t.Errorf("%d visits were never dialled, want the third one only: %+v", skipped, report.Visits)
	}
}

func TestRound_deadlineAndWhoIsNext(t *testing.T) {
	t.Parallel()
	b := setUp(t, subnet(t, camsim.MuteAtConnect, camsim.MuteAtConnect, camsim.Healthy)...)
	b.plan.Jobs, b.plan.Deadline = 1, time.Second
	report := b.run()
	mustBeClean(t, report)
	if v := visitOf(t, report, "mute-0"); (v.Error.Class != fault.Deadline && v.Error.Class != fault.Timeout) || v.Skipped {
		t.Errorf("the camera that the deadline cut short was dialled: %+v", v.Error)
	}
	for _, id := range []string{"mute-1", "healthy-2"} {
		if v := visitOf(t, report, id); !v.Skipped || v.Error.Class != fault.Deadline {
			t.Errorf("%s: %+v", id, v.Error)
		}
	}
	b.plan.Deadline = time.Minute
	if again := b.run(); again.Visits[0].Camera != "mute-1" {
		t.Errorf("the next round begins with %s", again.Visits[0].Camera)
	}
}

func TestRound_secondIsBusySkippedOrWaits(t *testing.T) {
	t.Parallel()
	b := setUp(t, subnet(t, camsim.Healthy)...)
	lock, _, err := b.book.TryLock("round-test", time.Minute)
	if err != nil || lock == nil {
		t.Fatal(lock, err)
	}
	if _, err := round.Run(t.Context(), b.plan, b.deps, nil); fault.ClassOf(err) != fault.Busy {
		t.Errorf("fail: %v", err)
	}
	b.plan.IfBusy = round.Skip
	report := b.run()
	mustBeClean(t, report)
	if report.Summary.Skipped != 1 || report.Visits[0].Error.Class != fault.Busy || !report.PassedOver {
		t.Errorf("skip: %+v", report)
	}
	b.plan.IfBusy, b.plan.Timeout = round.Wait, time.Minute
	time.AfterFunc(500*time.Millisecond, func() { _ = lock.Unlock() })
	if report := b.run(); report.Summary.OK != 1 || report.PassedOver {
		t.Errorf("wait: %+v", report)
	}
}

func TestTheCoolDownKeepsASecondRoundAway(t *testing.T) {
	t.Parallel()
	b := setUp(t, subnet(t, camsim.Healthy)...)
	b.plan.Cooldown, b.plan.Timeout = time.Hour, time.Minute
	b.run()
	if _, err := round.Run(t.Context(), b.plan, b.deps, nil); fault.ClassOf(err) != fault.Cooling {
		t.Errorf("a second round within the cool-down: %v", err)
	}
	b.plan.IfBusy = round.Skip
	if report := b.run(); report.Summary.Skipped != 1 || report.Visits[0].Error.Class != fault.Cooling {
		t.Errorf("%+v", report.Visits)
	}
	b.plan.Cooldown, b.plan.IfBusy = time.Second, round.Wait
	if report := b.run(); report.Summary.OK != 1 {
		t.Errorf("after waiting: %+v", report)
	}
}

func TestRound_panicIsThatCamerasFailure(t *testing.T) {
	t.Parallel()
	cameras := subnet(t, camsim.MuteAtConnect, camsim.Healthy)
	b := setUp(t, cameras...)
	b.plan.Timeout = time.Minute
	b.deps.Sources = []capture.Source{panicking{Source: b.deps.Sources[0], at: cameras[0].ID, book: b.book, t: t}}
	report := b.run()
	if report.Verdict != round.Clean {
		t.Errorf("verdict %s, leftovers %+v", report.Verdict, report.Leftovers)
	}
	if len(report.Leftovers) != 1 || report.Leftovers[0].Outcome != "gone" {
		t.Errorf("what the panic left must be found, ended and told: %+v", report.Leftovers)
	}
	if v := visitOf(t, report, cameras[0].ID); v.Error == nil || v.Error.Class != fault.Local || !strings.Contains(v.Error.Message, "internal error") {
		t.Errorf("%+v", v.Error)
	}
	if v := visitOf(t, report, cameras[1].ID); !v.OK {
		t.Errorf("the other camera: %+v", v.Error)
	}
}

// panicking starts a marked child for one camera, as a source would, and panics before it can end it.
type panicking struct {
	capture.Source

	at   string
	book *ledger.Ledger
	t    *testing.T
}

func (p panicking) Capture(ctx context.Context, v capture.Visit) (capture.Still, capture.Report) {
	if v.Camera.ID != p.at {
		return p.Source.Capture(ctx, v)
	}
	held, err := p.book.Write(ledger.Lease{Kind: ledger.Process, Camera: v.Camera.ID, Address: v.Camera.Address, Deadline: proc.BootTime() + time.Minute})
	if err != nil {
		p.t.Error(err)
	}
	child := exec.Command("sleep", "600")
	child.Env = append(os.Environ(), ledger.MarkVariable+"="+held.Lease().Mark().String())
	if err := child.Start(); err != nil {
		p.t.Error(err)
	}
	go func() { _ = child.Wait() }()
	panic("a defect")
}

func TestRound_cameraWithoutAnAddress(t *testing.T) {
	t.Parallel()
	nameless := at("nameless", netip.AddrPort{})
	nameless.Host, nameless.Port = "no-such-host.invalid", 554
	b := setUp(t, append(subnet(t, camsim.Healthy), nameless)...)
	b.plan.Timeout = time.Minute
	report := b.run()
	mustBeClean(t, report)
	v := visitOf(t, report, "nameless")
	if v.Error == nil || v.Error.Class != fault.DNS || v.Address != "no-such-host.invalid:554" {
		t.Errorf("%+v %+v", v, v.Error)
	}
	if report.Summary.OK != 1 {
		t.Errorf("%+v", report.Summary)
	}
}

func TestRound_folderThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	sim, err := camsim.Start(camsim.Config{Temper: camsim.Healthy})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	b := setUp(t, at("gate", sim.Address()))
	b.plan.Keeper = round.Archive{Dir: "/proc/no/such/place"}
	if _, err := round.Run(t.Context(), b.plan, b.deps, nil); fault.ClassOf(err) != fault.Local {
		t.Errorf("error %v", err)
	}
	if n := sim.Counts().ConnectionsTotal; n != 0 {
		t.Errorf("the camera was dialled %d times", n)
	}
}

func TestWhatAKilledRunLeftIsRecoveredByTheNext(t *testing.T) {
	t.Parallel()
	b := setUp(t, subnet(t, camsim.Healthy)...)
	owner := exec.Command("sleep", "600")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	dead, err := proc.Default().Identify(owner.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	_ = owner.Process.Kill()
	_ = owner.Wait()
	held, err := b.book.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Deadline: proc.BootTime() + time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Update(func(l *ledger.Lease) { l.Owner = dead }); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "600")
	child.Env = append(os.Environ(), ledger.MarkVariable+"="+held.Lease().Mark().String())
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	report := b.run()
	mustBeClean(t, report)
	if len(report.Recovered) != 1 || report.Recovered[0].Outcome != "gone" || report.Recovered[0].Camera != "gate" {
		t.Errorf("recovered %+v", report.Recovered)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the child of the killed run is still alive")
		_ = child.Process.Kill()
	}
}
