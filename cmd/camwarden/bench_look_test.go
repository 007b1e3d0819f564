package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
)

// lookOverTools compares doctor with the tools that a person would ask, on a host with many processes and connections.
func lookOverTools(t *testing.T) []figure {
	const idle, holders, each = 2000, 25, 100
	const what = "`doctor` on a host with 2,000 processes and 2,500 camera connections, wall time: camwarden / "
	for _, tool := range []string{"ss", "lsof"} {
		if _, err := exec.LookPath(tool); err != nil || os.Getuid() != 0 {
			return []figure{{what + tool, "not measured", "ss at most 0.70, lsof at most 0.35", false, []string{"It needs root, ss and lsof."}}}
		}
	}
	turns := times(t, 15)
	w := newWorkshop(t)
	camwarden := w.build(".")
	var figures []figure
	for _, program := range []string{"ffmpeg", "recorder"} {
		subnet := camsim.DrawSubnet()
		at := netip.AddrPortFrom(subnet.Addr().Next(), 554)
		w.crowd(at.String(), fmt.Sprint(idle), fmt.Sprint(holders), fmt.Sprint(each), program)
		var ours, ss, lsof []time.Duration
		for range turns {
			var out, errors strings.Builder
			cmd := w.command(camwarden, "doctor", subnet.String(), "--state-dir", w.path("state"))
			cmd.Stdout, cmd.Stderr = &out, &errors
			s, _ := spend(cmd) // its code is 1: such a camera is exhausted
			if text := out.String(); strings.Count(text, "\n"+fmt.Sprint(holders)+" processes with a camera") != 1 || !strings.Contains(text, fmt.Sprint(holders*each, " connections to cameras")) {
				t.Fatalf("doctor saw\n%s\n%s", text, errors.String())
			}
			ours = append(ours, s.wall)

			list := w.command("ss", "-tnp")
			out.Reset()
			list.Stdout = &out
			s, err := spend(list)
			check(t, err)
			if n := strings.Count(out.String(), at.String()); n < holders*each {
				t.Fatalf("ss saw %d connections", n)
			}
			ss = append(ss, s.wall)

			list = w.command("lsof", "-nP", "-iTCP:554")
			list.Stdout = io.Discard
			s, err = spend(list)
			check(t, err)
			lsof = append(lsof, s.wall)
		}
		how := fmt.Sprintf("%d of each in turns, whole processes with their output in a pipe; %d idle processes, and %d named %s that hold %d connections each to one address of this host, whose other ends are here too; medians %.0f ms, ss %.0f ms, lsof %.0f ms.",
			turns, idle, holders, program, each, ms(median(ours)), ms(median(ss)), ms(median(lsof)))
		overSS, overLsof := float64(median(ours))/float64(median(ss)), float64(median(ours))/float64(median(lsof))
		if program == "ffmpeg" {
			figures = append(figures, ratio(what+"`ss -tnp`", overSS, 0.7, how), ratio(what+"`lsof -nP -iTCP:554`", overLsof, 0.35, "Of the same turns."))
			continue
		}
		// Then the descriptors of every process have to be read, as ss and lsof always do.
		const name = "the same, held by programs that doctor is not told to look for: camwarden / "
		figures = append(figures, ratio(name+"`ss -tnp`", overSS, 0.9, how), noted(name+"`lsof -nP -iTCP:554`", overLsof, "Of the same turns."))
	}
	return figures
}

// crowd fills this host until the test ends.
func (w *workshop) crowd(args ...string) {
	w.t.Helper()
	cmd := w.command(w.build("testdata/crowd"), args...)
	stdin, err := cmd.StdinPipe()
	check(w.t, err)
	stdout, err := cmd.StdoutPipe()
	check(w.t, err)
	cmd.Stderr = os.Stderr
	check(w.t, cmd.Start())
	w.t.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		w.t.Fatalf("no crowd came together: %v", err)
	}
}

// reapOverLoop compares a reap of many hung ffmpegs with the least that it could do: send the same signals, and see the
// last one gone.
func reapOverLoop(t *testing.T) []figure {
	const hung, perCamera = 300, 20
	turns := times(t, 3)
	w := newWorkshop(t)
	camwarden := w.build(".")
	config := w.cameras(fmt.Sprintf("cam*%d=mute", hung/perCamera))
	cameras := camerasOf(t, config)
	var ours, bare []time.Duration
	survivors := 0
	for range turns {
		started := w.hang(cameras, hung)
		cmd := w.command(camwarden, "reap", cameras.prefix, "--older-than", "1ms", "--state-dir", w.path("state"), "-o", "json")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		s, err := spend(cmd)
		check(t, err)
		var doc reaping
		check(t, json.Unmarshal([]byte(out.String()), &doc))
		ours = append(ours, s.wall)
		survivors += started.left() + hung - doc.Summary.Killed
		started.collect()

		started = w.hang(cameras, hung)
		began := time.Now()
		for _, child := range started.children {
			check(t, syscall.Kill(child.Process.Pid, syscall.SIGTERM))
		}
		for _, fd := range started.pidfds {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			for n, err := unix.Poll(fds, -1); n == 0 || err == unix.EINTR; n, err = unix.Poll(fds, -1) {
			}
		}
		bare = append(bare, time.Since(began))
		started.collect()
	}
	f := ratio("`reap` of 300 hung ffmpegs, wall time: camwarden / a bare loop that sends the same signals and sees the last one gone",
		float64(median(ours))/float64(median(bare)), 1.5,
		fmt.Sprintf("%d of each in turns, real ffmpegs at mute cameras, %d at each; the whole process, both of its looks included; medians %.0f ms and %.0f ms; survivors: %d.",
			turns, perCamera, ms(median(ours)), ms(median(bare)), survivors))
	f.reached = f.reached && survivors == 0
	return []figure{f}
}

// simulated are the cameras of a configuration that camsim wrote.
type simulated struct {
	prefix string
	urls   []string
}

func camerasOf(t *testing.T, config string) simulated {
	t.Helper()
	text, err := os.ReadFile(config)
	check(t, err)
	var s simulated
	for _, word := range strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" ,[]{}\n\"", r) }) {
		if prefix, err := netip.ParsePrefix(word); err == nil && s.prefix == "" {
			s.prefix = prefix.String()
		}
		if addr, err := netip.ParseAddr(word); err == nil {
			s.urls = append(s.urls, fmt.Sprintf("rtsp://%s:%d/stream1", addr, camsim.DefaultPort))
		}
	}
	if s.prefix == "" || len(s.urls) == 0 {
		t.Fatalf("no cameras in %s", text)
	}
	return s
}

// hungCaptures are ffmpegs that wait for cameras which never answer.
type hungCaptures struct {
	t        *testing.T
	children []*exec.Cmd
	pidfds   []int
}

// hang starts them, and waits until each has connected.
func (w *workshop) hang(cameras simulated, count int) *hungCaptures {
	w.t.Helper()
	h := &hungCaptures{t: w.t}
	for i := range count {
		cmd := w.command("ffmpeg", "-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", cameras.urls[i%len(cameras.urls)], "-frames:v", "1", "-f", "image2", "-y", "/dev/null")
		check(w.t, cmd.Start())
		fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
		check(w.t, err)
		h.children, h.pidfds = append(h.children, cmd), append(h.pidfds, fd)
	}
	prefix := netip.MustParsePrefix(cameras.prefix)
	began := time.Now()
	for connected(w.t, prefix) < count {
		if time.Since(began) > 5*time.Minute {
			w.t.Fatalf("%d of %d ffmpegs have connected", connected(w.t, prefix), count)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return h
}

// left counts those that have not ended.
func (h *hungCaptures) left() int {
	n := 0
	for _, fd := range h.pidfds {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if ready, err := unix.Poll(fds, 0); err != nil || ready == 0 {
			n++
		}
	}
	return n
}

func (h *hungCaptures) collect() {
	for i, child := range h.children {
		_ = child.Process.Kill()
		_ = child.Wait()
		_ = unix.Close(h.pidfds[i])
	}
}

// connected counts this host's open connections into a prefix.
func connected(t *testing.T, prefix netip.Prefix) int {
	t.Helper()
	sockets, err := proc.Default().Connections([]uint16{camsim.DefaultPort})
	check(t, err)
	n := 0
	for _, c := range sockets.Conns {
		if c.State == proc.Established && prefix.Contains(c.Remote.Addr()) {
			n++
		}
	}
	return n
}
