package proc

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// kindBound and kindGrace are far beyond what a signal takes on a busy machine.
const (
	kindBound = 20 * time.Second
	kindGrace = 20 * time.Second
)

func alive(t *testing.T, id Identity) {
	t.Helper()
	if presence, err := Default().Look(id); presence != Running || err != nil {
		t.Errorf("the process should have been left alone: %v, %v", presence, err)
	}
}

func TestAProcessThatListensEndsOnTerm(t *testing.T) {
	t.Parallel()
	cmd, id := sleeper(t)
	result, err := Default().Kill(context.Background(), id, kindGrace, kindBound)
	if err != nil || result.Outcome != Ended || result.Signal != unix.SIGTERM {
		t.Fatalf("%+v, %v", result, err)
	}
	if result.Took <= 0 || result.Took >= kindGrace {
		t.Errorf("took %v", result.Took)
	}
	if presence, err := Default().Look(id); presence != Zombie || err != nil {
		t.Errorf("before we reap it: %v, %v", presence, err)
	}
	_ = cmd.Wait()
	if presence, err := Default().Look(id); presence != Gone || err != nil {
		t.Errorf("after we reaped it: %v, %v", presence, err)
	}
}

func TestKill_ignoredTermThenGraceThenKill(t *testing.T) {
	t.Parallel()
	cmd := actor(t, "ignore-term", nil)
	const grace = 150 * time.Millisecond
	result, err := Default().Kill(context.Background(), identify(t, cmd.Process.Pid), grace, kindBound)
	if err != nil || result.Outcome != Ended || result.Signal != unix.SIGKILL || result.Took < grace {
		t.Fatalf("%+v, %v", result, err)
	}
}

func TestAStoppedProcessEndsByKill(t *testing.T) {
	t.Parallel()
	cmd, id := sleeper(t)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "state T", func() bool { stat, _ := Default().Stat(id.PID); return stat.State == 'T' })
	result, err := Default().Kill(context.Background(), id, 50*time.Millisecond, kindBound)
	if err != nil || result.Outcome != Ended || result.Signal != unix.SIGKILL {
		t.Fatalf("%+v, %v", result, err)
	}
}

func TestWithoutGraceTheFirstSignalIsKill(t *testing.T) {
	t.Parallel()
	cmd, id := sleeper(t)
	result, err := Default().Kill(context.Background(), id, 0, kindBound)
	if err != nil || result.Outcome != Ended || result.Signal != unix.SIGKILL {
		t.Fatalf("%+v, %v", result, err)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v", status.Signal())
	}
}

func TestKill_nobodyElseUnderAReusedPID(t *testing.T) {
	t.Parallel()
	_, id := sleeper(t)
	for what, other := range map[string]Identity{
		"a later start":  {BootID: id.BootID, PIDNS: id.PIDNS, PID: id.PID, Start: id.Start + 1},
		"an early start": {BootID: id.BootID, PIDNS: id.PIDNS, PID: id.PID, Start: id.Start - 1},
	} {
		result, err := Default().Kill(context.Background(), other, kindGrace, kindBound)
		if err != nil || result.Outcome != NotSame || result.Signal != 0 {
			t.Errorf("%s: %+v, %v", what, result, err)
		}
		if presence, err := Default().Look(other); presence != Gone || err != nil {
			t.Errorf("%s: %v, %v", what, presence, err)
		}
	}
	alive(t, id)
}

func TestAnIdentityOfAnotherBootIsGone(t *testing.T) {
	t.Parallel()
	_, id := sleeper(t)
	other := id
	other.BootID = "00000000-0000-0000-0000-000000000000"
	result, err := Default().Kill(context.Background(), other, 0, kindBound)
	if err != nil || result.Outcome != Gone || result.Signal != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if presence, err := Default().Look(other); presence != Gone || err != nil {
		t.Errorf("%v, %v", presence, err)
	}
	alive(t, id)
}

func TestAnIdentityOfAnotherNamespaceIsNotJudged(t *testing.T) {
	t.Parallel()
	_, id := sleeper(t)
	other := id
	other.PIDNS++
	if result, err := Default().Kill(context.Background(), other, 0, kindBound); err == nil || result.Outcome != "" {
		t.Errorf("%+v, %v", result, err)
	}
	if presence, err := Default().Look(other); presence != Unknown || err == nil {
		t.Errorf("%v, %v", presence, err)
	}
	alive(t, id)
}

func TestWhatIsDeadAlreadyGetsNoSignal(t *testing.T) {
	t.Parallel()
	cmd, id := sleeper(t)
	_ = cmd.Process.Kill()
	testkit.Eventually(t, "a zombie", func() bool { presence, _ := Default().Look(id); return presence == Zombie })
	if result, err := Default().Kill(context.Background(), id, 0, kindBound); err != nil || result.Outcome != Zombie || result.Signal != 0 || result.State != 'Z' {
		t.Errorf("zombie: %+v, %v", result, err)
	}
	_ = cmd.Wait()
	if result, err := Default().Kill(context.Background(), id, 0, kindBound); err != nil || result.Outcome != Gone || result.Signal != 0 {
		t.Errorf("gone: %+v, %v", result, err)
	}
}

func TestKill_refusesWhatMustNotBe(t *testing.T) {
	t.Parallel()
	self, err := Default().Self()
	if err != nil {
		t.Fatal(err)
	}
	first := self
	first.PID = 1
	nameless := self
	nameless.PID, nameless.BootID = self.PID+1, ""
	for what, id := range map[string]Identity{"ourselves": self, "init": first, "zero": {}, "no boot id": nameless} {
		if result, err := Default().Kill(context.Background(), id, 0, kindBound); err == nil || result.Outcome != "" {
			t.Errorf("%s: %+v, %v", what, result, err)
		}
	}
	_, id := sleeper(t)
	picture := FS{Root: t.TempDir()}
	if result, err := picture.Kill(context.Background(), id, 0, kindBound); err == nil || result.Outcome != "" {
		t.Errorf("from a picture: %+v, %v", result, err)
	}
	alive(t, id)
}

func TestAProcessOfAnotherUserIsNotPermitted(t *testing.T) {
	t.Parallel()
	needRoot(t, "starts a process of another user")
	_, id := sleeper(t)
	answer := ask(t, Question{ID: id, Kill: true}, asNobody())
	if answer.Presence != Running || answer.LookError != "" {
		t.Errorf("look: %v, %s", answer.Presence, answer.LookError)
	}
	if answer.Result.Outcome != NotPermitted || answer.KillError != "" || answer.Result.Signal != 0 {
		t.Errorf("kill: %+v, %s", answer.Result, answer.KillError)
	}
	if answer.Result.Took > 10*time.Second {
		t.Errorf("took %v", answer.Result.Took)
	}
	if !strings.Contains(answer.NamespaceError, "permission denied") || !strings.Contains(answer.EnvironError, "permission denied") {
		t.Errorf("closed to others: %q, %q", answer.NamespaceError, answer.EnvironError)
	}
	if answer.UID != uint32(os.Getuid()) {
		t.Errorf("user %d", answer.UID)
	}
	alive(t, id)
}

func TestKill_hiddenIsNotGone(t *testing.T) {
	t.Parallel()
	needRoot(t, "mounts a /proc with hidepid=2")
	cmd, id := sleeper(t)
	hidden := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	answer := ask(t, Question{ID: id, Kill: true, Hide: true}, hidden)
	if !answer.PidHidden {
		t.Error("nobody says that processes are hidden")
	}
	if answer.Presence != Unknown || !strings.Contains(answer.LookError, "hidden") {
		t.Errorf("look: %v, %q", answer.Presence, answer.LookError)
	}
	if answer.Result.Outcome != NotPermitted || answer.Result.Signal != 0 || answer.KillError != "" {
		t.Errorf("kill: %+v, %s", answer.Result, answer.KillError)
	}
	alive(t, id)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if answer := ask(t, Question{ID: id, Kill: true, Hide: true}, hidden); answer.Presence != Gone || answer.Result.Outcome != Gone {
		t.Errorf("after its end: %v, %+v", answer.Presence, answer.Result)
	}
}

func TestAProcOfAnOuterNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	needRoot(t, "makes a pid namespace")
	_, id := sleeper(t)
	answer := ask(t, Question{ID: id, Kill: true}, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	for _, said := range []string{answer.LookError, answer.KillError} {
		if !strings.Contains(said, "outer pid namespace") {
			t.Errorf("said %q", said)
		}
	}
	if answer.Presence != Unknown || answer.Result.Outcome != "" {
		t.Errorf("%v, %+v", answer.Presence, answer.Result)
	}
	alive(t, id)
}

func TestWithoutPidfdNothingIsSignalled(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{unix.ENOSYS, unix.EPERM} {
		_, id := sleeper(t)
		answer := ask(t, Question{ID: id, Kill: true, Refuse: "pidfd_open", Errno: int(errno)}, nil)
		if !strings.Contains(answer.KillError, "pidfd_open: "+errno.Error()) || !strings.Contains(answer.KillError, "pid "+strconv.Itoa(id.PID)) {
			t.Errorf("said %q", answer.KillError)
		}
		if answer.KillHint == "" || answer.Result.Outcome != "" || answer.Presence != Running {
			t.Errorf("%+v", answer)
		}
		alive(t, id)
	}
}

func TestAProcessThatOutlivesKillIsStuck(t *testing.T) {
	t.Parallel()
	// A tracer that asked to be shown the exit holds the process there, SIGKILL or not.
	release, done := make(chan struct{}), make(chan struct{})
	var once sync.Once
	let := func() { once.Do(func() { close(release) }) }
	t.Cleanup(func() { let(); <-done })
	pids := make(chan int, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // a tracer is a thread
		cmd := exec.Command("/bin/sleep", "120")
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		if err := cmd.Start(); err != nil {
			t.Error(err)
			pids <- 0
			return
		}
		var status syscall.WaitStatus
		_, _ = syscall.Wait4(cmd.Process.Pid, &status, 0, nil)
		if err := unix.PtraceSetOptions(cmd.Process.Pid, unix.PTRACE_O_TRACEEXIT|unix.PTRACE_O_EXITKILL); err != nil {
			t.Error(err)
		}
		_ = unix.PtraceCont(cmd.Process.Pid, 0)
		pids <- cmd.Process.Pid
		<-release
		_ = unix.PtraceDetach(cmd.Process.Pid)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	pid := <-pids
	if pid == 0 {
		t.Skip("tracing is not allowed here")
	}
	id := identify(t, pid)
	const grace, bound = 20 * time.Millisecond, 200 * time.Millisecond
	result, err := Default().Kill(context.Background(), id, grace, bound)
	if err != nil || result.Outcome != Stuck || result.Signal != unix.SIGKILL || result.State != 't' {
		t.Errorf("%+v (state %c), %v", result, result.State, err)
	}
	if result.Took < grace+bound || result.Took > 10*time.Second {
		t.Errorf("took %v", result.Took)
	}
	alive(t, id)
	let()
	<-done
	if result, err := Default().Kill(context.Background(), id, 0, kindBound); result.Outcome != Gone || err != nil {
		t.Errorf("once released: %+v, %v", result, err)
	}
}

func TestACancelledContextSendsNothing(t *testing.T) {
	t.Parallel()
	_, id := sleeper(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if result, err := Default().Kill(ctx, id, 0, kindBound); !errors.Is(err, context.Canceled) || result.Signal != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	alive(t, id)
}

func TestKill_cancelDuringTheGrace(t *testing.T) {
	t.Parallel()
	cmd := actor(t, "ignore-term", nil)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	result, err := Default().Kill(ctx, identify(t, cmd.Process.Pid), time.Hour, kindBound)
	if err != nil || result.Outcome != Ended || result.Signal != unix.SIGKILL {
		t.Fatalf("%+v, %v", result, err)
	}
}

func TestAProcessThatIsNotOurChildIsSeenToEnd(t *testing.T) {
	t.Parallel()
	shell := exec.Command("/bin/sh", "-c", "sleep 120 & echo $!; wait")
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shell.Process.Kill(); _ = shell.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	id := identify(t, pid)
	result, err := Default().Kill(context.Background(), id, kindGrace, kindBound)
	if err != nil || result.Outcome != Ended {
		t.Fatalf("%+v, %v", result, err)
	}
	testkit.Eventually(t, "the shell to reap it", func() bool { presence, _ := Default().Look(id); return presence == Gone })
}

func TestManyAreEndedAtOnce(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for range 25 {
		_, id := sleeper(t)
		group.Go(func() {
			if result, err := Default().Kill(context.Background(), id, kindGrace, kindBound); err != nil || result.Outcome != Ended {
				t.Errorf("%+v, %v", result, err)
			}
		})
	}
	group.Wait()
}

func TestThePidfdInodeTellsTwoProcessesApart(t *testing.T) {
	t.Parallel()
	_, one := sleeper(t)
	_, two := sleeper(t)
	first, err := PidfdInode(one.PID)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := PidfdInode(one.PID)
	second, _ := PidfdInode(two.PID)
	if first != again {
		t.Errorf("%d, then %d", first, again)
	}
	if first != 0 && first == second {
		t.Errorf("both have %d", first)
	}
}
