package jpeg_test

import (
	"bytes"
	"image"
	"image/color"
	imagejpeg "image/jpeg"
	"testing"

	"github.com/camwarden/camwarden/pkg/jpeg"
)

// gradient returns a JPEG of Go's encoder, whose tables are those of T.81 annex K.
func gradient(t testing.TB, width, height int) []byte {
	t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.Set(x, y, color.RGBA{byte(4 * x), byte(5 * y), byte(x * y), 255})
		}
	}
	var out bytes.Buffer
	if err := imagejpeg.Encode(&out, picture, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestScan_counts(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{16, 16}, {64, 48}, {65, 49}, {640, 360}} {
		header, rest, ok := jpeg.Split(gradient(t, size[0], size[1]))
		scan, err := jpeg.ParseScan(header)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		want := scan.MCUs(size[0], size[1])
		count, end, err := scan.Count(rest, 1<<20)
		if err != nil || count != want || end != len(rest)-2 {
			t.Errorf("%dx%d: %d MCUs up to byte %d of %d, want %d (%v)", size[0], size[1], count, end, len(rest), want, err)
		}
		if count, _, _ := scan.Count(rest[:len(rest)/2], 1<<20); count >= want {
			t.Errorf("%dx%d: half of it has %d MCUs of %d", size[0], size[1], count, want)
		}
		if count, end, _ := scan.Count(rest, want-1); count != want-1 || jpeg.Padding(rest[end:]) {
			t.Errorf("%dx%d: what follows all MCUs but one is called padding", size[0], size[1])
		}
	}
}

func FuzzScan(f *testing.F) {
	file := gradient(f, 64, 48)
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Fuzz(func(t *testing.T, file []byte) {
		header, rest, ok := jpeg.Split(file)
		if !ok {
			return
		}
		scan, err := jpeg.ParseScan(header)
		if err != nil {
			return
		}
		count, end, _ := scan.Count(rest, 1<<16)
		if count > 1<<16 || end < 0 || end > len(rest) {
			t.Errorf("%d MCUs up to byte %d of %d", count, end, len(rest))
		}
	})
}
