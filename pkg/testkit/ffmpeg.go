package testkit

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// FFmpeg is the end of a test binary that was called by the name of a stand-in: a link called ffmpeg-half behaves as "half". TestMain
// asks it first. The name is all that reaches it: children get a clean environment.
func FFmpeg() (code int, called bool) {
	behaviour, called := strings.CutPrefix(filepath.Base(os.Args[0]), "ffmpeg-")
	if called {
		code = standIn(behaviour, os.Args[1:])
	}
	return code, called
}

// FFmpegFor returns a link to this binary that behaves as the name says.
func FFmpegFor(t testing.TB, behaviour string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ffmpeg-"+behaviour)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// RealFFmpeg skips the test where there is none.
func RealFFmpeg(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed; make test installs it")
	}
	return path
}

// CountCalls returns a program that notes each call of another one and then becomes it, and what tells how often.
func CountCalls(t testing.TB, program string) (path string, calls func() int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "counting")
	script := fmt.Sprintf("#!/bin/sh\necho >>'%s.calls'\nexec '%s' \"$@\"\n", path, program)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, func() int {
		text, _ := os.ReadFile(path + ".calls")
		return bytes.Count(text, []byte("\n"))
	}
}

// scriptQuestion is what a stand-in is asked before it is trusted with a URL.
const scriptQuestion = "ffconcat version 1.0\nfile 'data:,'\noption timeout 1\n"

const (
	modernHelp = "Demuxer rtsp [RTSP input]:\n  -timeout           <int64>      .D......... set timeout (in microseconds) of socket I/O operations\n"
	oldHelp    = "Demuxer rtsp [RTSP input]:\n  -timeout           <int>        .D....... set maximum timeout (in seconds) to wait for incoming connections\n" +
		"  -stimeout          <int>        .D....... set timeout (in microseconds) of socket TCP I/O operations\n"
)

// outputs are the files that a call wants pictures in.
func outputs(args []string) []*os.File {
	var all []*os.File
	for i, arg := range args {
		number, isPipe := strings.CutPrefix(arg, "pipe:")
		if !isPipe || args[i-1] == "-i" {
			continue
		}
		if fd, _ := strconv.Atoi(number); fd > 1 {
			all = append(all, os.NewFile(uintptr(fd), arg))
		} else {
			all = append(all, os.Stdout) // a second os.File for it would close it when it is collected
		}
	}
	return all
}

// noteSpan leaves a file that says from when to now something took; false when it cannot.
func noteSpan(what string, from time.Time) bool {
	times := fmt.Sprint(from.UnixNano(), " ", time.Now().UnixNano())
	return os.WriteFile(fmt.Sprintf("%s.%d.%s", os.Args[0], os.Getpid(), what), []byte(times), 0o600) == nil
}

// MostAtOnce reads what noteSpan wrote: how many spans there are, and how many overlapped at most.
func MostAtOnce(t testing.TB, program, what string) (spans, most int) {
	t.Helper()
	files, err := filepath.Glob(program + ".*." + what)
	if err != nil {
		t.Fatal(err)
	}
	type edge struct{ at, step int }
	var edges []edge
	for _, file := range files {
		text, _ := os.ReadFile(file)
		begin, end, _ := strings.Cut(string(text), " ")
		from, _ := strconv.Atoi(begin)
		until, _ := strconv.Atoi(end)
		edges = append(edges, edge{from, 1}, edge{until, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return a.at - b.at })
	now := 0
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return len(files), most
}

// standIn is an ffmpeg that answers the probe well, and then misbehaves.
func standIn(behaviour string, args []string) int {
	line := strings.Join(args, " ")
	input, _ := io.ReadAll(os.Stdin)
	switch {
	case behaviour == "not":
		return 0
	case behaviour == "hangs":
		time.Sleep(time.Hour)
	case line == "-h demuxer=rtsp":
		fmt.Fprintln(os.Stderr, "ffmpeg version 9.9-standin Copyright")
		if behaviour == "old" {
			fmt.Print(oldHelp)
		} else {
			fmt.Print(modernHelp)
		}
		return 0
	case string(input) == scriptQuestion && behaviour == "old":
		fmt.Fprintln(os.Stderr, "[concat @ 0x55d3] Line 3: unknown keyword 'option'\npipe:0: Invalid data found when processing input")
		return 1
	case string(input) == scriptQuestion:
		fmt.Fprintln(os.Stderr, "[concat @ 0x55d3] Impossible to open 'data:,'\npipe:0: Invalid data found when processing input")
		return 1
	}
	// What it was told, for the test that looks for passwords.
	if err := os.WriteFile(os.Args[0]+".args", []byte(line+"\n"+strings.Join(os.Environ(), "\n")), 0o600); err != nil {
		return 99
	}
	if err := os.WriteFile(os.Args[0]+".stdin", input, 0o600); err != nil {
		return 99
	}
	picture, err := photo(320, 180)
	if err != nil {
		return 99
	}
	together := len(outputs(args)) > 1
	switch behaviour {
	case "good":
		for _, out := range outputs(args) {
			out.Write(picture)
		}
	case "hangs-together":
		if together {
			time.Sleep(time.Hour)
		}
		os.Stdout.Write(picture)
	case "half-together": // ends well, and one of the pictures is half
		for i, out := range outputs(args) {
			if together && i == 1 {
				out.Write(picture[:len(picture)/2])
			} else {
				out.Write(picture)
			}
		}
	case "half":
		os.Stdout.Write(picture[:len(picture)/2])
	case "twice":
		os.Stdout.Write(bytes.Repeat(picture, 2))
	case "hole":
		os.Stdout.Write(append(picture[:len(picture)/2], 0xff, 0xd9))
	case "naps":
		began := time.Now()
		time.Sleep(200 * time.Millisecond)
		if !noteSpan("nap", began) {
			return 99
		}
		for _, out := range outputs(args) {
			out.Write(picture)
		}
	case "loads": // its libraries, and then has a camera that takes its time
		began := time.Now()
		time.Sleep(100 * time.Millisecond)
		if !noteSpan("load", began) {
			return 99
		}
		fmt.Fprintln(os.Stderr, "[tcp @ 0x55d3] Starting connection attempt to 127.45.67.89 port 8554")
		time.Sleep(2 * time.Second)
		if !noteSpan("life", began) {
			return 99
		}
		os.Stdout.Write(picture)
	case "empty":
	case "corrupt":
		fmt.Fprintln(os.Stderr, "Input #0, concat, from 'pipe:0':\npipe:0: corrupt decoded frame in stream 0")
		os.Stdout.Write(picture)
	case "floods-stdout":
		for {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte{0xff, 0xd8}, 1<<15)); err != nil {
				return 1
			}
		}
	case "floods-stderr":
		for range 1 << 12 {
			fmt.Fprintf(os.Stderr, "[h264 @ 0x5] error while decoding MB 2 0 of %s %s\n", input, line)
		}
		os.Stdout.Write(picture[:100])
		return 1
	case "tells":
		dial := string(bytes.Split(input, []byte("'"))[1])
		fmt.Fprintf(os.Stderr, "cannot open %s\nor %q\n%s\n%s\n", input, input, line, dial)
		if u, err := url.Parse(dial); err == nil { // not in a URL any more, so only knowing it helps
			password, _ := u.User.Password()
			fmt.Fprintf(os.Stderr, "wrong password: %s", password)
		}
		return 1
	case "old":
		fmt.Fprintf(os.Stderr, "%s: Server returned 404 Not Found\n", line)
		return 1
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		if err := os.WriteFile(os.Args[0]+".deaf", nil, 0o600); err != nil {
			return 99
		}
		time.Sleep(time.Hour)
	case "crashes":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // as the kernel does when memory runs out
		time.Sleep(time.Hour)
	}
	return 0
}

// Photo is a JPEG with enough detail that its compressed data is long.
func Photo(t testing.TB, width, height int) []byte {
	t.Helper()
	picture, err := photo(width, height)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

func photo(width, height int) ([]byte, error) {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, color.RGBA{uint8(x * y), uint8(x ^ y), uint8(3*x + y), 255})
		}
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, img, nil)
	return b.Bytes(), err
}
