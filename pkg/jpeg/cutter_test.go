package jpeg

import (
	"bytes"
	"errors"
	"testing"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// However the bytes come, the picture ends at its own EOI: not at that of the thumbnail in it, and not at the next picture's.
func TestCutter_itsOwnEnd(t *testing.T) {
	t.Parallel()
	whole := testkit.Photo(t, 64, 48)
	thumbnail := append([]byte{0xff, 0xe1, 0x01, 0x02}, testkit.Photo(t, 16, 16)[:256]...)
	copy(thumbnail[100:], []byte{0xff, EOI, 0xff, SOI})
	picture := bytes.Join([][]byte{whole[:2], thumbnail, {0xff, 0xff}, whole[2:]}, nil)
	stream := append(append(bytes.Clone(picture), "\r\n--frame\r\n"...), whole...)
	for _, step := range []int{1, 2, 7, 100, len(stream)} {
		var c Cutter
		end, err := 0, error(nil)
		for come := 0; come < len(stream) && end == 0 && err == nil; {
			come = min(come+step, len(stream))
			end, err = c.Cut(stream[:come])
		}
		if err != nil || end != len(picture) {
			t.Errorf("in steps of %d it ends at %d, %v; want %d", step, end, err, len(picture))
		}
	}
	var c Cutter
	torn := append(bytes.Clone(whole[:len(whole)-40]), whole...)
	if end, err := c.Cut(torn); end != 0 || !errors.Is(err, ErrAgain) || c.At() != len(whole)-40 {
		t.Errorf("%d, %v at %d", end, err, c.At())
	}
	for name, b := range map[string][]byte{"no SOI": {1, 2, 3}, "no data": {0xff, SOI, 0xff, EOI}, "no length": {0xff, SOI, 0xff, 0xe0, 0, 1, 0}} {
		var c Cutter
		if end, err := c.Cut(b); err == nil || end != 0 {
			t.Errorf("%s: %d, %v", name, end, err)
		}
	}
}
