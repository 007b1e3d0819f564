package jpeg

import (
	"bytes"
	"testing"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestCheck_wholeJPEGAndItsSize(t *testing.T) {
	t.Parallel()
	whole := testkit.Photo(t, 320, 180)
	thumbnail := append([]byte{0xff, 0xe1, 0x01, 0x02}, append(bytes.Clone(testkit.Photo(t, 16, 16))[:256:256], 0)[:256]...)
	withThumbnail := bytes.Join([][]byte{whole[:2], thumbnail, whole[2:]}, nil)
	for name, b := range map[string][]byte{"plain": whole, "with a thumbnail inside": withThumbnail} {
		for _, strict := range []bool{false, true} {
			got, err := Validate(b, strict)
			if err != nil || got != (Picture{320, 180}) {
				t.Errorf("%s, strict %v: %v, %v", name, strict, got, err)
			}
		}
	}
}

func TestCheck_refusesAllButOneWholeJPEG(t *testing.T) {
	t.Parallel()
	whole := testkit.Photo(t, 320, 180)
	tiny, huge := bytes.Clone(whole), bytes.Clone(whole)
	sof := bytes.Index(whole, []byte{0xff, 0xc0})
	copy(tiny[sof+5:], []byte{0, 1, 0, 1})
	copy(huge[sof+5:], []byte{0xff, 0xff, 0xff, 0xff})
	arithmetic := bytes.Clone(whole)
	arithmetic[sof+1] = 0xc9
	for name, b := range map[string][]byte{
		"nothing":                   nil,
		"half":                      whole[:len(whole)/2],
		"without the last byte":     whole[:len(whole)-1],
		"without the last two":      whole[:len(whole)-2],
		"with a newline behind":     append(bytes.Clone(whole), '\n'),
		"twice":                     append(bytes.Clone(whole), whole...),
		"one inside the other":      bytes.Join([][]byte{whole[:sof], whole, whole[sof:]}, nil),
		"text":                      []byte("HTTP/1.1 200 OK\r\n\r\n"),
		"only its ends":             {0xff, 0xd8, 0xff, 0xd9},
		"headers and no data":       append(bytes.Clone(whole[:sof+19]), 0xff, 0xd9),
		"one pixel":                 tiny,
		"4 gigapixels":              huge,
		"arithmetic coding":         arithmetic,
		"a header longer than that": {0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff, 0xff, 0xd9},
		"a header of length 0":      {0xff, 0xd8, 0xff, 0xe0, 0, 0, 0xff, 0xd9},
		"junk before the data":      bytes.Join([][]byte{whole[:sof], []byte("junk"), whole[sof:]}, nil),
	} {
		if got, err := Validate(b, false); err == nil || err.Class != fault.NotJPEG || err.Hint == "" {
			t.Errorf("%s: accepted as %v, error %v", name, got, err)
		}
	}
}

func TestCheck_strictFindsAHole(t *testing.T) {
	t.Parallel()
	whole := testkit.Photo(t, 320, 180)
	sos := bytes.Index(whole, []byte{0xff, 0xda})
	data := sos + 20
	hole := append(bytes.Clone(whole[:data+(len(whole)-data)/3]), 0xff, 0xd9)
	if _, err := Validate(hole, false); err != nil {
		t.Errorf("the headers are whole, and yet: %v", err)
	}
	if _, err := Validate(hole, true); err == nil || err.Class != fault.NotJPEG {
		t.Errorf("strict accepted a picture of which two thirds are missing: %v", err)
	}
}

func FuzzValidate(f *testing.F) {
	f.Add(testkit.Photo(f, 32, 32), true)
	f.Add([]byte{0xff, 0xd8, 0xff, 0xe0, 0, 0, 0xff, 0xd9}, false)
	f.Fuzz(func(t *testing.T, b []byte, strict bool) {
		p, err := Validate(b, strict)
		if (err == nil) != (p != Picture{}) {
			t.Errorf("picture %v with error %v", p, err)
		}
		if err == nil && (!bytes.HasPrefix(b, []byte{0xff, 0xd8}) || !bytes.HasSuffix(b, []byte{0xff, 0xd9})) {
			t.Error("accepted without SOI or EOI")
		}
	})
}
