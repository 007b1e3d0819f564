package supervise

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// The tests whose names begin with TestLadder run again as an ordinary user.

func TestAnOrdinaryUserHasTheSameLadder(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("not root: the others are that already")
	}
	again := exec.Command(self, "-test.run=^TestLadder", "-test.v")
	again.Dir = "/"
	again.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=/tmp", "CAMWARDEN_TEST_RUN=" + os.Getenv("CAMWARDEN_TEST_RUN")}
	again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := again.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS: TestLadder") < 8 || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("as uid 65534: %v\n%s", err, out)
	}
}

func TestLadderAChildThatExitsSaysHow(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	e := s.Run(t.Context(), s.shell("echo picture; echo trouble >&2; exit 3"))
	s.wantKind(e, Exited)
	if e.Code != 3 || e.Signal != "" || len(e.Sent) != 0 || e.Err != nil || e.PID == 0 || e.Stragglers != 0 {
		t.Errorf("%+v", e)
	}
	if string(e.Stdout) != "picture\n" || string(e.Stderr) != "trouble\n" || e.StderrCut {
		t.Errorf("stdout %q, stderr %q", e.Stdout, e.Stderr)
	}
	s.wantClean()
}

func TestLadderAChildThatCrashesNamesItsSignal(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	e := s.Run(t.Context(), s.shell("kill -SEGV $$"))
	s.wantKind(e, Exited)
	if e.Code != -1 || e.Signal != "SEGV" || len(e.Sent) != 0 {
		t.Errorf("%+v", e)
	}
	s.wantClean()
}

func TestLadder_termIsEnough(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell(`trap "echo teardown; exit 0" TERM; while :; do sleep 0.01; done`)
	spec.Limit, spec.Grace = 300*time.Millisecond, 30*time.Second
	e := s.Run(t.Context(), spec)
	s.wantKind(e, Expired)
	if !slices.Equal(e.Sent, []string{"TERM"}) || e.Code != 0 || string(e.Stdout) != "teardown\n" {
		t.Errorf("%+v, stdout %q", e, e.Stdout)
	}
	if e.Duration < spec.Limit || e.Duration > 10*time.Second {
		t.Errorf("took %v", e.Duration)
	}
	s.wantClean()
}

func TestLadder_ignoredTermKillsTheGroup(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell(`trap "" TERM; sleep 300 & echo $! > $DIR/grandchild; echo $$ > $DIR/child; while :; do sleep 1; done`)
	spec.Limit, spec.Grace = 2*time.Second, 100*time.Millisecond
	ended := s.begin(spec)
	child, grandchild := s.pid("child"), s.pid("grandchild")
	e := <-ended
	s.wantKind(e, Expired)
	if !slices.Equal(e.Sent, []string{"TERM", "KILL"}) || e.Signal != "KILL" || e.Code != -1 {
		t.Errorf("%+v", e)
	}
	if e.Stragglers < 1 {
		t.Error("the grandchild was not counted")
	}
	if e.Duration < spec.Limit+spec.Grace || e.Duration > 20*time.Second {
		t.Errorf("took %v", e.Duration)
	}
	s.wantGone(child, grandchild)
	s.wantClean()
}

func TestLadderAStoppedChildIsKilled(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell("kill -STOP $$")
	spec.Limit, spec.Grace = 200*time.Millisecond, 100*time.Millisecond
	e := s.Run(t.Context(), spec)
	s.wantKind(e, Expired)
	if e.Signal != "KILL" {
		t.Errorf("%+v", e)
	}
	s.wantClean()
}

func TestLadder_grandchildOnThePipe(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	e := s.Run(t.Context(), s.shell(`sleep 300 & echo $!; exit 0`))
	s.wantKind(e, Exited)
	if e.Code != 0 || e.Stragglers != 1 || e.Err != nil || e.Duration > 20*time.Second {
		t.Errorf("%+v", e)
	}
	s.wantClean()
}

func TestLadderAFloodOnStdoutEndsTheChildAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell("exec yes")
	spec.MaxStdout = 1000
	e := s.Run(t.Context(), spec)
	s.wantKind(e, Overflowed)
	if len(e.Stdout) != 1000 || !slices.Equal(e.Sent, []string{"TERM"}) || e.Duration > 20*time.Second {
		t.Errorf("%d bytes, %v, %v", len(e.Stdout), e.Sent, e.Duration)
	}
	s.wantClean()
}

func TestLadderAFullStdoutIsNoFlood(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell("printf 12345")
	spec.MaxStdout = 5
	if e := s.Run(t.Context(), spec); e.Kind != Exited || string(e.Stdout) != "12345" {
		t.Errorf("%+v", e)
	}
	spec = s.shell("printf 123456")
	spec.MaxStdout = 5
	if e := s.Run(t.Context(), spec); e.Kind != Overflowed || string(e.Stdout) != "12345" {
		t.Errorf("a child that has gone by itself: %+v", e)
	}
}

func TestLadderAFloodOnStderrIsDrainedAndCut(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell("yes 'a line of eighteen' | head -c 20000000 >&2; echo done")
	spec.MaxStderr = 1000
	e := s.Run(t.Context(), spec)
	s.wantKind(e, Exited)
	if e.Code != 0 || string(e.Stdout) != "done\n" || !e.StderrCut {
		t.Errorf("%+v", e)
	}
	if len(e.Stderr) == 0 || len(e.Stderr) > 1000 || !strings.HasSuffix(string(e.Stderr), "eighteen\n") {
		t.Errorf("%d bytes of stderr, which end in %q", len(e.Stderr), e.Stderr[max(0, len(e.Stderr)-30):])
	}
	s.wantClean()
}

func TestLadderWhatCannotStartIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	plain := s.dir + "/plain"
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.dir + "/missing", plain, s.dir} {
		settled := false
		e := s.Run(t.Context(), Spec{Path: path, Lease: s.lease(), Limit: time.Minute, Settle: func(h *ledger.Held, e Ending) error {
			settled = e.Kind == Refused && e.PID == 0
			return h.Strike()
		}})
		s.wantKind(e, Refused)
		if fault.ClassOf(e.Err) != fault.Local || !strings.Contains(e.Err.Error(), path) || !settled {
			t.Errorf("%v, settled: %v", e.Err, settled)
		}
		if problem := fault.From(e.Err, "", ""); problem.Hint == "" {
			t.Errorf("no hint with %v", e.Err)
		}
	}
	s.wantClean()
}

func TestLadderACancelledChildEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := s.beginWith(ctx, s.shell("echo $$ > $DIR/child; exec sleep 300"))
	child := s.pid("child")
	cancel()
	e := <-ended
	s.wantKind(e, Cancelled)
	if e.Signal != "TERM" || e.Duration > 20*time.Second {
		t.Errorf("%+v", e)
	}
	s.wantGone(child)
	if e = s.Run(ctx, s.shell("echo started > $DIR/started")); e.Kind != Cancelled || e.PID != 0 {
		t.Errorf("a context that was over: %+v", e)
	}
	if _, err := os.Stat(s.dir + "/started"); err == nil {
		t.Error("a context that was over did not keep the child from starting")
	}
	s.wantClean()
}

func TestTheDeadlineOfAContextIsALimitToo(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s.wantKind(s.Run(ctx, s.shell("exec sleep 300")), Expired)
	s.wantClean()
}

func TestHurrySkipsTheGraceOfAllChildren(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	deaf := s.shell(`trap "touch $DIR/heard" TERM; echo $$ > $DIR/deaf; while :; do sleep 0.01; done`)
	deaf.Grace = time.Hour
	first := s.beginWith(ctx, deaf)
	second := s.begin(s.shell("echo $$ > $DIR/calm; exec sleep 300"))
	one, two := s.pid("deaf"), s.pid("calm")
	cancel()
	testkit.Eventually(t, "the deaf one has heard TERM", func() bool { _, err := os.Stat(s.dir + "/heard"); return err == nil })
	s.Hurry()
	s.Hurry()
	if e := <-first; e.Kind != Cancelled || !slices.Equal(e.Sent, []string{"TERM", "KILL"}) {
		t.Errorf("in its grace: %+v", e)
	}
	if e := <-second; e.Kind != Cancelled || !slices.Equal(e.Sent, []string{"KILL"}) {
		t.Errorf("not cancelled before: %+v", e)
	}
	s.wantGone(one, two)
	if e := s.Run(t.Context(), s.shell("true")); e.Kind != Cancelled || e.PID != 0 {
		t.Errorf("after Hurry: %+v", e)
	}
	s.wantClean()
}

// A traced process that has been killed is not reported to its parent until the tracer lets go: the same view as
// that of a process in an uninterruptible wait, without needing a broken disk.
func TestRun_notSeenGoneIsStuck(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell("echo $$ > $DIR/child; echo so far; echo half a line >&2; printf half >&2; exec sleep 300")
	spec.Limit, spec.Grace = 3*time.Second, 50*time.Millisecond
	spec.Settle = func(*ledger.Held, Ending) error {
		t.Error("settled although not seen gone")
		return nil
	}
	ended := s.begin(spec)
	child := s.pid("child")
	release := trace(t, child.PID)
	defer release()
	e := <-ended
	s.wantKind(e, Stuck)
	if e.Err == nil || e.Code != -1 || !slices.Equal(e.Sent, []string{"TERM", "KILL"}) || string(e.Stdout) != "so far\n" || string(e.Stderr) != "half a line\n" {
		t.Errorf("%+v", e)
	}
	if left := s.leases(); len(left) != 1 || left[0].Child != child {
		t.Errorf("leases: %+v, want one that names %v", left, child)
	}
	release()
	testkit.Eventually(t, "the late zombie is reaped", func() bool {
		presence, _ := proc.Default().Look(child)
		return presence == proc.Gone
	})
}

func TestRun_stuckStragglerIsNamedByTheLease(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell("setsid sleep 300 & echo $! > $DIR/escapee; until [ -e $DIR/go ]; do sleep 0.01; done")
	ended := s.begin(spec)
	escapee := s.pid("escapee")
	release := trace(t, escapee.PID)
	defer release()
	if err := os.WriteFile(s.dir+"/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	e := <-ended
	s.wantKind(e, Stuck)
	if e.Err == nil || e.Code != 0 {
		t.Errorf("%+v", e)
	}
	if left := s.leases(); len(left) != 1 || left[0].Child != escapee {
		t.Errorf("leases: %+v, want one that names %v", left, escapee)
	}
	release()
	testkit.Eventually(t, "the escapee can be reaped", func() bool {
		pid, err := unix.Wait4(escapee.PID, nil, unix.WNOHANG, nil)
		return err == nil && pid == escapee.PID
	})
}

// A set-uid program that has become another user can be ended neither by us nor by the kernel on our behalf.
func TestRun_childOfAnotherUserIsStuck(t *testing.T) {
	t.Parallel()
	setpriv, err := exec.LookPath("setpriv")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs root and setpriv: ", err)
	}
	// Not t.TempDir, which the ordinary user cannot enter.
	dir, err := os.MkdirTemp("/tmp", "supervise")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program, err := os.ReadFile(setpriv)
	if err != nil {
		t.Fatal(err)
	}
	home := dir + "/home"
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(home, 0o755), os.Chown(home, 65534, 65534),
		os.WriteFile(dir+"/setuid", program, 0o755), os.Chmod(dir+"/setuid", 0o755|os.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(self, home, dir+"/setuid", "--reuid=0", "sleep", "60")
	run.Dir, run.Stderr = "/", os.Stderr
	run.Env = []string{roleVariable + "=run", "PATH=" + os.Getenv("PATH"), "CAMWARDEN_TEST_RUN=" + os.Getenv("CAMWARDEN_TEST_RUN")}
	run.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	said, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, rest, _ := strings.Cut(string(said), " ")
	if strings.HasPrefix(rest, "expired") {
		t.Skip("set-uid has no effect here")
	}
	if number, err := strconv.Atoi(pid); err == nil && number > 1 {
		defer unix.Kill(number, unix.SIGKILL)
	}
	if !strings.HasPrefix(rest, "stuck sent=[] leases=1 err=") || !strings.Contains(rest, "operation not permitted") {
		t.Errorf("%q", rest)
	}
}

// trace seizes a process until the returned function is called.
func trace(t *testing.T, pid int) (release func()) {
	t.Helper()
	tracer := exec.Command(self, itoa(pid))
	tracer.Env = append(os.Environ(), roleVariable+"=tracer")
	in, err := tracer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tracer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	said := firstLine(out)
	done := false
	release = func() {
		if !done {
			done = true
			in.Close()
			_ = tracer.Wait()
		}
	}
	if said != "seized" {
		release()
		t.Skip("this machine does not let us trace: ", said)
	}
	return release
}

func (s *stage) begin(spec Spec) <-chan Ending { return s.beginWith(s.t.Context(), spec) }

func (s *stage) beginWith(ctx context.Context, spec Spec) <-chan Ending {
	ended := make(chan Ending, 1)
	go func() { ended <- s.Run(ctx, spec) }()
	return ended
}
