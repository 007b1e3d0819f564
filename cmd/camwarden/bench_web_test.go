package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What stills over HTTP are compared on: a JPEG as a camera of 1080p sends it, behind digest.
const (
	webUser, webPassword = "viewer", "p4ss-W0rd"
	webStill             = "1080p JPEG of about 250 KiB, digest"
)

// webCameras are cameras that show the film and give the JPEG too.
func (w *workshop) webCameras(count int) filmed {
	w.t.Helper()
	w.highDefinition(0) // makes the film
	still := w.path("still.jpg")
	out, err := w.command("ffmpeg", "-loglevel", "error", "-nostdin", "-y", "-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=1", "-frames:v", "1",
		"-vf", "noise=alls=10:allf=t", "-pix_fmt", "yuvj420p", "-q:v", "5", still).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	if info, err := os.Stat(still); err != nil || info.Size() < 200<<10 || info.Size() > 320<<10 {
		w.t.Fatalf("the JPEG has %d bytes, %v", info.Size(), err)
	}
	return w.show("h264", w.path("film.h264"), count, still, webUser, webPassword)
}

func (f filmed) webURL(i int) string {
	return "http://" + f.addresses[i].Addr().String() + ":8080/snapshot.jpg"
}

// webStillOverPeers takes one still of one camera by plain ffmpeg over RTSP, by curl and by camwarden over HTTP.
func webStillOverPeers(t *testing.T) []figure {
	count := times(t, 21)
	if _, err := exec.LookPath("curl"); err != nil {
		return []figure{{"a still over HTTP: camwarden / curl --digest", "not measured", "at most 1.50", false, []string{"curl is not installed here."}}}
	}
	w := newWorkshop(t)
	cam := w.webCameras(1)
	camwarden := w.build(".")
	var ffmpegs, curls, ours, curlStarts, ourStarts []spent
	run := func(into *[]spent, cmd *exec.Cmd) {
		t.Helper()
		cmd.Stderr = os.Stderr
		s, err := spend(cmd)
		check(t, err)
		*into = append(*into, s)
	}
	rtsp := strings.Replace(cam.url(0), "//", "//"+webUser+":"+webPassword+"@", 1)
	for i := range count {
		cam.waitForPhase(gop * time.Duration(2*i+1) / time.Duration(2*count))
		run(&ffmpegs, w.command("ffmpeg", "-loglevel", "error", "-y", "-rtsp_transport", "tcp", "-i", rtsp, "-frames:v", "1", w.path("plain.jpg")))
		run(&curls, w.command("curl", "-sS", "--fail", "--digest", "-u", webUser+":"+webPassword, "-o", w.path("curl.jpg"), cam.webURL(0)))
		run(&curlStarts, w.command("curl", "--version"))
		run(&ourStarts, w.command(camwarden, "version"))
		cmd := w.command(camwarden, "snapshot", strings.Replace(cam.webURL(0), "//", "//"+webUser+"@", 1), "--source", "http", "-f", w.path("ours.jpg"),
			"--state-dir", w.path("state"), "--log-level", "error", "-q")
		cmd.Env = append(cmd.Environ(), "CAM_PASSWORD="+webPassword)
		run(&ours, cmd)
	}
	theirs, err := os.Stat(w.path("curl.jpg"))
	check(t, err)
	if got, err := os.Stat(w.path("ours.jpg")); err != nil || got.Size() != theirs.Size() {
		t.Fatalf("%v bytes, %v", got, err)
	}
	fWall, fCPU := medians(ffmpegs)
	cWall, cCPU := medians(curls)
	oWall, oCPU := medians(ours)
	csWall, csCPU := medians(curlStarts)
	osWall, osCPU := medians(ourStarts)
	over := func(what string, ours, start, theirs, theirStart time.Duration) figure {
		return ratio(what, float64(ours-start)/float64(theirs-theirStart), 1.5, fmt.Sprintf(
			"Of the same turns; medians less those of `version`: %.1f ms - %.1f ms, and %.1f ms - %.1f ms of `curl --digest -o`.", ms(ours), ms(start), ms(theirs), ms(theirStart)))
	}
	how := fmt.Sprintf("%d of each in turns, of one camera (%s; %s), ffmpeg begun evenly over the time between two key frames; `camwarden snapshot http://... --source http` and `ffmpeg -y -rtsp_transport tcp -i rtsp://... -frames:v 1 out.jpg`, each as a whole process; medians", count, webStill, film)
	return []figure{
		ratio("time of a still over HTTP: camwarden / plain ffmpeg over RTSP", float64(oWall)/float64(fWall), 0.10, fmt.Sprintf("%s %.1f ms and %.0f ms.", how, ms(oWall), ms(fWall))),
		ratio("CPU of a still over HTTP: camwarden / plain ffmpeg over RTSP", float64(oCPU)/float64(fCPU), 0.05, fmt.Sprintf("Of the same turns; medians %.1f ms and %.0f ms.", ms(oCPU), ms(fCPU))),
		over("time of a still over HTTP less the start: camwarden / curl --digest", oWall, osWall, cWall, csWall),
		over("CPU of a still over HTTP less the start: camwarden / curl --digest", oCPU, osCPU, cCPU, csCPU),
	}
}

// webRoundOverPeers compares a round of a thousand cameras with GNU parallel running a curl for each, and with our own round over RTSP.
func webRoundOverPeers(t *testing.T) []figure {
	const cameras, fewer, jobs, most = 1000, 100, 64, 64
	for _, tool := range []string{"curl", "parallel"} {
		if _, err := exec.LookPath(tool); err != nil {
			return []figure{{"a round of 1,000 cameras over HTTP: camwarden / GNU parallel with curl", "not measured", "wall at most 0.35, CPU at most 0.25", false, []string{tool + " is not installed here."}}}
		}
	}
	turns := times(t, 3)
	w := newWorkshop(t)
	set := w.webCameras(cameras)
	config, out := w.path("thousand.yaml"), w.path("peers")
	check(t, os.Mkdir(out, 0o755))
	check(t, os.WriteFile(w.path("password"), []byte(webPassword), 0o600))
	var list strings.Builder
	fmt.Fprintf(&list, "defaults: {timeout: 30s, username: %s, password_file: %s}\n", webUser, w.path("password"))
	fmt.Fprintf(&list, "subnets: {few: [%s]}\ncameras:\n", strings.Join(names(fewer), ", "))
	peers := []string{"--will-cite", "-j", strconv.Itoa(jobs), "curl -sS --fail -m 30 --digest -u " + webUser + ":" + webPassword + " -o " + filepath.Join(out, "{#}.jpg") + " {}", ":::"}
	for i, at := range set.addresses {
		fmt.Fprintf(&list, "  - {id: cam%04d, host: %s, port: %d, path: /stream1, snapshot: %q}\n", i, at.Addr(), at.Port(), set.webURL(i))
		peers = append(peers, set.webURL(i))
	}
	check(t, os.WriteFile(config, []byte(list.String()), 0o600))
	camwarden := w.build(".")
	round := func(source, subnet string, count int) (spent, float64) {
		t.Helper()
		cmd := w.command(camwarden, "round", subnet, "-c", config, "--source", source, "-d", w.path("ours"), "-o", "json", "--state-dir", w.path("state"), "--log-level", "error")
		cmd.Stderr = os.Stderr
		document, highest := documentAndMemory(t, cmd)
		if document.Summary.OK != count {
			t.Errorf("%s: %+v", source, document.Summary)
		}
		return document.spent, highest
	}
	var theirs, ours []spent
	memory, missing := 0.0, 0
	for range turns {
		s, err := spend(w.command("parallel", peers...))
		check(t, err)
		theirs = append(theirs, s)
		found, err := filepath.Glob(filepath.Join(out, "*.jpg"))
		check(t, err)
		missing += cameras - len(found)
		for _, file := range found {
			check(t, os.Remove(file))
		}
		s, highest := round("http", "all", cameras)
		ours, memory = append(ours, s), max(memory, highest)
		t.Logf("parallel %.1f s, %.1f s of CPU; camwarden %.1f s, %.1f s of CPU, %.1f MiB", theirs[len(theirs)-1].wall.Seconds(), theirs[len(theirs)-1].cpu.Seconds(), s.wall.Seconds(), s.cpu.Seconds(), highest)
	}
	byRTSP, _ := round("rtsp", "few", fewer)
	theirWall, theirCPU := medians(theirs)
	ourWall, ourCPU := medians(ours)
	how := fmt.Sprintf("%d of each in turns, a thousand cameras in a process of their own on the same processors (%s); `camwarden round all --source http` with the default -j, and `parallel -j %d curl --digest -o`, whose pictures that did not come are %d; medians", turns, webStill, jobs, missing)
	return []figure{
		ratio("a round of 1,000 cameras over HTTP, wall time: camwarden / GNU parallel with curl", float64(ourWall)/float64(theirWall), 0.35, fmt.Sprintf("%s %.1f s and %.1f s.", how, ourWall.Seconds(), theirWall.Seconds())),
		ratio("a round of 1,000 cameras over HTTP, CPU: camwarden / GNU parallel with curl", float64(ourCPU)/float64(theirCPU), 0.25, fmt.Sprintf("Of the same rounds; medians %.1f s and %.1f s.", ourCPU.Seconds(), theirCPU.Seconds())),
		ratio("CPU of a camera in a round: over HTTP / over RTSP", float64(ourCPU)/cameras/(float64(byRTSP.cpu)/fewer), 0.20, fmt.Sprintf("Of each camera: the median of the same rounds over HTTP, and one round of %d of the same cameras with `--source rtsp` (%s), its ffmpegs included: %.1f ms and %.1f ms.", fewer, film, ms(ourCPU)/cameras, ms(byRTSP.cpu)/fewer)),
		{
			"own memory of a round of 1,000 cameras over HTTP", fmt.Sprintf("%.1f MiB", memory), fmt.Sprintf("at most %d MiB", most), memory > 0 && memory <= most,
			[]string{"VmHWM of the process after its last look, the greatest of the same rounds."},
		},
	}
}

// names are the ids of the first cameras.
func names(count int) []string {
	var ids []string
	for i := range count {
		ids = append(ids, fmt.Sprintf("cam%04d", i))
	}
	return ids
}

// measured is a document of a round and what the round took.
type measured struct {
	report
	spent
}

// documentAndMemory runs a round and reads how much memory it ever held, at the moment when all is done but the last bytes of the
// document: nobody has taken these from the pipe yet, so the process still is there to be asked.
func documentAndMemory(t *testing.T, cmd *exec.Cmd) (measured, float64) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	reader := stdout.(*os.File)
	raw, err := reader.SyscallConn()
	check(t, err)
	check(t, raw.Control(func(fd uintptr) { _, err = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 4096) }))
	check(t, err)
	began := time.Now()
	check(t, cmd.Start())
	first := make([]byte, 1)
	_, err = reader.Read(first)
	check(t, err)
	kibibytes := peakMemory(cmd.Process.Pid)
	var m measured
	check(t, json.NewDecoder(io.MultiReader(bytes.NewReader(first), reader)).Decode(&m.report))
	_ = cmd.Wait() // its code is 1 when a camera fails; the document tells more
	m.wall, m.cpu = time.Since(began), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	return m, float64(kibibytes) / 1024
}
