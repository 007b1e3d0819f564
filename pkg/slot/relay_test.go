package slot

import (
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// A server that dials for us and for others has one kind of sockets: they are counted once, and a viewer's is not ours.
func TestAServerThatDialsForUsIsNotCountedTwice(t *testing.T) {
	t.Parallel()
	table, _ := newTable(t)
	camera := newSite(t)
	server := start(t, "dial", camera.address.String(), "1") // a viewer's
	server.must("connected")
	id, err := proc.Default().Identify(server.PID())
	testkit.Check(t, err)
	take := func() *ledger.Held {
		t.Helper()
		request := ask(camera.address, 9)
		request.Kind, request.Relay = ledger.Connection, &ledger.Relay{ID: id}
		held, err := table.Take(within(t, 10*time.Second), request)
		testkit.Check(t, err)
		return held
	}
	counted(t, table, camera.address, "a viewer's connection", 0, 0, 1)
	one := take()
	if one.Lease().Relay.Beside != 1 {
		t.Errorf("%+v", one.Lease().Relay)
	}
	counted(t, table, camera.address, "and a slot for ours, not dialled yet", 1, 0, 1)
	two := take()
	c := counted(t, table, camera.address, "and a second one", 2, 0, 1)
	for _, h := range c.Holders {
		if h.PID != server.PID() {
			t.Errorf("held by %+v", h)
		}
	}
	testkit.Check(t, two.Strike())
	testkit.Check(t, one.Strike())
	counted(t, table, camera.address, "given back", 0, 0, 1)

	// Dialled: the sockets that appear are the leases' own.
	idle := start(t, "dial", newSite(t).address.String(), "1")
	idle.must("connected")
	id, err = proc.Default().Identify(idle.PID())
	testkit.Check(t, err)
	three := take()
	if three.Lease().Relay.Beside != 0 {
		t.Errorf("%+v", three.Lease().Relay)
	}
	write(t, table, ledger.Lease{Kind: ledger.Connection, Address: camera.address, Relay: &ledger.Relay{ID: mustIdentify(t, server.PID())}})
	counted(t, table, camera.address, "a lease whose connection is made, and one whose is not", 2, 0, 0)
}

func TestAHiddenServerIsKnownByItsUser(t *testing.T) {
	t.Parallel()
	r := ledger.Relay{UID: 990}
	for _, row := range []struct {
		conn proc.Conn
		want bool
	}{
		{proc.Conn{UID: 990}, true},
		{proc.Conn{UID: 991}, false},
		{proc.Conn{UID: 990, PID: 7}, false}, // seen, so it is not hidden
	} {
		if got := holds(r, row.conn); got != row.want {
			t.Errorf("%+v: %v", row.conn, got)
		}
	}
}

func mustIdentify(t *testing.T, pid int) proc.Identity {
	t.Helper()
	id, err := proc.Default().Identify(pid)
	testkit.Check(t, err)
	return id
}
