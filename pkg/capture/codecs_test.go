package capture

import (
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestStill_codecs(t *testing.T) {
	t.Parallel()
	const width, height, gop = 322, 182, 25
	for _, codec := range []string{"vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			film := testkit.NewFilm(t, codec, width, height, 2*gop, gop)
			for name, source := range map[string]func(workbench) Source{
				"rtsp":   func(w workbench) Source { return w.rtsp("ffmpeg", ffmpeg.Picturing{}) },
				"ffmpeg": func(w workbench) Source { return w.source("ffmpeg") },
			} {
				if name == "ffmpeg" && codec == "av1" {
					continue // ffmpeg 5.1 decodes it, but cannot receive it over RTP
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					at := testkit.Play(t, film, gop/3) // we join where it is, which is no key frame
					cam := camera.Camera{
						ID: "gate", Host: at.Addr().String(), Port: at.Port(), Address: at, Scheme: "rtsp", Path: "/stream1", Transport: camera.TCP,
						MaxConnections: 2, Timeout: time.Minute, SessionTimeout: time.Minute,
					}
					w := newWorkbench(t)
					still, report := capture(t, source(w), Visit{Camera: cam, Strict: true}, time.Minute)
					if report.Err != nil {
						t.Fatal(report.Err)
					}
					if still.Codec != codec || still.Width != width || still.Height != height {
						t.Errorf("%s %dx%d", still.Codec, still.Width, still.Height)
					}
					got, best := testkit.Luma(t, "mjpeg", still.JPEG, width, height)[0], 0.0
					for _, want := range film.Keys(t) {
						best = max(best, testkit.PSNR(got, want))
					}
					t.Logf("%.1f dB, waited %s, decode %s", best, still.Waited, still.Decode)
					if best < 35 {
						t.Errorf("%.1f dB with the key frame that is nearest, want 35", best)
					}
					if kinds := w.leases(t); len(kinds) > 0 {
						t.Errorf("leases %v", kinds)
					}
				})
			}
		})
	}
}

func TestGo2rtc_codecsWithoutAStill(t *testing.T) {
	t.Parallel()
	for encoding, want := range map[string]string{
		"H264": "h264", "h265": "hevc", "HEVC": "hevc", "JPEG": "mjpeg", "26": "mjpeg", "VP8": "", "VP9": "", "AV1": "", "MP4V-ES": "", "MPV": "", "32": "",
	} {
		if got := codecOf(encoding); got != want {
			t.Errorf("%s: %q, want %q", encoding, got, want)
		}
	}
}
