package slot

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestTake_foreignExhaustAndAreNamed(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	site := newSite(t)
	one := start(t, "dial", site.address.String(), "1")
	one.must("connected")
	two := start(t, "dial", site.address.String(), "1")
	two.must("connected")
	comm := func(o *other) string {
		stat, err := proc.Default().Stat(o.PID())
		testkit.Check(t, err)
		return fmt.Sprintf("pid %d %s", o.PID(), stat.Comm)
	}
	begun := time.Now()
	held, err := table.Take(within(t, time.Minute), ask(site.address, 2))
	if held != nil {
		t.Fatal("took a third connection of two")
	}
	refused(t, err, fault.Exhausted, comm(one), comm(two), site.address.String())
	if waited := time.Since(begun); waited > 20*time.Second {
		t.Errorf("waited %s for what others hold", waited)
	}
	if n := leases(t, table); n != 0 {
		t.Errorf("%d leases left", n)
	}
	two.Kill()
	held, err = table.Take(within(t, time.Minute), ask(site.address, 2))
	testkit.Check(t, err)
	l := held.Lease()
	if l.Camera != "gate" || l.Address != site.address || l.Kind != ledger.Connection || l.SessionTimeout != time.Minute || l.Deadline == 0 {
		t.Errorf("lease %+v", l)
	}
}

func TestTake_ownSlotsAreWaitedFor(t *testing.T) {
	t.Parallel()
	table, base := newTable(t)
	site := newSite(t)
	holder := start(t, "take", base, site.address.String(), "1", "1m")
	holder.must("taken")
	_, err := table.Take(within(t, 300*time.Millisecond), ask(site.address, 1))
	refused(t, err, fault.Busy, fmt.Sprintf("run run-%d", holder.PID()), fmt.Sprintf("pid %d", holder.PID()))

	cancelled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err = table.Take(cancelled, ask(site.address, 1))
	refused(t, err, fault.Cancelled)

	short := ask(site.address, 1)
	short.Deadline = proc.BootTime() + 200*time.Millisecond
	_, err = table.Take(t.Context(), short) // whose context never ends
	refused(t, err, fault.Deadline)

	time.AfterFunc(100*time.Millisecond, holder.Kill)
	held, err := table.Take(within(t, time.Minute), ask(site.address, 1))
	testkit.Check(t, err)
	time.AfterFunc(100*time.Millisecond, func() { _ = held.Strike() })
	_, err = table.Take(within(t, time.Minute), ask(site.address, 1))
	testkit.Check(t, err)
}

func TestTake_foreignAndOwnAreWaitedFor(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	site := newSite(t)
	start(t, "dial", site.address.String(), "1").must("connected")
	held, err := table.Take(within(t, time.Minute), ask(site.address, 2))
	testkit.Check(t, err)
	_, err = table.Take(within(t, 200*time.Millisecond), ask(site.address, 2))
	refused(t, err, fault.Busy)
	time.AfterFunc(100*time.Millisecond, func() { _ = held.Strike() })
	_, err = table.Take(within(t, time.Minute), ask(site.address, 2))
	testkit.Check(t, err)
}

func TestCoolingSlotsAreWaitedForOnlyWhenThatHelps(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	cool := func(address netip.AddrPort, d time.Duration) {
		testkit.Check(t, write(t, table, ledger.Lease{Kind: ledger.Connection, Address: address}).Cool(proc.BootTime()+d))
	}
	long := newSite(t).address
	cool(long, time.Hour)
	begun := time.Now()
	_, err := table.Take(within(t, time.Minute), ask(long, 1))
	refused(t, err, fault.Cooling, "1 connection")
	if waited := time.Since(begun); waited > 20*time.Second {
		t.Errorf("waited %s for an hour to pass", waited)
	}

	short := newSite(t).address
	cool(short, 300*time.Millisecond)
	until := proc.BootTime() + 250*time.Millisecond
	_, err = table.Take(within(t, time.Minute), ask(short, 1))
	testkit.Check(t, err)
	if proc.BootTime() < until {
		t.Error("took the slot before it had cooled down")
	}

	both := newSite(t).address // the short one makes the slot
	cool(both, time.Hour)
	cool(both, 300*time.Millisecond)
	_, err = table.Take(within(t, time.Minute), ask(both, 2))
	testkit.Check(t, err)

	patient := ask(newSite(t).address, 1) // the context would wait, but the request's own time is up before
	cool(patient.Camera.Address, time.Minute)
	patient.Deadline = proc.BootTime() + 30*time.Second
	_, err = table.Take(t.Context(), patient)
	refused(t, err, fault.Cooling)

	mixed := newSite(t) // a foreign one and a cooling one: ours could not help
	cool(mixed.address, time.Hour)
	start(t, "dial", mixed.address.String(), "1").must("connected")
	_, err = table.Take(within(t, time.Minute), ask(mixed.address, 2))
	refused(t, err, fault.Cooling)
}

func TestReservedConnectionsAreNotForUs(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	site := newSite(t)
	request := ask(site.address, 2)
	request.Camera.Reserve = 1
	_, err := table.Take(within(t, time.Minute), request)
	testkit.Check(t, err)
	_, err = table.Take(within(t, 150*time.Millisecond), request)
	refused(t, err, fault.Busy, "1 reserved")
	request.Camera.Reserve = 2
	_, err = table.Take(within(t, time.Minute), request)
	refused(t, err, fault.Exhausted, "reserved")
}

func TestTwoCamerasAtOneAddressShareItsSlots(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	first := ask(newSite(t).address, 1)
	second := first
	second.Camera.ID, second.Camera.Path = "yard", "/channel2"
	held, err := table.Take(within(t, time.Minute), first)
	testkit.Check(t, err)
	_, err = table.Take(within(t, 150*time.Millisecond), second)
	refused(t, err, fault.Busy)
	testkit.Check(t, held.Strike())
	_, err = table.Take(within(t, time.Minute), second)
	testkit.Check(t, err)
}

func TestAHolderThatLostTheLockStrikesItsLease(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	table.lockFor = -time.Millisecond // as if stopped between taking the lock and writing the lease, each time
	held, err := table.Take(within(t, 300*time.Millisecond), ask(newSite(t).address, 2))
	if held != nil {
		t.Error("took a slot that somebody else may have counted too")
	}
	refused(t, err, fault.Busy, "stopped")
	if n := leases(t, table); n != 0 {
		t.Errorf("%d leases left", n)
	}
}

func TestASlotLockOfAWedgedCounterIsPassed(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	address := newSite(t).address
	wedged, _, err := table.Ledger.TryLock("slot-"+address.String(), -time.Hour)
	testkit.Check(t, err)
	_, err = table.Take(within(t, time.Minute), ask(address, 1))
	testkit.Check(t, err)
	testkit.Check(t, wedged.Unlock())

	late := newSite(t).address
	counting, _, err := table.Ledger.TryLock("slot-"+late.String(), time.Minute)
	testkit.Check(t, err)
	_, err = table.Take(within(t, 100*time.Millisecond), ask(late, 1))
	refused(t, err, fault.Busy, fmt.Sprintf("pid %d", os.Getpid()))
	testkit.Check(t, counting.Unlock())
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	_, err := table.Take(t.Context(), Request{Camera: camera.Camera{ID: "gate", MaxConnections: 2}, Kind: ledger.Connection})
	refused(t, err, fault.Local, "gate")
	request := ask(newSite(t).address, 2)
	request.Kind = ledger.Stream
	_, err = table.Take(t.Context(), request)
	refused(t, err, fault.Local, "stream")
	request = ask(newSite(t).address, 2)
	request.Deadline = 0
	_, err = table.Take(t.Context(), request)
	refused(t, err, fault.Deadline)
}

// Processes that take and give back the slots of one address as fast as they can; some are killed in the middle of it.
func TestTake_hammeredNeverExceedsTheLimit(t *testing.T) {
	t.Parallel()
	const limit, processes, times = 2, 6, 12
	_, base := newTable(t)
	site := newSite(t)
	hammer := func(n int, more ...string) *other {
		return start(t, "hammer", append([]string{base, site.address.String(), strconv.Itoa(limit), "1m", strconv.Itoa(n)}, more...)...)
	}
	var all []*other
	for range processes {
		all = append(all, hammer(times))
	}
	for range 5 {
		// They do not dial: a camera notices the end of a killed process's connection later than the kernel, and would count both.
		victim, seen := hammer(1000, "unused"), site.total.Load()
		testkit.Eventually(t, "the hammering goes on", func() bool { return site.total.Load() > seen+4 || site.total.Load() >= processes*times })
		victim.Kill()
	}
	for _, o := range all {
		o.must("done")
	}
	if most := site.max.Load(); most > limit || most < 2 {
		t.Errorf("%d connections at most, want %d", most, limit)
	}
	if total := site.total.Load(); total < processes*times {
		t.Errorf("%d connections in all, want at least %d", total, processes*times)
	}
	t.Logf("%d connections, %d at most", site.total.Load(), site.max.Load())
}
