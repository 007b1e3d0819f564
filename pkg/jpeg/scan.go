package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Scan is the entropy-coded data of a baseline JPEG, as the segments before it describe it (ITU-T T.81, F.2).
type Scan struct {
	components []component
	restart    int    // MCUs between restart markers; 0: none
	blocks     int    // of 8 x 8 in an MCU, all components together
	maxH, maxV int    // sampling factors, the largest
	quantDC    [4]int // of each quantization table, the factor of DC
	dc, ac     [4]*huffmanTable
}

type component struct {
	id, h, v, quant, dc, ac int
	sum                     int // the DC coefficient of the block before, not yet multiplied
}

// What is wrong with a scan.
var (
	errTables = errors.New("it is coded with other Huffman tables than those said")
	errRange  = errors.New("its colours are out of range, so it is coded with other tables than those said")
)

// ParseScan reads the headers of a baseline JPEG, from SOI up to and with SOS.
func ParseScan(header []byte) (*Scan, error) {
	s := &Scan{}
	if len(header) < 4 || header[0] != 0xff || header[1] != SOI {
		return nil, errors.New("it does not begin with FF D8")
	}
	for at := 2; ; {
		marker, after, err := nextMarker(header, at)
		if err != nil {
			return nil, err
		}
		body, after, err := segment(header, after)
		if err != nil {
			return nil, err
		}
		at = after
		switch marker {
		case DQT:
			err = s.quantization(body)
		case DHT:
			err = s.huffman(body)
		case DRI:
			if len(body) >= 2 {
				s.restart = int(binary.BigEndian.Uint16(body))
			}
		case SOF0, SOF0 + 1:
			err = s.frame(body)
		case SOS:
			return s, s.begin(body)
		default:
			if isSOF(marker) {
				err = errors.New("its coding is not baseline")
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

func (s *Scan) quantization(body []byte) error {
	for len(body) > 0 {
		wide, id := int(body[0]>>4), body[0]&3
		size := 1 + 64*(1+wide)
		if wide > 1 || len(body) < size {
			return errors.New("its quantization tables are cut off")
		}
		s.quantDC[id] = int(body[1])
		if wide == 1 {
			s.quantDC[id] = int(binary.BigEndian.Uint16(body[1:]))
		}
		body = body[size:]
	}
	return nil
}

func (s *Scan) frame(body []byte) error {
	if len(body) < 6 || len(body) < 6+3*int(body[5]) || body[0] != 8 {
		return errors.New("its frame header is cut off")
	}
	s.components, s.blocks, s.maxH, s.maxV = nil, 0, 1, 1
	for i := range int(body[5]) {
		c := body[6+3*i:]
		h, v := int(c[1]>>4), int(c[1]&15)
		if h < 1 || h > 4 || v < 1 || v > 4 {
			return errors.New("its sampling factors are none")
		}
		s.components = append(s.components, component{id: int(c[0]), h: h, v: v, quant: int(c[2] & 3)})
		s.maxH, s.maxV = max(s.maxH, h), max(s.maxV, v)
		s.blocks += h * v
	}
	return nil
}

func (s *Scan) begin(body []byte) error {
	if len(body) < 1 || len(body) < 1+2*int(body[0])+3 || len(s.components) == 0 {
		return errors.New("its scan header is cut off")
	}
	if int(body[0]) != len(s.components) {
		return errors.New("its components come in scans of their own")
	}
	for i := range s.components {
		c, said := &s.components[i], body[1+2*i:]
		if int(said[0]) != c.id {
			return errors.New("its components come in another order")
		}
		c.dc, c.ac = int(said[1]>>4&3), int(said[1]&3)
		if s.dc[c.dc] == nil || s.ac[c.ac] == nil {
			return errors.New("it lacks a Huffman table")
		}
	}
	if len(s.components) == 1 { // T.81 A.2.2: an MCU is one block then
		s.components[0].h, s.components[0].v, s.blocks, s.maxH, s.maxV = 1, 1, 1, 1, 1
	}
	return nil
}

// MCUs is how many minimum coded units a picture of this size has.
func (s *Scan) MCUs(width, height int) int {
	w, h := 8*s.maxH, 8*s.maxV
	return (width + w - 1) / w * ((height + h - 1) / h)
}

// Count goes through the entropy-coded data, at most for most MCUs, and returns how many whole ones it found and where they
// end: behind padding bits, before a marker or what else follows. Data that ends where an MCU begins is no error.
func (s *Scan) Count(data []byte, most int) (count, end int, err error) {
	r := &entropy{data: data}
	for i := range s.components {
		s.components[i].sum = 0
	}
	for count < most {
		if s.restart > 0 && count > 0 && count%s.restart == 0 {
			if !r.restartMarker(count/s.restart - 1) {
				return count, r.end(), nil
			}
			for i := range s.components {
				s.components[i].sum = 0
			}
		}
		if r.over() {
			break
		}
		if err := s.unit(r); err != nil {
			if errors.Is(err, errShort) {
				return count, r.end(), nil
			}
			return count, r.end(), fmt.Errorf("%w (at MCU %d)", err, count)
		}
		count++
	}
	return count, r.end(), nil
}

// unit reads one MCU.
func (s *Scan) unit(r *entropy) error {
	const largest = 1024 + 256 // of a DC coefficient of eight bits, with room for what rounding does
	for i := range s.components {
		c := &s.components[i]
		for range c.h * c.v {
			size, err := r.decode(s.dc[c.dc])
			if err != nil {
				return err
			}
			if size > 11 {
				return errTables
			}
			difference, ok := r.receive(size)
			if !ok {
				return errShort
			}
			if c.sum += difference; abs(c.sum*s.quantDC[c.quant]) > largest+s.quantDC[c.quant] {
				return errRange
			}
			if err := r.skipAC(s.ac[c.ac]); err != nil {
				return err
			}
		}
	}
	return nil
}

func abs(n int) int { return max(n, -n) }

// Padding reports whether what follows the MCUs of a picture is nothing: fill bytes, zeros, or EOI and whatever comes then.
func Padding(rest []byte) bool {
	for i, b := range rest {
		if b == EOI && i > 0 && rest[i-1] == 0xff {
			return true
		}
		if b != 0 && b != 0xff {
			return false
		}
	}
	return true
}

// Split returns the headers of a JPEG, up to and with SOS, and what follows them.
func Split(file []byte) (header, rest []byte, ok bool) {
	if len(file) < 4 || file[0] != 0xff || file[1] != SOI {
		return nil, nil, false
	}
	for at := 2; ; {
		marker, after, err := nextMarker(file, at)
		if err != nil {
			return nil, nil, false
		}
		if _, at, err = segment(file, after); err != nil {
			return nil, nil, false
		}
		if marker == SOS {
			return file[:at], file[at:], true
		}
	}
}

// FrameSize is the size that the frame header of a JPEG says.
func FrameSize(header []byte) (width, height int) {
	for _, marker := range []byte{SOF0, SOF0 + 1, SOF0 + 2} {
		if sof := Segments(header, marker); len(sof) >= 9 {
			return int(binary.BigEndian.Uint16(sof[7:])), int(binary.BigEndian.Uint16(sof[5:]))
		}
	}
	return 0, 0
}

// errShort is data that ends inside an MCU.
var errShort = errors.New("it ends too early")

// entropy reads bits, and takes out the zero bytes that are stuffed behind 0xff (T.81 F.2.2.5).
type entropy struct {
	data []byte
	at   int
	bits uint64
	have int // bits in it
}

// fill takes as many bytes as fit. At a marker and at the end there are no more.
func (r *entropy) fill() {
	for r.have <= 56 && r.at < len(r.data) {
		b := r.data[r.at]
		if b == 0xff {
			if r.at+1 >= len(r.data) || r.data[r.at+1] != 0 {
				return
			}
			r.at++
		}
		r.at++
		r.bits = r.bits<<8 | uint64(b)
		r.have += 8
	}
}

// over reports whether at most padding is left: less than a byte, of ones (T.81 F.1.2.3). Some pad with zeros.
func (r *entropy) over() bool {
	if r.have < 8 {
		r.fill()
	}
	if r.have >= 8 {
		return false
	}
	left := r.bits & (1<<r.have - 1)
	return left == 1<<r.have-1 || left == 0
}

// end is where the bytes stand that were not needed.
func (r *entropy) end() int {
	at := r.at
	for unread := r.have / 8; unread > 0; unread-- {
		at--
		if at > 0 && r.data[at] == 0 && r.data[at-1] == 0xff {
			at--
		}
	}
	return at
}

// restartMarker takes the marker that must come now.
func (r *entropy) restartMarker(number int) bool {
	at := r.end()
	for at+1 < len(r.data) && r.data[at] == 0xff && r.data[at+1] == 0xff {
		at++
	}
	if at+1 >= len(r.data) || r.data[at] != 0xff || r.data[at+1] != RST0+byte(number&7) {
		return false
	}
	r.at, r.bits, r.have = at+2, 0, 0
	return true
}

// receive reads a number of so many bits, and extends its sign (T.81 F.2.2.1).
func (r *entropy) receive(size int) (int, bool) {
	if r.have < size {
		if r.fill(); r.have < size {
			return 0, false
		}
	}
	if size == 0 {
		return 0, true
	}
	r.have -= size
	value := int(r.bits >> r.have & (1<<size - 1))
	if value < 1<<(size-1) {
		value += 1 - 1<<size
	}
	return value, true
}

// skipAC goes over the 63 other coefficients of a block.
func (r *entropy) skipAC(table *huffmanTable) error {
	for k := 1; k < 64; k++ {
		code, err := r.decode(table)
		if err != nil {
			return err
		}
		run, size := code>>4, code&15
		if size == 0 {
			if run != 15 {
				return nil
			}
			k += 15
			continue
		}
		if k += run; k > 63 || size > 10 {
			return errTables
		}
		if r.have < size {
			if r.fill(); r.have < size {
				return errShort
			}
		}
		r.have -= size
	}
	return nil
}

// huffmanTable finds a symbol by its code: short ones at once, longer ones by length (T.81 F.2.2.3).
type huffmanTable struct {
	short   [256]uint16 // length and symbol of a code of up to eight bits, by its first eight; 0: none
	most    [17]int     // the largest code of a length; -1: none
	first   [17]int     // where the symbols of a length begin, less the smallest code
	symbols []byte
}

func (s *Scan) huffman(body []byte) error {
	for len(body) > 0 {
		if len(body) < 17 {
			return errors.New("its Huffman tables are cut off")
		}
		kind, id, counts := body[0]>>4, body[0]&3, body[1:17]
		total := 0
		for _, n := range counts {
			total += int(n)
		}
		if len(body) < 17+total || total > 256 {
			return errors.New("its Huffman tables are cut off")
		}
		table := &huffmanTable{symbols: bytes.Clone(body[17 : 17+total])}
		code, at := 0, 0
		for length := 1; length <= 16; length++ {
			n := int(counts[length-1])
			table.most[length], table.first[length] = code+n-1, at-code
			if n == 0 {
				table.most[length] = -1
			}
			if code+n > 1<<length {
				return errors.New("its Huffman tables are none")
			}
			if length <= 8 {
				for i := range n {
					from := (code + i) << (8 - length)
					for j := range 1 << (8 - length) {
						table.short[from+j] = uint16(length)<<8 | uint16(table.symbols[at+i])
					}
				}
			}
			code, at = (code+n)<<1, at+n
		}
		if kind == 0 {
			s.dc[id] = table
		} else {
			s.ac[id] = table
		}
		body = body[17+total:]
	}
	return nil
}

func (r *entropy) decode(table *huffmanTable) (int, error) {
	if r.have < 16 {
		r.fill()
	}
	if r.have >= 8 {
		if found := table.short[r.bits>>(r.have-8)&0xff]; found != 0 {
			r.have -= int(found >> 8)
			return int(found & 0xff), nil
		}
	}
	for length := 1; length <= 16; length++ {
		if length > r.have {
			return 0, errShort
		}
		if code := int(r.bits >> (r.have - length) & (1<<length - 1)); code <= table.most[length] {
			r.have -= length
			return int(table.symbols[table.first[length]+code]), nil
		}
	}
	return 0, errTables
}
