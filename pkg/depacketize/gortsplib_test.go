package depacketize_test

import (
	"bytes"
	"image/jpeg"
	"slices"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"

	"github.com/camwarden/camwarden/pkg/depacketize"
)

// witness is a depacketizer of gortsplib's: it returns the NAL units of an access unit, or a JPEG, with its last packet.
func witness(t *testing.T, codec depacketize.Codec) func(*rtp.Packet) ([][]byte, error) {
	t.Helper()
	switch codec {
	case depacketize.H264:
		d := &rtph264.Decoder{}
		fatal(t, d.Init())
		return d.Decode
	case depacketize.H265:
		d := &rtph265.Decoder{}
		fatal(t, d.Init())
		return d.Decode
	}
	d := &rtpmjpeg.Decoder{}
	fatal(t, d.Init())
	return func(p *rtp.Packet) ([][]byte, error) {
		file, err := d.Decode(p)
		return [][]byte{file}, err
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What we make of packets is what gortsplib's depacketizers make of them: the same slices, the same JPEG.
func TestGortsplib_samePictures(t *testing.T) {
	t.Parallel()
	films, err := walkFilms()
	fatal(t, err)
	for _, film := range films {
		for _, mtu := range []int{200, 1400} {
			compared := 0
			for from := 0; from < len(film.units); from += 4 {
				frame, theirs := film.both(t, from, mtu)
				if frame == nil || frame.Pictures > 1 { // of a refresh they return its pictures one by one
					continue
				}
				compared++
				if !film.equal(t, frame, theirs) {
					t.Errorf("%s, from picture %d, packets of %d bytes: gortsplib makes another picture of them", film.name, from, mtu)
				}
			}
			if compared == 0 && film.name != "H.264, intra refresh" {
				t.Errorf("%s: nothing was compared", film.name)
			}
		}
	}
}

// both gives the packets to both, until we have a picture; theirs are all pictures so far, as slices or JPEGs.
func (f *walkFilm) both(t *testing.T, from, mtu int) (frame *depacketize.KeyFrame, theirs [][][]byte) {
	t.Helper()
	receiver, err := depacketize.NewReceiver(depacketize.Format{Payload: 96, Codec: f.codec}, 4<<20)
	fatal(t, err)
	decode := witness(t, f.codec)
	number := uint16(0)
	for n := range 2 * len(f.units) {
		for _, p := range f.packets(f.units[(from+n)%len(f.units)], mtu, uint32(9000*n)) {
			number++
			raw := rtpOf(p, number)
			var packet rtp.Packet
			fatal(t, packet.Unmarshal(raw))
			if unit, err := decode(&packet); err == nil {
				theirs = append(theirs, slices.DeleteFunc(unit, func(nal []byte) bool {
					is := f.codec == depacketize.JPEG
					if !is {
						is, _ = f.slice(nal)
					}
					return !is
				}))
			}
			fatal(t, receiver.Take(raw))
			if receiver.KeyFrame() != nil {
				return receiver.KeyFrame(), theirs
			}
		}
	}
	return nil, nil
}

// equal reports whether the picture is one, or two fields, of theirs.
func (f *walkFilm) equal(t *testing.T, frame *depacketize.KeyFrame, theirs [][][]byte) bool {
	t.Helper()
	if f.codec == depacketize.JPEG {
		ours, err := jpeg.Decode(bytes.NewReader(frame.Bytes))
		fatal(t, err)
		return slices.ContainsFunc(theirs, func(one [][]byte) bool {
			other, err := jpeg.Decode(bytes.NewReader(one[0]))
			fatal(t, err)
			for y := range f.height {
				for x := range f.width {
					if ours.At(x, y) != other.At(x, y) {
						return false
					}
				}
			}
			return true
		})
	}
	var ours [][]byte
	for nal := range bytes.SplitSeq(frame.Bytes, []byte{0, 0, 0, 1}) {
		if len(nal) > 2 {
			if is, _ := f.slice(nal); is {
				ours = append(ours, nal)
			}
		}
	}
	for i, one := range theirs {
		if slices.EqualFunc(ours, one, bytes.Equal) || i > 0 && slices.EqualFunc(ours, slices.Concat(theirs[i-1], one), bytes.Equal) {
			return true
		}
	}
	return false
}
