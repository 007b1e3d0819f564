package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// child is one process under supervision. Until it is reaped its pid is also the number of its process group,
// and neither can come to mean anything else.
type child struct {
	spec   *Spec
	mark   ledger.Mark
	cmd    *exec.Cmd
	stdout *capped
	stderr *capped
	exited chan struct{} // closed when it has ended and has not been reaped
	stolen error         // set before exited is closed: somebody else has reaped it, its number means nothing any more
	sent   []string
	denied error // why a signal could not be sent
}

func newChild(spec *Spec) *child {
	c := &child{
		spec:   spec,
		mark:   spec.Lease.Lease().Mark(),
		cmd:    exec.Command(spec.Path, spec.Args...),
		stdout: newCapped(spec.MaxStdout),
		stderr: newCapped(spec.MaxStderr),
		exited: make(chan struct{}),
	}
	c.stderr.first = spec.Spoke
	c.cmd.Dir = spec.Dir
	c.cmd.Env = environment(spec.Env, c.mark)
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, c.stderr
	if len(spec.Stdin) > 0 { // otherwise os/exec opens /dev/null: a child never reads our own stdin
		c.cmd.Stdin = bytes.NewReader(spec.Stdin)
	}
	c.cmd.ExtraFiles = spec.Files
	c.cmd.WaitDelay = pipeDelay
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return c
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// start brings the child into being. An ending without a Kind means that it runs.
func (s *Supervisor) start(c *child, done <-chan struct{}, limit *time.Timer) Ending {
	never := Ending{Code: -1}
	if c.spec.Lease.Expired() { // others may stop counting it before the child is gone
		never.Kind, never.Err = Expired, fmt.Errorf("not started: the deadline of lease %s has passed", c.mark.Lease)
		return never
	}
	select { // a context that is over already wins against a spawner that is free
	case <-done:
		never.Kind = Cancelled
		return never
	case <-s.hurry:
		never.Kind = Cancelled
		return never
	default:
	}
	started := make(chan error, 1)
	select {
	case s.spawn <- func() { started <- s.launch(c) }:
	case <-done:
		never.Kind = Cancelled
		return never
	case <-s.hurry:
		never.Kind = Cancelled
		return never
	case <-limit.C:
		never.Kind = Expired
		return never
	}
	// From here on there may be a process. Executing a file on a file system that hangs never returns.
	select {
	case err := <-started:
		return s.started(c, err)
	case <-done:
	case <-s.hurry:
	case <-limit.C:
		limit.Reset(0) // for whoever watches the child, should it start after all
	}
	late := time.NewTimer(bound)
	defer late.Stop()
	select {
	case err := <-started:
		return s.started(c, err)
	case <-late.C:
		go func() {
			if <-started == nil {
				s.abandon(c)
			}
		}()
		return Ending{Kind: Stuck, Code: -1, Err: fault.New(fault.Local, "", "%s has neither started nor failed to", c.spec.Path).
			WithHint("is it on a file system that hangs?")}
	}
}

func (s *Supervisor) started(c *child, err error) Ending {
	if err != nil {
		return refused(c.spec.Path, err)
	}
	go c.await()
	return Ending{}
}

// launch runs on the spawning thread.
func (s *Supervisor) launch(c *child) error {
	if err := c.begin(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaders[c.pid()] = struct{}{}
	return nil
}

// await waits for the end of the child without taking note of it: WNOWAIT leaves the zombie, and with it the number,
// so that its group can still be killed by that number (man 2 waitid).
func (c *child) await() {
	defer close(c.exited)
	for {
		err := unix.Waitid(unix.P_PID, c.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			c.stolen = err
			return
		}
	}
}

// abandon ends and reaps, in its own time, a child that nobody waits for any more.
func (s *Supervisor) abandon(c *child) {
	_ = unix.Kill(-c.pid(), unix.SIGKILL)
	_ = s.reap(c) // how it ended interests nobody any more
}

// reap takes note of the child's end: after it the number may be used again.
func (s *Supervisor) reap(c *child) error {
	s.mu.Lock()
	delete(s.leaders, c.pid())
	s.reaping[c.pid()]++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.reaping[c.pid()]--; s.reaping[c.pid()] == 0 {
			delete(s.reaping, c.pid())
		}
	}()
	return c.cmd.Wait()
}

// note tells the lease who the child is. When that fails the child is still found, by its mark.
func (s *Supervisor) note(c *child, pid int) error {
	stat, err := s.fs.Stat(pid)
	if err != nil {
		return err
	}
	identity := s.self // same boot, same pid namespace
	identity.PID, identity.Start = stat.PID, stat.Start
	inode, _ := proc.PidfdInode(pid) // an extra, where the kernel has it
	return c.spec.Lease.Update(func(lease *ledger.Lease) { lease.Child, lease.ChildInode = identity, inode })
}

// follow waits for the end of a running child, brings it about when it must, and returns when all of it has been seen gone.
func (s *Supervisor) follow(c *child, done <-chan struct{}, limit <-chan time.Time) Ending {
	ending := Ending{PID: c.pid()}
	if err := safely(func() error { return s.note(c, c.pid()) }); err != nil {
		ending.Err = fmt.Errorf("lease of pid %d: %w", c.pid(), err)
	}
	if errors.Is(ending.Err, ledger.ErrStruck) { // others took us for wedged: nobody answers for this child any more
		ending.Kind = Cancelled
	} else {
		ending.Kind = s.watch(c, done, limit)
	}
	gone := ending.Kind == Exited || s.end(c)
	if gone {
		s.bury(c, &ending)
	} else {
		go s.abandon(c)
		ending.Kind, ending.Code = Stuck, -1
		ending.Err = join(ending.Err, s.stuck(c.pid(), c.denied))
	}
	ending.Sent = c.sent
	ending.Stdout, _ = c.stdout.taken()
	byItself := ending.Kind == Exited && ending.Signal == ""
	ending.Stderr, ending.StderrCut = c.stderr.taken()
	if ending.StderrCut || !byItself {
		ending.Stderr = wholeLines(ending.Stderr)
	}
	return ending
}

// watch waits until the child has ended or must end, and says why.
func (s *Supervisor) watch(c *child, done <-chan struct{}, limit <-chan time.Time) Kind {
	var kind Kind
	select {
	case <-c.exited:
		return Exited
	case <-c.stdout.over:
		kind = Overflowed
	case <-limit:
		kind = Expired
	case <-done:
		kind = Cancelled
	case <-s.hurry:
		kind = Cancelled
	}
	select {
	case <-c.exited: // both at the same moment: we have sent nothing, so it went by itself
		return Exited
	default:
		return kind
	}
}

// end brings the child's end about and reports whether it has been seen.
// SIGTERM goes to the child alone, which may want to say good-bye to the camera; SIGKILL goes to all of its group.
func (s *Supervisor) end(c *child) bool {
	select {
	case <-s.hurry:
	default:
		c.signal(c.pid(), unix.SIGTERM)
		grace := time.NewTimer(c.spec.Grace)
		defer grace.Stop()
		select {
		case <-c.exited:
			return true
		case <-grace.C:
		case <-s.hurry:
		}
	}
	c.signal(-c.pid(), unix.SIGKILL)
	last := time.NewTimer(bound)
	defer last.Stop()
	select {
	case <-c.exited:
		return true
	case <-last.C:
		return false
	}
}

// signal signals by number, which is safe because only we can reap the child and have not.
func (c *child) signal(target int, signal syscall.Signal) {
	if err := unix.Kill(target, signal); err != nil {
		c.denied = fmt.Errorf("SIG%s: %w", signalName(signal), err)
		return
	}
	c.sent = append(c.sent, signalName(signal))
}

// stuck describes a process that was not seen gone; denied is nil when it got its SIGKILL.
func (s *Supervisor) stuck(pid int, denied error) error {
	if denied != nil {
		return fault.New(fault.Local, "", "pid %d cannot be ended: %w", pid, denied).
			WithHint("it changed its user: as root, kill %d; and do not supervise a set-uid program as an ordinary user", pid)
	}
	state := "unknown"
	if stat, err := s.fs.Stat(pid); err == nil {
		state = string(stat.State)
	}
	return fault.New(fault.Local, "", "pid %d (state %s) was not seen gone within %v of SIGKILL", pid, state, bound).
		WithHint("state D: look at /proc/%d/wchan and at the file systems and devices it uses", pid)
}

// bury clears away what the dead child left behind, and then the child itself.
func (s *Supervisor) bury(c *child, ending *Ending) {
	if c.stolen != nil {
		ending.Err = join(ending.Err, fmt.Errorf("pid %d was reaped by other code, how it ended is not known: %w", c.pid(), c.stolen))
	}
	err := safely(func() error {
		var err error
		ending.Stragglers, err = s.clear(c)
		return err
	})
	if err != nil {
		ending.Kind = Stuck
		ending.Err = join(ending.Err, err)
	}
	// Bounded: the child is dead, and the pipes are given up after pipeDelay.
	if err := s.reap(c); errors.Is(err, exec.ErrWaitDelay) {
		ending.Err = join(ending.Err, fmt.Errorf("pid %d is gone, yet some process without its mark kept its output open", c.pid()))
	}
	ending.status(c.cmd.ProcessState)
	if ending.Kind == Exited && c.stdout.overflowed() { // the last of its output was read after its end
		ending.Kind = Overflowed
	}
}
