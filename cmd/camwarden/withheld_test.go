package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// What lies in the way of one camera's picture costs that camera its picture, and is left as it is.
func TestWhatLiesInTheWayOfAPictureIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, uid := range eitherUser(1) {
		for name, c := range map[string]struct {
			way  string // below out
			mode os.FileMode
			says string
		}{
			"a file for the camera's folder": {"gate", 0o644, "not a directory"},
			"a folder for the latest":        {"gate/latest.jpg", os.ModeDir | 0o755, "is in the way: it is not a symlink"},
			"a folder for the picture":       {"gate.jpg", os.ModeDir | 0o755, "gate.jpg"},
		} {
			t.Run(fmt.Sprintf("%s uid %d", name, uid), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, []camsim.Config{{Temper: camsim.Healthy, Name: "gate"}, {Temper: camsim.Healthy, Name: "yard"}}, asUser(uid), byRTSP)
				s.ownDir(0o755, "out")
				if parent := filepath.Dir(c.way); parent != "." {
					s.ownDir(0o755, "out", parent)
				}
				if c.mode.IsDir() {
					s.ownDir(c.mode.Perm(), "out", c.way)
				} else {
					s.own(c.mode, "mine", "out", c.way)
				}
				line := s.round("office", "-d", s.path("out"))
				if c.way == "gate.jpg" {
					line = []string{"camwarden", "snapshot", "gate", "yard", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json", "-d", s.path("out")}
				}
				r := s.start(line...)
				r.ends(1)
				doc := detailed(t, line[1], r)
				if gate := doc.visit("gate"); gate.OK || gate.Error.Class != "local" || !strings.Contains(gate.Error.Message, c.says) || gate.Error.Hint == "" {
					t.Errorf("gate: %+v, %+v", gate, gate.Error)
				}
				if yard := doc.visit("yard"); !yard.OK || doc.Verdict != "clean" {
					t.Errorf("yard: %+v", yard)
				}
				if text, err := os.ReadFile(s.path("out", c.way)); !c.mode.IsDir() && (err != nil || string(text) != "mine") {
					t.Errorf("it is %q now, %v", text, err)
				}
				s.nothingLeft(r)
				if found := s.scraps(s.path("out")); len(found) > 0 {
					t.Errorf("scraps: %v", found)
				}
			})
		}
	}
}

// What is no file, not ours to read or no record any more is said, kept, and in nobody's way.
func TestLedger_readAroundPipesFoldersAndLinks(t *testing.T) {
	t.Parallel()
	for _, uid := range eitherUser(1) {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}, asUser(uid), byRTSP)
			s.clean(s.start(s.round("office")...), 0) // makes the folders
			leases := s.path("state", "run", "leases")
			s.own(0o600, "do not delete", "state", "run", "leases", "README")
			check(t, os.Mkdir(filepath.Join(leases, "a folder.json"), 0o700))
			check(t, unix.Mkfifo(filepath.Join(leases, "a pipe.json"), 0o600))
			check(t, os.Symlink("/etc/passwd", filepath.Join(leases, "a link.json")))
			shown := []string{"README", "a folder.json", "a pipe.json", "a link.json"}
			if uid == nobody {
				check(t, os.WriteFile(filepath.Join(leases, "01J0000000000000000000000F.json"), []byte("{}"), 0o600))
				shown = append(shown, "01J0000000000000000000000F.json")
			}
			records, err := filepath.Glob(s.path("state", "state", "records", "turn-*.json"))
			if err != nil || len(records) != 1 {
				t.Fatalf("records: %v, %v", records, err)
			}
			check(t, os.WriteFile(records[0], []byte(`{"ended_at":`), 0o600))

			r := s.start(s.round("office", "--cooldown", "1h")...) // what the torn record said of the cool-down is lost
			r.ends(0)
			doc := detailed(t, "round", r)
			if doc.Verdict != "clean" || !doc.visit("healthy").OK || len(doc.Recovered)+len(doc.Leftovers) > 0 {
				t.Errorf("%s", r.stdout)
			}
			for _, name := range shown {
				if !slices.ContainsFunc(doc.Blind, func(b struct{ Where, Why string }) bool {
					return strings.Contains(b.Where, filepath.Join(leases, name)) && b.Why != ""
				}) {
					t.Errorf("%s is not told: %+v", name, doc.Blind)
				}
				if _, err := os.Lstat(filepath.Join(leases, name)); err != nil {
					t.Errorf("it was not kept: %v", err)
				}
			}
			if torn, _ := filepath.Glob(records[0] + ".torn"); len(torn) != 1 {
				t.Errorf("the torn record was not set aside")
			}
			if found := s.alive(); len(found) > 0 {
				t.Errorf("alive: %v", found)
			}
			check(t, os.RemoveAll(leases))
			check(t, os.Mkdir(leases, 0o700))
			check(t, os.Chown(leases, uid, uid))
			s.clean(s.start(s.round("office")...), 0)
		})
	}
}

// While a round hangs, a cleaner takes its folders away: what it waits for ends in time all the same, and is looked for.
func TestRound_foldersVanish(t *testing.T) {
	t.Parallel()
	for i, gone := range []string{"state", "out"} {
		for _, uid := range eitherUser(i) {
			t.Run(fmt.Sprintf("%s uid %d", gone, uid), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, []camsim.Config{{Temper: camsim.SilentAfterPlay, Name: "silent"}, {Temper: camsim.MuteAtConnect, Name: "mute"}, {Temper: camsim.Healthy}}, asUser(uid))
				r := s.start(s.round("office", "-d", s.path("out"), "--timeout", "10s", "-j", "2")...) // the healthy one must wait for its turn
				s.busy(2)
				eventually(t, func() error {
					if !s.childNoted("mute") || !s.childNoted("silent") {
						return fmt.Errorf("the children are not in the ledger: %+v", s.leases())
					}
					return nil
				})
				check(t, os.RemoveAll(s.path(gone)))
				r.ends(1)
				doc := r.document()
				if doc.Verdict != "clean" || len(doc.Leftovers) > 0 || !doc.visit("healthy").OK || doc.visit("silent").class() != "timeout" || doc.visit("mute").class() != "timeout" {
					t.Errorf("%s\n%s", r.stdout, r.stderr)
				}
				s.nothingLeft(r)
				if jpeg, err := os.ReadFile(s.path("out", "healthy", "latest.jpg")); err != nil || len(jpeg) < 1000 {
					t.Errorf("the picture: %d bytes, %v", len(jpeg), err)
				}
			})
		}
	}
}

// limited is a command line behind limits of the shell.
func (s *site) limited(limits string, line ...string) []string {
	return append([]string{"sh", "-c", limits + ` && exec camwarden "$@"`, "sh"}, line...)
}

// Too few files, processes or bytes are our own trouble: told as such, and nothing is left of it.
func TestWhatTheHostWithholdsIsToldAsOurOwnTrouble(t *testing.T) {
	t.Parallel()
	t.Run("files for some", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.MuteAtConnect, Name: "a"}, {Temper: camsim.MuteAtConnect, Name: "b"}, {Temper: camsim.SilentAfterPlay, Name: "c"}})
		// How many files it takes until one is missing in the middle differs from run to run.
		short := 0
		for limit := 16; limit <= 28; limit += 3 {
			s.thawAll()
			r := s.start(s.limited(fmt.Sprint("ulimit -n ", limit), s.round("office", "-d", s.path("out"), "--timeout", "2s")[1:]...)...)
			if code := r.end(); code != 1 {
				if e := r.failed(); code != 4 && code != 2 || !strings.Contains(e.Message, "too many open files") || e.Hint == "" {
					t.Errorf("%d files, exit code %d: %+v", limit, code, e)
				}
				s.nothingLeft(r)
				continue
			}
			doc := detailed(t, "round", r)
			if doc.Verdict != "clean" {
				t.Errorf("%d files: %s", limit, r.stdout)
			}
			for _, v := range doc.Visits {
				if v.Error.Class != "local" {
					continue
				}
				if short++; !strings.Contains(v.Error.Hint, "ulimit -n") {
					t.Errorf("%d files: %+v, %+v", limit, v, v.Error)
				}
			}
			s.nothingLeft(r)
		}
		t.Logf("%d visits wanted for a file", short)
	})
	t.Run("files for none", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}})
		// It wants for the configuration, the program or the ledger. With 8 and 9 the configuration can be opened and the Go
		// runtime cannot make its poller: it gives up by itself, before anybody can tell. A test binary makes it at its start.
		limits := []int{6, 7, 10, 11, 12}
		if s.binary != os.Getenv(released) {
			limits = []int{8, 9, 10, 11, 12}
		}
		for _, limit := range limits {
			r := s.start(s.limited(fmt.Sprint("ulimit -n ", limit), s.round("office", "-d", s.path("out"))[1:]...)...)
			if code := r.end(); code != 2 && code != 4 {
				t.Errorf("%d files, exit code %d: %s", limit, code, r.stderr)
			}
			if e := r.failed(); !strings.Contains(e.Message, "too many open files") || !strings.Contains(e.Hint, "ulimit -n") {
				t.Errorf("%d files: %+v", limit, e)
			}
			s.untouched(r)
		}
	})
	t.Run("bytes for a picture", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, []camsim.Config{{Temper: camsim.Healthy, Name: "gate"}})
		r := s.start(s.limited("ulimit -f 8", s.round("office", "-d", s.path("out"))[1:]...)...) // blocks of 512 bytes
		r.ends(1)
		if e := detailed(t, "round", r).visit("gate").Error; e.Class != "local" || !strings.Contains(e.Message, "file too large") || !strings.Contains(e.Hint, "ulimit -f") {
			t.Errorf("%+v", e)
		}
		s.nothingLeft(r)
		s.scrapless("gate")
	})
	t.Run("bytes for a lease", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}})
		r := s.start(s.limited("ulimit -f 0", s.round("office", "-d", s.path("out"))[1:]...)...)
		if code := r.end(); code != 2 && code != 4 {
			t.Errorf("exit code %d: %s", code, r.stderr)
		}
		if e := r.failed(); !strings.Contains(e.Message, "file too large") || e.Hint == "" {
			t.Errorf("%+v", e)
		}
		s.untouched(r)
	})
}

// Without threads the Go runtime gives up in the middle of everything. The kernel ends the children then, and the next
// round finishes the rest.
func TestRound_outOfProcessesLeavesNothing(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to be a user who runs nothing else")
	}
	const lonely = 61234 // whose processes are all this test's, since the limit counts per user
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.MuteAtConnect, Name: "mute"}, {Temper: camsim.SilentAfterPlay, Name: "silent"}}, asUser(lonely))
	if out, err := exec.Command("sh", "-c", "ulimit -u 10").CombinedOutput(); err != nil {
		t.Skipf("this shell has no ulimit -u: %s", out)
	}
	tally := map[int]int{}
	for limit := 2; limit <= 34; limit += 4 {
		r := s.startWith(func(cmd *exec.Cmd) { cmd.SysProcAttr.Credential.NoSetGroups = false },
			s.limited(fmt.Sprint("ulimit -u ", limit), s.round("office", "-d", s.path("out"), "--timeout", "3s")[1:]...)...)
		code := r.end()
		tally[code]++
		eventually(t, func() error { return none("alive", s.alive(), markedBy(t, r.id), s.connections()) })
		if code == 1 {
			if doc := r.document(); doc.Verdict != "clean" {
				t.Errorf("limit %d: %+v", limit, doc)
			}
		}
	}
	s.thawAll()
	doc := s.clean(s.start(s.round("well")...), 0)
	t.Logf("ended with %v; the last one recovered %d", tally, len(doc.Recovered))
}

// thawAll forgets the sessions that cool down, and nothing else.
func (s *site) thawAll() {
	s.t.Helper()
	standing := s.leases()
	found, err := filepath.Glob(s.path("state", "run", "leases", "*.json"))
	check(s.t, err)
	for _, path := range found {
		if !slices.ContainsFunc(standing, func(l lease) bool { return strings.Contains(path, l.ID) }) {
			check(s.t, os.Remove(path))
		}
	}
}
