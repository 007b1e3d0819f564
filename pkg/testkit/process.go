package testkit

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bound is how long what must come about may take: only a fault reaches it, however busy the host is.
const bound = time.Minute

// Check ends the test where there is an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until it is so, asking again and again, and ends the test after a minute; what says what was waited for.
func Eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > bound {
			t.Fatal("never came true: ", what)
		}
	}
}

// Role is the test binary as another process: TestMain plays the role that the variable names. It is called by a path that
// every user may execute, in a folder that every user may enter, and does not wait a second for races when it ends.
func Role(variable, role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), variable+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	return cmd
}

// As has a process of a test run as that user, with a group of the same number; nil where that is what we are.
func As(uid int) *syscall.SysProcAttr {
	if uid == os.Geteuid() {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}

// Process is a process beside the test that says things line by line, and that goes on, or ends, when its stdin ends.
type Process struct {
	*exec.Cmd
	t     testing.TB
	stdin io.WriteCloser
	lines *bufio.Scanner
	end   sync.Once
}

// Start starts it. It is killed with the test at the latest.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	Check(t, err)
	stdout, err := cmd.StdoutPipe()
	Check(t, err)
	Check(t, cmd.Start())
	p := &Process{Cmd: cmd, t: t, stdin: stdin, lines: bufio.NewScanner(stdout)}
	t.Cleanup(p.Kill)
	return p
}

// PID is the number of the process.
func (p *Process) PID() int { return p.Process.Pid }

// Line waits for the next line that it says, and ends the test when none comes any more.
func (p *Process) Line() string {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatalf("%s ended without a word: %v", p.Cmd, p.lines.Err())
	}
	return p.lines.Text()
}

// Hear waits for the next line, and reads it as JSON.
func (p *Process) Hear(into any) {
	p.t.Helper()
	Check(p.t, json.Unmarshal([]byte(p.Line()), into))
}

// Release ends its stdin.
func (p *Process) Release() {
	p.t.Helper()
	Check(p.t, p.stdin.Close())
}

// Signal sends it a signal.
func (p *Process) Signal(signal syscall.Signal) {
	p.t.Helper()
	Check(p.t, p.Process.Signal(signal))
}

// Kill ends it by SIGKILL, and waits for its end. A second time, perhaps at the same time, it does nothing but wait.
func (p *Process) Kill() {
	p.end.Do(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
}
