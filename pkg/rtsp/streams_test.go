package rtsp_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// testFile is the path of a film that no encoder of Debian's makes.
func testFile(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The picture of a camera that codes fields is both of them. Half of it would be a field without its lines between.
func TestGStreamer_fieldPairs(t *testing.T) {
	t.Parallel()
	const width, height = 640, 352
	path := testFile(t, "paff.264")
	film, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	address := gstreamer(t, loopback(), "filesrc location="+path+" ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1", "", "")
	frame, session, err := rtsp.Fetch(t.Context(), rtsp.Target{Address: address, Path: "/stream1"}, patient(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if frame.Codec != depacketize.H264 || frame.Width != width || frame.Height != height || !session.TornDown {
		t.Errorf("%s %dx%d, session %+v", frame.Codec, frame.Width, frame.Height, session)
	}
	got := pictures(t, depacketize.H264, frame.Bytes, width, height)
	if len(got) != 1 {
		t.Fatalf("%d pictures", len(got))
	}
	best := 0.0
	for _, want := range pictures(t, depacketize.H264, film[:64<<10], width, height) {
		best = max(best, psnr(got[0], want))
	}
	if best < 35 {
		t.Errorf("PSNR %.1f dB against ffmpeg's own decode, want at least 35", best)
	}
}

// GStreamer says nothing of a JPEG's own Huffman tables, because RTP cannot. Decoded with those that RFC 2435 means, the picture
// is noise; the error is one after which nobody else should try.
func TestGStreamer_optimisedHuffmanTables(t *testing.T) {
	t.Parallel()
	address := gstreamer(t, loopback(),
		"multifilesrc loop=true caps=image/jpeg,framerate=10/1 location="+testFile(t, "optimised-huffman.mjpeg")+" ! jpegparse ! rtpjpegpay name=pay0 pt=26", "", "")
	frame, _, err := rtsp.Fetch(t.Context(), rtsp.Target{Address: address, Path: "/stream1"}, patient(), nil)
	if !errors.Is(err, depacketize.ErrMisfit) || fault.ClassOf(err) != fault.NoVideo {
		t.Errorf("%d bytes, %v", len(frame.Bytes), err)
	}
}
