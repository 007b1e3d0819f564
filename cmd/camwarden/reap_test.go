package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
)

// reaping is what the tests read of a camwarden.reap/1.
type reaping struct {
	DryRun   bool `json:"dry_run"`
	Outcomes []struct {
		PID                               int
		Name, Camera, Target, Why, Action string
		Signal                            string
		AgeMS                             int64 `json:"age_ms"`
	}
	Summary struct {
		Killed, Kept, Survived int
		NotPermitted           int `json:"not_permitted"`
		WouldKill              int `json:"would_kill"`
	}
	Verdict string
}

// of returns what became of a process, "action: why".
func (r reaping) of(pid int) string {
	for _, o := range r.Outcomes {
		if o.PID == pid {
			return o.Action + ": " + o.Why
		}
	}
	return "not listed"
}

// reap is a command line that is limited to the site's own subnet: other people's processes run on this host.
func (s *site) reap(more ...string) []string {
	return append([]string{"camwarden", "reap", s.subnet.Prefix.String(), "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json"}, more...)
}

func (s *site) reaped(code int, more ...string) reaping {
	s.t.Helper()
	r := s.start(s.reap(more...)...)
	r.ends(code)
	var doc reaping
	conforms(s.t, "reap", r.stdout.String(), r.stderr.String(), &doc)
	return doc
}

// strict is a configuration of the site by which a capture is leaked at once.
func (s *site) strict() string {
	s.t.Helper()
	config, err := os.ReadFile(s.path("cameras.yaml"))
	check(s.t, err)
	check(s.t, os.WriteFile(s.path("strict.yaml"), append(config, "reap: {older_than: 10ms}\n"...), 0o644))
	return s.path("strict.yaml")
}

// ffmpeg starts somebody's ffmpeg on a camera of the site, with these options before and after the URL.
func (s *site) ffmpegOn(camera, before, after string) *run {
	s.t.Helper()
	c := s.subnet.Camera(camera)
	args := append(strings.Fields("ffmpeg -nostdin -y -loglevel quiet "+before), "-i", c.LoginURL())
	return s.start(append(args, strings.Fields(after)...)...)
}

const (
	overTCP  = "-rtsp_transport tcp"
	oneFrame = "-frames:v 1 one.jpg"
	record   = "-c copy -f null -"
)

// lives demands that a process is there, in whatever state.
func (r *run) lives() {
	r.t.Helper()
	if presence, err := proc.Default().Look(r.id); presence != proc.Running {
		r.t.Errorf("%s is %s, %v", r.cmd, presence, err)
	}
}

func TestReap_innocentsLiveAndAreExplained(t *testing.T) {
	t.Parallel()
	for _, uid := range users() {
		t.Run(fmt.Sprintf("uid %d", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{
				{Temper: camsim.MuteAtConnect, Name: "leak"}, {Temper: camsim.Healthy, Name: "recorder"}, {Temper: camsim.SilentAfterPlay, Name: "silent"},
				{Temper: camsim.Healthy, Name: "lapse"}, {Temper: camsim.Healthy, Name: "update"}, {Temper: camsim.Healthy, Name: "select"},
				{Temper: camsim.Healthy, Name: "stalled"}, {Temper: camsim.Healthy, Name: "udp", UDP: true}, {Temper: camsim.MuteAtConnect, Name: "go2rtc"},
				{Temper: camsim.SilentAfterPlay, Name: "round"}, {Temper: camsim.MuteAtConnect, Name: "contained"}, {Temper: camsim.MuteAtConnect, Name: "named"},
			}, asUser(uid))
			var leaks []*run
			for range 3 {
				leaks = append(leaks, s.ffmpegOn("leak", overTCP, oneFrame))
			}
			leaks = append(leaks, s.startWith(func(cmd *exec.Cmd) { cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Setsid = false, true },
				"ffmpeg", "-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", s.subnet.Camera("leak").URL(), "-vframes", "1", "session.jpg"))
			leaks = append(leaks, s.startWith(func(cmd *exec.Cmd) {
				cmd.Stdin = strings.NewReader(fmt.Sprintf("ffconcat version 1.0\nfile '%s'\noption rtsp_transport tcp\n", s.subnet.Camera("leak").URL()))
			}, strings.Fields("ffmpeg -nostdin -loglevel quiet -f concat -safe 0 -protocol_whitelist pipe,rtsp,rtp,tcp,udp -i pipe:0 -frames:v 1 hidden.jpg")...))
			stopped := s.ffmpegOn("leak", overTCP, oneFrame)

			udp := s.ffmpegOn("udp", "-rtsp_transport udp", record)
			innocent := map[string]*run{
				"was heard":         s.ffmpegOn("recorder", overTCP, record),
				"or dialled":        s.ffmpegOn("silent", overTCP, record),
				"it streams":        s.ffmpegOn("lapse", overTCP, "-f image2 img%05d.jpg"),
				"it":                s.ffmpegOn("update", overTCP, "-update 1 now.jpg"),
				"streams":           udp,
				"the filter select": s.ffmpegOn("select", overTCP, "-vf select=gt(n\\,1000000) -frames:v 1 chosen.jpg"),
				"only named":        s.onlyNamed("named"),
				"answers for it":    s.start(s.round(s.subnet.Camera("round").Address().Addr().String()+"/32", "--source", "ffmpeg", "--timeout", "5m")...),
			}
			innocent["reader stalled"] = s.stalled("stalled")
			manager := s.start("bash", "-c", fmt.Sprintf("exec -a go2rtc %s", s.go2rtc("go2rtc")))
			innocent["go2rtc"] = manager
			container := s.contained("contained")
			s.busy(6 + len(innocent))
			s.fills("stalled")
			check(t, syscall.Kill(stopped.pid(), syscall.SIGSTOP))

			dry := s.reaped(0, "--older-than", "10ms", "--silent-for", "1m", "--dry-run")
			if !dry.DryRun || dry.Verdict != "left" || dry.Summary.Killed != 0 {
				t.Errorf("dry run: %+v", dry)
			}
			got := s.reaped(0, "--older-than", "10ms", "--silent-for", "1m", "--grace", "500ms")
			for _, r := range append(leaks, stopped) {
				if want := "killed: a capture of one frame"; !strings.HasPrefix(got.of(r.pid()), want) || !strings.HasPrefix(dry.of(r.pid()), "would-kill") {
					t.Errorf("%s\n is %s, want %s", r.cmd, got.of(r.pid()), want)
				}
				r.end()
			}
			if got.Summary.Killed != len(leaks)+1 || got.Verdict != "clean" {
				t.Errorf("%+v, want %d killed", got.Summary, len(leaks)+1)
			}
			for why, r := range innocent {
				r.lives()
				pid := r.pid()
				if why == "answers for it" || why == "go2rtc" {
					pid = s.childOf(r)
				}
				if said := got.of(pid); !strings.HasPrefix(said, "kept: ") || !strings.Contains(said, why) {
					t.Errorf("%s\n is %s, want kept: %s", r.cmd, said, why)
				}
			}
			if container != nil {
				inside := s.childOf(container)
				if said := got.of(inside); !strings.Contains(said, "container") || !strings.HasPrefix(said, "kept") {
					t.Errorf("in a container: %s", said)
				}
				if got := s.reaped(0, "--older-than", "10ms", "--include", "container"); got.Summary.Killed != 1 || !strings.HasPrefix(got.of(inside), "killed") {
					t.Errorf("asked for containers: %+v", got)
				}
				container.end()
			}
			// Asked for the silent ones too, it ends the one whose camera is silent, and nobody else. The subnet has others
			// that are heard, so it is not the network.
			s.falls("silent", 5*time.Second)
			s.falls("udp", 5*time.Second)
			got = s.reaped(0, "--older-than", "1h", "--include", "silent", "--silent-for", "5s")
			silent := innocent["or dialled"]
			if got.Summary.Killed != 1 || !strings.HasPrefix(got.of(silent.pid()), "killed: it streams, and its camera has sent nothing") {
				t.Errorf("asked for silent ones: %+v", got)
			}
			silent.end()
			if said := got.of(udp.pid()); !strings.HasPrefix(said, "kept: it streams, and its media may come over UDP") {
				t.Errorf("over UDP: %s", said)
			}
			for _, r := range innocent {
				if r != silent {
					r.lives()
				}
			}
		})
	}
}

// stalled is a recorder that nobody reads from: its camera's bytes pile up in the kernel.
func (s *site) stalled(camera string) *run {
	s.t.Helper()
	reader, writer, err := os.Pipe()
	check(s.t, err)
	s.t.Cleanup(func() { reader.Close() })
	defer writer.Close()
	return s.startWith(func(cmd *exec.Cmd) { cmd.Stdout = writer },
		"ffmpeg", "-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", s.subnet.Camera(camera).URL(), "-c:v", "rawvideo", "-f", "rawvideo", "pipe:1")
}

// fills waits until bytes of a camera wait to be read.
func (s *site) fills(camera string) {
	s.t.Helper()
	address := s.subnet.Camera(camera).Address()
	eventually(s.t, func() error {
		sockets, err := proc.Default().Connections([]uint16{address.Port()})
		check(s.t, err)
		if !slices.ContainsFunc(sockets.Conns, func(c proc.Conn) bool { return c.Remote == address && c.RecvQueue > 1<<15 }) {
			return fmt.Errorf("nothing waits to be read of %s", camera)
		}
		return nil
	})
}

// falls waits until a camera has been silent for as long.
func (s *site) falls(camera string, silent time.Duration) {
	s.t.Helper()
	address := s.subnet.Camera(camera).Address()
	eventually(s.t, func() error {
		sockets, err := proc.Default().Connections([]uint16{address.Port()})
		check(s.t, err)
		if !slices.ContainsFunc(sockets.Conns, func(c proc.Conn) bool { return c.Remote == address && c.Silent >= silent }) {
			return fmt.Errorf("%s is not silent yet", camera)
		}
		return nil
	})
}

// freeze puts a process where no signal reaches it, until the test ends.
func (s *site) freeze(r *run) {
	s.t.Helper()
	group := filepath.Join("/sys/fs/cgroup/freezer", fmt.Sprintf("camwarden-test-%d", r.pid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		s.t.Skip("needs root and the freezer of cgroups v1: ", err)
	}
	s.t.Cleanup(func() {
		_ = os.WriteFile(filepath.Join(group, "freezer.state"), []byte("THAWED"), 0o644)
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		eventually(s.t, func() error { return os.Remove(group) })
	})
	check(s.t, os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(fmt.Sprint(r.pid())), 0o644))
	check(s.t, os.WriteFile(filepath.Join(group, "freezer.state"), []byte("FROZEN"), 0o644))
	eventually(s.t, func() error { return stands(r, "D") })
}

// onlyNamed is a bash that calls itself ffmpeg, has the arguments of a capture, and holds the camera.
func (s *site) onlyNamed(camera string) *run {
	s.t.Helper()
	at := s.subnet.Camera(camera).Address()
	script := fmt.Sprintf("exec 9<>/dev/tcp/%s/%d; printf ffmpeg >/proc/$$/comm; read -r <&9", at.Addr(), at.Port())
	return s.start("bash", "-c", script, "-i", s.subnet.Camera(camera).URL(), "-frames:v", "1", "out.jpg")
}

// go2rtc is a script that poses as go2rtc and starts an ffmpeg on a camera.
func (s *site) go2rtc(camera string) string {
	s.t.Helper()
	path := s.path("bin", "go2rtc")
	text := fmt.Sprintf("#!/bin/sh\nffmpeg -nostdin -loglevel quiet -rtsp_transport tcp -i %s -frames:v 1 two.jpg\n:\n", s.subnet.Camera(camera).URL())
	check(s.t, os.WriteFile(path, []byte(text), 0o755))
	return path
}

// childOf waits for the one ffmpeg below a process, however deep.
func (s *site) childOf(r *run) int {
	s.t.Helper()
	var found int
	eventually(s.t, func() error {
		pids := []int{r.pid()}
		for len(pids) > 0 {
			stat, err := proc.Default().Stat(pids[0])
			if err == nil && stat.Comm == "ffmpeg" && !stat.Dead() {
				found = pids[0]
				return nil
			}
			children, _ := proc.Default().Children(pids[0])
			pids = append(pids[1:], children...)
		}
		return fmt.Errorf("%s has no ffmpeg below it", r.cmd)
	})
	return found
}

// contained starts a capture in a pid and a network namespace of its own, with a camera there that never answers and has
// the address of one of the site's. Only root can; else it is nil.
func (s *site) contained(camera string) *run {
	s.t.Helper()
	if os.Getuid() != 0 || s.uid != 0 {
		return nil
	}
	self, err := os.Executable()
	check(s.t, err)
	r := s.startWith(func(cmd *exec.Cmd) {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNET
		cmd.Path, cmd.Args[0] = self, "container"
	}, "camwarden", s.subnet.Camera(camera).Address().String(), s.subnet.Camera(camera).URL())
	eventually(s.t, func() error {
		if !strings.Contains(r.stdout.String(), "accepted") {
			return fmt.Errorf("the container has no connection: %s%s", r.stdout, r.stderr)
		}
		return nil
	})
	return r
}

// container is what runs in such namespaces: a camera that accepts and never answers, and an ffmpeg that waits for it; more of
// them that stream, when a number is given.
func container() {
	if err := contain(os.Args[1], os.Args[2], os.Args[3:]...); err != nil {
		fmt.Fprintln(os.Stderr, "container:", err)
		os.Exit(1)
	}
}

func contain(address, url string, viewers ...string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("loopback up: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	cmd := exec.Command("ffmpeg", "-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", url, "-frames:v", "1", "in.jpg")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	for range viewers {
		viewer := exec.Command("ffmpeg", "-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", url, "-c", "copy", "-f", "null", "-")
		viewer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := viewer.Start(); err != nil {
			return err
		}
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	fmt.Println("accepted")
	_ = cmd.Wait()
	return nil
}

func TestAnotherUsersLeakIsReportedAsNotPermitted(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a process of another user")
	}
	s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "leak"}}, asUser(nobody))
	theirs := s.startWith(func(cmd *exec.Cmd) { cmd.SysProcAttr.Credential = nil },
		"ffmpeg", "-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", s.subnet.Camera("leak").URL(), "-frames:v", "1", "x.jpg")
	s.busy(1)
	got := s.reaped(3, "--older-than", "10ms")
	if said := got.of(theirs.pid()); !strings.HasPrefix(said, "not-permitted: ") || !strings.Contains(said, "root") {
		t.Errorf("it is %s", said)
	}
	if got.Verdict != "left" || got.Summary.NotPermitted != 1 || got.Summary.Killed != 0 {
		t.Errorf("%+v", got)
	}
	theirs.lives()
	ours := s.ffmpegOn("leak", overTCP, oneFrame)
	s.busy(2)
	// A dry run says the same beforehand, and what this user may end it would.
	dry := s.reaped(0, "--older-than", "10ms", "-n")
	if dry.Verdict != "left" || !strings.HasPrefix(dry.of(theirs.pid()), "not-permitted: ") || !strings.HasPrefix(dry.of(ours.pid()), "would-kill: ") {
		t.Errorf("a dry run: %+v", dry)
	}
	if dry.Summary.WouldKill != 1 || dry.Summary.NotPermitted != 1 || dry.Summary.Killed != 0 {
		t.Errorf("a dry run counts %+v", dry.Summary)
	}
	ours.lives()
	look := s.start("camwarden", "doctor", s.subnet.Prefix.String(), "-c", s.strict(), "--state-dir", s.path("state"), "-o", "json")
	look.ends(1)
	var doc examination
	conforms(t, "doctor", look.stdout.String(), look.stderr.String(), &doc)
	if len(doc.Commands) != 1 || !strings.HasPrefix(doc.Commands[0], "sudo camwarden -c ") {
		t.Errorf("what is to be typed: %q", doc.Commands)
	}
}

func TestReap_endsOurOrphansOfAnyAge(t *testing.T) {
	t.Parallel()
	for _, uid := range users() {
		t.Run(fmt.Sprintf("uid %d", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "leak"}}, asUser(uid))
			// The child of a wrapper script outlives its camwarden's SIGKILL: nobody tells it that its parent is dead.
			s.ffmpeg = s.script("ffmpeg", `case "$*" in *demuxer=rtsp*|*pipe,data*) exec ffmpeg "$@";; esac`+"\nffmpeg \"$@\"\n:\n")
			s.configure()
			check(t, os.Chown(s.path("cameras.yaml"), uid, uid))
			r := s.start(s.round("office", "--source", "ffmpeg", "--timeout", "5m")...)
			s.busy(1)
			orphan := s.childOf(r)
			r.signal(syscall.SIGKILL)
			r.end()
			got := s.reaped(0)
			if said := got.of(orphan); !strings.HasPrefix(said, "killed: ours") {
				t.Errorf("the orphan: %s\n%+v", said, got)
			}
			if got.Verdict != "clean" || len(s.leases()) != 0 {
				t.Errorf("verdict %s, leases %+v", got.Verdict, s.leases())
			}
			s.nothingLeft()
		})
	}
}

func TestReap_givesUpOnWhatCannotDie(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.MuteAtConnect, Name: "leak"}})
	r := s.ffmpegOn("leak", overTCP, oneFrame)
	s.busy(1)
	s.freeze(r)
	began := time.Now()
	got := s.reaped(3, "--older-than", "10ms", "--grace", "200ms")
	if said := got.of(r.pid()); !strings.HasPrefix(said, "survived: ") || !strings.Contains(said, "state D") {
		t.Errorf("it is %s", said)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if got.Verdict != "left" || got.Summary.Survived != 1 {
		t.Errorf("%+v", got)
	}
}
