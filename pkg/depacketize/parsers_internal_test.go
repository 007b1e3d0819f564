package depacketize

import (
	"bytes"
	"os/exec"
	"testing"
)

func FuzzParameterSets(f *testing.F) {
	f.Add(byte(0), []byte(testSPS), []byte(first))
	f.Add(byte(1), []byte("\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\xa0\x02\x80\x80\x2d\x16"), []byte("\x26\x01\xaf\x09"))
	f.Fuzz(func(t *testing.T, which byte, nal, slice []byte) {
		syntax := h264Syntax()
		if which&1 == 1 {
			syntax = h265Syntax()
		}
		sets := parameterSets{syntax: syntax}
		for nal := range split(nal) {
			if len(nal) > syntax.head && syntax.kind(nal) == parameterNAL {
				sets.keep(nal)
			}
		}
		for _, set := range sets.list {
			if set.kind == syntax.spsKind && !plausible(set.sps.width, set.sps.height) {
				t.Errorf("%dx%d", set.sps.width, set.sps.height)
			}
		}
		if len(sets.annexB(nil)) > sets.size() {
			t.Errorf("%d bytes, and %d were announced", len(sets.annexB(nil)), sets.size())
		}
		if len(slice) > syntax.head && syntax.kind(slice) == sliceNAL {
			syntax.slice(slice, &sets)
		}
	})
}

func FuzzSEI(f *testing.F) {
	f.Add([]byte("\x06\x06\x02\x15\x10\x80"))
	f.Add([]byte("\x06\x2f\x04\x10\x00\x02\x40\x80"))
	f.Fuzz(func(_ *testing.T, nal []byte) {
		for head := 1; head <= 2; head++ {
			readSEI(nal, head, func(r *bitReader) int { return int(r.ue()) })
		}
	})
}

func FuzzRBSP(f *testing.F) {
	f.Add([]byte("\x67\x00\x00\x03\x01\x00\x00\x03\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := rbsp(nalOf(data), len(data)+1); !bytes.Equal(got, data) {
			t.Errorf("% x became % x", data, got)
		}
	})
}

// A camera that names no colours sends BT.709 where it has 720 lines or more; its parameter set says so afterwards, and is read
// by ffmpeg as it was in all else.
func TestSPS_untaggedHD(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		codec, size string
		args        []string
		want        string
	}{
		"H.264, 720 lines":                   {"h264", "1280x720", nil, "tv|bt709"},
		"H.264, 576 lines":                   {"h264", "720x576", nil, "unknown|unknown"},
		"H.264, 1080 lines, cropped":         {"h264", "1920x1080", nil, "tv|bt709"},
		"H.264, full range":                  {"h264", "1280x720", []string{"-color_range", "pc"}, "pc|bt709"},
		"H.264, named otherwise":             {"h264", "1280x720", []string{"-colorspace", "smpte170m"}, "tv|smpte170m"},
		"H.264, interlaced":                  {"h264", "1280x720", []string{"-flags", "+ildct+ilme"}, "tv|bt709"},
		"H.265, 720 lines":                   {"hevc", "1280x720", nil, "tv|bt709"},
		"H.265, full range":                  {"hevc", "1280x720", []string{"-color_range", "pc"}, "pc|bt709"},
		"H.265, 480 lines":                   {"hevc", "640x480", nil, "tv|unknown"},
		"H.265, named otherwise, sub-layers": {"hevc", "1280x720", []string{"-colorspace", "smpte170m", "-x265-params", "temporal-layers=1:log-level=none"}, "tv|smpte170m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			encoder, syntax := "libx264", h264Syntax()
			if c.codec == "hevc" {
				encoder, syntax = "libx265", h265Syntax()
			}
			args := []string{"-v", "error", "-f", "lavfi", "-i", "color=gray:size=" + c.size + ":rate=5:duration=0.2", "-pix_fmt", "yuv420p", "-c:v", encoder}
			if encoder == "libx265" && len(c.args) < 4 {
				args = append(args, "-x265-params", "log-level=none")
			}
			raw, err := exec.Command("ffmpeg", append(append(args, c.args...), "-f", c.codec, "pipe:1")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			sets := parameterSets{syntax: syntax}
			var rest []byte
			for nal := range split(raw) {
				if syntax.kind(nal) == parameterNAL {
					sets.keep(nal)
				} else if syntax.kind(nal) == sliceNAL {
					rest = append(append(rest, startCode...), nal...)
				}
			}
			probe := exec.Command("ffprobe", "-v", "error", "-f", c.codec, "-show_entries", "stream=width,height,color_range,color_space", "-of", "csv=p=0:s=|", "-i", "pipe:0")
			probe.Stdin = bytes.NewReader(append(sets.annexB(nil), rest...))
			out, err := probe.CombinedOutput()
			want := string(bytes.ReplaceAll([]byte(c.size), []byte("x"), []byte("|"))) + "|" + c.want
			if got := string(bytes.TrimSpace(out)); err != nil || got != want {
				t.Errorf("ffprobe reads %s, want %s (%v)", got, want, err)
			}
		})
	}
}
