package main

import (
	"bufio"
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
)

const (
	// python is Debian's: another one does not find the packages of apt.
	python          = "/usr/bin/python3"
	gstreamerScript = "../../testdata/gst/server.py"
	// faithful is the least peak signal-to-noise ratio, in dB, between a picture and what the server was given to encode.
	// H.264, JPEG and the conversions of colour leave about 40; another picture of the same server gets less than 15.
	faithful = 30

	width, height = 640, 480 // of its pictures
)

// TestInterop_foreignServerGivesItsPictures visits GStreamer's RTSP server: an open one and one with a
// digest log-in, with the right password and a wrong one, at streams that exist and at one that does not.
func TestInterop_foreignServerGivesItsPictures(t *testing.T) {
	t.Parallel()
	requireGStreamer(t)
	const user, password = "viewer", "p@ss/w#rd%&'ü"
	s := newSite(t, []camsim.Config{{Temper: camsim.Healthy}}) // not visited: the site is its configuration, ledger and mark
	open := startGStreamer(t, s.mark, nil, "smpte75", "gradient")
	locked := startGStreamer(t, s.mark, []string{"RTSP_USER=" + user, "RTSP_PASSWORD=" + password}, "smpte100")

	check(t, os.WriteFile(s.path("right.pw"), []byte(password+"\n"), 0o600))
	check(t, os.WriteFile(s.path("wrong.pw"), []byte("another"+password+"\n"), 0o600))
	type expectation struct{ class, picture string }
	want := map[string]expectation{
		"bars": {picture: "smpte75"}, "slope": {picture: "gradient"}, "locked": {picture: "smpte100"},
		"burglar": {class: "auth"}, "lost": {class: "not-found"},
	}
	entry := func(id string, at netip.AddrPort, path, more string) string {
		return fmt.Sprintf("  - {id: %s, host: %s, port: %d, path: /%s%s}\n", id, at.Addr(), at.Port(), path, more)
	}
	check(t, os.WriteFile(s.path("cameras.yaml"), []byte("subnets: {office: [bars, slope, locked, burglar, lost]}\ncameras:\n"+
		entry("bars", open.address, "smpte75", "")+
		entry("slope", open.address, "gradient", ", transport: udp")+
		entry("lost", open.address, "elsewhere", "")+
		entry("locked", locked.address, "smpte100", ", username: "+user+", password_file: right.pw")+
		entry("burglar", locked.address, "smpte100", ", username: "+user+", password_file: wrong.pw")), 0o600))

	r := s.start(s.round("office", "-d", s.path("out"), "--source", "ffmpeg", "--timeout", within.String())...)
	r.ends(1) // two of the five
	doc := r.document()
	if doc.Verdict != "clean" || len(doc.Visits) != len(want) {
		t.Errorf("verdict %s of %d visits", doc.Verdict, len(doc.Visits))
	}
	originals := map[string][]byte{"smpte75": original(t, "smpte75"), "gradient": original(t, "gradient"), "smpte100": original(t, "smpte100")}
	for _, v := range doc.Visits {
		e := want[v.Camera]
		if v.class() != e.class || v.OK != (e.class == "") {
			t.Errorf("%s: %+v, want class %q", v.Camera, v.Error, e.class)
			continue
		}
		if v.OK {
			shows(t, v, e.picture, originals)
		}
	}
	for _, server := range []*gstreamer{open, locked} {
		server.forsaken()
	}
	if found := s.alive(); len(found) > 0 {
		t.Errorf("alive after the round: %v", found)
	}
	for _, secret := range []string{"p@ss", "p%40ss"} {
		if strings.Contains(r.stdout.String()+r.stderr.String(), secret) {
			t.Errorf("the password was said: %s\n%s", r.stdout, r.stderr)
		}
	}
}

// requireGStreamer skips the test where GStreamer is not installed; in a run of "make test", which installs it, it fails.
func requireGStreamer(t *testing.T) {
	t.Helper()
	check := exec.Command(python, gstreamerScript, "--check")
	check.Env = append(os.Environ(), gstreamerRegistry(t))
	out, err := check.CombinedOutput()
	if err == nil {
		return
	}
	complain := t.Skipf
	if os.Getenv("CAMWARDEN_TEST_RUN") != "" {
		complain = t.Fatalf
	}
	complain("GStreamer's RTSP server is not installed (python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,bad,ugly}): %v: %s", err, out)
}

// gstreamerRegistry is a cache of its own: two processes that write the one in the home directory at once damage it.
func gstreamerRegistry(t *testing.T) string {
	t.Helper()
	return "GST_REGISTRY=" + filepath.Join(t.TempDir(), "registry")
}

// gstreamer is a running server.
type gstreamer struct {
	t       *testing.T
	address netip.AddrPort
	ask     io.WriteCloser
	answers *bufio.Reader
}

// startGStreamer starts a server with these streams on an address of its own. Its mark is not the site's, which may be asked
// whether anything of it is alive, but begins with it.
func startGStreamer(t *testing.T, mark string, env []string, patterns ...string) *gstreamer {
	t.Helper()
	host := camsim.DrawSubnet().Addr().Next().String()
	server := exec.Command(python, append([]string{gstreamerScript, host}, patterns...)...)
	server.Env = append(append(os.Environ(), gstreamerRegistry(t), "CAMWARDEN_TEST_RUN="+mark+"+gstreamer"), env...)
	var said bytes.Buffer
	server.Stderr = &said
	stdin, err := server.StdinPipe()
	check(t, err)
	stdout, err := server.StdoutPipe()
	check(t, err)
	check(t, server.Start())
	t.Cleanup(func() {
		_ = stdin.Close() // its end
		if err := server.Wait(); err != nil || t.Failed() {
			t.Logf("the server at %s: %v: %s", host, err, &said)
		}
	})
	g := &gstreamer{t: t, ask: stdin, answers: bufio.NewReader(stdout)}
	g.address, err = netip.ParseAddrPort(g.line())
	check(t, err)
	return g
}

func (g *gstreamer) line() string {
	g.t.Helper()
	line, err := g.answers.ReadString('\n')
	check(g.t, err)
	return strings.TrimSpace(line)
}

// forsaken asks both sides whether anybody is still connected: the kernel at once, the server until it has heard of it.
func (g *gstreamer) forsaken() {
	g.t.Helper()
	sockets, err := proc.Default().Connections([]uint16{g.address.Port()})
	check(g.t, err)
	for _, c := range sockets.Conns {
		if c.Remote == g.address && (c.State == proc.Established || c.State == proc.SynSent || c.State == proc.CloseWait) {
			g.t.Errorf("connected after the round: %s -> %s %s", c.Local, c.Remote, c.State)
		}
	}
	eventually(g.t, func() error {
		_, err := g.ask.Write([]byte("\n"))
		check(g.t, err)
		if clients := g.line(); clients != "0" {
			return fmt.Errorf("the server at %s still has %s clients", g.address, clients)
		}
		return nil
	})
}

// original is the picture that the server is given to encode: RGB, line by line.
func original(t *testing.T, pattern string) []byte {
	t.Helper()
	source := exec.Command(python, gstreamerScript, "--reference", pattern)
	source.Env = append(os.Environ(), gstreamerRegistry(t))
	source.Stderr = os.Stderr
	rgb, err := source.Output()
	check(t, err)
	if len(rgb) != 3*width*height {
		t.Fatalf("the original of %s has %d bytes", pattern, len(rgb))
	}
	return rgb
}

// shows demands that a still shows that original, and none of the others.
func shows(t *testing.T, v visit, want string, originals map[string][]byte) {
	t.Helper()
	file, err := os.Open(v.File)
	check(t, err)
	defer file.Close()
	picture, err := jpeg.Decode(file)
	check(t, err)
	if size := picture.Bounds().Size(); size != image.Pt(width, height) {
		t.Errorf("%s: a picture of %v, want %dx%d", v.Camera, size, width, height)
		return
	}
	for pattern, rgb := range originals {
		near := likeness(picture, rgb)
		if (pattern == want) != (near >= faithful) {
			t.Errorf("%s is like %s by %.1f dB; it must show %s, with at least %d", v.Camera, pattern, near, want, faithful)
		}
	}
}

// likeness is the peak signal-to-noise ratio of a picture, in dB.
func likeness(picture image.Image, rgb []byte) float64 {
	var squares float64
	for y := range height {
		for x := range width {
			r, g, b, _ := picture.At(x, y).RGBA()
			for i, c := range []uint32{r, g, b} {
				d := float64(c>>8) - float64(rgb[3*(y*width+x)+i])
				squares += d * d
			}
		}
	}
	return 10 * math.Log10(255*255*float64(len(rgb))/squares)
}
