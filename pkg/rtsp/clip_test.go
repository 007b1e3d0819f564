package rtsp_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/camwarden/camwarden/pkg/depacketize"
)

// clip is a short film with a moving picture, coded by ffmpeg.
type clip struct {
	codec         depacketize.Codec
	width, height int
	units         [][][]byte // access units, each a list of NAL units; for JPEG one file each
	frames        [][]byte   // what ffmpeg decodes of it, in the order of display, as RGB
	gop           int
}

// recipe is how a clip is made.
type recipe struct {
	codec         depacketize.Codec
	width, height int
	full          bool
	options       string // of the encoder
}

const (
	clipGOP    = 6
	clipFrames = 3 * clipGOP
)

// film encodes a clip and lets ffmpeg decode it.
func film(t testing.TB, r recipe) *clip {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg here to encode and decode pictures")
	}
	file := filepath.Join(t.TempDir(), "clip")
	layout, size := "yuv420p", fmt.Sprintf("testsrc2=size=%dx%d:rate=10", r.width, r.height)
	colour := "tv"
	if r.full {
		colour = "pc"
	}
	args := []string{"-f", "lavfi", "-i", size, "-frames:v", fmt.Sprint(clipFrames), "-vf", "scale=out_range=" + colour}
	switch r.codec {
	case depacketize.H264:
		args = append(args, "-c:v", "libx264", "-pix_fmt", layout, "-color_range", colour, "-x264-params",
			fmt.Sprintf("keyint=%d:min-keyint=%d:scenecut=0:%s", clipGOP, clipGOP, r.options), "-f", "h264")
	case depacketize.H265:
		args = append(args, "-c:v", "libx265", "-pix_fmt", layout, "-color_range", colour, "-x265-params",
			fmt.Sprintf("log-level=error:pools=1:frame-threads=1:repeat-headers=1:keyint=%d:min-keyint=%d:scenecut=0:%s", clipGOP, clipGOP, r.options), "-f", "hevc")
	case depacketize.JPEG:
		args = append(args, "-c:v", "mjpeg", "-huffman", "default", "-pix_fmt", "yuvj420p", "-q:v", "4", "-f", "mjpeg")
	}
	ffmpeg(t, nil, append(args, file)...)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &clip{codec: r.codec, width: r.width, height: r.height, gop: clipGOP}
	c.frames = pictures(t, r.codec, raw, r.width, r.height)
	if len(c.frames) != clipFrames {
		t.Fatalf("ffmpeg decoded %d frames of its own clip, want %d", len(c.frames), clipFrames)
	}
	if r.codec == depacketize.JPEG {
		for _, file := range bytes.SplitAfter(raw, []byte{0xff, 0xd9}) {
			if len(file) > 2 {
				c.units = append(c.units, [][]byte{file})
			}
		}
		return c
	}
	c.units = accessUnits(r.codec, raw)
	if len(c.units) != clipFrames {
		t.Fatalf("%d access units, want %d", len(c.units), clipFrames)
	}
	return c
}

// ffmpeg runs it and returns its stdout.
func ffmpeg(t testing.TB, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error", "-y"}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg %q: %v\n%s", args, err, complaints.String())
	}
	return out.Bytes()
}

// pictures decodes a byte stream to RGB frames.
func pictures(t testing.TB, codec depacketize.Codec, raw []byte, width, height int) [][]byte {
	t.Helper()
	demuxer := map[depacketize.Codec]string{depacketize.H264: "h264", depacketize.H265: "hevc", depacketize.JPEG: "mjpeg",
		depacketize.VP8: "ivf", depacketize.VP9: "ivf", depacketize.MPEG2: "mpegvideo"}[codec]
	file := filepath.Join(t.TempDir(), "rgb") // a buffer that grows is slow with the race detector
	ffmpeg(t, raw, "-f", demuxer, "-i", "pipe:0", "-f", "rawvideo", "-vsync", "0", "-sws_flags", "accurate_rnd", "-pix_fmt", "rgb24", file)
	rgb, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	size := width * height * 3
	if len(rgb)%size != 0 {
		t.Fatalf("%d bytes of RGB are no whole number of %dx%d frames", len(rgb), width, height)
	}
	var frames [][]byte
	for ; len(rgb) > 0; rgb = rgb[size:] {
		frames = append(frames, rgb[:size])
	}
	return frames
}

// psnr compares two RGB frames, in dB. There are millions of samples, and nothing to race for.
//
//go:norace
func psnr(a, b []byte) float64 {
	var sum float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	if sum == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(255*255*float64(len(a))/sum)
}

// nalUnits cuts an Annex B byte stream.
func nalUnits(raw []byte) [][]byte {
	var nals [][]byte
	for _, part := range bytes.Split(raw, []byte{0, 0, 1}) {
		if part = bytes.TrimRight(part, "\x00"); len(part) > 0 {
			nals = append(nals, part)
		}
	}
	return nals
}

// slice reports whether the NAL unit is a slice, and whether it is the first of its picture.
func slice(codec depacketize.Codec, nal []byte) (is, first bool) {
	if codec == depacketize.H264 {
		kind := nal[0] & 0x1f
		return kind >= 1 && kind <= 5, nal[1]&0x80 != 0
	}
	return nal[0]>>1 < 32, nal[2]&0x80 != 0
}

// accessUnits puts NAL units together that belong to one picture.
func accessUnits(codec depacketize.Codec, raw []byte) [][][]byte {
	var units [][][]byte
	sliced := true
	for _, nal := range nalUnits(raw) {
		is, first := slice(codec, nal)
		if sliced && (!is || first) {
			units = append(units, nil)
			sliced = false
		}
		units[len(units)-1] = append(units[len(units)-1], nal)
		sliced = sliced || is
	}
	return units
}

// isSet reports whether the NAL unit is a parameter set.
func isSet(codec depacketize.Codec, nal []byte) bool {
	if codec == depacketize.H264 {
		return nal[0]&0x1f == 7 || nal[0]&0x1f == 8
	}
	kind := nal[0] >> 1
	return kind >= 32 && kind <= 34
}
