package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// place is something that is not as it should be, and what a round must say of it.
type place struct {
	name  string
	spoil func(s *site)           // makes it wrong
	args  func(s *site) []string  // of "camwarden round"; nil: the subnet "well"
	code  int                     // the exit code
	says  func(s *site) [2]string // what message and hint must hold
}

// own puts a file of the site's user into the site.
func (s *site) own(mode fs.FileMode, text string, names ...string) string {
	s.t.Helper()
	path := s.path(names...)
	check(s.t, os.WriteFile(path, []byte(text), 0o600))
	check(s.t, os.Chmod(path, mode))
	check(s.t, os.Chown(path, s.uid, s.uid))
	return path
}

// ownDir makes a folder of the site's user.
func (s *site) ownDir(mode fs.FileMode, names ...string) string {
	s.t.Helper()
	path := s.path(names...)
	check(s.t, os.Mkdir(path, 0o700))
	check(s.t, os.Chmod(path, mode))
	check(s.t, os.Chown(path, s.uid, s.uid))
	return path
}

// configured changes the configuration of the site, and the mode of its file.
func (s *site) configured(mode fs.FileMode, old, text string) {
	s.t.Helper()
	before, err := os.ReadFile(s.path("cameras.yaml"))
	check(s.t, err)
	after := strings.Replace(string(before), old, text, 1)
	if after == string(before) && old != text {
		s.t.Fatalf("no %q in the configuration", old)
	}
	s.own(mode, after, "cameras.yaml")
}

// wrongPlaces all stop a round before a camera is dialled.
func wrongPlaces() []place {
	well := func(more ...string) func(*site) []string {
		return func(s *site) []string {
			args := []string{"well"}
			for _, arg := range more {
				args = append(args, strings.ReplaceAll(arg, "SITE", s.dir))
			}
			return args
		}
	}
	says := func(message, hint string) func(*site) [2]string {
		return func(s *site) [2]string {
			return [2]string{strings.ReplaceAll(message, "SITE", s.dir), strings.ReplaceAll(hint, "SITE", s.dir)}
		}
	}
	nothing := func(*site) {}
	return []place{
		{"a file where the output directory should be", func(s *site) { s.own(0o644, "mine", "pictures") },
			well("-d", "SITE/pictures"), 2, says("cannot write SITE/pictures", "ls -ld SITE/pictures")},
		{"a file above the output directory", func(s *site) { s.own(0o644, "mine", "pictures") },
			well("-d", "SITE/pictures/below"), 2, says("cannot write SITE/pictures", "ls -ld")},
		{"a plain password that others can read", func(s *site) {
			s.configured(0o644, "path: /stream1", "path: /stream1, username: viewer, password: abcdefgh")
		},
			well(), 2, says("SITE/cameras.yaml:", "chmod 600 SITE/cameras.yaml")},
		{"an unknown key", func(s *site) { s.configured(0o600, "sources:", "sorces:") }, well(), 2, says("cameras.yaml:1: ", "config check")},
		{"no YAML", func(s *site) { s.configured(0o600, "subnets:\n", "subnets: [\n") }, well(), 2, says("cameras.yaml:", "config check")},
		{"no configuration where one is named", func(s *site) { check(s.t, os.Remove(s.path("cameras.yaml"))) }, well(), 2, says("SITE/cameras.yaml", "")},
		{"a folder for a configuration", func(s *site) {
			check(s.t, os.Remove(s.path("cameras.yaml")))
			s.ownDir(0o755, "cameras.yaml")
		}, well(), 2, says("SITE/cameras.yaml", "")},
		{"no camera in the prefix", nothing, func(*site) []string { return []string{"192.0.2.0/24"} }, 2, says("no camera in 192.0.2.0/24", "the cameras of")},
		{"an unknown subnet", nothing, func(*site) []string { return []string{"wel"} }, 2, says(`"wel"`, "well")},
		{"a state directory that is a file", func(s *site) { s.own(0o600, "mine", "state") }, well(), 2, says("SITE/state", "--state-dir")},
		{"a symlink in the state directory", func(s *site) {
			s.ownDir(0o700, "elsewhere")
			s.ownDir(0o700, "state")
			check(s.t, os.Symlink(s.path("elsewhere"), s.path("state", "run")))
		}, well(), 2, says("SITE/state/run is a symlink", "--state-dir")},
		{"a state directory of another owner", func(s *site) {
			if os.Getuid() != 0 {
				s.t.Skip("needs root, to be somebody else")
			}
			s.ownDir(0o755, "state")
			run := s.ownDir(0o755, "state", "run")
			check(s.t, os.Chown(run, 12345, 12345))
		}, well(), 2, says("SITE/state/run belongs to user 12345", "run as user 12345")},
		{"a state directory that others can write to", func(s *site) {
			s.ownDir(0o755, "state")
			s.ownDir(0o777, "state", "run")
		}, well(), 2, says("SITE/state/run can be used by other users", "chmod 700 SITE/state/run")},
		{"no ffmpeg", func(s *site) { s.configured(0o600, `path: "ffmpeg"`, `path: "`+s.path("no-ffmpeg")+`"`) },
			well("--source", "ffmpeg"), 4, says("SITE/no-ffmpeg", "")},
		{"an ffmpeg that cannot be run", func(s *site) {
			s.own(0o644, "#!/bin/sh\n", "no-ffmpeg")
			s.configured(0o600, `path: "ffmpeg"`, `path: "`+s.path("no-ffmpeg")+`"`)
		}, well("--source", "ffmpeg"), 4, says("SITE/no-ffmpeg", "")},
		{"an ffmpeg that is something else", func(s *site) { s.configured(0o600, `path: "ffmpeg"`, `path: "/bin/true"`) },
			well("--source", "ffmpeg"), 4, says("/bin/true is not an ffmpeg", "-h demuxer=rtsp")},
	}
}

// forbidden are places that stop nobody but an ordinary user.
func forbidden() []place {
	return []place{
		{"an output directory that we may not write to", func(s *site) { s.ownDir(0o555, "pictures") },
			func(s *site) []string { return []string{"well", "-d", s.path("pictures")} }, 2,
			func(s *site) [2]string { return [2]string{"cannot write " + s.path("pictures"), "-d"} }},
		{"a state directory that we may not write to", func(s *site) { s.ownDir(0o555, "state") }, nil, 2,
			func(s *site) [2]string { return [2]string{s.path("state", "run"), "--state-dir"} }},
		{"a configuration that we may not read", func(s *site) { check(s.t, os.Chmod(s.path("cameras.yaml"), 0o000)) }, nil, 2,
			func(s *site) [2]string { return [2]string{s.path("cameras.yaml"), ""} }},
	}
}

func TestPlace_wrongIsToldBeforeADial(t *testing.T) {
	t.Parallel()
	for _, uid := range eitherUser(1) {
		places := wrongPlaces()
		if uid != 0 {
			places = append(places, forbidden()...)
		}
		for _, p := range places {
			t.Run(fmt.Sprintf("%s uid %d", p.name, uid), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}, asUser(uid), asReleased)
				p.spoil(s)
				before := s.listing()
				args := []string{"well"}
				if p.args != nil {
					args = p.args(s)
				}
				if !slices.Contains(args, "-d") {
					args = append(args, "-d", s.path("out")) // without it a round says that pictures are not kept
				}
				want := p.says(s)

				r := s.start(append(s.round(args[0], args[1:]...), "-o", "table")...)
				r.ends(p.code)
				lines := strings.Split(strings.TrimSuffix(r.stderr.String(), "\n"), "\n")
				hint := lines[len(lines)-1]
				if r.stdout.String() != "" || !strings.HasPrefix(lines[0], "camwarden: ") || strings.Count(r.stderr.String(), "camwarden: ") != 1 || !strings.Contains(r.stderr.String(), want[0]) {
					t.Errorf("want a line with %q, got: %s%s", want[0], r.stdout, r.stderr)
				}
				if !strings.HasPrefix(hint, "  hint: ") || !strings.Contains(hint, want[1]) || strings.Count(r.stderr.String(), "hint: ") != 1 {
					t.Errorf("want one hint, the last line, with %q, got: %s", want[1], r.stderr)
				}

				r = s.start(s.round(args[0], args[1:]...)...)
				r.ends(p.code)
				class := map[int][]string{2: {"usage", "local"}, 4: {"no-source"}}[p.code]
				if e := r.failed(); !slices.Contains(class, e.Class) || !strings.Contains(e.Message, want[0]) || !strings.Contains(e.Hint, want[1]) || e.Hint == "" {
					t.Errorf("the document: %+v", e)
				}

				if n := s.connects(); n != 0 {
					t.Errorf("a camera was dialled %d times", n)
				}
				s.nothingNew(before)
			})
		}
	}
}

// A secret that cannot be read is the failure of its camera, before anything is dialled there, and of no other.
func TestSecret_failsItsCameraAlone(t *testing.T) {
	t.Parallel()
	file := func(s *site) string { return ", username: viewer, password_file: " + s.path("secret") }
	for name, c := range map[string]struct {
		login func(s *site) string
		says  string // in the message
		hint  string
	}{
		"a password file that others can read": {func(s *site) string { s.own(0o644, "abcdefgh\n", "secret"); return file(s) }, "SITE/secret", "chmod 600 SITE/secret"},
		"a password file that does not exist":  {file, "SITE/secret", "create it"},
		"a password file that is not ours to read": {func(s *site) string {
			if s.uid == 0 {
				s.t.Skip("root may read everything")
			}
			s.own(0o000, "abcdefgh\n", "secret")
			return file(s)
		}, "SITE/secret", "uid"},
		"a variable that is not set": {func(*site) string { return ", username: viewer, password_env: NOWHERE" }, "NOWHERE", "export NOWHERE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who := users()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.Healthy, Name: "yard"}}, asUser(who[len(who)-1]), byRTSP)
			s.configured(0o600, "path: /stream1", "path: /stream1"+c.login(s)) // of the first camera
			r := s.start(s.round("well", "-d", s.path("out"))...)
			doc := s.clean(r, 1)
			e := doc.visit("healthy").Error
			says, hint := strings.ReplaceAll(c.says, "SITE", s.dir), strings.ReplaceAll(c.hint, "SITE", s.dir)
			if e == nil || !slices.Contains([]string{"usage", "local"}, e.Class) || !strings.Contains(e.Message, says) || !strings.Contains(e.Hint, hint) {
				t.Errorf("healthy: %+v, want message %q, hint %q", e, says, hint)
			}
			if !doc.visit("yard").OK {
				t.Errorf("yard: %+v", doc.visit("yard").Error)
			}
			if n := s.subnet.Camera("healthy").Counts().ConnectionsTotal; n != 0 {
				t.Errorf("a camera without its password was dialled %d times", n)
			}
		})
	}
}

// listing is every path below the site.
func (s *site) listing() []string {
	s.t.Helper()
	var found []string
	check(s.t, filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		found = append(found, path)
		return err
	}))
	return found
}

// nothingNew demands that only the empty house of the ledger, and the locks in it, were made.
func (s *site) nothingNew(before []string) {
	s.t.Helper()
	for _, path := range s.listing() {
		inside := strings.HasPrefix(path, s.path("state")+"/") || path == s.path("state")
		info, err := os.Lstat(path)
		check(s.t, err)
		if !slices.Contains(before, path) && (!inside || !info.IsDir() && filepath.Base(filepath.Dir(path)) != "locks") {
			s.t.Errorf("%s was made", path)
		}
	}
}

// scraps lists temporary files below a folder.
func (s *site) scraps(dir string) []string {
	var found []string
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") || strings.HasSuffix(entry.Name(), ".tmp")) {
			found = append(found, path)
		}
		return nil
	})
	return found
}

func TestPicture_spoiltIsOneCamerasFailure(t *testing.T) {
	t.Parallel()
	for _, uid := range eitherUser(1) {
		t.Run(fmt.Sprint("latest.jpg is a regular file, uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}, {Temper: camsim.Healthy, Name: "yard"}}, asUser(uid), byRTSP)
			s.ownDir(0o755, "out")
			s.ownDir(0o755, "out", "yard")
			s.own(0o644, "mine", "out", "yard", "latest.jpg")
			doc := s.clean(s.start(s.round("well", "-d", s.path("out"))...), 1)
			e := doc.visit("yard").Error
			if !doc.visit("healthy").OK || e == nil || e.Class != "local" || !strings.Contains(e.Message, "yard/latest.jpg is in the way") || !strings.Contains(e.Hint, "mv ") {
				t.Errorf("%+v, %+v", doc, e)
			}
			if text, err := os.ReadFile(s.path("out", "yard", "latest.jpg")); err != nil || string(text) != "mine" {
				t.Errorf("the file in the way became %q, %v", text, err)
			}
			if found := s.scraps(s.path("out")); len(found) > 0 {
				t.Errorf("scraps: %v", found)
			}
		})
		t.Run(fmt.Sprint("disk full, uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}, asUser(uid), byRTSP)
			disk := s.smallDisk("out")
			// A picture of a good round stands there, and must go on to.
			s.clean(s.start(s.round("well", "-d", disk)...), 0)
			latest, err := os.Readlink(filepath.Join(disk, "healthy", "latest.jpg"))
			check(t, err)
			before, err := os.ReadFile(filepath.Join(disk, "healthy", latest))
			check(t, err)
			fill(t, filepath.Join(disk, "filler"))

			for _, command := range [][]string{
				s.round("well", "-d", disk),
				{"camwarden", "snapshot", "healthy", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json", "-f", filepath.Join(disk, "one.jpg")},
			} {
				r := s.start(command...)
				r.ends(1)
				var doc report
				conforms(t, command[1], r.stdout.String(), r.stderr.String(), &doc)
				// A round is told before it begins that nothing can be kept, and still says how its cameras are.
				if command[1] == "round" {
					if v := doc.visit("healthy"); !v.OK || v.File != "" || !strings.Contains(doc.NotKept, disk) || doc.Verdict != "clean" {
						t.Errorf("round: %+v", doc)
					}
					s.nothingLeft(r)
					continue
				}
				e := doc.visit("healthy").Error
				if e == nil || e.Class != "local" || !strings.Contains(e.Message, "no space left") || !strings.Contains(e.Hint, "df -h "+disk) || doc.Verdict != "clean" {
					t.Errorf("%s: %+v, %+v", command[1], doc, e)
				}
				s.nothingLeft(r)
			}
			after, err := os.ReadFile(filepath.Join(disk, "healthy", "latest.jpg"))
			if err != nil || string(after) != string(before) {
				t.Errorf("the good picture became %d bytes, %v", len(after), err)
			}
			pictures, _ := filepath.Glob(filepath.Join(disk, "healthy", "*"))
			if found := s.scraps(disk); len(found) > 0 || len(pictures) != 2 {
				t.Errorf("scraps: %v, pictures: %v", found, pictures)
			}
		})
		t.Run(fmt.Sprint("disk of the state full, uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}, asUser(uid), byRTSP)
			disk := s.smallDisk("state")
			s.clean(s.start(s.round("well")...), 0)
			dialled := s.connects()
			fill(t, filepath.Join(disk, "filler"))
			r := s.start(s.round("well", "--source", "ffmpeg")...)
			code := r.end()
			// Without a lease nothing may be started: neither a question to ffmpeg nor a visit.
			if text := r.stdout.String() + r.stderr.String(); code == 0 || !strings.Contains(text, "no space left") || !strings.Contains(text, "df "+disk) {
				t.Errorf("exit code %d: %s", code, text)
			}
			if n := s.connects(); n != dialled {
				t.Errorf("the camera was dialled %d times without a lease", n-dialled)
			}
			check(t, os.Remove(filepath.Join(disk, "filler")))
			if found := s.scraps(disk); len(found) > 0 {
				t.Errorf("scraps: %v", found)
			}
			s.clean(s.start(s.round("well")...), 0)
		})
	}
}

// smallDisk mounts a file system of 64 KiB in the site, where that is permitted.
func (s *site) smallDisk(name string) string {
	s.t.Helper()
	if os.Getuid() != 0 {
		s.t.Skip("needs root, to mount a small disk")
	}
	dir := s.ownDir(0o700, name)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=64k,mode=0700,uid=%d,gid=%d", s.uid, s.uid)); err != nil {
		s.t.Skip("cannot mount a small disk: ", err)
	}
	s.t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			s.t.Error(err)
		}
	})
	return dir
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	check(t, err)
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// A ledger with files that are no leases of ours works, says which it could not read, and keeps them.
func TestTornForeignAndNewerLeasesAreToldAndKept(t *testing.T) {
	t.Parallel()
	for _, uid := range eitherUser(1) {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}, asUser(uid), byRTSP)
			s.clean(s.start(s.round("well")...), 0)
			odd := map[string]string{
				"torn.json":    `{"v":1,"id":"01JZ0000000000000000000000","kind":"proc`,
				"empty.json":   "",
				"foreign.json": "\x7fELF\x00\x01",
				"newer.json":   `{"v":99,"id":"newer","kind":"process"}`,
			}
			for name, text := range odd {
				s.own(0o600, text, "state", "run", "leases", name)
			}
			r := s.start(s.round("well", "-d", s.path("out"))...)
			r.ends(0)
			doc := r.document()
			if doc.Verdict != "clean" || !doc.visit("healthy").OK || len(doc.Recovered)+len(doc.Leftovers) > 0 {
				t.Errorf("%+v", doc)
			}
			for name, text := range odd {
				path := s.path("state", "run", "leases", name)
				if !strings.Contains(r.stdout.String(), "ledger file "+path) {
					t.Errorf("%s is not told of: %s", name, r.stdout)
				}
				if now, err := os.ReadFile(path); err != nil || string(now) != text {
					t.Errorf("%s became %q, %v", name, now, err)
				}
			}
			s.released()
		})
	}
}

func TestAnUnknownCameraIsToldWithTheKnownOnes(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy, Name: "gate"}})
	before := s.listing()
	args := []string{"camwarden", "snapshot", "gatw", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state")}
	r := s.start(args...)
	r.ends(2)
	if text := r.stderr.String(); !strings.HasPrefix(text, `camwarden: there is no camera "gatw"`) || !strings.Contains(text, "\n  hint: ") || !strings.Contains(text, "gate") {
		t.Errorf("stderr: %s", text)
	}
	r = s.start(append(args, "-o", "json")...)
	r.ends(2)
	if e := r.failed(); e.Class != "usage" || !strings.Contains(e.Message, "gatw") || !strings.Contains(e.Hint, "gate") {
		t.Errorf("the document: %+v", e)
	}
	s.nothingNew(before)
	if n := s.connects(); n != 0 {
		t.Errorf("the camera was dialled %d times", n)
	}
}
