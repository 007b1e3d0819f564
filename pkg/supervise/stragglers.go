package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// clear ends what a dead child left behind and returns how many died of it. Left behind are members of its group, and
// processes that left the group but carry its mark. Since we are the reaper of orphans, each of them is our own child
// as soon as its parent is gone, and it is its parent that we kill first: so looking at our own children, again and
// again until there is nothing to be found, finds all. A process that has left the group *and* thrown away
// its environment cannot be told from a stranger and is left alone; so is an escapee's zombie that was never seen alive.
//
// The child is an unreaped zombie throughout: its group's number cannot pass to others (man 2 kill), and its own
// orphans have all been handed over. We never wait for "any" child, which would steal the status of another call's.
func (s *Supervisor) clear(c *child) (int, error) {
	// Its members can no longer fork: the kernel delivers to a group as one step and refuses a fork with SIGKILL pending.
	if c.stolen == nil {
		_ = unix.Kill(-c.pid(), unix.SIGKILL)
	}
	hunt := hunt{leader: c.pid(), lease: c.mark.Lease, ours: map[int]bool{}}
	deadline := time.Now().Add(bound)
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		more, err := s.look(&hunt)
		if !more {
			return hunt.killed, err
		}
		if time.Now().After(deadline) {
			return hunt.killed, s.lost(c, &hunt)
		}
		time.Sleep(pause)
	}
}

// hunt is the search for one child's stragglers.
type hunt struct {
	leader int
	lease  string
	ours   map[int]bool // proven ours in an earlier look; a zombie can no longer show its mark
	killed int
	last   int // the straggler seen last
	blank  int // looks that found a process too young to tell
}

// look kills and reaps the stragglers it finds among our children, and reports whether to look again.
func (s *Supervisor) look(h *hunt) (more bool, err error) {
	s.looking.Lock()
	defer s.looking.Unlock()
	children, err := s.fs.Children(s.self.PID)
	if err != nil {
		return false, fmt.Errorf("cannot look for what pid %d left behind: %w", h.leader, err)
	}
	for _, pid := range s.strangers(children) {
		stat, err := s.fs.Stat(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("cannot look at what pid %d left behind: %w", h.leader, err)
		}
		switch s.judge(h, stat) {
		case foreign:
		case young:
			h.blank++
			more = more || h.blank < maxBlank
		case dead:
			h.reap(pid)
			more = true
		case alive:
			_ = unix.Kill(pid, unix.SIGKILL) // our own unreaped child: the number is still its own
			h.ours[pid], h.last = true, pid
			more = true
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

type verdict int

const (
	foreign verdict = iota
	young           // in the middle of an exec: has no environment to show yet
	dead
	alive
)

// maxBlank bounds the looks spent on a process that shows neither arguments nor environment; an exec takes microseconds.
const maxBlank = 8

func (s *Supervisor) judge(h *hunt, stat proc.Stat) verdict {
	ours := stat.PGRP == h.leader || h.ours[stat.PID]
	if !ours && !stat.Dead() {
		value, marked, _ := s.fs.Environ(stat.PID, ledger.MarkVariable)
		if marked {
			mark, ok := ledger.ParseMark(value)
			ours = ok && mark.Lease == h.lease
		} else if arguments, err := s.fs.Cmdline(stat.PID); err == nil && len(arguments) == 0 {
			return young
		}
	}
	switch {
	case !ours:
		return foreign
	case stat.Dead():
		return dead
	}
	return alive
}

func (h *hunt) reap(pid int) {
	var status unix.WaitStatus
	if got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil); err == nil && got == pid {
		delete(h.ours, pid)
		if status.Signaled() && status.Signal() == unix.SIGKILL {
			h.killed++
		}
	}
}

// lost gives up on a straggler that outlives SIGKILL. The lease, which is kept, is made to name it,
// since the child it named until now is gone and would be struck off by the next run.
func (s *Supervisor) lost(c *child, h *hunt) error {
	if h.last == 0 {
		return fmt.Errorf("what pid %d left behind did not come to an end within %v", h.leader, bound)
	}
	err := s.stuck(h.last)
	stat, gone := s.fs.Stat(h.last)
	if gone != nil {
		return err
	}
	identity := s.self
	identity.PID, identity.Start = stat.PID, stat.Start
	inode, _ := proc.PidfdInode(stat.PID)
	return join(err, c.spec.Lease.Update(func(lease *ledger.Lease) { lease.Child, lease.ChildInode = identity, inode }))
}
