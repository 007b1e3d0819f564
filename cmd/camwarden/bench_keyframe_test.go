package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// before is the commit that the rows of this file compare with: the last one without them.
const before = "6d946d6"

// buildCommit builds camwarden as it was at a commit; ok is false where the history does not reach so far.
func (w *workshop) buildCommit(commit string) (program string, ok bool) {
	w.t.Helper()
	if exec.Command("git", "cat-file", "-e", commit).Run() != nil {
		return "", false
	}
	dir := w.path(commit)
	check(w.t, os.Mkdir(dir, 0o755))
	shell := exec.Command("sh", "-c", `git -C ../.. archive "$0" | tar -x -C "$1"`, commit, dir)
	if out, err := shell.CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	program = filepath.Join(dir, "camwarden")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./cmd/camwarden")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return program, true
}

// roundOverBefore makes rounds of many cameras that let wait for their key frames, each program with its own defaults.
func roundOverBefore(t *testing.T) []figure {
	const what = "a round of 100 cameras with a key frame every 2 s, default flags"
	turns := times(t, 3)
	w := newWorkshop(t)
	then, ok := w.buildCommit(before)
	if !ok {
		return []figure{{what, "not measured", "wall at most 0.25, CPU at most 1.05", false, []string{"The history here does not hold commit " + before + "."}}}
	}
	config, now := w.cameras("cam*100=long-gop/gop=2s"), w.build(".")
	var old, ours []spent
	for i := range turns {
		for _, one := range []struct {
			program string
			all     *[]spent
		}{{then, &old}, {now, &ours}} {
			cmd := w.command(one.program, "round", "all", "-c", config, "-d", w.path(fmt.Sprint("stills", i)), "-o", "json", "--state-dir", w.path("state"), "--log-level", "error")
			var document strings.Builder
			cmd.Stdout, cmd.Stderr = &document, os.Stderr
			s, _ := spend(cmd) // its code is 1 when a camera fails; the document tells more
			var doc report
			check(t, json.Unmarshal([]byte(document.String()), &doc))
			if doc.Summary.OK != 100 {
				t.Fatalf("%d of 100 pictures", doc.Summary.OK)
			}
			*one.all = append(*one.all, s)
		}
		t.Logf("then %.1f s, %.1f s of CPU; now %.1f s, %.1f s of CPU", old[i].wall.Seconds(), old[i].cpu.Seconds(), ours[i].wall.Seconds(), ours[i].cpu.Seconds())
	}
	oldWall, oldCPU := medians(old)
	ourWall, ourCPU := medians(ours)
	return []figure{
		ratio(what+", wall time: now / commit "+before, float64(ourWall)/float64(oldWall), 0.25,
			fmt.Sprintf("%d of each in turns, `camwarden round all`, a hundred simulated cameras whose streams run by their own clocks; medians %.1f s and %.1f s.", turns, ourWall.Seconds(), oldWall.Seconds())),
		ratio(what+", CPU: now / commit "+before, float64(ourCPU)/float64(oldCPU), 1.05,
			fmt.Sprintf("Of the same rounds, user + system time of the process and all its children; medians %.1f s and %.1f s.", ourCPU.Seconds(), oldCPU.Seconds())),
	}
}

// obedient is GStreamer's RTSP server, with an encoder whose key frames are 4 s apart unless it is asked, and somebody who watches.
func (w *workshop) obedient() (url string) {
	w.t.Helper()
	const (
		rate  = "video/x-raw,format=I420,width=640,height=360,framerate=15/1"
		group = "60"
	)
	script, err := filepath.Abs("../../pkg/rtsp/testdata/gstreamer.py")
	check(w.t, err)
	server := w.command("/usr/bin/python3", script, "127.0.0.1",
		"intervideosrc channel=bench ! "+rate+" ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max="+group+" option-string=scenecut=0 ! rtph264pay name=pay0 pt=96 config-interval=-1",
		"", "", "videotestsrc is-live=true pattern=smpte ! "+rate+" ! intervideosink channel=bench")
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	check(w.t, err)
	check(w.t, server.Start())
	w.t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	check(w.t, err)
	url = "rtsp://" + strings.TrimSpace(line) + "/stream1"
	viewer := w.command("ffmpeg", "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url, "-c", "copy", "-f", "null", "-")
	check(w.t, viewer.Start())
	w.t.Cleanup(func() {
		_ = viewer.Process.Kill()
		_ = viewer.Wait()
	})
	return url
}

// stillOfObedient takes stills of a camera that gives a key frame when it is asked.
func stillOfObedient(t *testing.T) []figure {
	const what = "time to a still of GStreamer's RTSP server, a key frame every 4 s or on request (PLI): camwarden"
	if err := exec.Command("/usr/bin/python3", "../../pkg/rtsp/testdata/gstreamer.py", "--check").Run(); err != nil {
		return []figure{{what, "not measured", "at most 0.15", false, []string{"GStreamer's RTSP server is not installed here."}}}
	}
	count := times(t, 11)
	w := newWorkshop(t)
	then, ok := w.buildCommit(before)
	now, url := w.build("."), w.obedient()
	time.Sleep(5 * time.Second) // the viewer has begun by then; else the first still would begin the stream
	var plain, old, ours []spent
	snapshot := func(program string) spent {
		s, err := spend(w.command(program, "snapshot", url, "--source", "rtsp", "-f", w.path("still.jpg"), "-o", "json", "--state-dir", w.path("state"), "--log-level", "error"))
		check(t, err)
		return s
	}
	for i := range count {
		s, err := spend(w.command("ffmpeg", "-y", "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url, "-frames:v", "1", w.path("plain.jpg")))
		check(t, err)
		plain, ours = append(plain, s), append(ours, snapshot(now))
		if ok {
			old = append(old, snapshot(then))
		} else {
			old = append(old, spent{})
		}
		t.Logf("ffmpeg %.2f s, then %.2f s, now %.2f s", plain[i].wall.Seconds(), old[i].wall.Seconds(), ours[i].wall.Seconds())
	}
	plainWall, _ := medians(plain)
	oldWall, _ := medians(old)
	ourWall, _ := medians(ours)
	note := fmt.Sprintf("%d of each in turns, each as a whole process, while somebody else watches, so that the stream runs on; medians %.2f s now, %.2f s at commit %s, %.2f s plain ffmpeg.",
		count, ourWall.Seconds(), oldWall.Seconds(), before, plainWall.Seconds())
	figures := []figure{ratio(what+" / plain ffmpeg", float64(ourWall)/float64(plainWall), 0.15, note)}
	if ok {
		figures = append(figures, ratio(what+" now / commit "+before, float64(ourWall)/float64(oldWall), 0.35, note))
	}
	return figures
}
