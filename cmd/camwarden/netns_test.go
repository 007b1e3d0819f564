package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// uncontained is a capture in a network namespace of its own, and in the pid namespace of all: what a service manager, or a
// person with unshare(1), makes. The camera there never answers, and has the address of one of the site's.
func (s *site) uncontained(camera string, viewers ...string) *run {
	s.t.Helper()
	self, err := os.Executable()
	check(s.t, err)
	r := s.startWith(func(cmd *exec.Cmd) {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
		cmd.SysProcAttr.Credential = nil
		cmd.Path, cmd.Args[0] = self, "container"
	}, append([]string{"camwarden", s.subnet.Camera(camera).Address().String(), s.subnet.Camera(camera).URL()}, viewers...)...)
	eventually(s.t, func() error {
		if !strings.Contains(r.stdout.String(), "accepted") {
			return fmt.Errorf("there is no connection: %s%s", r.stdout, r.stderr)
		}
		return nil
	})
	return r
}

// TestNetns_leakIsSeenHoweverDoctorIsStarted: what leads camwarden's process group, and what stands in its environment, has
// nothing to do with what it sees. An ordinary user sees the connection, though not who holds it.
func TestNetns_leakIsSeenHoweverDoctorIsStarted(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to make a network namespace")
	}
	for _, uid := range users() {
		t.Run(fmt.Sprintf("uid %d", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "leak"}}, asUser(uid))
			container := s.uncontained("leak")
			leak := s.childOf(container)
			doctor := fmt.Sprintf("%s doctor %s -c %s --state-dir %s -o json", s.path("bin", "camwarden"), s.subnet.Prefix, s.strict(), s.path("state"))
			for name, line := range map[string]string{
				"directly": "exec " + doctor, "from a shell": doctor + "; exit $?", "in a pipe": doctor + " | cat", "by timeout": "timeout 60 " + doctor,
				"in a session of its own": "setsid -w " + doctor, "with an empty environment": "env -i " + doctor, "in the background": doctor + " & wait $!",
			} {
				r := s.start("sh", "-c", line)
				r.end()
				var doc examination
				conforms(t, "doctor", r.stdout.String(), r.stderr.String(), &doc)
				if doc.Connections.Total != 1 || doc.Status == "ok" {
					t.Errorf("%s: %d connections, status %s, blind %+v", name, doc.Connections.Total, doc.Status, doc.Blind)
				}
				at := slices.IndexFunc(doc.Processes.List, func(p examined) bool {
					return p.PID == leak
				})
				if at < 0 || doc.Processes.List[at].Verdict != "leaked" {
					t.Errorf("%s: the leak, pid %d, is not among %+v", name, leak, doc.Processes.List)
				}
				if hidden := slices.Contains(doc.codes(), "connection-hidden-owner"); hidden != (uid != 0) {
					t.Errorf("%s: findings %v", name, doc.codes())
				}
			}
		})
	}
}

// TestNetns_doctorInOneOfItsOwn: what looks from inside says that it does not see the host, and calls nothing well.
func TestNetns_doctorInOneOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy, Name: "gate"}})
	flags := map[string]uintptr{"a unit with PrivateNetwork": syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		flags = map[string]uintptr{"an ordinary user's": syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER}
	} else {
		flags["a container"] = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	}
	for name, flag := range flags {
		line := []string{"camwarden", "doctor", s.subnet.Prefix.String(), "--state-dir", s.path("state"), "--fail-on", "warning", "-o", "json"}
		if flag&syscall.CLONE_NEWPID != 0 {
			line = append([]string{"sh", "-c", `mount -t proc proc /proc && exec "$@"`, "sh"}, append([]string{s.path("bin", "camwarden")}, line[1:]...)...)
		}
		r := s.startWith(func(cmd *exec.Cmd) {
			cmd.SysProcAttr.Cloneflags |= flag
			cmd.SysProcAttr.Unshareflags |= flag & syscall.CLONE_NEWNS
		}, line...)
		r.ends(1)
		var doc examination
		conforms(t, "doctor", r.stdout.String(), r.stderr.String(), &doc)
		says := slices.ContainsFunc(doc.Blind, func(b struct{ Where, Why string }) bool { return b.Where == "connections of the host" })
		if doc.Status != "unknown" || !says || !slices.Contains(doc.codes(), "blind-connections") {
			t.Errorf("%s: status %s, blind %+v, findings %v", name, doc.Status, doc.Blind, doc.codes())
		}
	}
}

// TestNetns_serverInOne: in a container with a media server of its own, as Frigate's, those who watch it are no camera's slots.
func TestNetns_serverInOne(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to make a network namespace")
	}
	s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "live"}})
	s.uncontained("live", "a", "b", "c")
	r := s.start("camwarden", "doctor", s.subnet.Prefix.String(), "--state-dir", s.path("state"), "--fail-on", "warning", "-o", "json")
	r.ends(0)
	var doc examination
	conforms(t, "doctor", r.stdout.String(), r.stderr.String(), &doc)
	if doc.Status != "ok" || doc.Connections.Total != 4 || len(doc.Cameras) != 1 || !doc.Cameras[0].Server {
		t.Errorf("status %s, %d connections, %+v, %+v", doc.Status, doc.Connections.Total, doc.Cameras, doc.Findings)
	}
}

// TestHidepid_whoMayTraceIsNotBlind: with a /proc that hides the processes of others, an ordinary user is blind, and who has the
// two capabilities that a unit would give is not. A /proc without anything but processes is named for what it is.
func TestHidepid_whoMayTraceIsNotBlind(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a /proc")
	}
	s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "leak"}}, asUser(nobody))
	theirs := s.startWith(func(cmd *exec.Cmd) { cmd.SysProcAttr.Credential = nil },
		"ffmpeg", "-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", s.subnet.Camera("leak").URL(), "-frames:v", "1", "x.jpg")
	s.busy(1)
	user := fmt.Sprintf("exec setpriv --reuid %d --regid %d --clear-groups ", nobody, nobody)
	const mayTrace = "--inh-caps +sys_ptrace,+dac_read_search --ambient-caps +sys_ptrace,+dac_read_search "
	for name, c := range map[string]struct{ option, as, blind string }{
		"an ordinary user":            {"hidepid=2", user, "hidepid"},
		"one who may trace":           {"hidepid=2", user + mayTrace, ""},
		"one who may trace, noaccess": {"hidepid=1", user + mayTrace, ""},
		"a unit with ProcSubset=pid":  {"subset=pid", "exec ", "subset=pid"},
	} {
		line := fmt.Sprintf("mount -t proc -o %s proc /proc && %s%s doctor %s -c %s --state-dir %s -o json",
			c.option, c.as, s.path("bin", "camwarden"), s.subnet.Prefix, s.path("cameras.yaml"), s.path("state"))
		r := s.startWith(func(cmd *exec.Cmd) {
			cmd.SysProcAttr.Credential, cmd.SysProcAttr.Unshareflags = nil, syscall.CLONE_NEWNS
		}, "sh", "-c", line)
		r.end()
		var doc examination
		conforms(t, "doctor", r.stdout.String(), r.stderr.String(), &doc)
		said := fmt.Sprint(doc.Blind)
		if c.blind == "" && len(doc.Blind) > 0 || !strings.Contains(said, c.blind) {
			t.Errorf("%s: blind %s", name, said)
		}
		sees := slices.ContainsFunc(doc.Processes.List, func(p examined) bool { return p.PID == theirs.pid() })
		if c.blind == "" && !sees {
			t.Errorf("%s: does not see pid %d: %+v", name, theirs.pid(), doc.Processes.List)
		}
	}
}
