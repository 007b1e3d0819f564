package ledger_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// playWriter writes, changes and strikes large leases until it is killed.
func playWriter(args []string) error {
	l, err := openIn(args[0])
	if err != nil {
		return err
	}
	say(saying{State: "writing"})
	note := strings.Repeat("x", 4096)
	for {
		held, err := l.Write(ledger.Lease{Kind: ledger.Process, Deadline: inAMinute(), Note: note})
		if err != nil {
			return err
		}
		if err := held.Update(func(l *ledger.Lease) { l.Note += "y" }); err != nil {
			return err
		}
		if rand.N(8) > 0 {
			if err := held.Strike(); err != nil {
				return err
			}
		}
	}
}

func TestFortyKillsInTheMiddleOfWritingTearNothing(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	for range 40 {
		writer := start(t, "writer", base)
		writer.hear()
		time.Sleep(rand.N(8 * time.Millisecond))
		writer.Kill()
	}
	leases := read(t, l)
	if len(leases) == 0 {
		t.Fatal("the writers left no lease: nothing was tested")
	}
	for _, lease := range leases {
		if n := len(lease.Note); n != 4096 && n != 4097 {
			t.Errorf("lease %s is half: %d bytes of its note", lease.ID, n)
		}
		testkit.Check(t, l.Adopt(lease).Strike())
	}
	// What is left now are temporary files. They go once nobody can be at work on them any more.
	paths, err := filepath.Glob(filepath.Join(base, "run", "leases", "*"))
	testkit.Check(t, err)
	for _, path := range paths {
		old := time.Now().Add(-2 * time.Minute)
		testkit.Check(t, os.Chtimes(path, old, old))
	}
	read(t, l)
	if left := files(t, base); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestForeignFilesAreReportedAndKept(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	good, err := l.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Deadline: inAMinute()})
	testkit.Check(t, err)
	dir := filepath.Join(base, "run", "leases")
	whole, err := os.ReadFile(filepath.Join(dir, good.Lease().ID+".json"))
	testkit.Check(t, err)
	const id = "01J00000000000000000000000"
	named := func(n string) string { return strings.TrimSuffix(id, "0") + n + ".json" }
	contents := map[string][]byte{
		named("1"):           {},
		named("2"):           whole[:len(whole)/2],
		named("3"):           []byte(`{"v":2,"id":7,"kind":["new"]}`),
		named("4"):           []byte("\x00\xff\xfe binary"),
		named("5"):           bytes.Repeat([]byte("["), 2<<20),
		named("6"):           whole, // the id of another
		named("7"):           []byte(`{"v":1,"id":"` + strings.TrimSuffix(named("7"), ".json") + `","kind":"process"}`),
		named("8"):           []byte(`{"v":1,"id":"` + strings.TrimSuffix(named("8"), ".json") + `","kind":"spell","owner":{"boot_id":"x","pid":1}}`),
		named("9"):           []byte(`null`),
		"README":             []byte("what is this folder?"),
		"not-an-id.json":     []byte(`{"v":1,"id":"not-an-id","kind":"process","owner":{"boot_id":"x","pid":1}}`),
		"..json":             []byte(`{}`),
		named("A"):           []byte(`{"v":1,"id":"` + strings.TrimSuffix(named("A"), ".json") + `","kind":"stream","owner":{"boot_id":"x","pid":1}}`),
		"x\ny.json":          []byte(`{"v":1}`),
		"fresh.json.123.tmp": []byte(`half`),
	}
	for name, content := range contents {
		testkit.Check(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	testkit.Check(t, os.Mkdir(filepath.Join(dir, "folder.json"), 0o700))
	testkit.Check(t, os.Symlink("/etc/passwd", filepath.Join(dir, named("B"))))
	testkit.Check(t, unix.Mkfifo(filepath.Join(dir, named("C")), 0o600))
	before := files(t, base)

	leases, torn, err := l.Read()
	testkit.Check(t, err)
	if len(leases) != 1 || leases[0].ID != good.Lease().ID {
		t.Errorf("leases %+v, want the good one", leases)
	}
	// The fresh temporary file is somebody's work in progress, and no fault.
	if want := len(contents) - 1 + 3; len(torn) != want {
		t.Errorf("%d files reported, want %d: %v", len(torn), want, torn)
	}
	for _, one := range torn {
		if one.Why == "" || !filepath.IsAbs(one.Path) {
			t.Errorf("reported without a reason or place: %+v", one)
		}
		if strings.HasSuffix(one.Path, named("3")) && !strings.Contains(one.Why, "newer") {
			t.Errorf("a newer version is reported as %q", one.Why)
		}
	}
	if after := files(t, base); after != before {
		t.Errorf("files changed from\n%s\nto\n%s", before, after)
	}
}

func TestAFileThatMayNotBeReadIsReported(t *testing.T) {
	t.Parallel()
	base := sharedDir(t, 65534)
	testkit.Check(t, os.MkdirAll(filepath.Join(base, "run", "leases"), 0o700))
	testkit.Check(t, os.Mkdir(filepath.Join(base, "state"), 0o700))
	path := filepath.Join(base, "run", "leases", "01J00000000000000000000000.json")
	testkit.Check(t, os.WriteFile(path, []byte("{}"), 0o000))
	for _, dir := range []string{"run", "run/leases", "state"} {
		testkit.Check(t, os.Chown(filepath.Join(base, dir), 65534, 65534))
	}
	got := startAs(t, 65534, "open", base).hear()
	if got.Error != nil || len(got.Torn) != 1 || !strings.Contains(got.Torn[0], "permission denied") {
		t.Errorf("%+v, want one file that may not be read", got)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

func TestALeaseOfTheWrongFolderIsReported(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	held, err := l.Write(ledger.Lease{Kind: ledger.Process, Deadline: inAMinute()})
	testkit.Check(t, err)
	name := held.Lease().ID + ".json"
	testkit.Check(t, os.Rename(filepath.Join(base, "run", "leases", name), filepath.Join(base, "state", "streams", name)))
	leases, torn, err := l.Read()
	testkit.Check(t, err)
	if len(leases) != 0 || len(torn) != 1 {
		t.Errorf("leases %v, torn %v", leases, torn)
	}
}

func TestAReaderBesideWritersSeesWholeLeases(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	writer := start(t, "writer", base)
	writer.hear()
	for range 30 {
		for _, lease := range read(t, l) {
			if len(lease.Note) < 4096 {
				t.Fatalf("half a lease: %d bytes of its note", len(lease.Note))
			}
		}
	}
	writer.Signal(syscall.SIGKILL)
}
