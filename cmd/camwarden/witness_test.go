package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
)

// The witnesses of the whole-program tests: /proc, the kernel's sockets, the ledger's files and the cameras themselves.

// clean demands that a finished round claims, with right, that nothing is left.
func (s *site) clean(r *run, code int) report {
	s.t.Helper()
	r.ends(code)
	doc := r.document()
	if doc.Verdict != "clean" || len(doc.Leftovers) > 0 {
		s.t.Errorf("verdict %q, leftovers %v", doc.Verdict, doc.Leftovers)
	}
	s.nothingLeft(r)
	return doc
}

// nothingLeft looks for itself, at once: the round has said that it is over.
func (s *site) nothingLeft(runs ...*run) {
	s.t.Helper()
	if found := s.alive(); len(found) > 0 {
		s.t.Errorf("alive after the round: %v", found)
	}
	for _, r := range runs {
		if found := markedBy(s.t, r.id); len(found) > 0 {
			s.t.Errorf("alive and marked by %v: %v", r.id, found)
		}
	}
	if found := s.connections(); len(found) > 0 {
		s.t.Errorf("connected after the round: %v", found)
	}
	if found := s.leases(); len(found) > 0 {
		s.t.Errorf("leases after the round: %+v", found)
	}
	s.released()
}

// released waits until the cameras, which hear of an end later than the kernel, count no connection.
func (s *site) released() {
	s.t.Helper()
	for _, c := range s.subnet.Cameras {
		eventually(s.t, func() error {
			if n := c.Counts().Connections; n > 0 {
				return fmt.Errorf("%s still counts %d connections", c.Name(), n)
			}
			return nil
		})
	}
}

// alive lists the living processes that carry the site's mark: camwardens and all they started, whatever their name.
// A zombie has no environment any more, and is not alive.
func (s *site) alive() []string {
	s.t.Helper()
	return processes(s.t, func(_ int, environ string) bool {
		return strings.Contains(environ, "\x00CAMWARDEN_TEST_RUN="+s.mark+"\x00")
	})
}

// markedBy lists the living processes whose lease mark names that camwarden as their owner: LEASE/PID/START/BOOT/ADDRESS.
func markedBy(t *testing.T, owner proc.Identity) []string {
	t.Helper()
	return processes(t, func(_ int, environ string) bool {
		_, value, _ := strings.Cut(environ, "\x00CAMWARDEN_LEASE=")
		fields := strings.Split(value, "/")
		return len(fields) > 2 && fields[1] == strconv.Itoa(owner.PID) && fields[2] == strconv.FormatUint(owner.Start, 10)
	})
}

func processes(t *testing.T, wanted func(pid int, environ string) bool) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	check(t, err)
	var found []string
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err != nil || !wanted(pid, "\x00"+string(environ)) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		found = append(found, fmt.Sprintf("%d (%.60s)", pid, strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " "))))
	}
	return found
}

// connections lists the kernel's connections into the site's subnet that some process holds. In FIN_WAIT and its like
// the kernel finishes alone what a process that is gone has left.
func (s *site) connections() []string {
	s.t.Helper()
	sockets, err := proc.Default().Connections([]uint16{camsim.DefaultPort})
	check(s.t, err)
	var found []string
	for _, c := range sockets.Conns {
		switch {
		case !s.subnet.Prefix.Contains(c.Remote.Addr().Unmap()):
		case c.State == proc.Established, c.State == proc.SynSent, c.State == proc.CloseWait:
			found = append(found, fmt.Sprintf("%s -> %s %s", c.Local, c.Remote, c.State))
		}
	}
	return found
}

// lease is what the tests read of a lease file, without the package that wrote it.
type lease struct {
	ID, Kind, Camera string
	Address          netip.AddrPort
	Deadline         time.Duration `json:"deadline_ns"`
	Owner, Child     struct{ PID int }
}

// leases reads the ledger's files: what an earlier run left when no camwarden runs. Sessions that cool down need nobody.
func (s *site) leases() []lease {
	s.t.Helper()
	paths, err := filepath.Glob(s.path("state", "run", "leases", "*.json"))
	check(s.t, err)
	var found []lease
	for _, path := range paths {
		var l lease
		content, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		check(s.t, err)
		if err := json.Unmarshal(content, &l); err != nil {
			s.t.Errorf("%s is torn: %v: %q", path, err, content)
		}
		if l.Kind != "cooling" {
			found = append(found, l)
		}
	}
	return found
}

// busy waits until that many connections are open at the site's cameras, as these count them.
func (s *site) busy(connections int) {
	s.t.Helper()
	eventually(s.t, func() error {
		open := 0
		for _, c := range s.subnet.Cameras {
			open += c.Counts().Connections
		}
		if open < connections {
			return fmt.Errorf("the cameras count %d connections, want %d", open, connections)
		}
		return nil
	})
}

// stands demands a state of a process, as the letter of /proc/PID/stat.
func stands(r *run, state string) error {
	stat, err := proc.Default().Stat(r.pid())
	if err == nil && string(stat.State) != state {
		err = fmt.Errorf("pid %d is in state %c, want %s", r.pid(), stat.State, state)
	}
	return err
}

// bootTime is the clock of lease deadlines, CLOCK_BOOTTIME.
func bootTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	check(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &now))
	return time.Duration(now.Nano())
}
