package ffmpeg

import (
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/supervise"
)

func TestVerdict_errorsBeforeTheKeyFrame(t *testing.T) {
	t.Parallel()
	const errors = "[vp9 @ 0x5643dfe2ff40] Not all references are available\nError while decoding stream #0:0: Invalid data found when processing input\n"
	for name, c := range map[string]struct {
		codec   string
		code    int
		picture string
		said    string
		class   fault.Class
	}{
		"VP9 with a picture":            {"vp9", 69, "a JPEG", errors, ""},
		"VP9 without":                   {"vp9", 69, "", errors, fault.Decode},
		"VP9 with another exit code":    {"vp9", 1, "a JPEG", errors, fault.Decode},
		"VP9 whose picture was damaged": {"vp9", 69, "a JPEG", errors + "pipe:0: corrupt decoded frame in stream 0\n", fault.Decode},
		"another codec with a picture":  {"h264", 69, "a JPEG", errors, fault.Decode},
	} {
		said := "Input #0, concat, from 'pipe:0':\n  Stream #0:0: Video: " + c.codec + " (Profile 0), yuv420p\nOutput #0, mjpeg, to 'pipe:1':\n" + c.said + "Conversion failed!\n"
		ending := supervise.Ending{Kind: supervise.Exited, PID: 2, Code: c.code, Stdout: []byte(c.picture), Stderr: []byte(said)}
		err := verdict(t.Context(), order{}.evidence(ending), ending)
		if (err == nil) != (c.class == "") || err != nil && err.Class != c.class {
			t.Errorf("%s: %v, want %q", name, err, c.class)
		}
	}
}

func TestVerdict_whatFFmpegCannotDo(t *testing.T) {
	t.Parallel()
	said := map[string]string{
		"av1-unknown-codec":          "cannot receive the codec",
		"vp9-stuck":                  "decoder of VP9 got stuck",
		"unsupported-transport-avpf": "RTP/AVPF alone",
		"unsupported-transport-461":  "does not offer this transport",
	}
	for _, f := range fixtures(t) {
		want, known := said[f.fault]
		if !known {
			continue
		}
		delete(said, f.fault)
		e, ending := f.ending("S3cretPass")
		if err := verdict(t.Context(), e, ending); err == nil || !strings.Contains(err.Message, want) {
			t.Errorf("%s: %v, want %q", f.name, err, want)
		}
	}
	if len(said) > 0 {
		t.Errorf("no fixture shows %v", said)
	}
}
