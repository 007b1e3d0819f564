package rtsp_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/rtsp"
)

// benchmark is one still after another from a scripted camera on loopback, TEARDOWN included.
// The CPU it reports is that of client and camera together.
func benchmark(b *testing.B, sdp string, film []byte) {
	camera := &fake{describe: sdp, media: func(l *line) { l.write(film) }}
	target := camera.start(b)
	b.SetBytes(int64(len(film)))
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		if _, session, err := rtsp.Fetch(b.Context(), target, patient(), nil); err != nil || !session.TornDown {
			b.Fatal(err, session)
		}
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkFetch is a key frame of 280 KB in 200 packets.
func BenchmarkFetch(b *testing.B) {
	film := packet(0, 0, 1, false, []byte(fuStart+"\x88")...)
	for n := uint16(1); n < 199; n++ {
		film = append(film, packet(0, n, 1, false, append([]byte(fuMore), bytes.Repeat([]byte{1}, 1400)...)...)...)
	}
	benchmark(b, "", append(film, packet(0, 199, 1, true, []byte(fuEnd+"\x01")...)...))
}

// BenchmarkFetchJPEG is a JPEG of 640x360.
func BenchmarkFetchJPEG(b *testing.B) {
	picture := image.NewRGBA(image.Rect(0, 0, 640, 360))
	for y := range 360 {
		for x := range 640 {
			picture.Set(x, y, color.RGBA{byte(x), byte(y), byte(x * y), 255})
		}
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, picture, &jpeg.Options{Quality: 80}); err != nil {
		b.Fatal(err)
	}
	scan := file.Bytes()[bytes.Index(file.Bytes(), []byte{0xff, 0xda})+14:]
	var film []byte
	for at, n := 0, uint16(0); at < len(scan); at, n = at+1400, n+1 {
		end := min(at+1400, len(scan))
		head := []byte{0, byte(at >> 16), byte(at >> 8), byte(at), 1, 80, 640 / 8, 360 / 8}
		film = append(film, packet(0, n, 1, end == len(scan), append(head, scan[at:end]...)...)...)
	}
	benchmark(b, "m=video 0 RTP/AVP 96\r\na=rtpmap:96 JPEG/90000\r\n", film)
}
