package supervise

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// roleVariable makes the test binary play a part instead of testing.
const roleVariable = "SUPERVISE_TEST_ROLE"

// self is the test binary under a name that every user may execute, wherever go test has put it.
const self = "/proc/self/exe"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		play(role, os.Args[1:])
		return
	}
	goleak.VerifyTestMain(m)
}

func play(role string, args []string) {
	switch role {
	case "parent": // supervises hung children until somebody kills it
		parent(args[0])
	case "tracer": // makes a process that has been killed invisible to its parent, as long as our stdin is open
		runtime.LockOSThread()
		pid, _ := strconv.Atoi(args[0])
		if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0); errno != 0 {
			fmt.Println(errno)
			os.Exit(1)
		}
		fmt.Println("seized")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "run": // supervises one command and says how it ended
		s, err := New(proc.Default())
		if err != nil {
			panic(err)
		}
		book, err := ledger.Open(dirs(args[0]), proc.Default(), "run")
		if err != nil {
			panic(err)
		}
		held, err := book.Write(ledger.Lease{Kind: ledger.Process, Deadline: proc.BootTime() + time.Hour})
		if err != nil {
			panic(err)
		}
		e := s.Run(context.Background(), Spec{Path: args[1], Args: args[2:], Lease: held, Limit: 300 * time.Millisecond, Grace: 50 * time.Millisecond})
		leases, _, _ := book.Read()
		fmt.Printf("%d %s sent=%v leases=%d err=%v\n", e.PID, e.Kind, e.Sent, len(leases), e.Err)
	default:
		fmt.Fprintln(os.Stderr, "unknown role", role)
		os.Exit(2)
	}
}

func parent(dir string) {
	s, err := New(proc.Default())
	if err != nil {
		panic(err)
	}
	book, err := ledger.Open(dirs(dir), proc.Default(), "parent")
	if err != nil {
		panic(err)
	}
	for i := range 5 {
		held, err := book.Write(ledger.Lease{Kind: ledger.Process, Camera: fmt.Sprint("cam", i), Deadline: proc.BootTime() + time.Hour})
		if err != nil {
			panic(err)
		}
		go s.Run(context.Background(), Spec{
			Path: "/bin/sh", Args: []string{"-c", `trap "" TERM HUP INT; echo $$ > ` + dir + "/pid" + strconv.Itoa(i) + `; exec sleep 300`},
			Lease: held, Limit: time.Hour,
		})
	}
	select {}
}

func dirs(dir string) ledger.Dirs {
	return ledger.Dirs{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}
}

// stage is one test's supervisor, ledger and folder.
type stage struct {
	*Supervisor
	t    testing.TB
	book *ledger.Ledger
	dir  string
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s, err := New(proc.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	dir := t.TempDir()
	book, err := ledger.Open(dirs(dir), proc.Default(), "test")
	if err != nil {
		t.Fatal(err)
	}
	return &stage{Supervisor: s, t: t, book: book, dir: dir}
}

func (s *stage) lease() *ledger.Held {
	s.t.Helper()
	held, err := s.book.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Deadline: proc.BootTime() + time.Hour})
	if err != nil {
		s.t.Fatal(err)
	}
	return held
}

// shell is a child that runs a script. $DIR in it is the test's folder.
func (s *stage) shell(script string) Spec {
	s.t.Helper()
	return Spec{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"DIR=" + s.dir}, Lease: s.lease(), Limit: time.Minute}
}

func (s *stage) leases() []ledger.Lease {
	s.t.Helper()
	leases, torn, err := s.book.Read()
	if err != nil || len(torn) > 0 {
		s.t.Fatalf("ledger: %v, torn %v", err, torn)
	}
	return leases
}

// wantClean demands that the ledger is empty.
func (s *stage) wantClean() {
	s.t.Helper()
	if left := s.leases(); len(left) > 0 {
		s.t.Errorf("leases left: %+v", left)
	}
}

// pid waits for a process of the script to write its number into a file, and returns who it is.
func (s *stage) pid(name string) proc.Identity {
	s.t.Helper()
	return readPID(s.t, filepath.Join(s.dir, name))
}

func readPID(t testing.TB, path string) proc.Identity {
	t.Helper()
	var id proc.Identity
	testkit.Eventually(t, path+" names a living process", func() bool {
		text, _ := os.ReadFile(path)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || !strings.HasSuffix(string(text), "\n") {
			return false
		}
		id, err = proc.Default().Identify(pid)
		return err == nil
	})
	return id
}

func (s *stage) wantGone(ids ...proc.Identity) {
	s.t.Helper()
	for _, id := range ids {
		if presence, err := proc.Default().Look(id); presence != proc.Gone {
			s.t.Errorf("%v is %s, not gone (%v)", id, presence, err)
		}
	}
}

func (s *stage) wantKind(e Ending, kind Kind) {
	s.t.Helper()
	if e.Kind != kind {
		s.t.Fatalf("ended as %q, want %q: %+v", e.Kind, kind, e)
	}
}

func firstLine(r io.Reader) string {
	line, _ := bufio.NewReader(r).ReadString('\n')
	return strings.TrimSpace(line)
}
