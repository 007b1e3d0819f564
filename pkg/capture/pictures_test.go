package capture

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/supervise"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// film is a clip that a simulated camera shows, as its maker describes it to ffmpeg.
type film struct {
	codec         camsim.Codec
	width, height int
	pixels        string // pixel format
	full          bool   // range
	matrix        string // bt601 or bt709, in the picture and in its description
	options       string // of the encoder
}

const (
	filmGOP    = 5
	filmFrames = 3 * filmGOP
)

// make encodes the film.
func (f film) make(t *testing.T) []byte {
	t.Helper()
	extent, tag := "tv", "smpte170m"
	if f.full {
		extent = "pc"
	}
	if f.matrix == "bt709" {
		tag = "bt709"
	}
	args := []string{
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=10", f.width+f.width%2, f.height+f.height%2), "-frames:v", fmt.Sprint(filmFrames),
		"-vf", fmt.Sprintf("scale=out_color_matrix=%s:out_range=%s,format=%s,crop=%d:%d:0:0:exact=1", f.matrix, extent, f.pixels, f.width, f.height),
		"-color_range", extent, "-colorspace", tag, "-color_primaries", tag, "-color_trc", tag,
	}
	keys := fmt.Sprintf("keyint=%d:min-keyint=%d:scenecut=0:repeat-headers=1:%s", filmGOP, filmGOP, f.options)
	if f.codec == camsim.H265 {
		// x265 writes the range itself.
		args = append(args, "-c:v", "libx265", "-crf", "20", "-x265-params", "log-level=error:pools=1:frame-threads=1:"+keys, "-f", "hevc")
	} else {
		args = append(args, "-c:v", "libx264", "-crf", "18", "-x264-params", "threads=1:"+keys, "-f", "h264")
	}
	file := filepath.Join(t.TempDir(), "film")
	ask(t, nil, append(args, file)...)
	stream, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// ask runs ffmpeg, unsupervised and by itself, and returns what it wrote.
func ask(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testkit.RealFFmpeg(t), append([]string{"-hide_banner", "-loglevel", "error", "-y"}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg %q: %v\n%s", args, err, complaints.String())
	}
	return out.Bytes()
}

// shown decodes a stream to frames of RGB, as a player would show them.
func shown(t *testing.T, demuxer string, stream []byte, size int) [][]byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rgb") // a buffer that grows is slow with the race detector
	ask(t, stream, "-f", demuxer, "-i", "pipe:0", "-f", "rawvideo", "-vsync", "0", "-sws_flags", "accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24", file)
	rgb, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(rgb) == 0 || len(rgb)%size != 0 {
		t.Fatalf("%d bytes of RGB are no whole number of frames of %d", len(rgb), size)
	}
	var frames [][]byte
	for ; len(rgb) > 0; rgb = rgb[size:] {
		frames = append(frames, rgb[:size])
	}
	return frames
}

// psnr compares two frames, in dB. There are millions of samples, and nothing to race for.
//
//go:norace
func psnr(a, b []byte) float64 {
	var sum float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255/max(1e-9, sum/float64(len(a))))
}

func TestTheStillShowsWhatFFmpegItselfSees(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]film{
		"H.264":                              {camsim.H264, 640, 360, "yuv420p", false, "bt601", "slices=1"},
		"H.264, four slices":                 {camsim.H264, 640, 360, "yuv420p", false, "bt601", "slices=4"},
		"H.264, four slices, B-frames":       {camsim.H264, 640, 360, "yuv420p", false, "bt601", "slices=4:bframes=2"},
		"H.264, full range":                  {camsim.H264, 320, 240, "yuv420p", true, "bt601", "slices=1"},
		"H.264, BT.709":                      {camsim.H264, 640, 360, "yuv420p", false, "bt709", "slices=1"},
		"H.264, BT.709, full range":          {camsim.H264, 640, 360, "yuv420p", true, "bt709", "slices=2"},
		"H.264, portrait":                    {camsim.H264, 360, 640, "yuv420p", false, "bt601", "slices=1"},
		"H.264, no multiple of 16":           {camsim.H264, 322, 182, "yuv420p", false, "bt601", "slices=1"},
		"H.264, odd, colours of every pixel": {camsim.H264, 321, 181, "yuv444p", false, "bt601", "slices=1"},
		"H.265, IDR":                         {camsim.H265, 640, 360, "yuv420p", false, "bt601", "open-gop=0:bframes=0"},
		"H.265, IDR, B-frames, full range":   {camsim.H265, 640, 360, "yuv420p", true, "bt601", "open-gop=0:bframes=2:range=full"},
		"H.265, CRA":                         {camsim.H265, 640, 360, "yuv420p", false, "bt601", "open-gop=1:bframes=2"},
		"H.265, BT.709, ten bits, portrait":  {camsim.H265, 182, 322, "yuv420p10le", false, "bt709", "open-gop=0:bframes=0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := f.make(t)
			clip, err := camsim.ReadClip(f.codec, stream, 10)
			if err != nil {
				t.Fatal(err)
			}
			// In the running stream we join where it is, which is seldom at a key frame.
			sim, cam := start(t, camsim.Config{Temper: camsim.Healthy, Clip: clip, JoinAnywhere: true})
			w := newWorkbench(t)
			still, report := capture(t, w.rtsp("ffmpeg", ffmpeg.Picturing{Quality: 2}), Visit{Camera: cam, Strict: true}, time.Minute)
			if report.Err != nil {
				t.Fatal(report.Err)
			}
			demuxer := "h264"
			if f.codec == camsim.H265 {
				demuxer = "hevc"
			}
			if still.Width != f.width || still.Height != f.height || still.Codec != demuxer || still.Decode <= 0 || still.Waited <= 0 {
				t.Errorf("%dx%d %s, waited %s, decode %s", still.Width, still.Height, still.Codec, still.Waited, still.Decode)
			}
			size := 3 * f.width * f.height
			got := shown(t, "mjpeg", still.JPEG, size)[0]
			best, which := 0.0, -1
			for i, want := range shown(t, demuxer, stream, size) {
				if quality := psnr(got, want); quality > best {
					best, which = quality, i
				}
			}
			t.Logf("%.1f dB with frame %d, waited %s, key frame %s, decode %s", best, which, still.Waited, still.KeyFrame, still.Decode)
			if best < 35 || which%filmGOP != 0 {
				t.Errorf("%.1f dB with frame %d: want 35 dB with a key frame, which every %dth is", best, which, filmGOP)
			}
			checkGone(t, w, sim)
		})
	}
}

func TestACameraThatSendsJPEGNeedsNoChild(t *testing.T) {
	t.Parallel()
	sim, cam := start(t, camsim.Config{Temper: camsim.Digest, Codec: camsim.MJPEG, Username: "viewer", Password: odd})
	for name, program := range map[string]string{"with an ffmpeg": testkit.FFmpegFor(t, "good"), "without": "no-such-ffmpeg"} {
		w := newWorkbench(t)
		still, report := capture(t, w.rtsp(program, ffmpeg.Picturing{}), Visit{Camera: cam, Password: odd, Strict: true}, time.Minute)
		if report.Err != nil {
			t.Fatalf("%s: %v", name, report.Err)
		}
		if still.Width != 640 || still.Height != 360 || still.Codec != "mjpeg" || still.Decode != 0 {
			t.Errorf("%s: %dx%d %s, decode %s", name, still.Width, still.Height, still.Codec, still.Decode)
		}
		if _, err := os.Stat(program + ".args"); err == nil {
			t.Errorf("%s: it was run", name)
		}
		checkGone(t, w, sim)
	}
}

func TestPicture_tooWideIsMadeSmaller(t *testing.T) {
	t.Parallel()
	_, cam := start(t, camsim.Config{Temper: camsim.Healthy, Codec: camsim.MJPEG})
	w := newWorkbench(t)
	for _, c := range []struct{ width, got int }{{160, 160}, {640, 640}, {1280, 640}} {
		still, report := capture(t, w.rtsp(testkit.RealFFmpeg(t), ffmpeg.Picturing{Width: c.width}), Visit{Camera: cam, Strict: true}, time.Minute)
		if report.Err != nil || still.Width != c.got || still.Height != c.got*9/16 || (still.Decode > 0) != (c.got < 640) {
			t.Errorf("width %d: %dx%d, decode %s, %v", c.width, still.Width, still.Height, still.Decode, report.Err)
		}
	}
	_, report := capture(t, w.rtsp("no-such-ffmpeg", ffmpeg.Picturing{Width: 160}), Visit{Camera: cam}, time.Minute)
	if report.Err == nil || report.Err.Class != "local" || report.Err.Step != "decode" || report.Err.Hint != ffmpeg.HintInstall {
		t.Errorf("without an ffmpeg: %+v", report.Err)
	}
}

func TestEverySourceHeedsWidthAndQuality(t *testing.T) {
	t.Parallel()
	program := testkit.RealFFmpeg(t)
	_, cam := start(t, camsim.Config{Temper: camsim.Healthy})
	w := newWorkbench(t)
	for name, source := range map[string]func(ffmpeg.Picturing) Source{
		"rtsp":   func(p ffmpeg.Picturing) Source { return w.rtsp(program, p) },
		"ffmpeg": func(p ffmpeg.Picturing) Source { return NewFFmpeg(program, p, w.supervisor, w.slots) },
	} {
		size := func(p ffmpeg.Picturing, width int) int {
			still, report := capture(t, source(p), Visit{Camera: cam, Strict: true}, time.Minute)
			if report.Err != nil {
				t.Fatalf("%s %+v: %v", name, p, report.Err)
			}
			picture, err := jpeg.Decode(bytes.NewReader(still.JPEG))
			if err != nil || picture.Bounds().Dx() != width || picture.Bounds().Dy() != width*9/16 {
				t.Errorf("%s %+v: %v, %v", name, p, picture.Bounds(), err)
			}
			return len(still.JPEG)
		}
		fine, coarse := size(ffmpeg.Picturing{Quality: 2}, 640), size(ffmpeg.Picturing{Quality: 20}, 640)
		if coarse*2 > fine {
			t.Errorf("%s: %d bytes of quality 2 and %d of quality 20", name, fine, coarse)
		}
		size(ffmpeg.Picturing{Width: 320}, 320)
		size(ffmpeg.Picturing{Width: 1920}, 640) // nothing is enlarged
	}
}

// capture lets a source take one still.
func capture(t *testing.T, source Source, v Visit, limit time.Duration) (Still, Report) {
	t.Helper()
	if err := source.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	chain, err := NewChain(t.Context(), []Source{source})
	if err != nil {
		t.Fatal(err)
	}
	v.Timeout = limit
	result := chain.Visit(t.Context(), v)
	return result.Still, Report{Dialled: result.Dialled, Err: result.Err}
}

func (w workbench) rtsp(program string, picturing ffmpeg.Picturing) *RTSP {
	if path, err := supervise.Find(program); err == nil {
		program = path
	}
	return NewRTSP(program, picturing, w.supervisor, w.slots)
}
