package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// TestBenchmarks measures what is promised of speed and size, each as a ratio within one run where there is something to
// compare with, and writes the page that CAMWARDEN_BENCH names. What is compared takes turns, so that other load on the
// machine falls on both sides alike. "make bench" runs it, without the race detector.
func TestBenchmarks(t *testing.T) {
	path := os.Getenv("CAMWARDEN_BENCH")
	if path == "" {
		t.Skip("make bench")
	}
	page := newBenchPage()
	for _, m := range []struct {
		name    string
		measure func(t *testing.T, source string) figure
		source  string
	}{
		{"supervised", supervisedOverPlain, ""},
		{"start", startOverEmpty, ""},
		{"mute by ffmpeg", roundWithMute, "ffmpeg"},
		{"mute by rtsp", roundWithMute, "rtsp"},
		{"memory by ffmpeg", memoryOfManyCameras, "ffmpeg"},
		{"memory by rtsp", memoryOfManyCameras, "rtsp"},
		{"growth", growth, "ffmpeg"},
	} {
		t.Run(m.name, func(t *testing.T) {
			page.add(t, m.measure(t, m.source))
		})
	}
	for _, m := range []struct {
		name    string
		measure func(t *testing.T) []figure
	}{
		{"peers, a still", stillOverFFmpeg},
		{"peers, a round", roundOverParallel},
		{"a still of JPEG", stillOfJPEG},
		{"a round, before and after", roundOverBefore},
		{"a still on request", stillOfObedient},
		{"a still over HTTP", webStillOverPeers},
		{"a round over HTTP", webRoundOverPeers},
		{"a round through go2rtc", roundOverFrameLoop},
		{"doctor", lookOverTools},
		{"reap", reapOverLoop},
	} {
		t.Run(m.name, func(t *testing.T) { page.add(t, m.measure(t)...) })
	}
	check(t, page.write(path))
}

// figure is one row of the page.
type figure struct {
	what, measured, promise string
	reached                 bool
	notes                   []string // how it was measured, and the figures behind it
}

func ratio(what string, got, most float64, notes ...string) figure {
	return figure{what, fmt.Sprintf("%.2f", got), fmt.Sprintf("at most %.2f", most), got <= most, notes}
}

// nothing stands where others have a promise.
const nothing = "-"

// noted is a ratio that nothing is promised of.
func noted(what string, got float64, notes ...string) figure {
	return figure{what, fmt.Sprintf("%.2f", got), nothing, true, notes}
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// supervisedOverPlain compares all that is done for one child (lease, start, end, look, strike) with os/exec capturing both streams.
func supervisedOverPlain(t *testing.T, _ string) figure {
	const times = 2000
	dir, err := os.MkdirTemp("/dev/shm", "camwarden-bench") // what /run is: a tmpfs
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	book, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}, proc.Default(), "bench")
	check(t, err)
	children, err := supervise.New(proc.Default())
	check(t, err)
	t.Cleanup(children.Close)
	program, err := supervise.Find("true")
	check(t, err)

	var plain, supervised []time.Duration
	for range times {
		began := time.Now()
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(program)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		check(t, cmd.Run())
		plain = append(plain, time.Since(began))

		began = time.Now()
		held, err := book.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Deadline: proc.BootTime() + time.Minute})
		check(t, err)
		e := children.Run(t.Context(), supervise.Spec{Path: program, Lease: held, Limit: time.Minute})
		if e.Kind != supervise.Exited || e.Code != 0 || e.Err != nil {
			t.Fatalf("%+v", e)
		}
		supervised = append(supervised, time.Since(began))
	}
	return ratio("start and wait of `true`: supervised / os/exec that captures both streams",
		float64(median(supervised))/float64(median(plain)), 1.5,
		fmt.Sprintf("%d of each in turns, the ledger on tmpfs; medians %d µs supervised (lease written, updated and struck, group and escapees looked for) and %d µs plain.",
			times, median(supervised).Microseconds(), median(plain).Microseconds()))
}

// roundWithMute compares a round of which a quarter hangs with what it cannot take less than: the same round without
// those, and their time-outs where as many hang at once as there are visits at once.
func roundWithMute(t *testing.T, source string) figure {
	const times, healthy, mute, jobs, timeout = 5, 24, 8, 16, 3 * time.Second
	w := newWorkshop(t)
	var mixed []string
	for i := range healthy + mute { // every fourth one hangs
		temper := "healthy"
		if i%4 == 3 {
			temper = "mute"
		}
		mixed = append(mixed, fmt.Sprintf("cam%02d=%s", i, temper))
	}
	camwarden, with, without := w.build("."), w.cameras(strings.Join(mixed, ",")), w.cameras(fmt.Sprintf("cam*%d=healthy", healthy))
	once := func(config string, healthy, mute int) (took time.Duration, whole bool) {
		cmd := w.command(camwarden, "round", "all", "-c", config, "--state-dir", w.path("state-"+filepath.Base(config)),
			"--source", source, "-j", fmt.Sprint(jobs), "--timeout", timeout.String(), "-o", "json", "--log-level", "error")
		began := time.Now()
		out, _ := cmd.Output() // its code is 1 when a camera hangs; the document tells more
		took = time.Since(began)
		var doc report
		check(t, json.Unmarshal(out, &doc))
		whole = doc.Summary.OK == healthy && doc.Summary.Failed == mute && doc.Verdict == "clean"
		if !whole {
			t.Logf("a round of %d that answer and %d that hang: %+v, %s, load %s", healthy, mute, doc.Summary, doc.Verdict, load())
		}
		return took, whole
	}
	// A round in which a camera that answers was too late for its time-out tells how busy this host is with other things.
	turn := func(config string, healthy, mute int) time.Duration {
		for range 4 {
			if took, whole := once(config, healthy, mute); whole {
				return took
			}
		}
		t.Fatal("this host is too busy to take 24 pictures, 16 at a time, in 3 s each")
		return 0
	}
	var long, short []time.Duration
	for range times {
		long, short = append(long, turn(with, healthy, mute)), append(short, turn(without, healthy, 0))
	}
	least := timeout*((mute+jobs-1)/jobs) + median(short)
	return ratio(fmt.Sprintf("a round of %d cameras of which %d are mute, `-j %d --timeout %s` / (time-out × ⌈mute/jobs⌉ + the round without the mute ones), source %s", healthy+mute, mute, jobs, timeout, source),
		float64(median(long))/float64(least), 1.15,
		fmt.Sprintf("%d of each in turns, the whole program; medians %.2f s with the mute ones and %.2f s without, so %.2f s / (%.0f s + %.2f s).",
			times, median(long).Seconds(), median(short).Seconds(), median(long).Seconds(), timeout.Seconds(), median(short).Seconds()))
}

// startOverEmpty compares the start of camwarden with that of a program which has nothing but cobra.
func startOverEmpty(t *testing.T, _ string) figure {
	const times = 200
	w := newWorkshop(t)
	programs := []string{w.build("testdata/emptycobra"), w.build(".")}
	var wall, cpu [2][]time.Duration
	for range times {
		for i, program := range programs {
			cmd := w.command(program, "version")
			began := time.Now()
			check(t, cmd.Run())
			wall[i] = append(wall[i], time.Since(began))
			cpu[i] = append(cpu[i], cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
	}
	byWall := float64(median(wall[1])) / float64(median(wall[0]))
	byCPU := float64(median(cpu[1])) / float64(median(cpu[0]))
	return ratio("`camwarden version` / start of an empty cobra program", max(byWall, byCPU), 1.5,
		fmt.Sprintf("%d of each in turns, the greater of two ratios: wall %.2f (%.2f ms / %.2f ms), user + system time %.2f (%.2f ms / %.2f ms); medians.",
			times, byWall, ms(median(wall[1])), ms(median(wall[0])), byCPU, ms(median(cpu[1])), ms(median(cpu[0]))))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// memoryOfManyCameras reads how much memory a round ever held, at the moment when all is done but the document's last bytes:
// nobody has taken these from the pipe yet, so the process still is there to be asked.
func memoryOfManyCameras(t *testing.T, source string) figure {
	const cameras, most = 250, 64
	w := newWorkshop(t)
	cmd := w.command(w.build("."), "round", "all", "-c", w.cameras(fmt.Sprintf("cam*%d=healthy", cameras)), "--state-dir", w.path("state"),
		"-d", w.path("out"), "--source", source, "-j", "8", "--timeout", "30s", "-o", "json")
	cmd.Stderr = os.Stderr
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
	var doc report
	check(t, json.NewDecoder(io.MultiReader(bytes.NewReader(first), reader)).Decode(&doc))
	check(t, cmd.Wait())
	took := time.Since(began)
	if doc.Summary.OK != cameras {
		t.Errorf("%+v", doc.Summary)
	}
	mebibytes := float64(kibibytes) / 1024
	return figure{
		fmt.Sprintf("own memory of a round of %d healthy cameras, children not counted, source %s", cameras, source), fmt.Sprintf("%.1f MiB", mebibytes),
		fmt.Sprintf("at most %d MiB", most), mebibytes > 0 && mebibytes <= most,
		[]string{fmt.Sprintf("VmHWM of the process after its last look; `-j 8`, pictures kept; the round took %.1f s.", took.Seconds())},
	}
}

// growth is the soak of growth_test.go as a figure.
func growth(t *testing.T, source string) figure {
	first, last := rounds(t, newWorkshop(t), source, 5, "20", "200")
	mustNotGrow(t, first, last)
	line := func(h held) string {
		return fmt.Sprintf("after %d rounds: %d goroutines, %d threads, %d open files, %d files of the ledger, heap %d KiB, resident %.1f MiB",
			h.Round, h.Goroutines, h.Threads, h.FDs, h.Files, h.Heap>>10, float64(h.Resident)/(1<<20))
	}
	return figure{
		"growth over 200 rounds of 8 cameras: goroutines, open files, files of the ledger",
		fmt.Sprintf("%+d, %+d, %+d", last.Goroutines-first.Goroutines, last.FDs-first.FDs, last.Files-first.Files),
		"none", !t.Failed(),
		[]string{"One process, of the eight cameras two fail in each round; " + line(first) + "; " + line(last) + "."},
	}
}
