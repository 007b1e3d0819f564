package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// TestCommandLines_run starts the command lines of testdata/commandlines.tsv for real, each on a healthy camera and on a mute
// one, and asks doctor and reap what they think of them. What it starts carries the mark of its site, which ends it.
func TestCommandLines_run(t *testing.T) {
	testkit.Long(t, "starts 220 programs, 4 minutes")
	var lines []testkit.CommandLine
	for _, c := range testkit.CommandLines(t) {
		if !strings.HasPrefix(c.Run, "no:") {
			lines = append(lines, c)
		}
	}
	const together = 8
	batches := slices.Collect(slices.Chunk(lines, together))
	for i, batch := range batches {
		t.Run(fmt.Sprint(i), func(t *testing.T) { runLines(t, batch, i == 0) })
	}
}

// One batch of them is run in every run.
func TestCommandLines_someRun(t *testing.T) {
	t.Parallel()
	var some []testkit.CommandLine
	seen := map[string]int{}
	for _, c := range testkit.CommandLines(t) {
		kind := c.Shape + c.Well + c.Sends + c.Mute
		if c.Run != "both" {
			continue
		}
		if seen[kind]++; seen[kind] == 1 {
			some = append(some, c)
		}
	}
	runLines(t, some, true)
}

// placed is one command line that runs.
type placed struct {
	testkit.CommandLine
	*run

	mute bool
	line cmdline.Line
}

func runLines(t *testing.T, lines []testkit.CommandLine, control bool) {
	t.Helper()
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy, Name: "sends"}, {Temper: camsim.MuteAtConnect, Name: "silent"}}, func(s *site) {
		s.more = "reap: {older_than: 1s, silent_for: 2s}\n"
	})
	pictures, raw := s.pictures(), s.rawVideo()
	var all []placed
	for i, c := range lines {
		for _, mute := range []bool{false, true} {
			if c.Run == "mute" && !mute {
				continue
			}
			camera := s.subnet.Camera("sends")
			http, tcp := pictures, raw
			if mute {
				camera = s.subnet.Camera("silent")
				http, tcp = camera.Address(), camera.Address()
			}
			at := camera.Address()
			replace := strings.NewReplacer("{rtsp}", camera.LoginURL(), "{rtmp}", "rtmp://"+at.String()+"/live", "{http}", "http://"+http.String()+"/video.mjpg",
				"{tcp}", "tcp://"+tcp.String(), "{movie}", strings.ReplaceAll(camera.URL(), ":", `\\:`), "{udp}", "15004")
			all = append(all, s.place(c, fmt.Sprintf("%d-%v", i, mute), mute, c.Args(replace)))
		}
	}
	for _, p := range all {
		if !p.mute && p.Well == "done" {
			began := time.Now()
			code := p.end()
			t.Logf("%s after %s", p.Text, time.Since(began))
			if code != 0 {
				t.Errorf("%s: %s\n ended with %d: %s", p.Source, p.Text, code, p.stderr)
			}
		}
	}
	took := eventually(t, func() error { return errors.Join(s.judged(all)...) })
	t.Logf("judged after %s", took)
	if !control {
		return
	}
	// The verdicts are not told from the command lines alone: the same ones are kept where nothing is old or silent.
	for _, o := range s.reaped(0, "--dry-run", "--include", "silent", "--older-than", "1h", "--silent-for", "1h").Outcomes {
		if o.Action != "kept" {
			t.Errorf("young, and %s: %s", o.Action, o.Why)
		}
	}
}

// place starts a program in a folder of its own, its output thrown away.
func (s *site) place(c testkit.CommandLine, name string, mute bool, args []string) placed {
	s.t.Helper()
	dir := s.path("at-" + name)
	check(s.t, os.MkdirAll(dir, 0o755))
	check(s.t, os.WriteFile(filepath.Join(dir, "holder.py"), []byte(holder), 0o644))
	r := s.startWith(func(cmd *exec.Cmd) {
		cmd.Dir, cmd.Stdout = dir, nil
	}, args...)
	s.t.Cleanup(func() { _ = r.cmd.Process.Kill(); _ = r.cmd.Wait() })
	return placed{CommandLine: c, run: r, mute: mute, line: cmdline.Read(args)}
}

// judged compares what doctor and reap say with what the table says.
func (s *site) judged(all []placed) []error {
	s.t.Helper()
	doctor := s.start("camwarden", "doctor", s.subnet.Prefix.String(), "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "-o", "json", "-v")
	doctor.end()
	var seen struct {
		Processes struct {
			List []struct {
				PID, Connections                     int
				Shape, Verdict, Why, Command, Camera string
				Parent                               struct {
					PID  int
					Name string
				}
				AgeMS int64 `json:"age_ms"`
			}
		}
	}
	conforms(s.t, "doctor", doctor.stdout.String(), doctor.stderr.String(), &seen)
	plain, silent := s.reaped(0, "--dry-run"), s.reaped(0, "--dry-run", "--include", "silent")
	var wrong []error
	for _, p := range all {
		if !p.mute && p.Well == "done" {
			continue
		}
		where := "healthy"
		want := p.Sends
		if p.mute {
			where, want = "mute", p.Mute
			if p.Shape == "streaming" && p.line.For > 0 {
				want = "silent" // it is not past its time
			}
		}
		at := -1
		for i, one := range seen.Processes.List {
			if one.PID == p.pid() {
				at = i
			}
		}
		if at < 0 {
			wrong = append(wrong, fmt.Errorf("%s, %s: not listed by doctor: %s (%s)", p.Source, where, p.Text, p.stderr))
			continue
		}
		one := seen.Processes.List[at]
		got := map[[2]bool]string{{true, true}: "ended", {false, true}: "silent", {false, false}: "kept"}[[2]bool{
			strings.HasPrefix(plain.of(p.pid()), "would-kill"), strings.HasPrefix(silent.of(p.pid()), "would-kill"),
		}]
		if one.Connections == 0 || one.Shape != p.Shape || got != want || (one.Verdict == "leaked") != (want == "ended") {
			wrong = append(wrong, fmt.Errorf("%s, %s: %s\n is %s by doctor (%s, %d connections: %s), %s by reap (%s), want %s, %s",
				p.Source, where, p.Text, one.Verdict, one.Shape, one.Connections, one.Why, got, plain.of(p.pid()), want, p.Shape))
		}
		if one.Parent.PID != os.Getpid() || one.Command == "" || one.AgeMS <= 0 || strings.Contains(one.Command, "MDEyMzQ1Njc4") {
			wrong = append(wrong, fmt.Errorf("%s: pid %d: parent %d, command %q, age %d ms", p.Text, one.PID, one.Parent.PID, one.Command, one.AgeMS))
		}
	}
	return wrong
}

// holder stands for a script that opens a camera and reads: what it is, its command line does not say.
const holder = `import socket, sys
from urllib.parse import urlsplit
u = urlsplit(sys.argv[1])
s = socket.create_connection((u.hostname, u.port))
while s.recv(65536): pass
`

// listens serves every connection with what serve writes, until the test ends.
func (s *site) listens(host byte, serve func(net.Conn) error) netip.AddrPort {
	s.t.Helper()
	octets := s.subnet.Prefix.Addr().As4()
	octets[3] = host
	listener, err := net.Listen("tcp", netip.AddrPortFrom(netip.AddrFrom4(octets), 0).String())
	check(s.t, err)
	s.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for serve(conn) == nil {
					time.Sleep(200 * time.Millisecond)
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String())
}

// pictures is a camera that sends JPEGs over HTTP.
func (s *site) pictures() netip.AddrPort {
	picture := image.NewGray(image.Rect(0, 0, 64, 48))
	for i := range picture.Pix {
		picture.Pix[i] = color.Gray{Y: byte(i)}.Y
	}
	var coded bytes.Buffer
	check(s.t, jpeg.Encode(&coded, picture, nil))
	begun := map[net.Conn]bool{}
	lock := make(chan struct{}, 1)
	return s.listens(201, func(conn net.Conn) error {
		lock <- struct{}{}
		first := !begun[conn]
		begun[conn] = true
		<-lock
		if first {
			if _, err := conn.Read(make([]byte, 4096)); err != nil {
				return err
			}
			if _, err := fmt.Fprint(conn, "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=ffmpeg\r\n\r\n"); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(conn, "--ffmpeg\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", coded.Len(), coded.Bytes())
		return err
	})
}

// rawVideo is a camera that sends pictures of 640x480 without a header.
func (s *site) rawVideo() netip.AddrPort {
	frame := make([]byte, 640*480*3/2)
	return s.listens(202, func(conn net.Conn) error { _, err := conn.Write(frame); return err })
}
