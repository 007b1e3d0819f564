package depacketize

import (
	"bytes"
	"image"
	"image/color"
	imagejpeg "image/jpeg"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"

	"github.com/camwarden/camwarden/pkg/jpeg"
)

// photo returns a JPEG with a gradient, its scan, and its two quantization tables.
func photo(t *testing.T, quality int) (file, scan, tables []byte) {
	t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			picture.Set(x, y, color.RGBA{byte(4 * x), byte(5 * y), byte(x * y), 255})
		}
	}
	var out bytes.Buffer
	if err := imagejpeg.Encode(&out, picture, &imagejpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	file = out.Bytes()
	at := bytes.Index(file, []byte{0xff, jpeg.SOS})
	scan = file[at+14 : len(file)-2]
	// Go's encoder writes both tables into one segment: twice an id and 64 values.
	for body := jpeg.Segments(file, jpeg.DQT)[4:]; len(body) >= 65; body = body[65:] {
		tables = append(tables, body[1:65]...)
	}
	return file, scan, tables
}

// scanPackets cuts a scan into packets of a few bytes.
func scanPackets(kind, quality uint8, extra, scan []byte) []*packet {
	var packets []*packet
	for at := 0; at < len(scan); at += 100 {
		end := min(at+100, len(scan))
		payload := []byte{0, byte(at >> 16), byte(at >> 8), byte(at), kind, quality, 8, 6}
		if at == 0 {
			payload = append(payload, extra...)
		}
		packets = append(packets, &packet{sequence: uint16(len(packets)), stamp: 1, marker: end == len(scan), payload: append(payload, scan[at:end]...)})
	}
	return packets
}

func pushAll(t *testing.T, packets []*packet) *KeyFrame {
	t.Helper()
	s, err := newJPEGScans(0, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var frame *KeyFrame
	for _, packet := range packets {
		if frame, err = s.push(packet, false, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return frame
}

func samePicture(t *testing.T, got, want []byte) {
	t.Helper()
	a, err := imagejpeg.Decode(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	b, err := imagejpeg.Decode(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	for y := range b.Bounds().Dy() {
		for x := range b.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				t.Fatalf("pixel %d,%d is %v, want %v", x, y, a.At(x, y), b.At(x, y))
			}
		}
	}
}

func TestAScanBecomesTheJPEGItWas(t *testing.T) {
	t.Parallel()
	for _, quality := range []int{1, 25, 49, 50, 80, 99} {
		file, scan, tables := photo(t, quality)
		standard := pushAll(t, scanPackets(1, uint8(quality), nil, scan))
		if standard == nil {
			t.Fatalf("Q %d: nothing came out", quality)
		}
		samePicture(t, standard.Bytes, file)

		own := pushAll(t, scanPackets(1, 255, append([]byte{0, 0, 0, 128}, tables...), scan))
		if own == nil {
			t.Fatalf("Q %d with its own tables: nothing came out", quality)
		}
		samePicture(t, own.Bytes, file)

		// gortsplib's decoder, which has all tables written out, is the witness for Q.
		witness := &rtpmjpeg.Decoder{}
		_ = witness.Init()
		var want []byte
		for _, p := range scanPackets(1, uint8(quality), nil, scan) {
			want, _ = witness.Decode(&rtp.Packet{Header: rtp.Header{SequenceNumber: p.sequence, Timestamp: p.stamp, Marker: p.marker}, Payload: p.payload})
		}
		samePicture(t, standard.Bytes, want)
	}
}

func TestTablesMayBeLeftOutOnceTheyAreKnown(t *testing.T) {
	t.Parallel()
	file, scan, tables := photo(t, 70)
	s, err := newJPEGScans(0, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	// The first picture loses a packet, the second relies on its tables.
	for _, packet := range scanPackets(1, 200, append([]byte{0, 0, 0, 128}, tables...), scan)[:2] {
		if frame, err := s.push(packet, false, time.Now()); frame != nil || err != nil {
			t.Fatal(frame, err)
		}
	}
	var frame *KeyFrame
	for _, packet := range scanPackets(1, 200, []byte{0, 0, 0, 0}, scan) {
		packet.stamp = 2
		if frame, err = s.push(packet, false, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if frame == nil {
		t.Fatal("nothing came out")
	}
	samePicture(t, frame.Bytes, file)
}

func TestAJPEGThatIsNotWholeIsNotGiven(t *testing.T) {
	t.Parallel()
	_, scan, _ := photo(t, 70)
	good := func() []*packet { return scanPackets(1, 70, nil, scan) }
	for name, packets := range map[string][]*packet{
		"the first packet is missing":     good()[1:],
		"one in the middle is missing":    append(good()[:2:2], good()[3:]...),
		"the last is missing":             good()[:len(good())-1],
		"a marker inside the scan":        scanPackets(1, 70, nil, append([]byte{0xff, 0xc4}, scan...)),
		"no scan":                         scanPackets(1, 70, nil, []byte{0xff, 0xd9}),
		"a kind that nobody has":          scanPackets(7, 70, nil, scan),
		"a quality that nobody has":       scanPackets(1, 110, nil, scan),
		"tables that are cut short":       scanPackets(1, 255, []byte{0, 0, 0, 128, 1, 2}, scan[:20]),
		"tables that were never sent":     scanPackets(1, 130, []byte{0, 0, 0, 0}, scan),
		"tables of 16 bits":               scanPackets(1, 255, append([]byte{0, 3, 0, 128}, make([]byte, 128)...), scan),
		"a restart header that is absent": {{marker: true, payload: []byte{0, 0, 0, 0, 65, 70, 8, 6, 0}}},
		"a header that is cut short":      {{marker: true, payload: []byte{0, 0, 0, 0, 1}}},
	} {
		if frame := pushAll(t, packets); frame != nil {
			t.Errorf("%s: given all the same", name)
		}
	}
}

func TestRestartMarkersAreAnnounced(t *testing.T) {
	t.Parallel()
	_, scan, _ := photo(t, 70)
	only := &packet{marker: true, payload: append([]byte{0, 0, 0, 0, 65, 70, 8, 6, 0, 12, 0xff, 0xff}, scan...)}
	frame := pushAll(t, []*packet{only})
	if frame == nil || !bytes.Contains(frame.Bytes, []byte{0xff, jpeg.DRI, 0, 4, 0, 12}) {
		t.Error("no restart interval in the file")
	}
}
