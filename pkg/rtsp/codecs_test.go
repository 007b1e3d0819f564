package rtsp_test

import (
	"testing"

	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func newFilm(t *testing.T, codec depacketize.Codec) testkit.Film {
	t.Helper()
	return testkit.NewFilm(t, string(codec), 322, 182, 75, 25)
}

// filmed fetches a key frame and demands that it is one of the film's, as ffmpeg decodes it itself.
func filmed(t *testing.T, target rtsp.Target, film testkit.Film) {
	t.Helper()
	frame, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(frame.Codec) != film.Codec || frame.Width != film.Width || frame.Height != film.Height || !session.TornDown {
		t.Errorf("%s %dx%d, session %+v", frame.Codec, frame.Width, frame.Height, session)
	}
	got := testkit.Luma(t, film.Demuxer, frame.Bytes, film.Width, film.Height)
	if len(got) != 1 {
		t.Fatalf("ffmpeg decodes %d pictures of it, want 1", len(got))
	}
	best := 0.0
	for _, want := range film.Keys(t) {
		best = max(best, testkit.PSNR(got[0], want))
	}
	t.Logf("%.1f dB, %d bytes, waited %s", best, len(frame.Bytes), frame.Waited)
	if best < 35 {
		t.Errorf("%.1f dB with the key frame that is nearest, want 35", best)
	}
}

func TestCodecs_joinedInMidGOP(t *testing.T) {
	t.Parallel()
	for _, codec := range []depacketize.Codec{
		depacketize.VP8, depacketize.VP9, depacketize.AV1, depacketize.MPEG4, depacketize.MPEG2, depacketize.MPEG1,
	} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			film := newFilm(t, codec)
			filmed(t, rtsp.Target{Address: testkit.Play(t, film, 7), Path: "/stream1"}, film)
		})
	}
}

func TestGStreamer_codecs(t *testing.T) {
	t.Parallel()
	for codec, pipeline := range map[depacketize.Codec]string{
		depacketize.VP8:   "ivfparse ! rtpvp8pay name=pay0 pt=96",
		depacketize.VP9:   "ivfparse ! rtpvp9pay name=pay0 pt=96",
		depacketize.MPEG4: "mpeg4videoparse ! rtpmp4vpay name=pay0 pt=96",
		depacketize.MPEG2: "mpegvideoparse ! rtpmpvpay name=pay0",
	} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			film := newFilm(t, codec)
			source := "filesrc location="
			if film.Demuxer == "mpegvideo" {
				source = "multifilesrc loop=true location=" // mpegvideoparse fails where the server seeks, as it does in a file
			}
			address := gstreamer(t, loopback(), source+film.File+" ! "+pipeline, "", "")
			filmed(t, rtsp.Target{Address: address, Path: "/stream1"}, film)
		})
	}
}

func TestGStreamer_encodersOfItsOwn(t *testing.T) {
	t.Parallel()
	const source = "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! "
	for codec, pipeline := range map[depacketize.Codec]string{
		depacketize.VP8: "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=10 ! rtpvp8pay name=pay0 pt=96",
		depacketize.VP9: "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=10 ! rtpvp9pay name=pay0 pt=96",
	} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			address := gstreamer(t, loopback(), source+pipeline, "", "")
			frame, _, err := rtsp.Fetch(t.Context(), rtsp.Target{Address: address, Path: "/stream1"}, patient(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if frame.Codec != codec || frame.Width != 320 || frame.Height != 240 {
				t.Errorf("%s %dx%d", frame.Codec, frame.Width, frame.Height)
			}
			smpteBars(t, frame, 320, 240)
		})
	}
}
