package depacketize

import (
	"bytes"
	"slices"
	"testing"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// asField makes a field of an I picture that is a frame (Rec. ITU-T H.262 section 6.3.10): in an I picture, slices of both are coded
// alike. Its sequence becomes one of frames of twice the height.
func asField(unit []byte, structure byte) []byte {
	unit = bytes.Clone(unit)
	for part := range parts(unit) {
		switch {
		case part[3] == sequenceStart:
			height := (int(part[5]&0x0f)<<8 | int(part[6])) * 2
			part[5], part[6] = part[5]&0xf0|byte(height>>8), byte(height)
		case part[3] == extensionCode && part[4]>>4 == 1:
			part[5] &^= 0x08 // progressive_sequence
		case part[3] == extensionCode && part[4]>>4 == 8:
			part[6] = part[6]&^3 | structure
			part[7] &^= 0xc3 // top_field_first, frame_pred_frame_dct, repeat_first_field, chroma_420_type
			part[8] &^= 0x80 // progressive_frame
		}
	}
	return unit
}

func TestMPEG2_bothFieldsAreThePicture(t *testing.T) {
	t.Parallel()
	const width, height = 160, 96
	film := testkit.NewFilm(t, "mpeg2video", width, height, 4, 1)
	top := asField(film.Units[0], 1)
	bottom := asField(film.Units[3], 2)
	_, picture, _ := bytes.Cut(bottom, []byte{0, 0, 1, pictureCode})
	bottom = bottom[len(bottom)-len(picture)-startCodeSize:]
	next := []byte{0, 0, 1, 0xb8, 0}
	push := func(pieces ...[]byte) *KeyFrame {
		r, err := NewReceiver(Format{Payload: payloadType, Codec: MPEG2}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for i, piece := range pieces {
			if err := r.Take(slices.Concat([]byte{0x80, payloadType, 0, byte(i), 0, 0, 0, 0, 0, 0, 0, 7}, make([]byte, 4), piece)); err != nil {
				t.Fatal(err)
			}
		}
		return r.KeyFrame()
	}
	frame := push(top, bottom, next)
	if frame == nil || frame.Width != width || frame.Height != 2*height {
		t.Fatalf("%+v", frame)
	}
	got := testkit.Luma(t, "mpegvideo", frame.Bytes, width, 2*height)
	fields := testkit.Luma(t, "mpegvideo", slices.Concat(film.Units...), width, height)
	if len(got) != 1 || len(fields) != 4 {
		t.Fatalf("%d pictures of %d fields", len(got), len(fields))
	}
	var woven []byte
	for row := range height {
		woven = append(woven, fields[0][row*width:(row+1)*width]...)
		woven = append(woven, fields[3][row*width:(row+1)*width]...)
	}
	if quality := testkit.PSNR(got[0], woven); quality < 35 {
		t.Errorf("%.1f dB", quality)
	}
	for name, pieces := range map[string][][]byte{
		"one field":             {top, next},
		"a field twice as long": {asField(film.Units[0], 3), next},
		"the second cut short":  {top, bottom[:bytes.LastIndex(bottom, codePrefix)], next},
		"fields of two frames":  {top, next, bottom, next},
	} {
		if push(pieces...) != nil {
			t.Errorf("%s: given all the same", name)
		}
	}
}
