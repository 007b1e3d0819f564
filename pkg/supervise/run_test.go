package supervise

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestTheLeaseNamesTheChildWhileItLives(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ended := s.begin(s.shell("echo $$ > $DIR/child; until [ -e $DIR/go ]; do sleep 0.01; done"))
	child := s.pid("child")
	inode, err := proc.PidfdInode(child.PID)
	if err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "the lease names the child", func() bool {
		leases := s.leases()
		return len(leases) == 1 && leases[0].Child == child && leases[0].ChildInode == inode
	})
	touch(t, s.dir+"/go")
	s.wantKind(<-ended, Exited)
	s.wantClean()
}

func TestSettleHasTheLastWordOnlyAfterTheEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ended := make(chan proc.Identity, 1)
	spec := s.shell("setsid sleep 300 & echo $! > $DIR/escapee; until [ -e $DIR/go ]; do sleep 0.01; done")
	spec.Settle = func(h *ledger.Held, e Ending) error {
		s.wantGone(<-ended, h.Lease().Child)
		if e.Kind != Exited || e.PID != h.Lease().Child.PID {
			t.Errorf("%+v", e)
		}
		return errors.Join(h.Cool(proc.BootTime()+time.Minute), errors.New("remember this"))
	}
	running := s.begin(spec)
	ended <- s.pid("escapee")
	touch(t, s.dir+"/go")
	if e := <-running; e.Kind != Exited || e.Err == nil || e.Err.Error() != "remember this" {
		t.Errorf("%+v", e)
	}
	if left := s.leases(); len(left) != 1 || left[0].Kind != ledger.Cooling {
		t.Errorf("%+v", left)
	}
}

func TestAPanicInSettleDoesNotKeepTheLease(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell("exit 7")
	spec.Settle = func(*ledger.Held, Ending) error { panic("settled badly") }
	e := s.Run(t.Context(), spec)
	s.wantKind(e, Exited)
	if e.Code != 7 || e.Err == nil || !strings.Contains(e.Err.Error(), "settled badly") {
		t.Errorf("%+v", e)
	}
	s.wantClean()

	spec = s.shell("exit 7")
	spec.Settle = func(h *ledger.Held, _ Ending) error {
		if err := h.Cool(proc.BootTime() + time.Minute); err != nil {
			t.Error(err)
		}
		panic("settled, then badly")
	}
	if e := s.Run(t.Context(), spec); e.Err == nil {
		t.Errorf("%+v", e)
	}
	if left := s.leases(); len(left) != 1 || left[0].Kind != ledger.Cooling {
		t.Errorf("a cooling lease was lost: %+v", left)
	}
}

type brokenContext struct{ context.Context }

func (brokenContext) Done() <-chan struct{} { panic("broken context") }

func TestABrokenContextStartsNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.wantKind(s.Run(brokenContext{t.Context()}, s.shell("touch $DIR/started")), Refused)
	var none context.Context
	s.wantKind(s.Run(none, s.shell("touch $DIR/started")), Refused)
	s.wantClean()
	if _, err := os.Stat(s.dir + "/started"); err == nil {
		t.Error("it was started")
	}
}

func TestWhatCouldNotBeSupervisedIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.wantKind(s.Run(t.Context(), Spec{Path: "/bin/true", Limit: time.Second}), Refused)
	s.wantKind(s.Run(t.Context(), Spec{Path: "/bin/true", Lease: s.lease()}), Refused)
	s.wantClean()

	late, err := s.book.Write(ledger.Lease{Kind: ledger.Process, Deadline: proc.BootTime()})
	if err != nil {
		t.Fatal(err)
	}
	if e := s.Run(t.Context(), Spec{Path: "/bin/true", Lease: late, Limit: time.Second}); e.Kind != Expired || e.PID != 0 || e.Err == nil {
		t.Errorf("a lease past its deadline: %+v", e)
	}
	s.wantClean()

	s.Close()
	s.Close()
	s.wantKind(s.Run(t.Context(), s.shell("true")), Refused)
	s.wantClean()
}

func TestAChildWhoseLeaseWasStruckByOthersIsEnded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spec := s.shell("exec sleep 300")
	if err := s.book.Adopt(spec.Lease.Lease()).Strike(); err != nil {
		t.Fatal(err)
	}
	e := s.Run(t.Context(), spec)
	s.wantKind(e, Cancelled)
	if !errors.Is(e.Err, ledger.ErrStruck) || e.PID == 0 || e.Duration > 20*time.Second {
		t.Errorf("%+v", e)
	}
	s.wantClean()
}

func TestAStolenStatusIsSaidAndEndsTheWait(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ended := s.begin(s.shell("echo $$ > $DIR/child; until [ -e $DIR/go ]; do sleep 0.01; done"))
	child := s.pid("child")
	touch(t, s.dir+"/go")
	// Whether this or the supervisor reaps first is chance; both must come to an end.
	_, stolen := unix.Wait4(child.PID, nil, 0, nil)
	e := <-ended
	s.wantKind(e, Exited)
	if stolen == nil && e.Code != -1 || stolen != nil && e.Code != 0 {
		t.Errorf("stolen: %v, %+v", stolen, e)
	}
	s.wantClean()
}

// blockStarts keeps this whole process from starting children until the returned function is called.
func blockStarts() (unblock func()) {
	syscall.ForkLock.Lock()
	return sync.OnceFunc(syscall.ForkLock.Unlock)
}

func (s *stage) waitForBusySpawner() {
	s.t.Helper()
	testkit.Eventually(s.t, "the spawner is busy", func() bool {
		select {
		case s.spawn <- func() {}:
			return false
		case <-time.After(20 * time.Millisecond):
			return true
		}
	})
}

// Not parallel: it blocks all starts.
func TestRun_lateStartIsEnded(t *testing.T) {
	s := newStage(t)
	unblock := blockStarts()
	defer unblock()
	slow := s.shell("exec sleep 300")
	slow.Limit = 50 * time.Millisecond
	ended := s.begin(slow)
	s.waitForBusySpawner()
	time.Sleep(slow.Limit)
	unblock()
	e := <-ended
	s.wantKind(e, Expired)
	if e.Signal != "TERM" || e.Duration > 20*time.Second {
		t.Errorf("%+v", e)
	}
	s.wantClean()
}

// Not parallel: it blocks all starts.
func TestRun_hungStartIsGivenUp(t *testing.T) {
	s := newStage(t)
	unblock := blockStarts()
	defer unblock()
	hung := s.shell("exec sleep 300")
	hung.Limit = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	ended := s.beginWith(ctx, hung)
	s.waitForBusySpawner()
	cancel()
	queued := s.shell("true")
	queued.Limit = 100 * time.Millisecond
	if e := s.Run(t.Context(), queued); e.Kind != Expired || e.PID != 0 {
		t.Errorf("behind one that hangs: %+v", e)
	}
	e := <-ended
	s.wantKind(e, Stuck)
	if e.Err == nil || len(s.leases()) != 1 {
		t.Errorf("%+v, leases %+v", e, s.leases())
	}
	unblock()
	s.spawn <- func() {} // taken only after the late start
	testkit.Eventually(t, "the late child is gone", func() bool {
		marked, _, err := proc.Default().Marked(t.Context(), ledger.MarkVariable)
		for _, value := range marked {
			if mark, _ := ledger.ParseMark(value); mark.Lease == hung.Lease.Lease().ID {
				return false
			}
		}
		return err == nil
	})
}

func (s *stage) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.leaders) == 0
}

func TestStdinIsFedAndNeverWaitedFor(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB, more than a pipe holds
	spec := s.shell("exec cat")
	spec.Stdin = text
	if e := s.Run(t.Context(), spec); e.Kind != Exited || !bytes.Equal(e.Stdout, text) {
		t.Errorf("cat returned %d bytes of %d: %v", len(e.Stdout), len(text), e)
	}
	spec = s.shell("exit 0")
	spec.Stdin = text
	if e := s.Run(t.Context(), spec); e.Kind != Exited || e.Code != 0 || e.Err != nil || e.Duration > 20*time.Second {
		t.Errorf("one that does not read: %+v", e)
	}
	spec = s.shell("exec sleep 300")
	spec.Stdin, spec.Limit = text, 100*time.Millisecond
	s.wantKind(s.Run(t.Context(), spec), Expired)
	if e := s.Run(t.Context(), s.shell("cat; echo end")); string(e.Stdout) != "end\n" {
		t.Errorf("without stdin: %+v", e)
	}
	s.wantClean()
}

func TestStdinMayComeLaterThanTheChild(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	run := func(script string, limit time.Duration, later <-chan []byte) <-chan Ending {
		spec := s.shell(script)
		spec.Later = later
		if limit > 0 {
			spec.Limit = limit
		}
		ended := make(chan Ending, 1)
		go func() { ended <- s.Run(t.Context(), spec) }()
		return ended
	}
	later := make(chan []byte)
	reading := run("echo up; exec cat", 0, later)
	testkit.Eventually(t, "the child to be up", func() bool { return !s.idle() })
	select {
	case e := <-reading:
		t.Fatalf("it did not wait for what it shall read: %+v", e)
	case later <- text:
	}
	if e := <-reading; e.Kind != Exited || e.Code != 0 || !bytes.Equal(e.Stdout, append([]byte("up\n"), text...)) {
		t.Errorf("cat returned %d bytes of %d: %v", len(e.Stdout), len(text), e)
	}

	none := make(chan []byte)
	reading = run("cat; echo end", 0, none)
	close(none)
	if e := <-reading; string(e.Stdout) != "end\n" {
		t.Errorf("with nothing to read: %+v", e)
	}

	unread := make(chan []byte, 1)
	unread <- text
	if e := <-run("exit 0", 0, unread); e.Kind != Exited || e.Code != 0 || e.Err != nil {
		t.Errorf("one that does not read: %+v", e)
	}
	for range 2 { // nobody sends anything, or one that never reads was sent too much for the pipe
		never := make(chan []byte, 1)
		s.wantKind(<-run("exec sleep 300", 200*time.Millisecond, never), Expired)
		never <- text
		s.wantKind(<-run("exec sleep 300", 200*time.Millisecond, never), Expired)
	}
	missing := make(chan []byte)
	spec := s.shell("")
	spec.Path, spec.Later = "/no/such/program", missing
	s.wantKind(s.Run(t.Context(), spec), Refused)
	s.wantClean()
}

func TestFilesAreOpenInTheChild(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var files []*os.File
	for _, name := range []string{"in", "out"} {
		fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), name)
		defer file.Close()
		files = append(files, file)
	}
	if _, err := files[0].WriteString("a picture"); err != nil {
		t.Fatal(err)
	}
	if _, err := files[0].Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	spec := s.shell("cat <&3 >&4")
	spec.Files = files
	if e := s.Run(t.Context(), spec); e.Kind != Exited || e.Code != 0 {
		t.Fatalf("%+v", e)
	}
	got := make([]byte, 100)
	n, err := files[1].ReadAt(got, 0)
	if string(got[:n]) != "a picture" {
		t.Errorf("the child wrote %q, %v", got[:n], err)
	}
	s.wantClean()
}

func TestRun_secretsDoNotLeaveInStderr(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const secret = "p@ss/w#rd%&'ö"
	spec := s.shell(`cat >&2`)
	spec.Stdin = []byte("opening rtsp://gate:" + secret + "@127.0.0.1/stream1\nkey is " + secret + "\n")
	spec.Redact = redact.New(secret)
	e := s.Run(t.Context(), spec)
	if strings.Contains(string(e.Stderr), secret) || !strings.Contains(string(e.Stderr), "opening rtsp://") {
		t.Errorf("%q", e.Stderr)
	}
	for cut := 1; cut < 2*len(secret); cut++ { // wherever the limit falls, no half of it gets out
		spec := s.shell(`cat >&2`)
		spec.Stdin = []byte("a line\nkey is " + secret + " and more\n")
		spec.MaxStderr = int64(len("a line\nkey is ") + cut)
		spec.Redact = redact.New(secret)
		if e := s.Run(t.Context(), spec); strings.Contains(string(e.Stderr), secret[:1]) && cut <= len(secret) {
			t.Errorf("cut after %d: %q", cut, e.Stderr)
		}
	}
}

func TestAChildGetsASmallEnvironmentAndTheMark(t *testing.T) {
	s := newStage(t)
	t.Setenv("CAM_PASSWORD", "hunter2")
	t.Setenv("CAMWARDEN_STATE_DIR", "/nowhere")
	t.Setenv("LC_TIME", "C.UTF-8")
	t.Setenv("CAMWARDEN_TEST_RUN", "run-1")
	spec := Spec{Path: "/usr/bin/env", Lease: s.lease(), Limit: time.Minute, Env: []string{"EXTRA=1", ledger.MarkVariable + "=forged", "LC_TIME=POSIX"}}
	id := spec.Lease.Lease().ID
	e := s.Run(t.Context(), spec)
	s.wantKind(e, Exited)
	env := strings.Split(strings.TrimSpace(string(e.Stdout)), "\n")
	allowed := []string{"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LANG", "LANGUAGE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "CAMWARDEN_TEST_RUN", "EXTRA", ledger.MarkVariable}
	for _, setting := range env {
		name, value, _ := strings.Cut(setting, "=")
		if !slices.Contains(allowed, name) && !strings.HasPrefix(name, "LC_") {
			t.Errorf("passed on: %s", name)
		}
		if mark, ok := ledger.ParseMark(value); name == ledger.MarkVariable && (!ok || mark.Lease != id || mark.Owner.PID != os.Getpid()) {
			t.Errorf("the mark is %q, want that of %s", value, id)
		}
	}
	for _, want := range []string{"PATH=" + os.Getenv("PATH"), "EXTRA=1", "LC_TIME=POSIX", "CAMWARDEN_TEST_RUN=run-1"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in %q", want, env)
		}
	}
	if !strings.Contains(string(e.Stdout), ledger.MarkVariable+"="+id) {
		t.Errorf("no mark in %q", env)
	}
}

func TestAChildHasThreeFilesAndNoMore(t *testing.T) {
	t.Parallel()
	inherited, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // as a shell's redirection leaves one: without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	s := newStage(t)
	e := s.Run(t.Context(), s.shell("ls /proc/$$/fd; :"))
	for _, fd := range strings.Fields(string(e.Stdout)) {
		if !slices.Contains([]string{"0", "1", "2"}, fd) {
			t.Errorf("the child has file %s", fd)
		}
	}
	if len(e.Stdout) == 0 {
		t.Errorf("%+v", e)
	}
}

// Not parallel: it counts the files of the whole process.
func TestManyRunsLeaveNoFileBehind(t *testing.T) {
	s := newStage(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	s.Run(t.Context(), s.shell("true")) // opens what is opened once: the poller
	before := count()
	for i := range 200 {
		spec := Spec{Path: "/bin/true", Lease: s.lease(), Limit: time.Minute, Stdin: []byte("x")}
		if i%3 == 0 {
			spec.Path = "/missing"
		}
		s.Run(t.Context(), spec)
	}
	if after := count(); after > before {
		t.Errorf("%d files before, %d after", before, after)
	}
	s.wantClean()
	if !s.idle() {
		t.Error("children are still on the list")
	}
}

func TestEndingsReadLikeSentences(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Ending{
		"exited 1":               {Kind: Exited, Code: 1},
		"exited, ended by SEGV":  {Kind: Exited, Code: -1, Signal: "SEGV"},
		"expired, ended by TERM": {Kind: Expired, Code: -1, Signal: "TERM"},
		"cancelled":              {Kind: Cancelled, Code: -1},
	} {
		if got := e.How(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
