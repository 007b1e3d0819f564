package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// oddity is a command line that cannot work. SITE stands for the site's folder, SHOT and ROUND for the beginning of a
// command line.
type oddity struct {
	name  string
	spoil func(s *site)
	line  string // words with blanks between; begins with SHOT or ROUND, or with a program that runs one
	code  int
	class string
	says  string // in the message
	hint  string
}

func oddities() []oddity {
	program := func(mode os.FileMode, text string) func(*site) {
		return func(s *site) { s.configured(0o600, `"ffmpeg"`, `"`+s.own(mode, text, "program")+`"`) }
	}
	return []oddity{
		{"a pipe for a picture", func(s *site) { check(s.t, unix.Mkfifo(s.path("one.jpg"), 0o666)) },
			"SHOT -f SITE/one.jpg", 2, "local", "SITE/one.jpg is in the way", "-d"},
		{"a folder for a picture", func(s *site) { s.ownDir(0o755, "one.jpg") }, "SHOT -f SITE/one.jpg", 2, "local", "SITE/one.jpg is in the way", "-d"},
		{"a device for a picture", nil, "SHOT -f /dev/full", 2, "local", "/dev/full is in the way", "-d"},
		{"a missing folder for a picture", nil, "SHOT -f SITE/nowhere/x.jpg", 2, "local", "cannot write SITE/nowhere/x.jpg", "mkdir -p SITE/nowhere"},
		{"two places for a picture", nil, "SHOT -f x.jpg -d y", 2, "usage", "--file and --dir", "one of them"},
		{"an output folder where none can be", nil, "ROUND -d /proc/nowhere", 2, "local", "cannot write /proc/nowhere: ", "choose another folder"},
		{"no current folder", nil, "SITE/bin/nowhere SHOT", 2, "local", "cannot write .", "the current folder was removed"},
		{"no current folder for the configuration", nil, "SITE/bin/nowhere SHOT -c cameras.yaml", 2, "usage", "cannot read the configuration cameras.yaml", ""},
		{"no cameras at all", nil, "camwarden round all -c /dev/null --state-dir SITE/state -o json", 2, "usage", "no camera", ""},
		{"a prefix that is none", nil, "ROUND 127.0.0.0/33", 2, "usage", `"127.0.0.0/33" is no subnet`, "/24"},
		{"a camera whose name is no text", nil, "SHOT \xff\xfe", 2, "usage", `"\xff\xfe"`, "healthy"},
		{"an ffmpeg that is not in PATH", func(s *site) { s.env[0] = "PATH=" + s.path("bin") }, "ROUND", 4, "no-source", `"ffmpeg"`, "install"},
		{"an ffmpeg that is no program", program(0o755, "\x00"), "ROUND", 4, "no-source", "cannot start SITE/program: ", "ffmpeg"},
		{"an ffmpeg that is a folder", func(s *site) { s.configured(0o600, `"ffmpeg"`, `"`+s.path("bin")+`"`) }, "ROUND", 4, "no-source", "SITE/bin", ""},
		{"no time", nil, "ROUND --timeout 0s", 2, "usage", "--timeout: 0s", "10s"},
		{"less than no time", nil, "ROUND --deadline -1s", 2, "usage", "--deadline: -1s", "5m"},
		// Added to the boot-time clock these lay in the past: a lease that has expired, a lock that counts as wedged.
		{"a time-out beyond all clocks", nil, "ROUND --timeout 2562047h", 2, "usage", "--timeout: 2562047h0m0s is longer than a year", "8760h"},
		{"a deadline beyond all clocks", nil, "ROUND --deadline 2562047h", 2, "usage", "--deadline: 2562047h0m0s is longer than a year", "8760h"},
		{"a cool-down beyond all clocks", nil, "ROUND --cooldown 2562047h", 2, "usage", "--cooldown: 2562047h0m0s is longer than a year", "8760h"},
		{"nobody to do the work", nil, "ROUND -j 0", 2, "usage", "--jobs: 0", "-j 8"},
		{"more at once than there are numbers", nil, "ROUND -j 99999999999999999999", 2, "usage", "--jobs: 9999", "auto, or for example -j 8"},
	}
}

// nowhere removes the current folder under its own feet.
const nowhere = `mkdir "$HOME/gone" && cd "$HOME/gone" && rmdir "$HOME/gone" && exec camwarden "$@"` + "\n"

// line makes the words of a command line.
func (s *site) line(text string, more ...string) []string {
	var words []string
	for _, word := range strings.Fields(text) {
		switch word {
		case "ROUND":
			words = append(words, s.round("well", "-d", s.path("out"))...)
		case "SHOT":
			words = append(words, "camwarden", "snapshot", "healthy", "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json")
		default:
			words = append(words, strings.ReplaceAll(word, "SITE", s.dir))
		}
	}
	if words[0] == s.path("bin", "nowhere") {
		words = append([]string{"sh", words[0]}, words[2:]...)
	}
	return append(words, more...)
}

// A command line that cannot work is told so, once, with a hint, and no camera hears of it.
func TestCommandLine_oddIsToldBeforeADial(t *testing.T) {
	t.Parallel()
	for i, o := range oddities() {
		uid := users()[i%len(users())] // where a place is wrong, each is tried by both: TestPlace_wrongIsToldBeforeADial
		t.Run(fmt.Sprintf("%s uid %d", o.name, uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}, asUser(uid), asReleased)
			s.own(0o755, nowhere, "bin", "nowhere")
			if o.spoil != nil {
				o.spoil(s)
			}
			before := append(s.listing(), s.path("out"))
			says, hint := strings.ReplaceAll(o.says, "SITE", s.dir), strings.ReplaceAll(o.hint, "SITE", s.dir)

			r := s.start(s.line(o.line)...)
			r.ends(o.code)
			e := r.failed()
			if e.Class != o.class || !strings.Contains(e.Message, says) || !strings.Contains(e.Hint, hint) || e.Hint == "" {
				t.Errorf("%+v, want class %s, message %q, hint %q", e, o.class, says, hint)
			}
			r = s.start(s.line(o.line, "-o", "table")...)
			r.ends(o.code)
			if text := r.stderr.String(); strings.Count(text, "camwarden: ") != 1 || !strings.HasSuffix(text, "\n  hint: "+e.Hint+"\n") || r.stdout.String() != "" {
				t.Errorf("stdout %q, stderr: %s", r.stdout, text)
			}
			if n := s.connects(); n != 0 {
				t.Errorf("a camera was dialled %d times", n)
			}
			s.nothingNew(before)
		})
	}
}

// Letters of any script, an address of any family, two names of one address, and the same camera named in every way.
func TestOddNamesAndAddresses(t *testing.T) {
	t.Parallel()
	for _, uid := range eitherUser(1) {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.LimitedSlots, Slots: 1, Name: "gate"}}, asUser(uid))
			six, err := camsim.Start(camsim.Config{Temper: camsim.Healthy, Name: "six", Address: freeAtSix(t)})
			check(t, err)
			t.Cleanup(six.Close)
			at := s.subnet.Camera("gate").Address()
			s.own(0o644, fmt.Sprintf(`
sources: [rtsp, ffmpeg]
defaults: {max_connections: 1, timeout: 1m}
subnets: {everything: ["::1/128", 日本, ein.Tor_1-2, mapped]}
cameras:
  - {id: 日本, host: %[1]s, port: %[2]d}
  - {id: ein.Tor_1-2, host: %[1]s, port: %[2]d}
  - {id: mapped, host: "::ffff:%[1]s", port: %[2]d}
  - {id: six, host: "::1", port: %[3]d}
`, at.Addr(), at.Port(), six.Address().Port()), "odd.yaml")
			r := s.start("camwarden", "round", "everything", "-c", s.path("odd.yaml"), "--state-dir", s.path("state"), "-o", "json", "-d", s.path("out"))
			doc := s.clean(r, 0)
			if doc.Summary.OK != 4 {
				t.Errorf("%+v", doc)
			}
			for _, id := range []string{"日本", "ein.Tor_1-2", "mapped", "six"} {
				if _, err := os.Stat(s.path("out", id, "latest.jpg")); err != nil {
					t.Error(err)
				}
			}
			if counts := s.subnet.Camera("gate").Counts(); counts.ConnectionsMost != 1 || counts.Turned > 0 {
				t.Errorf("three names of one address: %+v", counts)
			}
			if counts := six.Counts(); counts.ConnectionsTotal != 1 || counts.Connections > 0 {
				t.Errorf("::1: %+v", counts)
			}
			// However often and in whatever way it is named, a camera is visited once.
			r = s.start("camwarden", "snapshot", "six", "six", fmt.Sprintf("[::1]:%d", six.Address().Port()), fmt.Sprintf("rtsp://[::1]:%d/stream1", six.Address().Port()),
				"-c", s.path("odd.yaml"), "--state-dir", s.path("state"), "-d", s.path("out"), "-o", "json")
			r.ends(0)
			if counts := six.Counts(); counts.ConnectionsTotal != 2 {
				t.Errorf("named four times: %+v", counts)
			}
			s.nothingLeft(r)
		})
	}
}

// A visit whose time-out passes before it can begin dials nobody and says so.
func TestATimeOutThatPassesAtOnceDialsNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}})
	for _, more := range [][]string{{"--timeout", "1ns"}, {"--deadline", "1ns"}, {"--deadline", "1s", "--timeout", "1ns"}} {
		r := s.start(s.round("office", more...)...)
		r.ends(1)
		if v := r.document().visit("healthy"); !v.Skipped || v.class() != "deadline" || v.Error.Hint == "" {
			t.Errorf("%v: %+v, %+v", more, v, v.Error)
		}
		s.untouched(r)
	}
	// Within a deadline shorter than the time-out of its cameras a round ends, and cuts them off with a reason.
	hung := newSite(t, []camsim.Config{{Temper: camsim.SilentAfterPlay, Name: "silent"}})
	r := hung.start(hung.round("office", "--deadline", "3s", "--timeout", "10m")...)
	// ffmpeg's own time-out for a silent camera lies a little before that deadline, and may be the first to pass.
	if v := hung.clean(r, 1).visit("silent"); v.class() != "deadline" && v.class() != "timeout" {
		t.Errorf("%+v, %+v", v, v.Error)
	}
}

// A signal that comes while ffmpeg is still being asked what it can do ends that too.
func TestSignal_duringTheQuestionsToFFmpeg(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		t.Run(unix.SignalName(signal), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}, withFFmpeg("trap '' TERM HUP\necho asked >>\"$HOME/asked\"\nsleep 600 & wait\nsleep 600\n"))
			r := s.start(s.round("office", "-d", s.path("out"))...)
			eventually(t, func() error { _, err := os.Stat(s.path("asked")); return err })
			r.signal(signal)
			r.ends(128 + int(signal))
			s.untouched(r)
		})
	}
}

// freeAtSix is a port that nobody uses on ::1.
func freeAtSix(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("needs ::1: ", err)
	}
	defer listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String())
}
