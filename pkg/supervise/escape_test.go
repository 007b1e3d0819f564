package supervise

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestLadder_grandchildFoundByItsMark(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ended := s.begin(s.shell(`setsid sleep 300 & echo $! > $DIR/escapee; until [ -e $DIR/go ]; do sleep 0.01; done`))
	escapee := s.pid("escapee")
	touch(t, s.dir+"/go")
	e := <-ended
	s.wantKind(e, Exited)
	if e.Stragglers != 1 || e.Err != nil || e.Duration > 20*time.Second {
		t.Errorf("%+v", e)
	}
	s.wantGone(escapee)
	s.wantClean()
}

func TestLadder_orphanAndFamilyElsewhere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	// "orphan": forked twice, its parent is gone at once. "father" lives in his own session and has a "son" in a third one,
	// and both are deaf. The child itself hangs.
	spec := s.shell(`
		(setsid sh -c 'sleep 300 & echo $! > $DIR/orphan' &)
		setsid sh -c 'trap "" TERM HUP; echo $$ > $DIR/father; setsid sh -c "trap \"\" TERM HUP; echo \$\$ > $DIR/son; sleep 300; :" & wait; sleep 300' &
		trap "" TERM; while :; do sleep 1; done`)
	spec.Limit, spec.Grace = 3*time.Second, 50*time.Millisecond
	ended := s.begin(spec)
	all := []proc.Identity{s.pid("orphan"), s.pid("father"), s.pid("son")}
	e := <-ended
	s.wantKind(e, Expired)
	if e.Stragglers < 3 || e.Err != nil {
		t.Errorf("%+v", e)
	}
	s.wantGone(all...)
	s.wantClean()
}

func TestChildrenOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	// Ours, too, but not under supervision: one in our group, one in a session of its own, one that carries another mark.
	other := s.lease()
	var spared []*exec.Cmd
	for _, setsid := range []bool{false, true, true} {
		cmd := exec.Command("sleep", "300")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
		if len(spared) == 2 {
			cmd.Env = append(os.Environ(), ledger.MarkVariable+"="+other.Lease().Mark().String())
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		spared = append(spared, cmd)
	}
	for range 5 {
		if e := s.Run(t.Context(), s.shell(`setsid sleep 300 & sleep 300 & sleep 0.05`)); e.Kind != Exited || e.Stragglers != 2 {
			t.Errorf("%+v", e)
		}
	}
	for _, cmd := range spared {
		if id, err := proc.Default().Stat(cmd.Process.Pid); err != nil || id.Dead() {
			t.Errorf("%+v, %v", id, err)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
			t.Errorf("its status was stolen: %v", cmd.ProcessState)
		}
	}
}

func TestRun_strangerOnThePipe(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ended := s.begin(s.shell(`setsid env -i sleep 300 & echo $! > $DIR/stranger; echo kept; until [ -e $DIR/go ]; do sleep 0.01; done`))
	stranger := s.pid("stranger")
	testkit.Eventually(t, "it has thrown away its mark", func() bool {
		arguments, err := proc.Default().Cmdline(stranger.PID)
		return err == nil && slices.Equal(arguments, []string{"sleep", "300"})
	})
	touch(t, s.dir+"/go")
	e := <-ended
	s.wantKind(e, Exited)
	if e.Err == nil || string(e.Stdout) != "kept\n" || e.Duration > 20*time.Second {
		t.Errorf("%+v", e)
	}
	if presence, _ := proc.Default().Look(stranger); presence != proc.Running {
		t.Errorf("a process without proof was touched: %s", presence)
	}
	if err := unix.Kill(stranger.PID, unix.SIGKILL); err != nil { // our own child by now
		t.Error(err)
	}
	if _, err := unix.Wait4(stranger.PID, nil, 0, nil); err != nil {
		t.Error(err)
	}
}

func TestRun_ourOwnKillEndsTheChildren(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(self, dir)
	cmd.Env = append(os.Environ(), roleVariable+"=parent")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var children []proc.Identity
	for i := range 5 {
		children = append(children, readPID(t, filepath.Join(dir, "pid"+itoa(i))))
	}
	book, err := ledger.Open(dirs(dir), proc.Default(), "test")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the leases name the children", func() bool {
		leases, _, _ := book.Read()
		return !slices.ContainsFunc(leases, func(l ledger.Lease) bool { return l.Child.IsZero() })
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, child := range children {
		testkit.Eventually(t, child.String()+" is dead", func() bool {
			presence, _ := proc.Default().Look(child)
			return presence == proc.Gone || presence == proc.Zombie
		})
	}
	leases, torn, err := book.Read()
	if err != nil || len(torn) > 0 || len(leases) != 5 {
		t.Fatalf("%d leases, torn %v, %v", len(leases), torn, err)
	}
	for _, lease := range leases {
		if !slices.Contains(children, lease.Child) || book.Standing(lease) != ledger.DeadOwner {
			t.Errorf("%+v is %s", lease, book.Standing(lease))
		}
	}
}

func TestThreadsThatEndTakeNoChildWithThem(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const children, threads = 200, 400
	endings := make(chan Ending, children)
	for range children {
		spec := s.shell("echo >> $DIR/up; exec sleep 300")
		spec.Limit = 10 * time.Minute
		go func() { endings <- s.Run(t.Context(), spec) }()
	}
	testkit.Eventually(t, "all children are up", func() bool {
		info, err := os.Stat(s.dir + "/up")
		return err == nil && info.Size() == children
	})
	var exits sync.WaitGroup
	for range threads {
		exits.Go(runtime.LockOSThread) // and never unlocks: the thread ends with its goroutine
	}
	exits.Wait()
	select {
	case e := <-endings:
		t.Errorf("a child ended: %+v", e)
	case <-time.After(300 * time.Millisecond):
	}
	s.Hurry()
	for range children {
		if e := <-endings; e.Kind != Cancelled {
			t.Errorf("%+v", e)
		}
	}
	s.wantClean()
}

func TestRun_deadGrandchildIsNoStraggler(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	e := s.Run(t.Context(), s.shell(`sleep 0 & echo $! > $DIR/zombie; exec sleep 0.3`)) // sleep does not wait for children
	s.wantKind(e, Exited)
	if e.Stragglers != 0 || e.Code != 0 {
		t.Errorf("%+v", e)
	}
	text, _ := os.ReadFile(s.dir + "/zombie")
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if stat, err := proc.Default().Stat(pid); err == nil && stat.PPID == os.Getpid() {
		t.Errorf("the zombie was not reaped: %+v", stat)
	}
}

func TestJudgeNeedsProof(t *testing.T) {
	t.Parallel()
	lease, other := newStage(t).lease().Lease(), newStage(t).lease().Lease()
	const sleeping, zombie = 'S', 'Z'
	for _, c := range []struct {
		name            string
		state           byte
		group           int
		environ, args   string
		known, unopened bool
		want            verdict
	}{
		{name: "a member of the group", state: sleeping, group: 7, want: ours},
		{name: "a dead member of the group", state: zombie, group: 7, want: ours},
		{name: "one that was proven before", state: zombie, group: 9, known: true, want: ours},
		{name: "a dead stranger", state: zombie, group: 9, want: foreign},
		{name: "our mark", state: sleeping, group: 9, environ: ledger.MarkVariable + "=" + lease.Mark().String(), args: "sleep", want: ours},
		{name: "our mark with a title that was wiped", state: sleeping, group: 9, environ: "A=1\x00" + ledger.MarkVariable + "=" + lease.ID, want: ours},
		{name: "the mark of another", state: sleeping, group: 9, environ: ledger.MarkVariable + "=" + other.Mark().String(), args: "sleep", want: foreign},
		{name: "no mark", state: sleeping, group: 9, environ: "A=1", args: "sleep", want: foreign},
		{name: "a forged mark", state: sleeping, group: 9, environ: ledger.MarkVariable + "=" + lease.ID + "0", args: "sleep", want: foreign},
		{name: "in the middle of an exec", state: sleeping, group: 9, want: unclear},
		{name: "an environment that may not be read", state: sleeping, group: 9, unopened: true, args: "sleep", want: unclear},
	} {
		table := proc.FS{Root: t.TempDir()}
		dir := filepath.Join(table.Root, "11")
		var environ error
		if c.unopened {
			environ = os.MkdirAll(filepath.Join(dir, "environ"), 0o755) // reading it fails, for root too
		} else {
			environ = errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "environ"), []byte(c.environ), 0o644))
		}
		if err := errors.Join(environ, os.WriteFile(filepath.Join(dir, "cmdline"), []byte(c.args), 0o644)); err != nil {
			t.Fatal(err)
		}
		h := &hunt{group: 7, lease: lease.ID, since: map[int]time.Time{}}
		if c.known {
			h.since[11] = time.Now()
		}
		got, doubt := (&Supervisor{fs: table}).judge(h, proc.Stat{PID: 11, PGRP: c.group, State: c.state, Threads: 1})
		if got != c.want || (doubt != nil) != c.unopened {
			t.Errorf("%s: verdict %d, want %d (%v)", c.name, got, c.want, doubt)
		}
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Who is in the middle of an exec is asked again, on a busy host for a while; who hides for good is reported in the end.
func TestWhoHidesForAMomentIsAskedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		doubt error
		since time.Duration
		again bool
	}{
		{"hidden, and met for the first time", fs.ErrPermission, 0, true},
		{"hidden in an exec, on a busy host", fs.ErrPermission, 100 * time.Millisecond, true},
		{"hidden for good", fs.ErrPermission, time.Minute, false},
		{"without arguments, on a busy host", nil, time.Second, true},
		{"without arguments for good", nil, time.Minute, false},
		{"dying", fs.ErrNotExist, time.Minute, true},
	} {
		h := &hunt{unclear: map[int]time.Time{}}
		if c.since > 0 {
			h.unclear[9] = time.Now().Add(-c.since)
		}
		if again := h.patient(9, c.doubt); again != c.again {
			t.Errorf("%s: asked again: %v, want %v", c.name, again, c.again)
		}
	}
}
