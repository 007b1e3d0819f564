package depacketize

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	imagejpeg "image/jpeg"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/jpeg"
)

// What ends a stream of JPEGs that cannot be put together. Any other client would make a picture of them, and a wrong one.
var (
	// ErrHugeJPEG is a JPEG wider or higher than RTP can say (RFC 2435 section 3.1.5: 2040 pixels), of a size that nothing else tells.
	ErrHugeJPEG = errors.New("its JPEG is larger than RTP can say (2040 pixels), and nothing else tells its size")
	// ErrMisfit is wrapped where what came is whole, and not what its headers say: of another size, or coded with other tables.
	ErrMisfit = errors.New("its JPEG is not what its headers say")
)

// misfitsMost is how many pictures in a row must be so. One may be a mishap of the camera's.
const misfitsMost = 3

// jpegScans assembles JPEG pictures (RFC 2435). What travels is the scan and a few numbers; the headers are made here.
type jpegScans struct {
	limit   int
	huffman []byte           // the DHT segment all of them use
	tables  map[uint8][]byte // quantization tables that came in band, by Q: they may be left out later

	width, height int // that the description of the stream says; 0: it says none

	open    bool
	stamp   uint32
	at      time.Time
	head    jpegHeader
	quant   []byte // the DQT segment
	said    []byte // segments of the JPEG's own headers, that came in a header extension
	file    []byte // what there is of it
	begin   int    // of the scan in it
	lost    int
	misfits int // in a row
}

// jpegHeader is the main header of a packet (RFC 2435 section 3.1), with the restart interval where there is one.
type jpegHeader struct {
	offset        int
	kind, quality uint8
	width, height int
	restart       uint16
}

func newJPEGScans(width, height, limit int) (*jpegScans, error) {
	reference, err := reference(50)
	if err != nil {
		return nil, err
	}
	return &jpegScans{limit: limit, width: width, height: height, huffman: jpeg.Segments(reference, jpeg.DHT), tables: map[uint8][]byte{}}, nil
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
	if s.open && lost {
		s.drop()
	}
	if len(p.payload) == 0 {
		return nil, nil
	}
	head, rest, err := parseJPEGHeader(p.payload)
	if s.open && (p.stamp != s.stamp || err == nil && head.offset == 0) { // its last packet had no marker
		if frame, err := s.finish(at); frame != nil || err != nil {
			return frame, err
		}
	}
	if err == nil && head.offset == 0 {
		s.said = onvifHeaders(p)
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
	return s.finish(at)
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
	if width, height := jpeg.FrameSize(append([]byte{0xff, jpeg.SOI}, s.said...)); width > 0 && height > 0 {
		head.width, head.height = width, height
	} else if s.said = nil; (head.width == 0 || head.height == 0) && !plausible(s.width, s.height) {
		return nil, ErrHugeJPEG
	}
	var err error
	if s.quant, rest, err = s.quantization(head.quality, rest); err != nil {
		return nil, err
	}
	s.head, s.open = head, true
	// Two bits a pixel are more than most cameras take, and what is never filled costs nothing.
	room := min(s.limit, max(head.width*head.height, s.width*s.height)/4)
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

// finish completes the file, and gives it away if its scan is whole: MCUs are counted, because how large a picture is, and
// with which tables it is coded, RTP can say only of some.
func (s *jpegScans) finish(at time.Time) (*KeyFrame, error) {
	all, file, scan := s.file, s.file[:s.begin], s.file[s.begin:]
	if header, rest, ok := jpeg.Split(scan); ok { // there are cameras that send whole files
		all, file, scan = scan, header, rest
	}
	fits, why := s.fit(file, scan)
	if why != "" {
		s.drop()
		if s.misfits++; s.misfits >= misfitsMost {
			return nil, fmt.Errorf("%w: %s", ErrMisfit, why)
		}
		return nil, nil
	}
	if sof := bytes.Index(file, []byte{0xff, jpeg.SOF0}); sof >= 0 {
		binary.BigEndian.PutUint16(file[sof+5:], uint16(fits.height))
		binary.BigEndian.PutUint16(file[sof+7:], uint16(fits.width))
	}
	all = append(all[:len(file)+fits.end], 0xff, jpeg.EOI)
	s.open, s.file = false, nil
	return &KeyFrame{
		Codec: JPEG, Bytes: all, Pictures: 1, CapturedAt: s.at, Arriving: at.Sub(s.at), Width: fits.width, Height: fits.height, FullRange: true,
	}, nil
}

// fit is the size that a scan has, and where it ends.
type fit struct{ width, height, end int }

// fit finds the size that the scan has, and where it ends; else it says why there is none.
func (s *jpegScans) fit(header, scan []byte) (found fit, why string) {
	parsed, err := jpeg.ParseScan(header)
	if err != nil {
		return fit{}, err.Error()
	}
	count, end, err := parsed.Count(scan, mostMCUs)
	width, height := jpeg.FrameSize(header)
	sizes := s.sizes(width, height)
	for _, size := range sizes {
		expected := parsed.MCUs(size[0], size[1])
		if expected > count || expected == 0 {
			continue
		}
		at := end
		if count > expected || err != nil { // there is more, which may be no picture
			_, at, _ = parsed.Count(scan, expected)
		}
		if jpeg.Padding(scan[at:]) {
			return fit{size[0], size[1], at}, ""
		}
	}
	if err == nil && jpeg.Padding(scan[end:]) {
		if size, ok := unwrapped(parsed, count, width, height); ok {
			return fit{size[0], size[1], end}, ""
		}
	}
	switch expected := parsed.MCUs(width, height); {
	case err != nil:
		return fit{}, err.Error()
	case count < expected:
		return fit{}, fmt.Sprintf("it has %d MCUs, where %dx%d pixels have %d: its end is missing, or it is not of that size", count, width, height, expected)
	default:
		return fit{}, fmt.Sprintf("it has %d MCUs, where %dx%d pixels have %d, so it is larger than RTP can say", count, width, height, expected)
	}
}

// mostMCUs is that of the largest picture (16384 x 4096) in the smallest units.
const mostMCUs = 1 << 20

// wrap is where senders begin to count again, who have more pixels than RTP can say: in units of eight, a byte holds 255.
const wrap = 8 * 256

// sizes are those that are believed, the likeliest first: what the description of the stream says, if RTP does not contradict
// it, and what RTP says.
func (s *jpegScans) sizes(width, height int) [][2]int {
	round := func(n int) int { return (n + 7) / 8 * 8 }
	var sizes [][2]int
	if s.said == nil && plausible(s.width, s.height) && (s.head.width == 0 || s.head.height == 0 ||
		round(s.width)%wrap == width%wrap && round(s.height)%wrap == height%wrap) {
		sizes = append(sizes, [2]int{s.width, s.height})
	}
	if width > 0 && height > 0 {
		sizes = append(sizes, [2]int{width, height})
	}
	return sizes
}

// unwrapped finds the only size that wraps to what RTP says and has as many MCUs.
func unwrapped(scan *jpeg.Scan, count, width, height int) (size [2]int, ok bool) {
	for w := width; w <= 4*wrap; w += wrap {
		for h := height; h <= 4*wrap; h += wrap {
			if w*h == 0 || scan.MCUs(w, h) != count {
				continue
			}
			if ok {
				return size, false // there are two
			}
			size, ok = [2]int{w, h}, true
		}
	}
	return size, ok
}

// onvifHeaders returns the segments of a JPEG's own headers that ONVIF lets a sender put into the header extension (ONVIF
// Streaming Specification, "JPEG over RTP"), or nil.
func onvifHeaders(p *packet) []byte {
	const profile = 0xffd8
	if p.profile != profile {
		return nil
	}
	var segments []byte
	for at := 0; at+4 <= len(p.extension); {
		if p.extension[at] != 0xff {
			break
		}
		if p.extension[at+1] == 0xff { // a fill byte
			at++
			continue
		}
		size := 2 + int(binary.BigEndian.Uint16(p.extension[at+2:]))
		if size < 4 || at+size > len(p.extension) {
			break
		}
		segments = append(segments, p.extension[at:at+size]...)
		at += size
	}
	return segments
}

// header appends everything before the scan: a JFIF file of three components, 4:2:2 or 4:2:0, or what the sender's own headers say.
func (s *jpegScans) header(file []byte) []byte {
	head := s.head
	own := append([]byte{0xff, jpeg.SOI}, s.said...)
	or := func(marker byte, otherwise []byte) []byte {
		if segments := jpeg.Segments(own, marker); len(segments) > 0 {
			return segments
		}
		return otherwise
	}
	sampling := byte(0x21)
	if head.kind&1 != 0 {
		sampling = 0x22
	}
	quant := or(jpeg.DQT, s.quant)
	chroma := byte(min(1, len(segmentTables(quant))-1)) // the second table, where there is one
	file = append(file, 0xff, jpeg.SOI)
	file = append(file, 0xff, jpeg.APP0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0)
	file = append(file, quant...)
	if head.restart != 0 {
		file = append(file, 0xff, jpeg.DRI, 0, 4, byte(head.restart>>8), byte(head.restart))
	}
	sof := or(jpeg.SOF0, []byte{0xff, jpeg.SOF0, 0, 17, 8, byte(head.height >> 8), byte(head.height), byte(head.width >> 8), byte(head.width), 3,
		1, sampling, 0, 2, 0x11, chroma, 3, 0x11, chroma})
	file = append(file, sof...)
	file = append(file, or(jpeg.DHT, s.huffman)...)
	return append(file, scanHeader(sof)...)
}

// scanHeader is the SOS segment of the components in a frame header; the first is luma.
func scanHeader(sof []byte) []byte {
	components := (len(sof) - 10) / 3
	sos := []byte{0xff, jpeg.SOS, 0, byte(6 + 2*components), byte(components)}
	for i := range components {
		tables := byte(0x11)
		if i == 0 {
			tables = 0
		}
		sos = append(sos, sof[10+3*i], tables)
	}
	return append(sos, 0, 63, 0)
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
