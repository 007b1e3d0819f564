package depacketize

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	imagejpeg "image/jpeg"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/jpeg"
)

// ErrHugeJPEG is a JPEG wider or higher than RTP can say (RFC 2435 section 3.1.5: 2040 pixels).
var ErrHugeJPEG = errors.New("JPEG without dimensions")

// jpegScans assembles JPEG pictures (RFC 2435). What travels is the scan and a few numbers; the headers are made here.
type jpegScans struct {
	limit   int
	huffman []byte           // the DHT segment all of them use
	tables  map[uint8][]byte // quantization tables that came in band, by Q: they may be left out later

	open  bool
	stamp uint32
	at    time.Time
	head  jpegHeader
	quant []byte // the DQT segment
	file  []byte // what there is of it
	begin int    // of the scan in it
	lost  int
}

// jpegHeader is the main header of a packet (RFC 2435 section 3.1), with the restart interval where there is one.
type jpegHeader struct {
	offset        int
	kind, quality uint8
	width, height int
	restart       uint16
}

func newJPEGScans(limit int) (*jpegScans, error) {
	reference, err := reference(50)
	if err != nil {
		return nil, err
	}
	return &jpegScans{limit: limit, huffman: jpeg.Segments(reference, jpeg.DHT), tables: map[uint8][]byte{}}, nil
}

// reference returns the headers of a small JPEG. RFC 2435 takes its tables, and how Q scales them, from the
// Independent JPEG Group's library, and so does image/jpeg.
func reference(quality int) ([]byte, error) {
	var file bytes.Buffer
	if err := imagejpeg.Encode(&file, image.NewYCbCr(image.Rect(0, 0, 8, 8), image.YCbCrSubsampleRatio420), &imagejpeg.Options{Quality: quality}); err != nil {
		return nil, fault.New(fault.Local, fault.Setup, "cannot make the tables of JPEG: %w", err)
	}
	return file.Bytes(), nil
}

func (s *jpegScans) troubles() string { return describeTroubles(s.lost, 0) }

func (s *jpegScans) push(p *packet, lost bool, at time.Time) (*KeyFrame, error) {
	if s.open && (lost || p.stamp != s.stamp) {
		s.drop()
	}
	if len(p.payload) == 0 {
		return nil, nil
	}
	head, rest, err := parseJPEGHeader(p.payload)
	if err == nil && head.offset == 0 {
		rest, err = s.start(head, rest)
		s.stamp, s.at = p.stamp, at
	}
	switch {
	case errors.Is(err, errMalformed):
		s.drop()
		return nil, nil
	case err != nil:
		return nil, err
	case !s.open:
		return nil, nil // we came in the middle of a picture
	case head.offset != len(s.file)-s.begin:
		s.drop()
		return nil, nil
	case len(s.file)-s.begin+len(rest) > s.limit:
		return nil, ErrTooBig
	}
	s.file = append(withRoom(s.file, len(rest), s.begin+s.limit), rest...)
	if !p.marker {
		return nil, nil
	}
	return s.finish(at), nil
}

func (s *jpegScans) drop() {
	if s.open {
		s.lost++
	}
	s.open = false
}

func parseJPEGHeader(payload []byte) (jpegHeader, []byte, error) {
	const mainHeader, restartHeader = 8, 4
	if len(payload) < mainHeader {
		return jpegHeader{}, nil, errMalformed
	}
	head := jpegHeader{
		offset:  int(payload[1])<<16 | int(payload[2])<<8 | int(payload[3]),
		kind:    payload[4],
		quality: payload[5],
		width:   int(payload[6]) * 8,
		height:  int(payload[7]) * 8,
	}
	rest := payload[mainHeader:]
	if head.kind&^0x41 != 0 { // 0, 1, and the same with restart markers
		return head, nil, errMalformed
	}
	if head.kind&0x40 != 0 {
		if len(rest) < restartHeader {
			return head, nil, errMalformed
		}
		head.restart = binary.BigEndian.Uint16(rest)
		rest = rest[restartHeader:]
	}
	return head, rest, nil
}

// start begins a picture: its first packet may carry the quantization tables.
func (s *jpegScans) start(head jpegHeader, rest []byte) ([]byte, error) {
	s.drop()
	if head.width == 0 || head.height == 0 {
		return nil, ErrHugeJPEG
	}
	var err error
	if s.quant, rest, err = s.quantization(head.quality, rest); err != nil {
		return nil, err
	}
	s.head, s.open = head, true
	// Two bits a pixel are more than most cameras take, and what is never filled costs nothing.
	room := min(s.limit, head.width*head.height/4)
	s.file = s.header(slices.Grow(s.file[:0], 1024+room))
	s.begin = len(s.file)
	return rest, nil
}

// quantization returns the DQT segment for Q (RFC 2435 section 3.1.8 and 4.2), and what follows the tables.
func (s *jpegScans) quantization(quality uint8, rest []byte) (segment, after []byte, err error) {
	const inBand, changing = 128, 255
	if quality < inBand {
		if quality == 0 || quality > 99 {
			return nil, nil, errMalformed
		}
		file, err := reference(int(quality))
		return jpeg.Segments(file, jpeg.DQT), rest, err
	}
	if len(rest) < 4 {
		return nil, nil, errMalformed
	}
	precision, size := rest[1], int(binary.BigEndian.Uint16(rest[2:]))
	rest = rest[4:]
	if size == 0 && quality != changing && s.tables[quality] != nil {
		return s.tables[quality], rest, nil
	}
	if precision != 0 || size != 64 && size != 128 || size > len(rest) {
		return nil, nil, errMalformed
	}
	for id := range size / 64 {
		segment = append(segment, 0xff, jpeg.DQT, 0, 67, byte(id))
		segment = append(segment, rest[id*64:(id+1)*64]...)
	}
	s.tables[quality] = segment
	return segment, rest[size:], nil
}

// finish completes the file, and gives it away if its scan is whole.
func (s *jpegScans) finish(at time.Time) *KeyFrame {
	file, end := s.file, []byte{0xff, jpeg.EOI}
	scan := bytes.TrimSuffix(file[s.begin:], end)
	if len(scan) == len(file)-s.begin {
		file = append(file, end...)
	}
	config, err := imagejpeg.DecodeConfig(bytes.NewReader(file))
	if err != nil || !jpeg.SoundScan(scan) {
		s.drop()
		return nil
	}
	s.open, s.file = false, nil
	return &KeyFrame{
		Codec: JPEG, Bytes: file, CapturedAt: s.at, Arriving: at.Sub(s.at),
		Width: config.Width, Height: config.Height, FullRange: true,
	}
}

// header appends everything before the scan: a JFIF file of three components, 4:2:2 or 4:2:0.
func (s *jpegScans) header(file []byte) []byte {
	head := s.head
	sampling := byte(0x21)
	if head.kind&1 != 0 {
		sampling = 0x22
	}
	chroma := byte(min(1, len(segmentTables(s.quant))-1)) // the second table, where there is one
	file = append(file, 0xff, jpeg.SOI)
	file = append(file, 0xff, jpeg.APP0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0)
	file = append(file, s.quant...)
	if head.restart != 0 {
		file = append(file, 0xff, jpeg.DRI, 0, 4, byte(head.restart>>8), byte(head.restart))
	}
	file = append(file, 0xff, jpeg.SOF0, 0, 17, 8, byte(head.height>>8), byte(head.height), byte(head.width>>8), byte(head.width), 3,
		1, sampling, 0, 2, 0x11, chroma, 3, 0x11, chroma)
	file = append(file, s.huffman...)
	return append(file, 0xff, jpeg.SOS, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0)
}

// segmentTables returns the ids of the 8-bit tables in DQT segments.
func segmentTables(dqt []byte) []byte {
	var ids []byte
	for at := 0; at+4 <= len(dqt); {
		end := at + 2 + int(binary.BigEndian.Uint16(dqt[at+2:]))
		for table := at + 4; table+65 <= end; table += 65 {
			ids = append(ids, dqt[table])
		}
		at = end
	}
	return ids
}
