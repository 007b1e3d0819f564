package capture

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// The films are 640x360.
const filmWidth, filmHeight = 640, 360

// TestField puts cameras as they are before the source rtsp. Each picture that comes is compared with those of the film: a wrong
// one is worse than none. In make test every third, in the long tests all.
func TestField(t *testing.T) {
	t.Parallel()
	program := testkit.RealFFmpeg(t)
	reference := films(t, program)
	for i, c := range fieldCases() {
		if i%3 != 0 && !testkit.IsLong() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.camera.start(t)
			limit := fieldPatience
			if c.want == honest {
				limit = 4 * time.Second
			}
			w := newWorkbench(t)
			still, report := capture(t, w.rtsp(program, ffmpeg.Picturing{}), Visit{Camera: inTheField(t, c.camera), Password: c.camera.password}, limit)
			if report.Err != nil {
				if c.want == right {
					t.Errorf("%s at %s: %v", report.Err.Class, report.Err.Step, report.Err)
				}
				return
			}
			if noise := reference(c.camera.film, still.JPEG); noise < 35 {
				t.Errorf("a wrong picture: %.1f dB from the nearest of the film", noise)
			}
			if n := c.camera.dials.Load(); n != 1 {
				t.Errorf("%d dials", n)
			}
			if kinds := w.leases(t); len(kinds) > 0 {
				t.Errorf("leases %v after a still", kinds)
			}
		})
	}
}

// A camera that sends us to another port of its own is followed, and that port's slots are asked for.
func TestField_redirectToAnotherPort(t *testing.T) {
	t.Parallel()
	program := testkit.RealFFmpeg(t)
	there := &fieldCamera{path: "/real"}
	there.start(t)
	host, _, _ := net.SplitHostPort(there.listener.Addr().String())
	here := portRedirect(there.listener.Addr())
	here.host = host
	here.start(t)
	w := newWorkbench(t)
	cam := inTheField(t, here)
	if _, report := capture(t, w.rtsp(program, ffmpeg.Picturing{}), Visit{Camera: cam}, fieldPatience); report.Err != nil || here.dials.Load() != 1 || there.dials.Load() != 1 {
		t.Errorf("%v; %d and %d dials", report.Err, here.dials.Load(), there.dials.Load())
	}
	full := cam
	full.Address = inTheField(t, there).Address
	if _, err := w.ledger.Write(ledger.Lease{Kind: ledger.Connection, Camera: "another", Address: full.Address, Deadline: proc.BootTime() + time.Hour}); err != nil {
		t.Fatal(err)
	}
	cam.MaxConnections = 1
	if _, report := capture(t, w.rtsp(program, ffmpeg.Picturing{}), Visit{Camera: cam}, time.Second); report.Err == nil || there.dials.Load() != 1 {
		t.Errorf("%v; %d dials where all slots are taken", report.Err, there.dials.Load())
	}
}

func inTheField(t *testing.T, f *fieldCamera) camera.Camera {
	t.Helper()
	at := f.listener.Addr().(*net.TCPAddr).AddrPort()
	return camera.Camera{
		ID: "field", Host: at.Addr().String(), Port: at.Port(), Address: at, Scheme: "rtsp", Path: f.path, Username: f.user,
		Transport: camera.TCP, MaxConnections: 2, Timeout: fieldPatience, SessionTimeout: time.Minute,
	}
}

// films returns how near a still is to a film: the peak signal-to-noise ratio of luma to the nearest of its pictures, in dB.
func films(t *testing.T, program string) func(film string, still []byte) float64 {
	t.Helper()
	var mu sync.Mutex
	known := map[string][][]byte{}
	return func(film string, still []byte) float64 {
		mu.Lock()
		defer mu.Unlock()
		if known[film] == nil {
			args := []string{"-v", "error", "-i", filepath.Join("testdata/field", film), "-pix_fmt", "gray", "-f", "rawvideo", "-"}
			if format, ok := map[string]string{".h264": "h264", ".h265": "hevc"}[filepath.Ext(film)]; ok {
				args = append([]string{"-f", format}, args...)
			}
			out, err := exec.CommandContext(t.Context(), program, args...).Output()
			if err != nil || len(out) < filmWidth*filmHeight {
				t.Errorf("%s: %d bytes, %v", strings.Join(args, " "), len(out), err)
				return 0
			}
			for ; len(out) >= filmWidth*filmHeight; out = out[filmWidth*filmHeight:] {
				known[film] = append(known[film], out[:filmWidth*filmHeight])
			}
		}
		picture, err := jpeg.Decode(bytes.NewReader(still))
		luma, ok := picture.(*image.YCbCr)
		if err != nil || !ok || picture.Bounds().Dx() != filmWidth || picture.Bounds().Dy() != filmHeight {
			return 0
		}
		best := 0.0
		for _, frame := range known[film] {
			sum := 0.0
			for y := range filmHeight {
				for x := range filmWidth {
					d := float64(luma.Y[y*luma.YStride+x]) - float64(frame[y*filmWidth+x])
					sum += d * d
				}
			}
			best = max(best, 10*math.Log10(255*255/max(sum/(filmWidth*filmHeight), 1e-9)))
		}
		return best
	}
}
