package depacketize

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// rtpPacket is one packet as it comes over the wire.
func rtpPacket(payloadType byte, number uint16, stamp, ssrc uint32, marker bool, payload string) []byte {
	raw := make([]byte, 12, 12+len(payload))
	raw[0], raw[1] = 0x80, payloadType
	if marker {
		raw[1] |= 0x80
	}
	binary.BigEndian.PutUint16(raw[2:], number)
	binary.BigEndian.PutUint32(raw[4:], stamp)
	binary.BigEndian.PutUint32(raw[8:], ssrc)
	return append(raw, payload...)
}

// onTheWire is a stream of pictures of three packets, every fourth a key frame, and what a case makes of each packet.
func onTheWire(pictures int, edit func(n int, ours []byte) [][]byte) (packets [][]byte) {
	n := 0
	for picture := range pictures {
		slices := []string{"\x41\x9a\x01", "\x41\x1a\x02", "\x41\x1a\x03"}
		if picture%4 == 2 {
			slices = []string{first, second, third}
		}
		for i, slice := range slices {
			ours := rtpPacket(96, uint16(1000+n), uint32(picture*9000), 7, i == 2, slice)
			packets = append(packets, edit(n, ours)...)
			n++
		}
	}
	return packets
}

func number(raw []byte) uint16      { return binary.BigEndian.Uint16(raw[2:]) }
func numbered(raw []byte, n uint16) { binary.BigEndian.PutUint16(raw[2:], n) }
func named(raw []byte, ssrc uint32) { binary.BigEndian.PutUint32(raw[8:], ssrc) }
func alone(ours []byte) [][]byte    { return [][]byte{ours} }
func noise(n int) string            { return strings.Repeat("\x9b", n) }

// A stranger's packets neither get into the picture nor keep it from coming, and what is missing is never taken for theirs.
func TestReceiver_strangers(t *testing.T) {
	t.Parallel()
	whole := code + first + code + second + code + third
	stale := func(n int) []byte { return rtpPacket(96, uint16(5*n), uint32(n), 0x999, true, "\x41\x9a"+noise(40)) }
	for name, c := range map[string]struct {
		edit func(n int, ours []byte) [][]byte
		none bool
	}{
		"nobody": {edit: func(_ int, ours []byte) [][]byte { return alone(ours) }},
		"a dead session between": {edit: func(n int, ours []byte) [][]byte {
			return [][]byte{ours, rtpPacket(96, uint16(n), uint32(n), 0x999, true, "\x41\x9a"+noise(40))}
		}},
		"a dead session, its numbers ours": {edit: func(_ int, ours []byte) [][]byte {
			return [][]byte{ours, rtpPacket(96, number(ours)+1, 1, 0x999, true, "\x41\x9a"+noise(40))}
		}},
		"a dead session before": {edit: func(n int, ours []byte) [][]byte {
			if n > 0 {
				return alone(ours)
			}
			var before [][]byte
			for k := range 40 {
				before = append(before, rtpPacket(96, uint16(k), uint32(k), 0x999, true, "\x41\x9a"+noise(40)))
			}
			return append(before, ours)
		}},
		"many sessions that jump": {edit: func(n int, ours []byte) [][]byte {
			odd := stale(n)
			named(odd, uint32(n+100))
			return [][]byte{ours, odd}
		}},
		"another type, same SSRC and number": {edit: func(_ int, ours []byte) [][]byte {
			return [][]byte{ours, rtpPacket(50, number(ours), 777, 7, false, noise(30))}
		}},
		"another type, same SSRC, the next number": {edit: func(_ int, ours []byte) [][]byte {
			return [][]byte{ours, rtpPacket(50, number(ours)+1, 777, 7, false, noise(30))}
		}},
		"another type, own SSRC": {edit: func(n int, ours []byte) [][]byte {
			return [][]byte{ours, rtpPacket(8, uint16(n), uint32(160*n), 9, false, noise(160))}
		}},
		"forty of another type first": {edit: func(n int, ours []byte) [][]byte {
			var before [][]byte
			for k := range 40 * max(0, 1-n) {
				before = append(before, rtpPacket(50, uint16(k), 777, 9, false, noise(30)))
			}
			return append(before, ours)
		}},
		"error correction, counted along": {edit: func(n int, ours []byte) [][]byte {
			numbered(ours, uint16(2*n))
			return [][]byte{ours, rtpPacket(98, uint16(2*n+1), 777, 7, false, "x")}
		}},
		"error correction, and losses": {none: true, edit: func(n int, ours []byte) [][]byte {
			numbered(ours, uint16(2*n))
			if n%3 == 1 {
				return nil // with what corrects it
			}
			return [][]byte{ours, rtpPacket(98, uint16(2*n+1), 777, 7, false, "x")}
		}},
		"another type repeats our numbers, and losses": {none: true, edit: func(n int, ours []byte) [][]byte {
			other := rtpPacket(50, number(ours), 777, 7, false, "x")
			if n%3 == 1 {
				return alone(other)
			}
			return [][]byte{ours, other}
		}},
		"a new SSRC for every packet": {edit: func(n int, ours []byte) [][]byte {
			named(ours, uint32(n)*0x9E3779B1)
			return alone(ours)
		}},
		"a new SSRC for every packet, and losses": {none: true, edit: func(n int, ours []byte) [][]byte {
			if named(ours, uint32(n)*0x9E3779B1); n%3 == 1 {
				return nil
			}
			return alone(ours)
		}},
		"a new SSRC for every fourth picture": {edit: func(n int, ours []byte) [][]byte {
			named(ours, uint32((n+6)/12))
			return alone(ours)
		}},
		"one number for all": {edit: func(_ int, ours []byte) [][]byte {
			numbered(ours, 0)
			return alone(ours)
		}},
		"one number for each picture": {edit: func(n int, ours []byte) [][]byte {
			numbered(ours, uint16(n/3))
			return alone(ours)
		}},
		"everything twice": {edit: func(_ int, ours []byte) [][]byte { return [][]byte{ours, ours} }},
		"everything twice, late": {edit: func(n int, ours []byte) [][]byte {
			if n < 3 {
				return alone(ours)
			}
			again := onTheWire(n/3+1, func(_ int, o []byte) [][]byte { return alone(o) })[n-3]
			return [][]byte{again, ours}
		}},
		"numbers that begin anew in mid-picture": {none: true, edit: func(n int, ours []byte) [][]byte {
			if number(ours); n%3 > 0 {
				numbered(ours, number(ours)-20)
			}
			return alone(ours)
		}},
		"every second packet of a picture lost": {none: true, edit: func(n int, ours []byte) [][]byte {
			if n%3 == 1 {
				return nil
			}
			return alone(ours)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			receiver, err := NewReceiver(Format{Payload: 96, Codec: H264, Sets: described()}, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, raw := range onTheWire(12, c.edit) {
				if err := receiver.Take(raw); err != nil {
					t.Fatal(err)
				}
			}
			frame := receiver.KeyFrame()
			switch {
			case frame == nil && !c.none:
				t.Errorf("no key frame%s", receiver.Troubles())
			case frame != nil && !strings.HasSuffix(string(frame.Bytes), whole):
				t.Errorf("% x", frame.Bytes)
			case frame != nil && c.none:
				t.Error("a key frame, although each lost a packet")
			}
		})
	}
}

// The source that the camera announced is preferred, if it ever comes.
func TestReceiver_announcedSSRC(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		announced uint32
		want      string
	}{"ours": {7, third}, "nobody's": {0xdead, "\x65\x08\x66"}} {
		receiver, err := NewReceiver(Format{Payload: 96, Codec: H264, Sets: described()}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		receiver.Expect(c.announced)
		packets := onTheWire(12, func(n int, ours []byte) [][]byte {
			return [][]byte{ours, rtpPacket(96, uint16(2*n), uint32(n), 0x999, false, "\x65\x88\x55"), rtpPacket(96, uint16(2*n+1), uint32(n), 0x999, true, "\x65\x08\x66")}
		})
		for _, raw := range packets {
			if err := receiver.Take(raw); err != nil {
				t.Fatal(err)
			}
		}
		if frame := receiver.KeyFrame(); frame == nil || !strings.HasSuffix(string(frame.Bytes), c.want) {
			t.Errorf("%s: %+v", name, frame)
		}
	}
}

// A description may name another payload type than the camera sends; what is none of the codec is not taken for it.
func TestReceiver_unannouncedType(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for name, c := range map[string]struct {
		edit func(n int, ours []byte) [][]byte
		none bool
	}{
		"all of another type": {edit: func(_ int, ours []byte) [][]byte { ours[1]++; return alone(ours) }},
		"among random ones": {edit: func(n int, ours []byte) [][]byte {
			ours[1]++
			junk := make([]byte, 30)
			for i := range junk {
				junk[i] = byte(r.IntN(256))
			}
			return [][]byte{ours, rtpPacket(50, uint16(n), 777, 9, false, string(junk))}
		}},
		"random ones only": {none: true, edit: func(n int, _ []byte) [][]byte {
			junk := make([]byte, 30)
			for i := range junk {
				junk[i] = byte(r.IntN(256))
			}
			return [][]byte{rtpPacket(50, uint16(n), 777, 9, false, string(junk))}
		}},
	} {
		receiver, err := NewReceiver(Format{Payload: 96, Codec: H264, Sets: described()}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range onTheWire(100, c.edit) {
			if err := receiver.Take(raw); err != nil {
				t.Fatal(err)
			}
		}
		if got := receiver.KeyFrame() == nil; got != c.none || receiver.Began() == c.none {
			t.Errorf("%s: %+v", name, receiver.KeyFrame())
		}
		if count, kind := receiver.Strange(); c.none && (count != 300 || kind != 50) {
			t.Errorf("%s: %d strange packets, the last of type %d", name, count, kind)
		}
	}
}

// FuzzReceiver takes any packets: each is 12 bytes of header, one of length, and so many bytes of payload.
func FuzzReceiver(f *testing.F) {
	for _, edit := range []func(n int, ours []byte) [][]byte{
		func(_ int, ours []byte) [][]byte { return alone(ours) },
		func(n int, ours []byte) [][]byte { named(ours, uint32(n)); return alone(ours) },
		func(n int, ours []byte) [][]byte { return [][]byte{ours, rtpPacket(50, uint16(n), 1, 7, false, "x")} },
	} {
		var script []byte
		for _, raw := range onTheWire(4, edit) {
			script = append(append(append(script, raw[:12]...), byte(len(raw)-12)), raw[12:]...)
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		receiver, err := NewReceiver(Format{Payload: 96, Codec: H264, Sets: described()}, 4096)
		if err != nil {
			t.Fatal(err)
		}
		for len(script) > 13 {
			size := min(int(script[12]), len(script)-13)
			raw := append(append([]byte{}, script[:12]...), script[13:13+size]...)
			script = script[13+size:]
			if receiver.Take(raw) != nil {
				return
			}
			_ = receiver.Troubles()
			if len(receiver.sources) > mostSources {
				t.Fatalf("%d sources", len(receiver.sources))
			}
		}
	})
}
