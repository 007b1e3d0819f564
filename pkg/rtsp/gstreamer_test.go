package rtsp_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// gstreamer starts GStreamer's RTSP server with a pipeline that makes its own picture.
func gstreamer(t testing.TB, host, pipeline, user, password string, beside ...string) netip.AddrPort {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's: another one does not find the packages of apt
	check := exec.Command(python, "testdata/gstreamer.py", "--check")
	if out, err := check.CombinedOutput(); err != nil {
		t.Skipf("GStreamer's RTSP server is not installed (python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,bad,ugly}): %v: %s", err, out)
	}
	server := exec.Command(python, slices.Concat([]string{"testdata/gstreamer.py", host, pipeline, user, password}, beside)...)
	server.Env = append(os.Environ(), "GST_REGISTRY="+filepath.Join(t.TempDir(), "registry"))
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	return netip.MustParseAddrPort(strings.TrimSpace(line))
}

func TestGStreamersServerGivesAPicture(t *testing.T) {
	t.Parallel()
	// One frame repeats every two seconds, so the reference is easy to make: the pattern does not move.
	const source = "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=%d,height=%d,framerate=10/1 ! "
	for name, c := range map[string]struct {
		codec    depacketize.Codec
		pipeline string
		login    bool
		udp      bool
	}{
		"H.264":                      {depacketize.H264, "x264enc tune=zerolatency key-int-max=10 ! rtph264pay name=pay0 pt=96", false, false},
		"H.264, digest log-in":       {depacketize.H264, "x264enc tune=zerolatency key-int-max=10 ! rtph264pay name=pay0 pt=96 config-interval=1", true, false},
		"H.264, several slices, UDP": {depacketize.H264, "x264enc sliced-threads=true threads=4 tune=zerolatency key-int-max=10 ! rtph264pay name=pay0 pt=96", false, true},
		"H.265 with B-frames":        {depacketize.H265, "x265enc key-int-max=10 option-string=bframes=3:pools=1:frame-threads=1:rc-lookahead=5 ! rtph265pay name=pay0 pt=97", false, false},
		"JPEG":                       {depacketize.JPEG, "jpegenc quality=90 ! rtpjpegpay name=pay0 pt=26", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const width, height = 320, 240
			user, password := "", ""
			if c.login {
				user, password = "viewer", "s3cr3t:/#%"
			}
			host := loopback()
			if c.udp {
				host = "127.0.0.1" // its UDP sockets are bound to no address, so this is where the kernel says they are
			}
			address := gstreamer(t, host, fmt.Sprintf(source, width, height)+c.pipeline, user, password)
			target := rtsp.Target{Address: address, Path: "/stream1", Username: user, Password: password}
			if c.udp {
				target.Transport = camera.UDP
			}
			frame, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if frame.Codec != c.codec || frame.Width != width || frame.Height != height || !session.TornDown {
				t.Errorf("%s %dx%d, session %+v", frame.Codec, frame.Width, frame.Height, session)
			}
			smpteBars(t, frame, width, height)
			if c.login {
				target.Password = "wrong"
				_, _, err := rtsp.Fetch(t.Context(), target, patient(), nil)
				if fault.ClassOf(err) != fault.Auth {
					t.Errorf("with a wrong password: %v", err)
				}
			}
		})
	}
}

// smpteBars demands the seven bars of the upper picture in their order: grey, yellow, cyan, green, magenta, red, blue.
func smpteBars(t *testing.T, frame depacketize.KeyFrame, width, height int) {
	t.Helper()
	decoded := pictures(t, frame.Codec, frame.Bytes, width, height)
	if len(decoded) != 1 {
		t.Fatalf("%d pictures", len(decoded))
	}
	for bar, want := range []string{"rgb", "rg-", "-gb", "-g-", "r-b", "r--", "--b"} {
		at := (height/4*width + width*(2*bar+1)/14) * 3
		got := ""
		for i, letter := range "rgb" {
			if decoded[0][at+i] > 100 {
				got += string(letter)
			} else {
				got += "-"
			}
		}
		if got != want {
			t.Errorf("bar %d is %s (%v), want %s", bar, got, decoded[0][at:at+3], want)
		}
	}
}
