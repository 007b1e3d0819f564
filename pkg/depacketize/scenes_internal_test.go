package depacketize

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pion/rtp"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// scene is payloads in the order of their numbers; nil is one that is lost.
type scene [][]byte

// play returns the key frame that a receiver makes of the scene.
func (s scene) play(t *testing.T, format Format) *KeyFrame {
	t.Helper()
	r, err := NewReceiver(format, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i, payload := range s {
		if payload == nil {
			continue
		}
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: payloadType, SequenceNumber: uint16(i), SSRC: 7}, Payload: payload}
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Take(raw); err != nil {
			t.Fatal(err)
		}
	}
	return r.KeyFrame()
}

func TestAV1_aFragmentIsWholeOrNotGiven(t *testing.T) {
	t.Parallel()
	film := testkit.NewFilm(t, "av1", 160, 96, 1, 1)
	// A temporal unit is a delimiter of two bytes, a sequence header, and a frame, each with its size.
	unit := film.Units[0][2:]
	sequence := unit[:2+int(unit[1])]
	whole, ok := parseOBU(unit[len(sequence):])
	if !ok {
		t.Fatal("no frame")
	}
	frame := append([]byte{frameOBU << 3}, whole.payload...) // without its size, as most send it
	third := len(frame) / 3
	const begins, goesOn, continues, one = 0x00, 0x40, 0x80, 0x10
	packet := func(head byte, data []byte) []byte { return append([]byte{head}, data...) }
	header := packet(begins|one, sequence)
	next := header
	first, middle, last := packet(goesOn|one, frame[:third]), packet(continues|goesOn|one, frame[third:2*third]), packet(continues|one, frame[2*third:])
	for name, c := range map[string]struct {
		scene scene
		given bool
	}{
		"whole":                       {scene{header, packet(begins|one, frame), next}, true},
		"in three":                    {scene{header, first, middle, last, next}, true},
		"without an end":              {scene{header, first, middle, next, next}, false},
		"without a start":             {scene{header, middle, last, next}, false},
		"the end is of another":       {scene{header, first, packet(begins|one, frame[2*third:]), next}, false},
		"the middle is missing":       {scene{header, first, nil, last, next}, false},
		"a length that is too long":   {scene{header, packet(begins, []byte{0x7f, 1, 2}), next}, false},
		"fewer than are counted":      {scene{header, packet(begins|0x20, append([]byte{byte(len(sequence))}, sequence...)), packet(begins|one, frame), next}, false},
		"a size that is another's":    {scene{header, packet(begins|one, unit[len(sequence):len(unit)-third]), next}, false},
		"no sequence header":          {scene{packet(begins|one, frame), next}, false},
		"after a whole one that is":   {scene{header, first, next, header, first, middle, last, next}, true},
		"the header was before a gap": {scene{header, nil, packet(begins|one, frame), next}, false},
	} {
		got := c.scene.play(t, Format{Payload: payloadType, Codec: AV1})
		if (got != nil) != c.given {
			t.Errorf("%s: given %v", name, got != nil)
		}
		if got != nil && !bytes.Equal(got.Bytes[ivfPreface:], film.Units[0]) {
			t.Errorf("%s: not the unit that was sent", name)
		}
	}
}

func TestMPEG_configurationsThatMayBeMissing(t *testing.T) {
	t.Parallel()
	four := testkit.NewFilm(t, "mpeg4", 160, 96, 2, 10)
	config, picture, found := bytes.Cut(four.Units[0], []byte{0, 0, 1, planeCode})
	if !found {
		t.Fatal("no picture")
	}
	picture = slices.Concat([]byte{0, 0, 1, planeCode}, picture)
	inter := four.Units[1]
	two := testkit.NewFilm(t, "mpeg2video", 160, 96, 1, 1).Units[0]
	headers, still, found := bytes.Cut(two, []byte{0, 0, 1, pictureCode})
	if !found {
		t.Fatal("no picture")
	}
	headers = slices.Concat(make([]byte, 4), headers)
	still = slices.Concat(make([]byte, 4), []byte{0, 0, 1, pictureCode}, still)
	end := []byte{0, 0, 0, 0, 0, 0, 1, 0xb8, 0}
	plain := Format{Payload: payloadType, Codec: MPEG4}
	described := Format{Payload: payloadType, Codec: MPEG4, Sets: [][]byte{config}}
	mpeg2 := Format{Payload: payloadType, Codec: MPEG2}
	for name, c := range map[string]struct {
		format Format
		scene  scene
		given  bool
	}{
		"MPEG-4, in the stream":             {plain, scene{config, picture, inter, inter}, true},
		"MPEG-4, described":                 {described, scene{picture, inter}, true},
		"MPEG-4, none":                      {plain, scene{picture, inter}, false},
		"MPEG-4, described, a gap before":   {described, scene{inter, nil, picture, inter}, true},
		"MPEG-4, another may be in the gap": {plain, scene{config, inter, inter, nil, picture, inter}, false},
		"MPEG-4, again behind the gap":      {plain, scene{config, inter, nil, config, picture, inter}, true},
		"MPEG-2, in the stream":             {mpeg2, scene{headers, still, end}, true},
		"MPEG-2, none":                      {mpeg2, scene{still, end}, false},
		"MPEG-2, another may be in the gap": {mpeg2, scene{headers, nil, still, end}, false},
		"MPEG-2, again behind the gap":      {mpeg2, scene{headers, nil, headers, still, end}, true},
	} {
		if got := c.scene.play(t, c.format); (got != nil) != c.given {
			t.Errorf("%s: given %v", name, got != nil)
		}
	}
}
