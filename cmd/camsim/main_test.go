package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/camsim"
)

const patience = 20 * time.Second

// TestMain lets the test binary be camsim itself, for the tests that need a process.
func TestMain(m *testing.M) {
	if os.Getenv("CAMSIM_IS_MAIN") != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestCamerasAreReadWithLoginsAndOptions(t *testing.T) {
	t.Parallel()
	got, err := parseCameras("gate=healthy, yard=digest:ad%3Amin:p%40ss%2Cword%2F1/path=%2Fcam%3Fch=1,hall=slots/slots=3/full=close/linger=2s,cam*2=long-gop/gop=12s/picture=3/delay=1ms/udp=true")
	if err != nil {
		t.Fatal(err)
	}
	last := camsim.Config{Temper: camsim.LongGOP, GOP: 12 * time.Second, Picture: 3, Delay: time.Millisecond, UDP: true}
	want := []camsim.Config{
		{Name: "gate", Temper: camsim.Healthy},
		{Name: "yard", Temper: camsim.Digest, Username: "ad:min", Password: "p@ss,word/1", Path: "/cam?ch=1"},
		{Name: "hall", Temper: camsim.LimitedSlots, Slots: 3, Full: camsim.CloseAtPlay, Linger: 2 * time.Second},
		last, last,
	}
	want[3].Name, want[4].Name = "cam1", "cam2"
	if len(got) != len(want) {
		t.Fatalf("%d cameras, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("camera %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestCamerasAreReadWithTheirVideo(t *testing.T) {
	t.Parallel()
	film := filepath.Join("..", "..", "pkg", "camsim", "clip", "open.h265")
	got, err := parseCameras("gate=healthy/codec=mjpeg/tls=true/join=1,shed=endless-key-frame/codec=h265/sets=sdp,cam*2=healthy/clip=" + url.PathEscape(film) + "/rate=10/codec=h265-cra")
	if err != nil {
		t.Fatal(err)
	}
	if want := (camsim.Config{Name: "gate", Temper: camsim.Healthy, Codec: camsim.MJPEG, TLS: true, JoinAnywhere: true}); got[0] != want {
		t.Errorf("%+v, want %+v", got[0], want)
	}
	if want := (camsim.Config{Name: "shed", Temper: camsim.EndlessKeyFrame, Codec: camsim.H265, Sets: camsim.SetsInSDP}); got[1] != want {
		t.Errorf("%+v, want %+v", got[1], want)
	}
	if got[2].Clip == nil || got[2].Clip != got[3].Clip || got[2].Clip.Pictures() != 40 || got[2].Clip.Codec() != camsim.H265CRA {
		t.Errorf("the clip of %+v and %+v should be one, of 40 pictures", got[2], got[3])
	}
	for spec, reason := range map[string]string{
		"gate=healthy/rate=10":                                "without a clip",
		"gate=healthy/clip=%2Fnowhere%2Fat%2Fall":             "no such file",
		"gate=healthy/clip=" + url.PathEscape("main_test.go"): "main_test.go",
		"gate=healthy/tls=perhaps":                            "option tls",
	} {
		if _, err := parseCameras(spec); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want %q", spec, err, reason)
		}
	}
}

func TestCommandLine_refusedWithoutThePassword(t *testing.T) {
	t.Parallel()
	for line, reason := range map[string]string{
		"":                                      "no cameras",
		"--cameras gate":                        "not NAME=TEMPER",
		"--cameras gate=moody:user:hunter2":     "unknown temper",
		"--cameras gate=digest:user:hunter2%zz": "not percent-encoded",
		"--cameras gate=slow/dela=1s":           "unknown option",
		"--cameras gate=slow/delay=soon":        "option delay",
		"--cameras gate=healthy,gate=mute":      "two cameras",
		"--cameras ../gate=healthy":             "the name",
		"--cameras cam*0=healthy":               "not a number of cameras",
		"--mixed gate":                          "unexpected argument",
		"--mixed -o xml":                        "neither table nor json",
		"--mixed --port 70000":                  "--port",
		"--mixed --subnet office":               "not a prefix",
		"--mixed --speed 9":                     "not defined",
		"--mixed --go2rtc 1984":                 "not a loopback address",
		"--mixed --go2rtc 192.0.2.1:1984":       "not a loopback address",
		"--mixed --go2rtc 127.0.0.1:0/young=1":  "unknown option",
		"--mixed --go2rtc 127.0.0.1:0/rtsp=on":  "option rtsp",
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(line), &stdout, &stderr)
		if code != exitUsage || stdout.Len() > 0 || !strings.Contains(stderr.String(), reason) {
			t.Errorf("camsim %s: exit %d, stderr %q, want exit 2 and %q", line, code, stderr.String(), reason)
		}
		if strings.Contains(stderr.String(), "hunter2") {
			t.Errorf("camsim %s shows the password: %s", line, stderr.String())
		}
	}
}

func TestAnAddressThatIsNotOursIsAFailure(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"--cameras gate=healthy --subnet 192.0.2.0/24",
		"--cameras gate=healthy --counts 192.0.2.1:0",
		"--cameras gate=healthy --config /nowhere/at/all/sim.yaml",
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(line), &stdout, &stderr); code != exitFailed || stderr.Len() == 0 {
			t.Errorf("camsim %s: exit %d, stderr %q, want exit 1 and a reason", line, code, stderr.String())
		}
	}
}

func TestHelpNamesEveryTemperAndOption(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &stdout, &stderr); code != exitDone {
		t.Errorf("exit %d", code)
	}
	for _, temper := range slices.Concat(camsim.Tempers(), camsim.HostileTempers()) {
		if !strings.Contains(stderr.String(), temper.Sentence()) {
			t.Errorf("the help does not tell of %s", temper)
		}
	}
	if !slices.IsSortedFunc(options(), func(a, b option[wish]) int { return strings.Compare(a.name, b.name) }) {
		t.Error("the options are not in order")
	}
	for _, option := range options() {
		if !strings.Contains(stderr.String(), "\n  "+option.name+"=") {
			t.Errorf("the help does not tell of option %s", option.name)
		}
	}
}

func TestASubnetIsListedCountedAndSummedUpAtTheEnd(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, strings.Fields("--cameras gate=healthy,shed=mute -o json --counts 127.0.0.1:0"), writer, &stderr)
		_ = writer.Close()
	}()
	var doc document
	if err := json.NewDecoder(reader).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Cameras) != 2 || doc.Cameras[1].Camera != "shed" || doc.Cameras[1].Temper != camsim.MuteAtConnect {
		t.Fatalf("listed %+v", doc)
	}
	conn, err := net.DialTimeout("tcp", doc.Cameras[1].Address, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if reports := ask(t, doc.CountsURL); reports[0].Counts.Connections == 0 && reports[1].Counts.Connections == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the counts never showed the connection")
		}
	}
	stop()
	if got := <-code; got != exitDone {
		t.Errorf("exit %d: %s", got, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	last := strings.Join(strings.Fields(lines[len(lines)-1]), " ")
	if want := "shed mute 1 1 1 "; !strings.HasPrefix(last, want) {
		t.Errorf("the last line is %q, want %q ...", last, want)
	}
}

func ask(t *testing.T, url string) []camsim.Report {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var reports []camsim.Report
	if err := json.NewDecoder(res.Body).Decode(&reports); err != nil {
		t.Fatal(err)
	}
	return reports
}

func TestConfiguration_passwordFilesOfTheOwner(t *testing.T) {
	t.Parallel()
	configs, err := parseCameras("gate=healthy,yard=digest:ad%22min:p%40ss/path=%2Fa%20b,hall=slots/slots=3,cellar=healthy/tls=true")
	if err != nil {
		t.Fatal(err)
	}
	subnet, err := camsim.StartSubnet(camsim.DrawSubnet(), configs)
	if err != nil {
		t.Fatal(err)
	}
	defer subnet.Close()
	path := filepath.Join(t.TempDir(), "sim.yaml")
	for range 2 { // the second time over the first
		if err := writeConfig(path, world{subnet: subnet}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Subnets map[string][]string
		Cameras []map[string]any
	}
	if err := yaml.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	if got.Subnets["sim"][0] != subnet.Prefix.String() || len(got.Cameras) != 4 {
		t.Fatalf("read back %+v", got)
	}
	if cellar := got.Cameras[3]; cellar["url"] != subnet.Cameras[3].URL() || cellar["host"] != nil {
		t.Errorf("a camera with TLS is %v, want it by its URL", cellar)
	}
	yard := got.Cameras[1]
	if yard["username"] != `ad"min` || yard["path"] != "/a b" || got.Cameras[2]["max_connections"] != 3 {
		t.Errorf("read back %+v", got.Cameras)
	}
	file, _ := yard["password_file"].(string)
	password, err := os.ReadFile(file)
	if err != nil || string(password) != "p@ss\n" || filepath.Dir(file) != filepath.Dir(path) {
		t.Errorf("password file %q holds %q, %v", file, password, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 {
		t.Errorf("%d files, %v, want the configuration and one password", len(entries), err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", entry.Name(), info.Mode(), err)
		}
	}
	if bytes.Contains(raw, []byte("p@ss")) {
		t.Error("the configuration holds the password")
	}
}

// process starts camsim as a process of its own, by way of a command that has "camsim" "$@" in it.
func process(t *testing.T, via ...string) (*exec.Cmd, io.WriteCloser, *bufio.Reader) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(via), self, "--cameras", "gate=healthy", "--exit-with-parent")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CAMSIM_IS_MAIN=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe() // not StdoutPipe: its end must outlive the command itself
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	t.Cleanup(func() { _ = reader.Close() })
	_ = reader.SetReadDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(reader)
	if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "gate") {
		t.Fatalf("first line %q, %v", line, err)
	}
	return cmd, stdin, lines
}

func TestCamsimEndsAtASignalWithExitZero(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		cmd, _, _ := process(t)
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", signal, err)
		}
	}
}

func TestCamsimEndsWithTheProcessThatStartedIt(t *testing.T) {
	t.Parallel()
	// The shell starts camsim, waits for the end of its input and ends. What camsim still holds then is stdout.
	cmd, stdin, stdout := process(t, "sh", "-c", `"$0" "$@" & read -r _`)
	_ = stdin.Close()
	_ = cmd.Wait() // read meets the end of the input: exit 1
	if rest, err := io.ReadAll(stdout); err != nil {
		t.Errorf("camsim outlived its parent: %v after %q", err, rest)
	}
}
