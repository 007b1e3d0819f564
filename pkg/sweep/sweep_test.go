package sweep_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

const thisRun = "run-of-the-test"

func openLedger(t *testing.T) *ledger.Ledger {
	t.Helper()
	dir := t.TempDir()
	book, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}, proc.Default(), thisRun)
	if err != nil {
		t.Fatal(err)
	}
	return book
}

// start runs a process that lives until the test ends it, with the mark in its environment unless that is empty.
func start(t *testing.T, mark string, argv ...string) proc.Identity {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = os.Environ()
	if mark != "" {
		cmd.Env = append(cmd.Env, ledger.MarkVariable+"="+mark)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := proc.Default().Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }() // collects it at once, as init does with an orphan
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	return id
}

// deadOwner is the identity of a process that has lived and is gone.
func deadOwner(t *testing.T) proc.Identity {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := proc.Default().Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return id
}

// left writes what a camwarden that died leaves behind: a lease of its own run.
func left(t *testing.T, book *ledger.Ledger, owner proc.Identity, address netip.AddrPort, cool time.Duration) *ledger.Held {
	t.Helper()
	held, err := book.Write(ledger.Lease{
		Kind: ledger.Process, Camera: "gate", Address: address, Deadline: proc.BootTime() + time.Minute, SessionTimeout: cool,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Update(func(l *ledger.Lease) { l.Owner, l.Run = owner, "then" }); err != nil {
		t.Fatal(err)
	}
	return held
}

func leases(t *testing.T, book *ledger.Ledger) []ledger.Lease {
	t.Helper()
	list, torn, err := book.Read()
	if err != nil || len(torn) > 0 {
		t.Fatal(err, torn)
	}
	return list
}

func running(t *testing.T, id proc.Identity) bool {
	t.Helper()
	presence, err := proc.Default().Look(id)
	if err != nil {
		t.Fatal(err)
	}
	return presence == proc.Running
}

func bound(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestSweep_childOfADeadRunIsEnded(t *testing.T) {
	t.Parallel()
	book := openLedger(t)
	address := netip.MustParseAddrPort("127.11.1.1:554")
	held := left(t, book, deadOwner(t), address, time.Minute)
	child := start(t, held.Lease().Mark().String(), "sleep", "600")
	if err := held.Update(func(l *ledger.Lease) { l.Child = child }); err != nil {
		t.Fatal(err)
	}

	result := sweep.Broom{Ledger: book, FS: proc.Default()}.Sweep(bound(t), observe.Scope{}, "")
	if running(t, child) {
		t.Error("the child still runs")
	}
	if len(result.Found) != 1 || result.Found[0].Outcome != sweep.Gone || !result.Clean() {
		t.Errorf("%+v", result.Found)
	}
	list := leases(t, book)
	if len(list) != 1 || list[0].Kind != ledger.Cooling || list[0].Address != address {
		t.Errorf("how far a killed child had come is unknown, so its slot must cool; the ledger says %+v", list)
	}
	if again := (sweep.Broom{Ledger: book, FS: proc.Default()}).Sweep(bound(t), observe.Scope{}, ""); len(again.Found) != 0 || !again.Clean() {
		t.Errorf("the second sweep found %+v", again.Found)
	}
}

func TestSweep_childFoundByItsMark(t *testing.T) {
	t.Parallel()
	book := openLedger(t)
	held := left(t, book, deadOwner(t), netip.AddrPort{}, 0)
	child := start(t, held.Lease().Mark().String(), "sleep", "600")
	result := sweep.Broom{Ledger: book, FS: proc.Default()}.Sweep(bound(t), observe.Scope{}, "")
	if running(t, child) || len(result.Found) != 1 || !result.Clean() || len(leases(t, book)) != 0 {
		t.Errorf("running %v, found %+v, ledger %+v", running(t, child), result.Found, leases(t, book))
	}
}

func TestAChildThatIgnoresTermIsKilled(t *testing.T) {
	t.Parallel()
	book := openLedger(t)
	held := left(t, book, deadOwner(t), netip.AddrPort{}, 0)
	child := start(t, held.Lease().Mark().String(), "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
	result := sweep.Broom{Ledger: book, FS: proc.Default(), Grace: 100 * time.Millisecond}.Sweep(bound(t), observe.Scope{}, "")
	if running(t, child) || !result.Clean() {
		t.Errorf("running %v, found %+v", running(t, child), result.Found)
	}
}

func TestSweep_reusedPidIsNotKilled(t *testing.T) {
	t.Parallel()
	book := openLedger(t)
	held := left(t, book, deadOwner(t), netip.AddrPort{}, 0)
	innocent := start(t, "", "sleep", "600")
	if err := held.Update(func(l *ledger.Lease) { l.Child = innocent; l.Child.Start-- }); err != nil {
		t.Fatal(err)
	}
	result := sweep.Broom{Ledger: book, FS: proc.Default()}.Sweep(bound(t), observe.Scope{}, "")
	if !running(t, innocent) {
		t.Fatal("an innocent process was killed for having a number that was once a child's")
	}
	if !result.Clean() || len(leases(t, book)) != 0 {
		t.Errorf("found %+v, ledger %+v", result.Found, leases(t, book))
	}
}

func TestSweep_childOfALivingRun(t *testing.T) {
	t.Parallel()
	book := openLedger(t)
	held, err := book.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Deadline: proc.BootTime() + time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	child := start(t, held.Lease().Mark().String(), "sleep", "600")
	broom := sweep.Broom{Ledger: book, FS: proc.Default()}
	broom.Sweep(bound(t), observe.Scope{}, "")
	broom.Sweep(bound(t), observe.Scope{}, "some-other-run")
	if !running(t, child) {
		t.Fatal("a sweep killed the child of a living run")
	}
	result := broom.Sweep(bound(t), observe.Scope{}, thisRun)
	if running(t, child) || !result.Clean() || len(leases(t, book)) != 0 {
		t.Errorf("the last sweep left it: %+v", result.Found)
	}
}

func TestSweep_whatCannotBeEndedSurvives(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a process as one user and sweep as another")
	}
	book := openLedger(t)
	held := left(t, book, deadOwner(t), netip.AddrPort{}, 0)
	child := start(t, held.Lease().Mark().String(), "sleep", "600")
	if err := held.Update(func(l *ledger.Lease) { l.Child = child }); err != nil {
		t.Fatal(err)
	}
	result := sweepAsNobody(t, book.Dirs())
	if !running(t, child) {
		t.Fatal("an ordinary user ended root's process")
	}
	if !strings.Contains(result, `"survived"`) || !strings.Contains(result, "not permitted") {
		t.Errorf("the sweep says %s", result)
	}
}

func TestSweep_forgottenConnection(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.11.2.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddrPort(listener.Addr().String())
	broom, scope := sweep.Broom{Ledger: openLedger(t), FS: proc.Default()}, observe.Scope{Limits: observe.Limits{Addresses: []netip.AddrPort{address}}}
	result := broom.Sweep(bound(t), scope, thisRun)
	if len(result.Found) != 1 || result.Found[0].Kind != sweep.Connection || result.Found[0].Outcome != sweep.Survived || !result.Left() {
		t.Errorf("with a forgotten connection: %+v", result.Found)
	}
	_ = conn.Close()
	if result := broom.Sweep(bound(t), scope, thisRun); !result.Clean() {
		t.Errorf("after it was closed: %+v", result.Found)
	}
}

func TestSweep_unreadTableIsNeverClean(t *testing.T) {
	t.Parallel()
	result := sweep.Broom{Ledger: openLedger(t), FS: proc.FS{Root: filepath.Join(t.TempDir(), "no", "proc")}}.Sweep(bound(t), observe.Scope{}, thisRun)
	if result.Clean() || len(result.Last.Blind) == 0 {
		t.Errorf("clean although nothing could be read; blind: %+v", result.Last.Blind)
	}
}
