package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// clear ends what a dead child left behind and returns how many died of it. Left behind are members of its group, and
// processes that left the group but carry its mark. Since we are the reaper of orphans, each of them is our own child
// as soon as its parent is gone, and it is its parent that we kill first: so looking at our own children, again and
// again until a look meets nobody alive and nobody newly dead, finds all. A process that has left the group *and* thrown away
// its environment cannot be told from a stranger and is left alone; so is an escapee's zombie that was never seen alive.
//
// The child is an unreaped zombie throughout: its group's number cannot pass to others (man 2 kill), and its own
// orphans have all been handed over. We never wait for "any" child, which would steal the status of another call's.
func (s *Supervisor) clear(c *child) (int, error) {
	hunt := hunt{leader: c.pid(), lease: c.mark.Lease, since: map[int]time.Time{}, unclear: map[int]time.Time{}}
	if c.stolen == nil {
		hunt.group = c.pid()
		// Its members can no longer fork: the kernel signals a group in one step and refuses a fork while SIGKILL is pending.
		_ = unix.Kill(-hunt.group, unix.SIGKILL)
	}
	last := time.Now().Add(4 * bound) // for a family that multiplies faster than it can be killed
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		more, err := s.look(&hunt)
		if !more && (err != nil || !hunt.fresh) {
			return hunt.killed, err
		}
		if !more && time.Now().Before(last) {
			continue // at once: who moves is to be met before it has moved again
		}
		if hunt.undying != 0 || time.Now().After(last) {
			return hunt.killed, s.lost(c, &hunt)
		}
		time.Sleep(pause)
	}
}

// hunt is the search for one child's stragglers.
type hunt struct {
	leader  int
	group   int // 0 when its number may have passed to others
	lease   string
	since   map[int]time.Time // proven ours, and killed, at that time; a zombie can no longer show its mark
	killed  int
	undying int               // outlives SIGKILL by more than bound
	denied  error             // why a signal could not be sent
	unclear map[int]time.Time // since when a process is
	// fresh says that somebody of whom nothing is known died since our children were listed, or before they were and was
	// never met. Whoever was alive then may have forked since, and what it forked has become our child since. Only a look
	// without such a one shows that nobody is left: an escapee that forks a successor and exits, over and over, has at every
	// moment one member alive among our children, so it is in the list, and alive or dead for the first time when looked at.
	fresh bool
}

// look kills and reaps the stragglers it finds among our children, and reports whether to look again.
func (s *Supervisor) look(h *hunt) (more bool, err error) {
	s.looking.Lock()
	defer s.looking.Unlock()
	h.fresh = false
	known := s.known()
	children, err := s.fs.Children(s.self.PID)
	if err != nil {
		return false, fmt.Errorf("cannot look for what pid %d left behind: %w", h.leader, err)
	}
	strangers := s.strangers(children)
	maps.DeleteFunc(s.buried, func(pid, _ int) bool { return !slices.Contains(strangers, pid) })
	for _, pid := range strangers {
		if group, known := s.buried[pid]; known && group != h.group && h.since[pid].IsZero() {
			continue
		}
		// The child of another call, which waits for it, is nobody's straggler. It had died, and its orphans were ours, before
		// that call had its last look; it is not even new.
		ended := known[pid] || s.reaped(pid)
		stat, err := s.fs.Stat(pid)
		if errors.Is(err, fs.ErrNotExist) { // other code has reaped it
			h.fresh = h.fresh || !ended
			continue
		}
		if err != nil {
			return false, fmt.Errorf("cannot look at what pid %d left behind: %w", h.leader, err)
		}
		verdict, doubt := s.judge(h, stat)
		switch verdict {
		case unclear:
			if h.patient(pid, doubt) {
				more = true
			} else if doubt != nil {
				return false, fmt.Errorf("cannot tell whether pid %d is what pid %d left behind: %w", pid, h.leader, doubt)
			}
		case ours:
			if !stat.Dead() || !h.reap(pid) {
				h.kill(pid)
			}
			more = true
		case foreign:
			if stat.Dead() && !ended {
				h.fresh = true
				s.buried[pid] = stat.PGRP
			}
		}
	}
	return more, nil
}

// strangers leaves out the children that other calls of Run, and this one, are waiting for.
func (s *Supervisor) strangers(children []int) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := children[:0]
	for _, pid := range children {
		if _, known := s.leaders[pid]; !known {
			left = append(left, pid)
		}
	}
	return left
}

// known are the children for whose end some call waits, or that it takes note of.
func (s *Supervisor) known() map[int]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[int]bool, len(s.leaders)+len(s.reaping))
	for pid := range s.leaders {
		known[pid] = true
	}
	for pid := range s.reaping {
		known[pid] = true
	}
	return known
}

// reaped reports whether a call is taking note of the end of a child.
func (s *Supervisor) reaped(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reaping[pid] > 0
}

type verdict int

const (
	foreign verdict = iota
	unclear         // in the middle of an exec or of dying, or hidden from us
	ours
)

// hiddenBound is how long we ask about a process that hides from us: it may be just changing its user, or in the middle of an
// exec, which hides it too; on a busy host one of those was met there for more than 50 ms.
const hiddenBound = 500 * time.Millisecond

// patient says whether to look again at a process that is unclear. One that has lost its memory is dying, which may take it
// longer than all looks do. One without environment and arguments is in the middle of an exec: that takes microseconds, but
// on a busy host it was met there for 50 ms and more, and who does not wait for it lets it go.
func (h *hunt) patient(pid int, doubt error) bool {
	since, again := h.unclear[pid]
	if !again {
		since = time.Now()
		h.unclear[pid] = since
	}
	switch {
	case errors.Is(doubt, fs.ErrNotExist):
		return true
	case doubt != nil:
		return time.Since(since) < hiddenBound
	}
	return time.Since(since) < bound
}

// judge says whose a process is; with unclear it gives the reason, if there is one beyond being young.
func (s *Supervisor) judge(h *hunt, stat proc.Stat) (verdict, error) {
	if _, known := h.since[stat.PID]; known || (h.group != 0 && stat.PGRP == h.group) {
		return ours, nil
	}
	if stat.Dead() {
		return foreign, nil
	}
	value, marked, err := s.fs.Environ(stat.PID, ledger.MarkVariable)
	if err != nil {
		return unclear, err
	}
	if marked {
		if mark, ok := ledger.ParseMark(value); ok && mark.Lease == h.lease {
			return ours, nil
		}
		return foreign, nil
	}
	if arguments, err := s.fs.Cmdline(stat.PID); err == nil && len(arguments) == 0 {
		return unclear, nil
	}
	// In the middle of an exec there is no environment, and right after it there are arguments.
	if _, marked, err := s.fs.Environ(stat.PID, ledger.MarkVariable); marked || err != nil {
		return unclear, err
	}
	return foreign, nil
}

// kill signals by number: one of our own unreaped children still has its own.
func (h *hunt) kill(pid int) {
	since, again := h.since[pid]
	if !again {
		h.since[pid] = time.Now()
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			h.denied = fmt.Errorf("SIGKILL: %w", err)
		}
	} else if time.Since(since) > bound {
		h.undying = pid
	}
}

// reap takes note of the end of a dead straggler. It cannot while somebody traces it.
func (h *hunt) reap(pid int) bool {
	var status unix.WaitStatus
	got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
	if err != nil || got != pid {
		return false
	}
	delete(h.since, pid)
	if status.Signaled() && status.Signal() == unix.SIGKILL {
		h.killed++
	}
	return true
}

// lost gives up on a straggler that outlives SIGKILL. The lease, which is kept, is made to name it,
// since the child it named until now is gone and would be struck off by the next run.
func (s *Supervisor) lost(c *child, h *hunt) error {
	if h.undying == 0 {
		return fmt.Errorf("what pid %d left behind kept multiplying for %v", h.leader, 4*bound)
	}
	return join(s.stuck(h.undying, h.denied), s.note(c, h.undying))
}
