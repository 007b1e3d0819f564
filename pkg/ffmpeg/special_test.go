package ffmpeg

import (
	"bytes"
	"image/jpeg"
	"os"
	"os/exec"
	"testing"
)

// Video without colours that names no range is limited (H.265 E.3.1): its black is 16. Taken for full range it comes out pale.
func TestSpecial_monochrome(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	film, err := os.ReadFile("testdata/gray.h265")
	if err != nil {
		t.Fatal(err)
	}
	lumaOf := func(special Special) (least, most uint8) {
		cmd := exec.Command(program, (&Decoder{}).args("hevc", special.filter())...)
		cmd.Stdin = bytes.NewReader(film)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		picture, err := jpeg.Decode(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		least = 255
		for y := picture.Bounds().Min.Y; y < picture.Bounds().Max.Y; y++ {
			for x := picture.Bounds().Min.X; x < picture.Bounds().Max.X; x++ {
				r, _, _, _ := picture.At(x, y).RGBA()
				least, most = min(least, uint8(r>>8)), max(most, uint8(r>>8))
			}
		}
		return least, most
	}
	// The film has 29 to 239, which is 15 to 255 in full range.
	if least, most := lumaOf(Special{Monochrome: true}); least > 18 || most < 252 {
		t.Errorf("luma from %d to %d", least, most)
	}
	if least, _ := lumaOf(Special{}); least < 25 {
		t.Errorf("this ffmpeg needs no help: luma from %d", least)
	}
}
