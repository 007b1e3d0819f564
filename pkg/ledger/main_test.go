package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

const roleVariable = "CAMWARDEN_LEDGER_TEST_ROLE"

// The test binary is also every other process these tests need: another camwarden that writes, locks, hangs, is killed.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// headless has the first thread end: the tests, which nothing else can be told, would run on any.
func init() {
	if os.Getenv(roleVariable) == "headless" {
		runtime.LockOSThread()
	}
}

func play(role string, args []string) int {
	roles := map[string]func([]string) error{
		"lease": playLease, "lock": playLock, "writer": playWriter, "count": playCount, "open": playOpen, "sleep": playSleep,
		"hostlock": playHostLock, "wait": playWait, "headless": playHeadless,
	}
	if err := roles[role](args); err != nil {
		say(map[string]any{"error": fault.From(err, "", "")})
		return 1
	}
	return 0
}

// other is another process of this test binary. What it says comes line by line as JSON; closing its stdin lets it go on.
type other struct {
	*testkit.Process
	t *testing.T
}

type saying struct {
	ID    string       `json:"id"`
	PID   int          `json:"pid"`
	State string       `json:"state"`
	Error *fault.Error `json:"error"`
	Torn  []string     `json:"torn"`
	Count int          `json:"count"`
}

func say(v any) {
	line, _ := json.Marshal(v)
	fmt.Println(string(line))
}

func start(t *testing.T, role string, args ...string) *other {
	return startAs(t, os.Geteuid(), role, args...)
}

func startAs(t *testing.T, uid int, role string, args ...string) *other {
	t.Helper()
	cmd := testkit.Role(roleVariable, role, args...)
	cmd.SysProcAttr = testkit.As(uid)
	return &other{testkit.Start(t, cmd), t}
}

func (o *other) hear() (s saying) {
	o.t.Helper()
	o.Hear(&s)
	return s
}

// stop sends SIGSTOP and waits until the kernel shows it.
func (o *other) stop() {
	o.t.Helper()
	o.Signal(syscall.SIGSTOP)
	testkit.Eventually(o.t, "the process is stopped", func() bool {
		stat, err := proc.Default().Stat(o.PID())
		return err == nil && stat.State == 'T'
	})
}

func open(t *testing.T, base string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(dirsIn(base), proc.Default(), "run-"+strconv.Itoa(os.Getpid()))
	testkit.Check(t, err)
	return l
}

func dirsIn(base string) ledger.Dirs {
	return ledger.Dirs{Runtime: filepath.Join(base, "run"), State: filepath.Join(base, "state")}
}

func openIn(base string) (*ledger.Ledger, error) {
	return ledger.Open(dirsIn(base), proc.Default(), "run-"+strconv.Itoa(os.Getpid()))
}

// read returns the leases and demands that nothing is torn.
func read(t *testing.T, l *ledger.Ledger) []ledger.Lease {
	t.Helper()
	leases, torn, err := l.Read()
	testkit.Check(t, err)
	if len(torn) > 0 {
		t.Fatalf("torn: %v", torn)
	}
	return leases
}

// files lists everything under base, as paths relative to it.
func files(t *testing.T, base string) string {
	t.Helper()
	var all []string
	testkit.Check(t, filepath.WalkDir(base, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all = append(all, strings.TrimPrefix(path, base+"/"))
		}
		return err
	}))
	return strings.Join(all, "\n")
}

// localWithHint demands that an error is one that a user can act on.
func localWithHint(t *testing.T, err error, words ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("not a *fault.Error: %v", err)
	}
	if f.Class != fault.Local || f.Hint == "" {
		t.Fatalf("class %q, hint %q; want local and a hint", f.Class, f.Hint)
	}
	for _, word := range words {
		if !strings.Contains(f.Message, word) {
			t.Errorf("message %q does not say %q", f.Message, word)
		}
	}
}

// wait returns when stdin ends: the test says so, or is gone.
func wait() { _, _ = io.Copy(io.Discard, os.Stdin) }
