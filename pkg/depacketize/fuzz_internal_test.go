package depacketize

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzAssembly feeds one track with packets: each is one byte of length, one of flags, and so many bytes of payload.
func FuzzAssembly(f *testing.F) {
	f.Add(byte(0), []byte("\x03\x01\x65\x88\x01"))
	f.Add(byte(0), []byte("\x08\x00\x18\x00\x03\x65\x88\x01\x00\x01\x03\x01\x65\x08\x02"))
	f.Add(byte(0), []byte("\x03\x00\x7c\x85\x88\x03\x02\x7c\x45\x01\x03\x01\x41\x9a\x01"))
	f.Add(byte(1), []byte("\x04\x01\x26\x01\xaf\x09\x05\x00\x62\x01\x93\xaf\x01\x05\x01\x62\x01\x53\xaf\x01"))
	f.Add(byte(1), []byte("\x09\x01\x60\x01\x00\x04\x26\x01\xaf\x09\x00"))
	f.Add(byte(2), []byte("\x0a\x01\x00\x00\x00\x00\x01\x46\x08\x06\x01\x02"))
	f.Fuzz(func(t *testing.T, which byte, script []byte) {
		const limit = 4096
		codecs := []Codec{H264, H265, JPEG}
		sets := described()
		r, err := NewReceiver(Format{Codec: codecs[int(which)%len(codecs)], Payload: 96, Sets: sets}, limit)
		if err != nil {
			t.Fatal(err)
		}
		stamp, number := uint32(0), uint16(0)
		for len(script) >= 2 && r.frame == nil {
			size, flags := int(script[0]), script[1]
			script = script[2:]
			size = min(size, len(script))
			raw := []byte{0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
			raw[1] |= flags << 7
			number += 1 + uint16(flags>>1&1)
			stamp += uint32(flags >> 2 & 1)
			binary.BigEndian.PutUint16(raw[2:], number)
			binary.BigEndian.PutUint32(raw[4:], stamp)
			if r.Take(append(raw, script[:size]...)) != nil {
				return
			}
			script = script[size:]
		}
		if r.frame == nil {
			return
		}
		if len(r.frame.Bytes) == 0 || len(r.frame.Bytes) > limit+2048 {
			t.Errorf("a key frame of %d bytes", len(r.frame.Bytes))
		}
		if r.frame.Codec != JPEG && !bytes.HasPrefix(r.frame.Bytes, []byte(startCode)) {
			t.Errorf("no byte stream: % x", r.frame.Bytes[:4])
		}
	})
}
