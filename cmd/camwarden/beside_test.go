package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
)

func TestRound_secondFailsSkipsOrWaits(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.SilentAfterPlay}, {Temper: camsim.Healthy}})
	first := s.start(s.round("office", "--timeout", "5m")...)
	eventually(t, func() error {
		if s.subnet.Camera("silent-after-play").Counts().Plays == 0 || s.subnet.Camera("healthy").Counts().Teardowns == 0 {
			return fmt.Errorf("the first round has not come far enough: %s", first.stderr)
		}
		return nil
	})
	named := fmt.Sprintf("pid %d", first.pid())

	failing := s.start(s.round("office", "--if-busy", "fail")...)
	failing.ends(75)
	if e := failing.failed(); e.Class != "busy" || !strings.Contains(e.Message, named) || !strings.Contains(e.Hint, "--if-busy") {
		t.Errorf("fail: %+v", e)
	}

	skipping := s.start(s.round("office", "--if-busy", "skip")...)
	skipping.ends(0)
	doc := skipping.document()
	if doc.Verdict != "clean" || doc.Summary.Skipped != 2 || doc.Summary.Cameras != 2 || len(doc.Leftovers)+len(doc.Recovered) > 0 {
		t.Errorf("skip: %+v", doc)
	}
	for _, v := range doc.Visits {
		if !v.Skipped || v.class() != "busy" || !strings.Contains(v.Error.Message, named) {
			t.Errorf("skip: %+v", v)
		}
	}
	if n := s.connects(); n != 2 {
		t.Errorf("%d connections were made, want the 2 of the first round", n)
	}

	waiting := s.start(s.round("office", "--if-busy", "wait")...)
	// Only its questions to ffmpeg, which it asks before, show from outside that it has come to wait: it opens the lock.
	eventually(t, func() error {
		if !waiting.hasOpen(s.path("state", "run", "locks")) {
			return fmt.Errorf("it does not try the lock: %s", waiting.stderr)
		}
		return nil
	})
	if n := s.connects(); n != 2 {
		t.Errorf("%d connections were made while the second round waits", n)
	}
	first.signal(syscall.SIGTERM)
	first.ends(143)
	if doc := first.document(); doc.Verdict != "clean" || !doc.visit("healthy").OK {
		t.Errorf("the first round: %+v", doc)
	}
	doc = s.clean(waiting, 1)
	if !doc.visit("healthy").OK || doc.visit("silent-after-play").Skipped || len(doc.Recovered) > 0 {
		t.Errorf("wait: %+v", doc)
	}
}

// connects is how many connections the site's cameras have accepted in all.
func (s *site) connects() int {
	total := 0
	for _, c := range s.subnet.Cameras {
		total += c.Counts().ConnectionsTotal
	}
	return total
}

// hasOpen reports whether a process has a file in a folder open, if only for the moment: ask again.
func (r *run) hasOpen(folder string) bool {
	fds := fmt.Sprintf("/proc/%d/fd", r.pid())
	entries, _ := os.ReadDir(fds)
	for _, entry := range entries {
		if target, err := os.Readlink(fds + "/" + entry.Name()); err == nil && strings.HasPrefix(target, folder) {
			return true
		}
	}
	return false
}

func TestSlot_sharedByRoundsAndSnapshots(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.LimitedSlots, Slots: 1, Name: "gate"}}, limitedTo(1), byRTSP)
	snapshot := func(file string) []string {
		return []string{"camwarden", "snapshot", "gate", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-f", s.path(file), "--timeout", "60s"}
	}
	for range 3 {
		runs := []*run{
			s.start(s.round("office", "--timeout", "60s")...),
			s.start(snapshot("one.jpg")...),
			s.start(snapshot("two.jpg")...),
		}
		for _, r := range runs {
			r.ends(0)
		}
		if doc := runs[0].document(); doc.Verdict != "clean" || !doc.visit("gate").OK {
			t.Errorf("the round: %+v", doc)
		}
		for _, file := range []string{"one.jpg", "two.jpg"} {
			check(t, os.Remove(s.path(file)))
		}
	}
	counts := s.subnet.Camera("gate").Counts()
	if counts.ConnectionsMost != 1 || counts.Turned != 0 || counts.ConnectionsTotal != 9 {
		t.Errorf("the camera counted %+v; want 9 connections, one at a time, none turned away", counts)
	}
	s.nothingLeft()
}

// While one round hangs on to the only slot, a snapshot of the camera waits for its own time-out and is told who has it.
func TestSlot_notFreeIsBusy(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.SilentAfterPlay, Name: "gate"}}, limitedTo(1))
	hog := s.start(s.round("office", "--timeout", "5m")...)
	s.busy(1)
	late := s.start("camwarden", "snapshot", "gate", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "--timeout", "1s", "-o", "json")
	late.ends(1)
	var doc report
	conforms(t, "snapshot", late.stdout.String(), late.stderr.String(), &doc)
	v := doc.visit("gate")
	if doc.Verdict != "clean" || !v.Skipped || v.class() != "busy" || !strings.Contains(v.Error.Message, "pid ") {
		t.Errorf("the snapshot: %+v", doc)
	}
	if n := s.connects(); n != 1 {
		t.Errorf("the camera was dialled %d times", n)
	}
	hog.signal(syscall.SIGINT)
	s.clean(hog, 130)
}

func TestSlot_heldByOthersIsNotDialled(t *testing.T) {
	t.Parallel()
	for _, uid := range eitherUser(1) {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.MuteAtConnect, Name: "held"}}, asUser(uid))
			held := s.subnet.Camera("held")
			one, two := s.hold(held.Address(), s.uid), s.hold(held.Address(), s.uid)
			s.busy(2)
			r := s.start(s.round("office", "--timeout", "30s")...)
			r.ends(1)
			doc := r.document()
			v := doc.visit("held")
			if doc.Verdict != "clean" || !v.Skipped || v.class() != "exhausted" || doc.Summary.Skipped != 1 || !doc.visit("healthy").OK {
				t.Errorf("the document: %+v", doc)
			}
			for _, pid := range []int{one, two} {
				if v.Error == nil || !strings.Contains(v.Error.Message, fmt.Sprintf("pid %d", pid)) {
					t.Errorf("pid %d, which holds a connection, is not named: %+v", pid, v.Error)
				}
			}
			if n := held.Counts().ConnectionsTotal; n != 2 {
				t.Errorf("the camera was connected to %d times, twice by the holders", n)
			}
			if now := held.Counts().Connections; now != 2 {
				t.Errorf("%d of the 2 connections of others live on", now)
			}
		})
	}
}

// What an ordinary user cannot see the owner of still counts: not being able to look is not the same as nothing there.
func TestSlot_hiddenOwnersCount(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "held"}}, asUser(nobody))
	held := s.subnet.Camera("held")
	s.hold(held.Address(), 0)
	s.hold(held.Address(), 0)
	s.busy(2)
	r := s.start(s.round("office", "--timeout", "30s")...)
	r.ends(1)
	v := r.document().visit("held")
	if !v.Skipped || v.class() != "exhausted" || !strings.Contains(v.Error.Message, "hidden") || !strings.Contains(v.Error.Hint, "as root") {
		t.Errorf("the visit: %+v, %+v", v, v.Error)
	}
	if n := held.Counts().ConnectionsTotal; n != 2 {
		t.Errorf("the camera was connected to %d times, twice by the holders", n)
	}
}

// hold starts a foreign process of some user that keeps one connection open until the test is over, and returns its pid.
func (s *site) hold(address netip.AddrPort, uid int) int {
	s.t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		s.t.Skip("needs bash: ", err)
	}
	cmd := exec.Command(bash, "-c", `exec 9<>/dev/tcp/$0/$1 && echo holding && read -r _`, address.Addr().String(), fmt.Sprint(address.Port()))
	cmd.Env = []string{"CAMWARDEN_TEST_RUN=" + s.mark + "-stranger"}
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	stdin, err := cmd.StdinPipe()
	check(s.t, err)
	stdout, err := cmd.StdoutPipe()
	check(s.t, err)
	check(s.t, cmd.Start())
	s.t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.t.Fatalf("the holder said %q: %v", line, err)
	}
	return cmd.Process.Pid
}
