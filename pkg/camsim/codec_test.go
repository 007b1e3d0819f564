package camsim_test

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

var barColours = [][3]int{{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}}

// shows demands a picture with the bar of that number.
func shows(t *testing.T, run ffmpegRun, picture int) {
	t.Helper()
	if run.exit != 0 {
		t.Fatalf("exit %d: %s", run.exit, run.stderr)
	}
	want := barColours[picture]
	if got := bar(t, run.picture); !near(got, want[0], want[1], want[2]) {
		t.Errorf("the bar is %v, want %v", got, want)
	}
}

func TestCodec_cleanPictureOverUDPOrTLS(t *testing.T) {
	t.Parallel()
	for i, codec := range camsim.Codecs() {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			config, transport := camsim.Config{Temper: camsim.Healthy, Codec: codec, Picture: i % 4}, "tcp"
			if i%2 == 0 {
				config.TLS = true
			} else {
				config.UDP, transport = true, "udp"
			}
			camera := start(t, config)
			run := ffmpeg(t, camera.URL(), fair(transport))
			shows(t, run, config.Picture)
			if run.stderr != "" {
				t.Errorf("ffmpeg complains: %s", run.stderr)
			}
			eventually(t, camera, "nothing open, one TEARDOWN", func(c camsim.Counts) bool {
				return c.Connections == 0 && c.Sessions == 0 && c.Teardowns == 1
			})
		})
	}
}

// decoded lets ffmpeg decode so many pictures of a camera, of 640x360, and returns the colours of their bars.
func decoded(t *testing.T, camera *camsim.Camera, frames int) (bars []color.RGBA, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", "-rtsp_transport", "tcp",
		"-timeout", "30000000", "-i", camera.URL(), "-frames:v", fmt.Sprint(frames), "-vf", "crop=2:2:320:12", "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, complaints.String())
	}
	const size = 2 * 2 * 3
	for ; len(out) >= size; out = out[size:] {
		bars = append(bars, color.RGBA{out[0], out[1], out[2], 255})
	}
	if len(bars) != frames {
		t.Fatalf("%d pictures, want %d: %s", len(bars), frames, complaints.String())
	}
	return bars, complaints.String()
}

func TestAFilmGoesOnCleanlyWhereItBeginsAnew(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: apt-get install ffmpeg")
	}
	for i, codec := range camsim.Codecs() {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			picture := (i + 1) % 4
			camera := start(t, camsim.Config{Temper: camsim.Healthy, Codec: codec, Picture: picture})
			bars, stderr := decoded(t, camera, 22)
			for n, got := range bars {
				if want := barColours[picture]; !near(got, want[0], want[1], want[2]) {
					t.Errorf("picture %d of %d has the bar %v, want %v", n, len(bars), got, want)
				}
			}
			for _, complaint := range []string{"error", "Could not find ref", "missed", "non monoton", "Non-monoton", "corrupt"} {
				if strings.Contains(stderr, complaint) {
					t.Errorf("ffmpeg complains: %s", stderr)
				}
			}
		})
	}
}

// kinds reads media until n key frames have begun, and returns the types of all NAL units before them, of an H.264 stream.
func kinds(c *client) map[byte]int {
	c.t.Helper()
	seen := map[byte]int{}
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * patience))
	for seen[5] == 0 {
		channel, payload, err := c.frame()
		if err != nil {
			c.t.Fatalf("media: %v", err)
		}
		if channel == 0 {
			for _, kind := range typesOf(payload[12:]) {
				seen[kind]++
			}
		}
	}
	return seen
}

func TestParameterSetsAreWhereTheyWereAsked(t *testing.T) {
	t.Parallel()
	for sets, want := range map[camsim.Sets]struct{ inSDP, inBand bool }{
		"":                    {true, true},
		camsim.SetsEverywhere: {true, true},
		camsim.SetsInBand:     {false, true},
		camsim.SetsInSDP:      {true, false},
	} {
		for codec, names := range map[camsim.Codec][]string{
			camsim.H264: {"sprop-parameter-sets"}, camsim.H265: {"sprop-vps", "sprop-sps", "sprop-pps"},
		} {
			t.Run(string(sets)+" "+string(codec), func(t *testing.T) {
				t.Parallel()
				camera := start(t, camsim.Config{Temper: camsim.Healthy, Codec: codec, Sets: sets})
				client := dial(t, camera)
				sdp := client.ask(200, "DESCRIBE", client.url).body
				for _, name := range names {
					if strings.Contains(sdp, name+"=") != want.inSDP {
						t.Errorf("%s in the SDP should be %v:\n%s", name, want.inSDP, sdp)
					}
				}
				shows(t, ffmpeg(t, camera.URL(), fair("tcp")), 0) // either place is enough
				if codec != camsim.H264 {
					return
				}
				client.setup(200)
				client.play()
				if seen := kinds(client); (seen[7] == 1) != want.inBand || (seen[8] == 1) != want.inBand {
					t.Errorf("before a key frame came %v, where 7 and 8 should be %v", seen, want.inBand)
				}
			})
		}
	}
}

func TestAClipOfOnesOwnIsShownAtItsOwnSpeed(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: apt-get install ffmpeg")
	}
	for codec, encoder := range map[camsim.Codec][]string{
		camsim.H264:  {"-c:v", "libx264", "-x264-params", "keyint=8:min-keyint=8:scenecut=0", "-pix_fmt", "yuv420p", "-f", "h264"},
		camsim.H265:  {"-c:v", "libx265", "-x265-params", "log-level=error:keyint=8:min-keyint=8:scenecut=0", "-pix_fmt", "yuv420p", "-f", "hevc"},
		camsim.MJPEG: {"-c:v", "mjpeg", "-huffman", "default", "-force_duplicated_matrix", "1", "-pix_fmt", "yuvj420p", "-f", "mjpeg"},
	} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "clip")
			args := append([]string{"-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "color=c=lime:s=640x360:r=20:d=2"}, encoder...)
			if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, file)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			clip, err := camsim.ReadClip(codec, raw, 20)
			if err != nil {
				t.Fatal(err)
			}
			if clip.Pictures() != 40 || clip.Codec() != codec {
				t.Errorf("%d pictures of %s, want 40 of %s", clip.Pictures(), clip.Codec(), codec)
			}
			camera := start(t, camsim.Config{Temper: camsim.Healthy, Clip: clip, JoinAnywhere: true})
			began := time.Now()
			bars, stderr := decoded(t, camera, 50) // beyond its end
			if took := time.Since(began); took < 2*time.Second {
				t.Errorf("50 pictures at 20 a second came within %s", took)
			}
			for n, got := range bars[10:] { // it may have joined in the middle
				if !near(got, 0, 255, 0) {
					t.Errorf("picture %d has the bar %v, want lime: %s", n, got, stderr)
				}
			}
		})
	}
}
