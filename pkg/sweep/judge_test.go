package sweep_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// The scene: this process is pid 100, run "now"; pid 200 is another camwarden.
var (
	boot  = "boot"
	self  = proc.Identity{BootID: boot, PID: 100, Start: 1}
	other = proc.Identity{BootID: boot, PID: 200, Start: 2}
	gate  = netip.MustParseAddrPort("127.9.9.1:554")
)

func lease(id, run string, owner proc.Identity, standing string, child int) observe.Lease {
	record := ledger.Lease{ID: id, Kind: ledger.Process, Run: run, Camera: "gate", Address: gate, Owner: owner}
	if child > 0 {
		record.Child = proc.Identity{BootID: boot, PID: child, Start: uint64(child)}
	}
	return observe.Lease{
		ID: id, Kind: record.Kind, Run: run, Camera: "gate", Address: gate, Owner: owner.PID, Child: child, Standing: standing, Record: record,
	}
}

// process carries a mark of that owner, whose lease is that of the id, if there still is one.
func process(pid int, lease string, owner proc.Identity, presence proc.Presence) observe.Process {
	return observe.Process{
		ID: proc.Identity{BootID: boot, PID: pid, Start: uint64(pid)}, Name: "ffmpeg", State: "S", Lease: lease,
		Owner: &observe.Owner{PID: owner.PID, Presence: presence, Self: owner == self},
	}
}

// judged are those that must end.
func judged(o observe.Observation, over string) []sweep.Decision {
	return slices.DeleteFunc(sweep.Judge(o, sweep.Rules{Over: over}), func(d sweep.Decision) bool { return !d.Leaked })
}

func one(t *testing.T, o observe.Observation, over string) sweep.Decision {
	t.Helper()
	found := judged(o, over)
	if len(found) != 1 {
		t.Fatalf("found %d leftovers, want one: %+v", len(found), found)
	}
	return found[0]
}

func none(t *testing.T, o observe.Observation, over string) {
	t.Helper()
	if found := judged(o, over); len(found) != 0 {
		t.Errorf("found %+v, want nothing", found)
	}
}

func TestJudge_childOfADeadRun(t *testing.T) {
	t.Parallel()
	l := lease("L1", "then", other, ledger.DeadOwner, 300)
	o := observe.Observation{Self: self, Leases: []observe.Lease{l}, Processes: []observe.Process{process(300, l.ID, l.Record.Owner, proc.Gone)}}
	r := one(t, o, "")
	if r.ID.PID != 300 || r.Lease != "L1" || r.Rule != sweep.Unleased || r.Camera != "gate" {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(r.Why, "pid 200 is dead") || !strings.Contains(r.Why, "run then") {
		t.Errorf("why: %q names neither the run nor its dead owner", r.Why)
	}
}

func TestAChildOfAnotherLivingRunIsLeftAlone(t *testing.T) {
	t.Parallel()
	l := lease("L1", "theirs", other, ledger.Live, 300)
	o := observe.Observation{Self: self, Leases: []observe.Lease{l}, Processes: []observe.Process{process(300, l.ID, l.Record.Owner, proc.Running)}}
	none(t, o, "")
	none(t, o, "now")
}

func TestJudge_childOfAWedgedOwner(t *testing.T) {
	t.Parallel()
	l := lease("L1", "theirs", other, ledger.WedgedOwner, 300)
	o := observe.Observation{Self: self, Leases: []observe.Lease{l}, Processes: []observe.Process{process(300, l.ID, l.Record.Owner, proc.Running)}}
	if r := one(t, o, ""); !strings.Contains(r.Why, "wedged") || !strings.Contains(r.Why, "pid 200") {
		t.Errorf("why: %q", r.Why)
	}
}

func TestJudge_ownChildOnceTheRunIsOver(t *testing.T) {
	t.Parallel()
	l := lease("L1", "now", self, ledger.Live, 300)
	o := observe.Observation{Self: self, Leases: []observe.Lease{l}, Processes: []observe.Process{process(300, l.ID, l.Record.Owner, proc.Running)}}
	none(t, o, "")
	one(t, o, "now")
}

func TestJudge_leaseWhoseProcessIsGone(t *testing.T) {
	t.Parallel()
	o := observe.Observation{Self: self, Leases: []observe.Lease{lease("L1", "then", other, ledger.DeadOwner, 300)}}
	r := one(t, o, "")
	if r.ID.PID != 0 || r.Kind != sweep.Process || !strings.Contains(r.Why, "gone") {
		t.Errorf("%+v", r)
	}
}

func TestJudge_markWithoutALease(t *testing.T) {
	t.Parallel()
	one(t, observe.Observation{Self: self, Processes: []observe.Process{process(300, "", other, proc.Gone)}}, "")
	// Alive: it keeps a ledger of its own, in another state directory.
	none(t, observe.Observation{Self: self, Processes: []observe.Process{process(300, "", other, proc.Running)}}, "now")
	// Could not tell: never killed on a guess.
	none(t, observe.Observation{Self: self, Processes: []observe.Process{process(300, "", other, proc.Unknown)}}, "now")
}

func TestJudge_unleasedOnceTheRunIsOver(t *testing.T) {
	t.Parallel()
	o := observe.Observation{Self: self, Processes: []observe.Process{process(300, "", self, proc.Running)}}
	none(t, o, "")
	one(t, o, "now")
}

func TestAZombieHoldsNothingAndIsNoLeftover(t *testing.T) {
	t.Parallel()
	l := lease("L1", "then", other, ledger.DeadOwner, 300)
	p := process(300, l.ID, l.Record.Owner, proc.Gone)
	p.State, p.Threads = "Z", 1
	o := observe.Observation{Self: self, Leases: []observe.Lease{l}, Processes: []observe.Process{p}}
	if r := one(t, o, ""); r.ID.PID != 0 {
		t.Errorf("a zombie is to be killed: %+v", r)
	}
}

func TestACoolingLeaseAndAStreamAreNotLeftovers(t *testing.T) {
	t.Parallel()
	for _, kind := range []ledger.Kind{ledger.Cooling, ledger.Stream} {
		l := lease("L1", "now", self, ledger.CoolingDown, 0)
		l.Kind = kind
		none(t, observe.Observation{Self: self, Leases: []observe.Lease{l}}, "now")
	}
}

func TestJudge_connectionStillHeld(t *testing.T) {
	t.Parallel()
	ours := observe.Connection{Local: netip.MustParseAddrPort("127.0.0.1:40000"), Remote: gate, State: "ESTABLISHED", PID: self.PID}
	theirs := ours
	theirs.PID = 999
	finishing := ours
	finishing.PID, finishing.State = 0, "FIN_WAIT1"
	o := observe.Observation{Self: self, Connections: []observe.Connection{ours, theirs, finishing}}
	none(t, o, "")
	if r := one(t, o, "now"); r.Kind != sweep.Connection || !strings.Contains(r.Subject, "127.9.9.1:554") {
		t.Errorf("%+v", r)
	}
}

func TestFindingIsPure(t *testing.T) {
	t.Parallel()
	l := lease("L1", "then", other, ledger.DeadOwner, 300)
	o := observe.Observation{Self: self, Leases: []observe.Lease{l}, Processes: []observe.Process{process(300, l.ID, l.Record.Owner, proc.Gone)}}
	first, second := judged(o, "now"), judged(o, "now")
	if !reflect.DeepEqual(first, second) {
		t.Errorf("two readings of one observation differ:\n%+v\n%+v", first, second)
	}
}
