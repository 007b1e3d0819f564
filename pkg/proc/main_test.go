package proc

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// The test binary is also every other process that the tests need. Such a process says "ready" and lives until its
// standard input ends, so that none outlives the tests, whatever becomes of them.
const roleVariable = "PROC_TEST_ROLE"

const nobody = 65534

func TestMain(m *testing.M) {
	role, argument, _ := strings.Cut(os.Getenv(roleVariable), " ")
	if role == "" {
		os.Exit(m.Run())
	}
	if err := play(role, argument); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
}

func play(role, argument string) error {
	switch role {
	case "wait":
	case "ignore-term":
		signal.Ignore(syscall.SIGTERM)
	case "lose-first-thread":
		go linger()
		runtime.LockOSThread() // of the main goroutine, so: the first thread (see init)
		_, _, errno := syscall.Syscall(unix.SYS_EXIT, 0, 0, 0)
		return errno
	case "dial":
		conn, err := dialRetry(argument)
		if err != nil {
			return err
		}
		defer conn.Close()
	case "loopback": // a connection to itself, in a network namespace of its own
		return playLoopback()
	case "report":
		return playReport(argument)
	default:
		return fmt.Errorf("no such role")
	}
	linger()
	return nil
}

func linger() {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func init() {
	if strings.HasPrefix(os.Getenv(roleVariable), "lose-first-thread") {
		runtime.LockOSThread() // during init the goroutine of main runs on the first thread
	}
}

// cast prepares a process that plays a role.
func cast(t *testing.T, role string, as *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	cmd := testkit.Role(roleVariable, role)
	cmd.SysProcAttr = as
	return cmd
}

// actor starts a process that plays a role and returns once it is ready. It is ended with the test.
func actor(t *testing.T, role string, as *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	return started(t, cast(t, role, as))
}

func started(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	p := testkit.Start(t, cmd)
	if line := p.Line(); line != "ready" {
		t.Fatalf("%s did not get ready: %q", cmd, line)
	}
	return cmd
}

// program starts an ordinary program under any name and returns when it runs. It is ended with the test.
func program(t *testing.T, name, path string, args ...string) *exec.Cmd {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(link, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// sleeper starts a plain process that ends on SIGTERM.
func sleeper(t *testing.T) (*exec.Cmd, Identity) {
	t.Helper()
	cmd := program(t, "sleeper", "/bin/sleep", "120")
	return cmd, identify(t, cmd.Process.Pid)
}

func identify(t *testing.T, pid int) Identity {
	t.Helper()
	id, err := Default().Identify(pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: " + why)
	}
}

func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// Question is what a reporting process is to find out, in its own circumstances.
type Question struct {
	Refuse   string // a system call that seccomp refuses it: "pidfd_open" or "netlink"
	Errno    int    // with this error
	Hide     bool   // mount a /proc with hidepid=2 over the real one, and become nobody
	ID       Identity
	Kill     bool
	Port     uint16
	Variable string
}

// Answer is what it found.
type Answer struct {
	Presence            Presence
	LookError           string
	Result              Result
	KillError, KillHint string
	Sockets             []Conn
	Method, Why         string
	Marked              map[int]string
	Unreadable          int
	NamespaceError      string
	EnvironError        string
	UID                 uint32
	PidHidden           bool
}

// ask has another process answer a question.
func ask(t *testing.T, question Question, as *syscall.SysProcAttr) Answer {
	t.Helper()
	text, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cast(t, "report "+string(text), as).Output()
	if err != nil {
		t.Fatalf("the reporting process: %v", err)
	}
	var answer Answer
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return answer
}
