package streams_test

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// place is a go2rtc with one camera, and a ledger.
type place struct {
	t      *testing.T
	server *camsim.Go2rtc
	camera *camsim.Camera
	dir    string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	server, err := camsim.StartGo2rtc(camsim.Go2rtcConfig{})
	testkit.Check(t, err)
	t.Cleanup(server.Close)
	cam, err := camsim.Start(camsim.Config{Temper: camsim.Healthy})
	testkit.Check(t, err)
	t.Cleanup(cam.Close)
	return &place{t: t, server: server, camera: cam, dir: t.TempDir()}
}

// keeper is the keeper of one run, with the ledger in that folder.
func (p *place) keeper(run, folder string, change ...func(*streams.Options)) (*streams.Keeper, *ledger.Ledger) {
	p.t.Helper()
	dirs := ledger.Dirs{Runtime: filepath.Join(p.dir, folder, "run"), State: filepath.Join(p.dir, folder, "state")}
	book, err := ledger.Open(dirs, proc.Default(), run)
	testkit.Check(p.t, err)
	options := streams.Options{
		Options: go2rtc.Options{URL: p.server.URL(), Version: "1.0", Run: run},
		Ledger:  book, FS: proc.Default(), Prefix: "camwarden-",
	}
	for _, c := range change {
		c(&options)
	}
	k, err := streams.New(options)
	testkit.Check(p.t, err)
	p.t.Cleanup(k.Close)
	return k, book
}

func (p *place) wish() streams.Wish {
	at := p.camera.Address()
	c := camera.Defaults()
	c.ID, c.Host, c.Port, c.Path, c.Address = "gate", at.Addr().String(), at.Port(), "/stream1", at
	return streams.Wish{Camera: c}
}

func leased(t *testing.T, k *streams.Keeper, book *ledger.Ledger) []ledger.Lease {
	t.Helper()
	all, _, err := book.Read()
	testkit.Check(t, err)
	return k.Leased(all)
}

func contextOf(t *testing.T, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), limit)
}

func TestKeeper_leaseStandsBeforeItsStream(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	k, book := p.keeper("one", "a")
	r := k.Register(t.Context(), p.wish())
	if len(r) != 1 || !r[0].Created || r[0].Err != nil || r[0].Name != k.Name("gate") {
		t.Fatalf("%+v", r)
	}
	leases := leased(t, k, book)
	if len(leases) != 1 || leases[0].Name != r[0].Name || leases[0].Camera != "gate" {
		t.Fatalf("%+v", leases)
	}
	p.server.Kill() // it cannot be seen gone any more
	if e := k.End(t.Context(), nil, leases...); len(e) != 1 || e[0].Gone || fault.ClassOf(e[0].Err) != fault.Go2rtc {
		t.Errorf("%+v", e)
	}
	if left := leased(t, k, book); len(left) != 1 {
		t.Errorf("the lease was struck though nobody saw the stream gone: %+v", left)
	}
	testkit.Check(t, p.server.Restart())
	if e := k.End(t.Context(), nil, leases...); len(e) != 1 || !e[0].Gone || e[0].Removed {
		t.Errorf("%+v", e)
	}
	if left := leased(t, k, book); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

func TestAServerThatCannotBeReachedLeavesNoLease(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	k, book := p.keeper("one", "a")
	p.server.Kill()
	if r := k.Register(t.Context(), p.wish()); fault.ClassOf(r[0].Err) != fault.Go2rtc {
		t.Errorf("%+v", r)
	}
	if left := leased(t, k, book); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

func TestAStreamIsSharedByRunsAndRemovedByTheLast(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	one, book := p.keeper("one", "a")
	two, _ := p.keeper("two", "a")
	one.Register(t.Context(), p.wish())
	if r := two.Register(t.Context(), p.wish()); r[0].Created || r[0].Err != nil {
		t.Fatalf("%+v", r)
	}
	of := func(run string) []ledger.Lease {
		return slices.DeleteFunc(leased(t, one, book), func(l ledger.Lease) bool { return l.Run != run })
	}
	if e := one.End(t.Context(), nil, of("one")...); len(e) != 1 || e[0].Gone || !e[0].Kept || !strings.Contains(e[0].Why, "another run") {
		t.Errorf("%+v", e)
	}
	if e := two.End(t.Context(), nil, of("two")...); len(e) != 1 || !e[0].Removed {
		t.Errorf("%+v", e)
	}
	if c := p.server.Counts(); c.Patches != 1 || c.Deletes != 1 || c.Streams != 0 {
		t.Errorf("%+v", c)
	}
}

func TestKeeper_streamOfAnotherLedger(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	theirs, _ := p.keeper("theirs", "a")
	theirs.Register(t.Context(), p.wish())
	ours, book := p.keeper("ours", "b")
	r := ours.Register(t.Context(), p.wish())
	if fault.ClassOf(r[0].Err) != fault.Go2rtc || !strings.Contains(r[0].Err.Error(), "not in this ledger") {
		t.Errorf("%+v", r)
	}
	if left := leased(t, ours, book); len(left) != 0 {
		t.Errorf("%+v", left)
	}
	_, _, err := ours.Purge(t.Context(), nil, streams.Choice{Names: []string{r[0].Name}})
	if fault.ClassOf(err) != fault.Usage {
		t.Errorf("%v", err)
	}
	report, left, err := ours.Purge(t.Context(), nil, streams.Choice{})
	if err != nil || left || len(report.Streams) != 0 || report.Go2rtc.Stray != 1 || p.server.Counts().Deletes != 0 {
		t.Errorf("%+v, %v, %v", report, left, err)
	}
}

func TestACameraThatMovedGetsItsStreamAnew(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	before, book := p.keeper("before", "a", func(o *streams.Options) { o.Standing = true })
	before.Register(t.Context(), p.wish())
	// The run that registered it is over: its lease stands by itself.
	for _, l := range leased(t, before, book) {
		testkit.Check(t, book.Adopt(l).Update(func(l *ledger.Lease) { l.Owner.PID, l.Owner.Start = 1<<22-1, 1 }))
	}
	after, _ := p.keeper("after", "a", func(o *streams.Options) { o.Standing = true })
	moved := p.wish()
	moved.Camera.Address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.99"), moved.Camera.Port)
	moved.Camera.Host = "127.0.0.99"
	if r := after.Register(t.Context(), moved); !r[0].Created || r[0].Err != nil {
		t.Errorf("%+v", r)
	}
	report, err := after.List(t.Context(), nil)
	testkit.Check(t, err)
	if len(report.Streams) != 1 || !strings.Contains(report.Streams[0].Source, "127.0.0.99") || !report.Streams[0].Ours {
		t.Errorf("%+v", report.Streams)
	}
}

func TestTheServerIsKnownAsAProcess(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	k, _ := p.keeper("one", "a")
	self, err := proc.Default().Self()
	testkit.Check(t, err)
	if relay := k.Relay(); relay == nil || relay.ID.PID != self.PID {
		t.Errorf("%+v", relay)
	}
	elsewhere, _ := p.keeper("two", "b", func(o *streams.Options) { o.URL = "http://192.0.2.1:1984" })
	if relay := elsewhere.Relay(); relay != nil {
		t.Errorf("a server of another host is %+v", relay)
	}
}

func TestAPictureThatHangsIsKnownToTheNextRun(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	silent, err := camsim.Start(camsim.Config{Temper: camsim.SilentAfterPlay})
	testkit.Check(t, err)
	t.Cleanup(silent.Close)
	one, book := p.keeper("one", "a")
	w := p.wish()
	w.Camera.Address, w.Camera.Host, w.Camera.Port = silent.Address(), silent.Address().Addr().String(), silent.Address().Port()
	one.Register(t.Context(), w)
	name := one.Name("gate")
	late, cancel := contextOf(t, 500*time.Millisecond)
	defer cancel()
	if _, err := one.Client.Frame(late, name); fault.ClassOf(err) != fault.Timeout {
		t.Fatal(err)
	}
	for _, l := range leased(t, one, book) { // the run dies
		testkit.Check(t, book.Adopt(l).Update(func(l *ledger.Lease) { l.Owner.PID, l.Owner.Start = 1<<22-1, 1 }))
	}
	two, _ := p.keeper("two", "a")
	report, err := two.List(t.Context(), nil)
	testkit.Check(t, err)
	if len(report.Streams) != 1 || report.Streams[0].State != streams.Stuck || report.Streams[0].Action != streams.Purge || report.Go2rtc.Stuck != 1 {
		t.Fatalf("%+v", report)
	}
	report, left, err := two.Purge(t.Context(), nil, streams.Choice{})
	if err != nil || left || report.Streams[0].Action != streams.Removed {
		t.Errorf("%+v, %v, %v", report, left, err)
	}
	if c := p.server.Counts(); c.Streams != 0 || c.Ghosts != 0 {
		t.Errorf("%+v", c)
	}
}
