package ledger_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// playLease writes one lease (KIND, deadline from now) and stays.
func playLease(args []string) error {
	l, err := openIn(args[0])
	if err != nil {
		return err
	}
	in, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	held, err := l.Write(ledger.Lease{Kind: ledger.Kind(args[1]), Camera: "gate", Deadline: proc.BootTime() + in})
	if err != nil {
		return err
	}
	say(saying{ID: held.Lease().ID})
	wait()
	return nil
}

func inAMinute() time.Duration { return proc.BootTime() + time.Minute }

func TestALeaseIsThereFromWriteToStrike(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	address := netip.MustParseAddrPort("127.31.0.1:554")
	held, err := l.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Address: address, Deadline: inAMinute()})
	testkit.Check(t, err)

	other := open(t, base)
	got := read(t, other)
	if len(got) != 1 || got[0] != held.Lease() {
		t.Fatalf("read %+v, want %+v", got, held.Lease())
	}
	self, err := proc.Default().Self()
	testkit.Check(t, err)
	if l := got[0]; l.V != 1 || l.Owner != self || l.Run != other.Run() || l.Address != address || time.Since(l.Made) > time.Minute || !l.Starting() {
		t.Errorf("not filled in: %+v", l)
	}
	if !other.Live(got[0]) || other.Standing(got[0]) != ledger.Live {
		t.Error("our own lease does not count as live")
	}

	child := proc.Identity{BootID: self.BootID, PIDNS: self.PIDNS, PID: 4711, Start: 12}
	testkit.Check(t, held.Update(func(l *ledger.Lease) { l.Child, l.ID, l.Kind = child, "other", ledger.Stream }))
	if got := read(t, other); got[0].Child != child || got[0].ID != held.Lease().ID || got[0].Kind != ledger.Process || got[0].Starting() {
		t.Errorf("after Update: %+v", got)
	}

	testkit.Check(t, held.Strike())
	testkit.Check(t, held.Strike())
	if got := read(t, other); len(got) != 0 {
		t.Errorf("after Strike: %+v", got)
	}
	if err := held.Update(func(*ledger.Lease) {}); !errors.Is(err, ledger.ErrStruck) {
		t.Errorf("a struck lease was updated: %v", err)
	}
	if left := files(t, base); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestALeaseStruckByOthersDoesNotComeBack(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	held, err := open(t, base).Write(ledger.Lease{Kind: ledger.Process, Deadline: inAMinute()})
	testkit.Check(t, err)
	other := open(t, base)
	testkit.Check(t, other.Adopt(read(t, other)[0]).Strike())
	err = held.Update(func(l *ledger.Lease) { l.Note = "awake again" })
	if !errors.Is(err, ledger.ErrStruck) {
		t.Errorf("error %v, want ErrStruck", err)
	}
	localWithHint(t, err)
	if left := files(t, base); left != "" {
		t.Errorf("it came back: %s", left)
	}
	testkit.Check(t, held.Strike())
}

func TestLease_readByItsOwnerOnly(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	_, err := l.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Address: netip.MustParseAddrPort("[::1]:554"), Deadline: inAMinute()})
	testkit.Check(t, err)
	_, err = l.Write(ledger.Lease{Kind: ledger.Stream, Name: "camwarden-gate", Server: "http://127.0.0.1:1984"})
	testkit.Check(t, err)
	_, _, err = l.TryLock("round", time.Minute)
	testkit.Check(t, err)
	testkit.Check(t, l.Save("turn", 3))
	leases := 0
	testkit.Check(t, filepath.WalkDir(base, func(path string, entry os.DirEntry, err error) error {
		testkit.Check(t, err)
		info, err := entry.Info()
		testkit.Check(t, err)
		want := os.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want && path != base {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
		if dir := filepath.Base(filepath.Dir(path)); dir == "leases" || dir == "streams" {
			content, err := os.ReadFile(path)
			testkit.Check(t, err)
			var fields map[string]any
			testkit.Check(t, json.Unmarshal(content, &fields))
			leases++
			for name := range fields {
				if name != strings.ToLower(name) {
					t.Errorf("field %q is not snake_case", name)
				}
			}
		}
		return nil
	}))
	if leases != 2 {
		t.Errorf("%d lease files, want 2", leases)
	}
}

func TestLease_coolingEndsByItself(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	address := netip.MustParseAddrPort("127.31.0.2:554")
	child, err := proc.Default().Self()
	testkit.Check(t, err)
	held, err := l.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Address: address, Child: child, Deadline: inAMinute()})
	testkit.Check(t, err)
	until := proc.BootTime() + 400*time.Millisecond
	testkit.Check(t, held.Cool(until))
	got := read(t, l)
	if len(got) != 1 || got[0].Kind != ledger.Cooling || got[0].Address != address || got[0].Deadline != until || !got[0].Child.IsZero() {
		t.Fatalf("cooling lease: %+v", got)
	}
	if !l.Live(got[0]) || l.Standing(got[0]) != ledger.CoolingDown {
		t.Errorf("standing %q", l.Standing(got[0]))
	}
	testkit.Eventually(t, "the cooling lease is gone", func() bool { return len(read(t, l)) == 0 })
	if proc.BootTime() < until {
		t.Error("it was gone before its time")
	}
	if l.Live(got[0]) || l.Standing(got[0]) != ledger.Cooled {
		t.Errorf("standing after its time: %q", l.Standing(got[0]))
	}

	held, err = l.Write(ledger.Lease{Kind: ledger.Connection, Address: address, Deadline: inAMinute()})
	testkit.Check(t, err)
	testkit.Check(t, held.Cool(proc.BootTime()-time.Second))
	if got := read(t, l); len(got) != 0 {
		t.Errorf("cooled down before it began, yet it stands: %+v", got)
	}
	stream, err := l.Write(ledger.Lease{Kind: ledger.Stream, Name: "camwarden-gate"})
	testkit.Check(t, err)
	localWithHint(t, stream.Cool(inAMinute()), "camwarden-gate")
	if got := read(t, l); len(got) != 1 {
		t.Errorf("the lease of a stream that cannot cool is lost: %+v", got)
	}
}

func TestADeadOwnersLeaseIsFoundAndCanBeAdopted(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	owner := start(t, "lease", base, "process", "1h")
	id := owner.hear().ID
	l := open(t, base)
	if got := read(t, l); len(got) != 1 || got[0].ID != id || l.Standing(got[0]) != ledger.Live {
		t.Fatalf("while the owner lives: %+v", got)
	}
	// Unreaped it is a zombie: it still has a pid, and will never strike its lease.
	owner.Signal(syscall.SIGKILL)
	testkit.Eventually(t, "the owner of the lease is dead", func() bool { return l.Standing(read(t, l)[0]) == ledger.DeadOwner })
	owner.Kill()
	lease := read(t, l)[0]
	if l.Standing(lease) != ledger.DeadOwner || l.Live(lease) {
		t.Errorf("after it was reaped: %q", l.Standing(lease))
	}
	testkit.Check(t, l.Adopt(lease).Strike())
	if got := read(t, l); len(got) != 0 {
		t.Errorf("after Strike: %+v", got)
	}
}

func TestLease_stoppedOwnerIsWedgedLate(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	for deadline, want := range map[string]string{"-55s": ledger.Live, "-61s": ledger.WedgedOwner} {
		owner := start(t, "lease", base, "connection", deadline)
		id := owner.hear().ID
		owner.stop()
		for _, lease := range read(t, l) {
			if lease.ID == id && (l.Standing(lease) != want || l.Live(lease) != (want == ledger.Live)) {
				t.Errorf("deadline %s: standing %q, want %q", deadline, l.Standing(lease), want)
			}
		}
	}
}

func TestAnotherBootVoidsAllButStreams(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	for _, kind := range []ledger.Kind{ledger.Process, ledger.Connection, ledger.Cooling, ledger.Stream} {
		_, err := l.Write(ledger.Lease{Kind: kind, Deadline: inAMinute()})
		testkit.Check(t, err)
	}
	if got := read(t, l); len(got) != 4 {
		t.Fatalf("%d leases before, want 4", len(got))
	}
	// The next boot: everything stands as it was, and the kernel has another name for itself.
	boot, err := proc.Default().BootID()
	testkit.Check(t, err)
	testkit.Check(t, filepath.WalkDir(base, func(path string, entry os.DirEntry, err error) error {
		if entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		testkit.Check(t, err)
		return os.WriteFile(path, []byte(strings.ReplaceAll(string(content), boot, "11111111-2222-3333-4444-555555555555")), 0o600)
	}))
	got := read(t, l)
	if len(got) != 1 || got[0].Kind != ledger.Stream || l.Standing(got[0]) != ledger.DeadOwner {
		t.Errorf("after the boot: %+v", got)
	}
	if left := files(t, base); strings.Count(left, "\n") != 0 || !strings.HasPrefix(left, "state/streams/") {
		t.Errorf("left: %s", left)
	}
}

func TestALeaseThatNoLedgerWroteTouchesNoFile(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	victim := filepath.Join(base, "victim.json")
	testkit.Check(t, os.WriteFile(victim, []byte("{}"), 0o600))
	held := l.Adopt(ledger.Lease{ID: "../../victim", Kind: ledger.Process})
	localWithHint(t, held.Strike())
	localWithHint(t, held.Cool(inAMinute()))
	if err := held.Update(func(*ledger.Lease) {}); err == nil {
		t.Error("updated")
	}
	if got, _ := os.ReadFile(victim); string(got) != "{}" {
		t.Errorf("the file outside holds %q", got)
	}
}
