package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/proc"
)

// What the peers are compared on: 1080p H.264 as cameras send it, a key frame every gop, ten seconds over and over.
const (
	filmRate = 15
	gop      = 2 * time.Second
	film     = "1080p H.264, 15 pictures and 4 Mbit a second, a key frame every 2 s"
)

// filmed are cameras in a process of their own that all show one film, and a way to ask when their key frames go.
type filmed struct {
	t         *testing.T
	pid       int
	addresses []netip.AddrPort
	questions io.Writer
	answers   *json.Decoder
}

func (f filmed) url(i int) string { return "rtsp://" + f.addresses[i].String() + "/stream1" }

// keyFrames returns when the last byte of the last key frame had gone to a client of the first camera, by the camera's own
// witness, and when the next key frame is due.
func (f filmed) keyFrames() (last, next time.Time) {
	f.t.Helper()
	_, err := io.WriteString(f.questions, "0\n")
	check(f.t, err)
	var answer struct{ Last, Next time.Time }
	check(f.t, f.answers.Decode(&answer))
	return answer.Last, answer.Next
}

// cpu returns what the cameras have used of the processors so far, in steps of 10 ms.
func (f filmed) cpu() time.Duration {
	f.t.Helper()
	stat, err := proc.Default().Stat(f.pid)
	check(f.t, err)
	return time.Duration(stat.UTime+stat.STime) * 10 * time.Millisecond
}

// waitForPhase returns when the next key frame of the first camera is still that far away.
func (f filmed) waitForPhase(away time.Duration) {
	_, next := f.keyFrames()
	at := next.Add(-away)
	if time.Until(at) < 0 {
		at = at.Add(gop)
	}
	time.Sleep(time.Until(at))
}

// filmCameras makes a film with ffmpeg and has that many cameras show it.
func (w *workshop) filmCameras(codec string, count int, encode ...string) filmed {
	w.t.Helper()
	stream := w.path("film." + codec)
	if _, err := os.Stat(stream); err != nil {
		out, err := w.command("ffmpeg", append(append([]string{"-loglevel", "error", "-nostdin", "-f", "lavfi", "-i"}, encode...), stream)...).CombinedOutput()
		if err != nil {
			w.t.Fatalf("the film: %v\n%s", err, out)
		}
	}
	return w.show(codec, stream, count)
}

// show has that many cameras show a film.
func (w *workshop) show(codec, stream string, count int, more ...string) filmed {
	w.t.Helper()
	args := append([]string{codec, stream, strconv.Itoa(filmRate), strconv.Itoa(count), gop.String()}, more...)
	sim := w.command(w.build("testdata/filmcams"), args...)
	sim.Stderr = os.Stderr
	questions, err := sim.StdinPipe()
	check(w.t, err)
	stdout, err := sim.StdoutPipe()
	check(w.t, err)
	check(w.t, sim.Start())
	w.t.Cleanup(func() {
		_ = questions.Close()
		_ = sim.Wait()
	})
	f := filmed{t: w.t, pid: sim.Process.Pid, questions: questions, answers: json.NewDecoder(stdout)}
	if err := f.answers.Decode(&f.addresses); err != nil || len(f.addresses) != count {
		w.t.Fatalf("filmcams did not start: %d cameras, %v", len(f.addresses), err)
	}
	return f
}

func (w *workshop) highDefinition(count int) filmed {
	return w.filmCameras("h264", count, fmt.Sprintf("testsrc2=size=1920x1080:rate=%d", filmRate), "-t", "10", "-vf", "noise=alls=10:allf=t",
		"-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-b:v", "4M", "-maxrate", "4M", "-bufsize", "4M", "-bf", "0",
		"-g", "30", "-keyint_min", "30", "-sc_threshold", "0", "-f", "h264")
}

// spent is what one run of a program took, its children included.
type spent struct{ wall, cpu time.Duration }

// spend runs the program to its end. The kernel adds to the usage of a process that is waited for that of the children it has
// waited for itself; camwarden, GNU parallel and timeout wait for all of theirs.
func spend(cmd *exec.Cmd) (spent, error) {
	began := time.Now()
	err := cmd.Run()
	s := spent{wall: time.Since(began)}
	if cmd.ProcessState != nil {
		s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return s, err
}

func medians(all []spent) (wall, cpu time.Duration) {
	var walls, cpus []time.Duration
	for _, s := range all {
		walls, cpus = append(walls, s.wall), append(cpus, s.cpu)
	}
	return median(walls), median(cpus)
}

// times is how often to measure: fewer than the page wants only for those who work on the benchmark itself.
func times(t *testing.T, want int) int {
	t.Helper()
	fewer := os.Getenv("CAMWARDEN_BENCH_TIMES")
	if fewer == "" {
		return want
	}
	n, err := strconv.Atoi(fewer)
	check(t, err)
	return min(n, want)
}

// timed are the parts of a still in the document.
type timed struct {
	Visits []struct {
		OK            bool
		Width, Height int
		WaitedMS      int64 `json:"waited_ms"`
		KeyFrameMS    int64 `json:"keyframe_ms"`
		DecodeMS      int64 `json:"decode_ms"`
		DurationMS    int64 `json:"duration_ms"`
	}
}

// stillOverFFmpeg takes stills of one running stream by the plain ffmpeg command and by camwarden, begun as far from the
// next key frame as each other, and evenly over the group of pictures.
func stillOverFFmpeg(t *testing.T) []figure {
	count := times(t, 21)
	w := newWorkshop(t)
	cam := w.highDefinition(1)
	camwarden := w.build(".")
	var plain, ours []spent
	var after, decode, inVisit []time.Duration
	for i := range count {
		away := gop * time.Duration(2*i+1) / time.Duration(2*count)

		cam.waitForPhase(away)
		s, err := spend(w.command("ffmpeg", "-y", "-rtsp_transport", "tcp", "-i", cam.url(0), "-frames:v", "1", w.path("plain.jpg")))
		check(t, err)
		plain = append(plain, s)

		cam.waitForPhase(away)
		cmd := w.command(camwarden, "snapshot", cam.url(0), "--source", "rtsp", "-f", w.path("ours.jpg"), "-o", "json",
			"--state-dir", w.path("state"), "--log-level", "error")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		s, err = spend(cmd)
		ended := time.Now()
		check(t, err)
		last, _ := cam.keyFrames()
		var doc timed
		check(t, json.Unmarshal([]byte(out.String()), &doc))
		if len(doc.Visits) != 1 || !doc.Visits[0].OK || doc.Visits[0].Width != 1920 || doc.Visits[0].Height != 1080 {
			t.Fatalf("not a still of 1920x1080: %s", out.String())
		}
		v := doc.Visits[0]
		ours, after = append(ours, s), append(after, ended.Sub(last))
		decode = append(decode, time.Duration(v.DecodeMS)*time.Millisecond)
		inVisit = append(inVisit, time.Duration(v.DurationMS-v.WaitedMS-v.KeyFrameMS)*time.Millisecond)
		t.Logf("key frame in %4d ms: ffmpeg %4.0f ms, %3.0f ms of CPU; camwarden %4.0f ms, %3.0f ms of CPU, %3.0f ms after the key frame (waited %d, key frame %d, decode %d, visit %d)",
			away.Milliseconds(), ms(plain[i].wall), ms(plain[i].cpu), ms(s.wall), ms(s.cpu), ms(after[i]), v.WaitedMS, v.KeyFrameMS, v.DecodeMS, v.DurationMS)
	}
	plainWall, plainCPU := medians(plain)
	oursWall, oursCPU := medians(ours)
	how := fmt.Sprintf("%d of each in turns, of one running stream (%s), begun evenly over the time between two key frames, the same for both; `camwarden snapshot URL --source rtsp` and `ffmpeg -y -rtsp_transport tcp -i URL -frames:v 1 out.jpg`, each as a whole process; medians", count, film)
	const bar = 150 * time.Millisecond
	return []figure{
		ratio("time to a still of 1080p H.264: camwarden / plain ffmpeg", float64(oursWall)/float64(plainWall), 0.45,
			fmt.Sprintf("%s %.2f s and %.2f s.", how, oursWall.Seconds(), plainWall.Seconds())),
		{
			"time to a still of 1080p H.264 beyond the key frame's last byte", fmt.Sprintf("%.0f ms", ms(median(after))),
			fmt.Sprintf("at most %d ms", bar.Milliseconds()), median(after) <= bar,
			[]string{fmt.Sprintf("Of the same stills, from when the camera had sent that byte (its own witness) to the end of the process, so TEARDOWN, decode, file, last look and document are in it; median, greatest %.0f ms. By the document the visit alone, less waited_ms and keyframe_ms, took %.0f ms, of which decode_ms %.0f ms.",
				ms(greatest(after)), ms(median(inVisit)), ms(median(decode)))},
		},
		ratio("CPU of a still of 1080p H.264: camwarden / plain ffmpeg", float64(oursCPU)/float64(plainCPU), 0.40,
			fmt.Sprintf("Of the same stills, user + system time of the process and all its children; medians %.0f ms and %.0f ms.", ms(oursCPU), ms(plainCPU))),
	}
}

func greatest(all []time.Duration) time.Duration {
	most := all[0]
	for _, d := range all {
		most = max(most, d)
	}
	return most
}

// roundOverParallel compares a round of many cameras with GNU parallel running an ffmpeg for each.
func roundOverParallel(t *testing.T) []figure {
	const cameras, jobs = 100, 32
	if _, err := exec.LookPath("parallel"); err != nil {
		return []figure{{
			"a round of 100 cameras of 1080p H.264, `-j 32`: camwarden / GNU parallel with ffmpeg", "not measured", "wall at most 0.35, CPU at most 0.40", false,
			[]string{"GNU parallel is not installed here."},
		}}
	}
	turns := times(t, 3)
	w := newWorkshop(t)
	set := w.highDefinition(cameras)
	config, out := w.path("hundred.yaml"), w.path("peers")
	check(t, os.Mkdir(out, 0o755))
	var list strings.Builder
	list.WriteString("defaults: {timeout: 10s}\ncameras:\n")
	peers := []string{"--will-cite", "-j", strconv.Itoa(jobs), "timeout -k 2 10 ffmpeg -y -rtsp_transport tcp -i {} -frames:v 1 " + filepath.Join(out, "{#}.jpg"), ":::"}
	for i, at := range set.addresses {
		fmt.Fprintf(&list, "  - {id: cam%03d, host: %s, port: %d, path: /stream1}\n", i, at.Addr(), at.Port())
		peers = append(peers, set.url(i))
	}
	check(t, os.WriteFile(config, []byte(list.String()), 0o600))
	camwarden := w.build(".")

	var theirs, ours []spent
	var theirsMissing, oursMissing []int
	var theirCameras, ourCameras []time.Duration
	for range turns {
		start := set.cpu()
		s, err := spend(w.command("parallel", peers...)) // its code is how many failed
		if s.cpu == 0 {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(out, "*.jpg"))
		check(t, err)
		for _, file := range found {
			check(t, os.Remove(file))
		}
		theirs, theirsMissing = append(theirs, s), append(theirsMissing, cameras-len(found))
		middle := set.cpu()

		cmd := w.command(camwarden, "round", "all", "-c", config, "--source", "rtsp", "-j", strconv.Itoa(jobs),
			"-d", w.path("ours"), "-o", "json", "--state-dir", w.path("state"), "--log-level", "error")
		var document strings.Builder
		cmd.Stdout, cmd.Stderr = &document, os.Stderr
		s, _ = spend(cmd) // its code is 1 when a camera fails; the document tells more
		theirCameras, ourCameras = append(theirCameras, middle-start), append(ourCameras, set.cpu()-middle)
		var doc report
		check(t, json.Unmarshal([]byte(document.String()), &doc))
		failed := map[string]int{}
		for _, v := range doc.Visits {
			if !v.OK && v.Error != nil {
				failed[v.Error.Class+" at "+v.Error.Step+": "+v.Error.Message]++
			}
		}
		ours, oursMissing = append(ours, s), append(oursMissing, cameras-doc.Summary.OK)
		t.Logf("parallel %.1f s, %.1f s of CPU, %d without a picture; camwarden %.1f s, %.1f s of CPU, %d without %v", theirs[len(theirs)-1].wall.Seconds(),
			theirs[len(theirs)-1].cpu.Seconds(), theirsMissing[len(theirsMissing)-1], s.wall.Seconds(), s.cpu.Seconds(), cameras-doc.Summary.OK, failed)
	}
	theirWall, theirCPU := medians(theirs)
	ourWall, ourCPU := medians(ours)
	whole := true // a round that leaves cameras out is quick for nothing
	for _, missing := range oursMissing {
		whole = whole && missing == 0
	}
	wall := ratio("a round of 100 cameras of 1080p H.264, `-j 32`, wall time: camwarden / GNU parallel with ffmpeg", float64(ourWall)/float64(theirWall), 0.35,
		fmt.Sprintf("%d of each in turns, a hundred running streams (%s) whose key frames are evenly spread, in a process of their own on the same processors; `camwarden round all -j 32 --source rtsp` with a timeout of 10 s, and `parallel -j 32 timeout -k 2 10 ffmpeg -y -rtsp_transport tcp -i {} -frames:v 1 {#}.jpg`; medians %.1f s and %.1f s. Cameras without a picture, turn by turn: %v of camwarden, %v of ffmpeg.",
			turns, film, ourWall.Seconds(), theirWall.Seconds(), oursMissing, theirsMissing))
	cpu := ratio("a round of 100 cameras of 1080p H.264, `-j 32`, CPU: camwarden / GNU parallel with ffmpeg", float64(ourCPU)/float64(theirCPU), 0.40,
		fmt.Sprintf("Of the same rounds, user + system time of the process and all its children, medians %.1f s and %.1f s; an ffmpeg that timeout ended counts with what it had used by then. The cameras, not counted, took %.1f s and %.1f s.",
			ourCPU.Seconds(), theirCPU.Seconds(), median(ourCameras).Seconds(), median(theirCameras).Seconds()))
	wall.reached, cpu.reached = wall.reached && whole, cpu.reached && whole
	return []figure{wall, cpu}
}

// stillOfJPEG takes stills of a camera that sends JPEG, one after the other in one process.
func stillOfJPEG(t *testing.T) []figure {
	const count, most = 50, 5 * time.Millisecond
	w := newWorkshop(t)
	cam := w.filmCameras("mjpeg", 1, fmt.Sprintf("testsrc2=size=640x360:rate=%d", filmRate), "-t", "4", "-vf", "noise=alls=10:allf=t",
		"-c:v", "mjpeg", "-huffman", "default", "-force_duplicated_matrix", "1", "-pix_fmt", "yuvj420p", "-q:v", "5", "-f", "mjpeg")
	dir, err := os.MkdirTemp("/dev/shm", "camwarden-bench") // what /run is: a tmpfs
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := w.command(w.build("testdata/jpegstills"), cam.addresses[0].String(), dir, strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	check(t, err)
	var stills []struct {
		CPU                  time.Duration
		Bytes, Width, Height int
	}
	check(t, json.Unmarshal(out, &stills))
	var sum time.Duration
	var each []time.Duration
	for _, still := range stills {
		if still.Width != 640 || still.Height != 360 {
			t.Fatalf("%+v", still)
		}
		sum, each = sum+still.CPU, append(each, still.CPU)
	}
	mean := sum / count
	return []figure{{
		"CPU of a still of 640x360 from a camera that sends JPEG, in process, without any child", fmt.Sprintf("%.1f ms", ms(mean)),
		fmt.Sprintf("less than %d ms", most.Milliseconds()), len(stills) == count && mean < most,
		[]string{fmt.Sprintf("Mean of %d stills of %d KiB by the source rtsp in a program of its own, user + system time of that process, the camera in another; median %.1f ms, the first %.1f ms. The source had no supervisor, without which it cannot start a child.",
			count, stills[0].Bytes>>10, ms(median(each)), ms(each[0]))},
	}}
}
