package capture

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

func TestConnection_heldByAnotherProcessCools(t *testing.T) {
	t.Parallel()
	sim, cam := start(t, camsim.Config{Temper: camsim.Healthy, Codec: camsim.MJPEG})
	w := newWorkbench(t)
	// A connection of the test stands for one that a forked child still holds.
	conn, err := net.Dial("tcp", sim.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	held, err := w.ledger.Write(ledger.Lease{Kind: ledger.Connection, Camera: cam.ID, Address: cam.Address, Deadline: proc.BootTime() + time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddrPort(conn.LocalAddr().String())
	dialled, problem := converse(t.Context(), proc.Default(), held, cam, func(context.Context) (ending, *fault.Error) { return ending{local: local}, nil })
	if !dialled || problem == nil || problem.Class != fault.Local || !strings.Contains(problem.Message, local.String()) {
		t.Errorf("%v, dialled: %v", problem, dialled)
	}
	if kinds := w.leases(t); !slices.Equal(kinds, []ledger.Kind{ledger.Cooling}) {
		t.Errorf("leases %v", kinds)
	}
}

// A host that slept between taking a slot and dialling has lost it: others may have stopped counting the lease.
func TestConnection_notDialledAfterASuspend(t *testing.T) {
	t.Parallel()
	sim, cam := start(t, camsim.Config{Temper: camsim.Healthy})
	w := newWorkbench(t)
	held, err := w.ledger.Write(ledger.Lease{Kind: ledger.Connection, Camera: cam.ID, Address: cam.Address, Deadline: proc.BootTime() - time.Second})
	if err != nil {
		t.Fatal(err)
	}
	dialled, problem := converse(t.Context(), proc.Default(), held, cam, func(ctx context.Context) (ending, *fault.Error) {
		info, err := rtsp.Probe(ctx, targetOf(cam, ""), rtsp.Limits{})
		return ending{local: info.Local}, fault.From(err, fault.Local, "")
	})
	if dialled || problem == nil || problem.Class != fault.Deadline || problem.Step != fault.Connect {
		t.Errorf("%+v, dialled: %v", problem, dialled)
	}
	if c := sim.Counts(); c.Connections != 0 {
		t.Errorf("%d connections", c.Connections)
	}
	if kinds := w.leases(t); len(kinds) > 0 {
		t.Errorf("leases %v", kinds)
	}
}

// A visit that panics must not take the camera for free.
func TestConnection_coolsAfterAPanic(t *testing.T) {
	t.Parallel()
	_, cam := start(t, camsim.Config{Temper: camsim.Healthy})
	w := newWorkbench(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	func() {
		defer func() { _ = recover() }()
		_, _ = connection(ctx, w.slots, Visit{Camera: cam}, cam, func(context.Context) (ending, *fault.Error) { panic("in the middle") })
	}()
	if kinds := w.leases(t); !slices.Equal(kinds, []ledger.Kind{ledger.Cooling}) {
		t.Errorf("leases %v", kinds)
	}
}
