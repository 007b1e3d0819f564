package testkit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Film is a short film with a moving picture, coded by ffmpeg in a codec other than H.264, H.265 and JPEG.
type Film struct {
	Codec         string   // in ffmpeg's spelling
	Demuxer       string   // likewise: of File
	File          string   // where it is
	Units         [][]byte // access units in the order of coding, without container
	GOP           int      // every so manyth of them is a key frame, the first included
	Width, Height int      // pixels
}

// NewFilm encodes a film of so many pictures at ten a second. Codecs are vp8, vp9, av1, mpeg4, mpeg2video and mpeg1video.
func NewFilm(t testing.TB, codec string, width, height, frames, gop int) Film {
	t.Helper()
	program := RealFFmpeg(t)
	f := Film{Codec: codec, GOP: gop, Width: width, Height: height}
	encoder := []string{"-b:v", "2M", "-c:v"}
	switch codec {
	case "vp8":
		f.Demuxer = "ivf"
		encoder = append(encoder, "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0")
	case "vp9":
		f.Demuxer = "ivf"
		encoder = append(encoder, "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0")
	case "av1":
		f.Demuxer = "ivf"
		encoder = append(encoder, "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0")
	case "mpeg4":
		f.Demuxer = "m4v"
		encoder = append(encoder, "mpeg4")
	case "mpeg2video", "mpeg1video":
		f.Demuxer = "mpegvideo"
		encoder = append(encoder, codec, "-bf", "2", "-sc_threshold", "1000000000")
	default:
		t.Fatalf("no film in %s", codec)
	}
	f.File = filepath.Join(t.TempDir(), "film")
	args := []string{"-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i",
		fmt.Sprintf("testsrc2=size=%dx%d:rate=25", width, height), "-frames:v", fmt.Sprint(frames), "-pix_fmt", "yuv420p", "-threads", "1"}
	args = append(args, encoder...)
	muxer := map[string]string{"ivf": "ivf", "m4v": "m4v", "mpegvideo": codec}[f.Demuxer]
	args = append(args, "-g", fmt.Sprint(gop), "-keyint_min", fmt.Sprint(gop), "-f", muxer, f.File)
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %q: %v\n%s", args, err, out)
	}
	raw, err := os.ReadFile(f.File)
	if err != nil {
		t.Fatal(err)
	}
	if f.Demuxer == "ivf" {
		f.Units = unitsOfIVF(raw)
	} else {
		f.Units = unitsOfMPEG(raw, map[bool]byte{true: 0xb6, false: 0x00}[codec == "mpeg4"])
	}
	if len(f.Units) != frames {
		t.Fatalf("%d access units of %s, want %d", len(f.Units), codec, frames)
	}
	return f
}

func unitsOfIVF(raw []byte) [][]byte {
	var units [][]byte
	for raw = raw[32:]; len(raw) > 12; {
		end := 12 + binary.LittleEndian.Uint32(raw)
		units, raw = append(units, raw[12:end]), raw[end:]
	}
	return units
}

// unitsOfMPEG cuts a stream before what comes ahead of each picture: behind the last part of the one before.
func unitsOfMPEG(raw []byte, picture byte) [][]byte {
	var units [][]byte
	pictured := true
	for len(raw) >= 4 {
		end := len(raw)
		if next := bytes.Index(raw[3:], []byte{0, 0, 1}); next >= 0 {
			end = 3 + next
		}
		code := raw[3]
		ofPicture := code == picture || picture == 0 && code >= 1 && code <= 0xaf || picture == 0 && pictured && code == 0xb5
		if pictured && (!ofPicture || code == picture) {
			if picture == 0 && code == 0xb7 { // the end of the sequence
				break
			}
			units, pictured = append(units, nil), false
		}
		units[len(units)-1] = append(units[len(units)-1], raw[:end]...)
		pictured = pictured || code == picture
		raw = raw[end:]
	}
	return units
}

// Keys returns the luma of the film's key frames, as ffmpeg decodes them; see Luma.
func (f Film) Keys(t testing.TB) [][]byte {
	t.Helper()
	coded, err := os.ReadFile(f.File)
	if err != nil {
		t.Fatal(err)
	}
	return Luma(t, f.Demuxer, coded, f.Width, f.Height, "-skip_frame", "nokey")
}

// Luma decodes coded pictures that come in a container and returns the luma of each, one byte a pixel. Options are ffmpeg's, for the decoder.
func Luma(t testing.TB, demuxer string, coded []byte, width, height int, options ...string) [][]byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gray") // a buffer that grows is slow with the race detector
	args := append([]string{"-hide_banner", "-loglevel", "error", "-y"}, options...)
	args = append(args, "-f", demuxer, "-i", "pipe:0", "-vsync", "0", "-f", "rawvideo", "-pix_fmt", "gray", file)
	cmd := exec.Command(RealFFmpeg(t), args...)
	cmd.Stdin = bytes.NewReader(coded)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %q: %v\n%s", args, err, out)
	}
	luma, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	size := width * height
	if len(luma)%size != 0 {
		t.Fatalf("%d bytes are no whole number of pictures of %dx%d", len(luma), width, height)
	}
	var pictures [][]byte
	for ; len(luma) > 0; luma = luma[size:] {
		pictures = append(pictures, luma[:size])
	}
	return pictures
}

// PSNR compares two pictures, in dB; equal ones are 100 dB apart. There are millions of samples, and nothing to race for.
//
//go:norace
func PSNR(a, b []byte) float64 {
	if len(a) != len(b) {
		return 0
	}
	var sum float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255/max(255*255e-10, sum/float64(len(a))))
}
