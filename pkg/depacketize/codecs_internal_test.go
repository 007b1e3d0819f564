package depacketize

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/pion/rtp"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// sender turns the access units of a film into packets, as one server does.
type sender struct {
	name   string
	format Format
	film   testkit.Film
	encode func(unit []byte) [][]byte // payloads; the last has the marker
}

const (
	filmWidth, filmHeight        = 322, 182
	filmFrames, filmGOP          = 18, 6
	payloadType                  = 96
	mostOfAPacket                = 700 // bytes, so that every picture takes several packets
	clockPerFrame         uint32 = 3600
)

func senders(t testing.TB) []sender {
	t.Helper()
	film := func(codec Codec) testkit.Film {
		return testkit.NewFilm(t, string(codec), filmWidth, filmHeight, filmFrames, filmGOP)
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	payloads := func(packets []*rtp.Packet, err error) [][]byte {
		must(err)
		var all [][]byte
		for _, p := range packets {
			all = append(all, p.Payload)
		}
		return all
	}
	chop := func(head []byte) func(unit []byte) [][]byte {
		return func(unit []byte) [][]byte {
			var all [][]byte
			for piece := range slices.Chunk(unit, mostOfAPacket) {
				all = append(all, slices.Concat(head, piece))
			}
			return all
		}
	}
	vp8, err := (&format.VP8{PayloadTyp: payloadType}).CreateEncoder()
	must(err)
	vp9, err := (&format.VP9{PayloadTyp: payloadType}).CreateEncoder()
	must(err)
	one, err := (&format.AV1{PayloadTyp: payloadType}).CreateEncoder()
	must(err)
	mpeg, err := (&format.MPEG1Video{}).CreateEncoder()
	must(err)
	vp8.PayloadMaxSize, vp9.PayloadMaxSize, one.PayloadMaxSize, mpeg.PayloadMaxSize = mostOfAPacket, mostOfAPacket, mostOfAPacket, mostOfAPacket
	four, two := film(MPEG4), film(MPEG2)
	simple := func(codec Codec) Format { return Format{Payload: payloadType, Codec: codec} }
	bare := four
	bare.Units = nil
	for _, unit := range four.Units {
		_, plane, _ := bytes.Cut(unit, []byte{0, 0, 1, planeCode})
		bare.Units = append(bare.Units, unit[len(unit)-len(plane)-startCodeSize:])
	}
	config := four.Units[0][:len(four.Units[0])-len(bare.Units[0])]
	return []sender{
		{"VP8", simple(VP8), film(VP8), func(u []byte) [][]byte { return payloads(vp8.Encode(u)) }},
		{"VP9", simple(VP9), film(VP9), func(u []byte) [][]byte { return payloads(vp9.Encode(u)) }},
		{"AV1", simple(AV1), film(AV1), func(u []byte) [][]byte {
			var unit av1.Bitstream
			must(unit.Unmarshal(u))
			return payloads(one.Encode(unit))
		}},
		{"MPEG-4, config in band", simple(MPEG4), four, chop(nil)},
		{"MPEG-4, config described", Format{Payload: payloadType, Codec: MPEG4, Sets: [][]byte{config}}, bare, chop(nil)},
		{"MPEG-2, cut anywhere", simple(MPEG2), two, chop(make([]byte, 4))},
		{"MPEG-2, cut at slices", simple(MPEG2), two, func(u []byte) [][]byte { return payloads(mpeg.Encode(u)) }},
		{"MPEG-2, longer header", simple(MPEG2), two, chop([]byte{4, 0, 0, 0, 0, 0, 0, 0})},
		{"MPEG-1", simple(MPEG2), film(MPEG1), chop(make([]byte, 4))},
	}
}

// packets returns what the sender sends for its whole film, twice over, beginning near the end of the sequence numbers.
func (s sender) packets(t testing.TB) []*rtp.Packet {
	t.Helper()
	var all []*rtp.Packet
	for n := range 2 * len(s.film.Units) {
		payloads := s.encode(s.film.Units[n%len(s.film.Units)])
		for i, payload := range payloads {
			all = append(all, &rtp.Packet{
				Header: rtp.Header{
					Version: 2, PayloadType: payloadType, SequenceNumber: uint16(0xfff0 + len(all)), Timestamp: uint32(n) * clockPerFrame,
					SSRC: 7, Marker: i == len(payloads)-1,
				},
				Payload: payload,
			})
		}
	}
	return all
}

// receive feeds a receiver until it has a picture.
func (s sender) receive(t testing.TB, packets []*rtp.Packet) *Receiver {
	t.Helper()
	r, err := NewReceiver(s.format, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Take(raw); err != nil {
			t.Fatal(err)
		}
		if r.KeyFrame() != nil {
			break
		}
	}
	return r
}

// keyFrame returns which key frame of the film was received, byte for byte; -1: none of them.
func (s sender) keyFrame(frame *KeyFrame) int {
	got := frame.Bytes
	if s.film.Demuxer == "ivf" {
		got = got[ivfPreface:]
	}
	for n := range s.film.Units {
		unit := s.film.Units[n]
		if s.film.Demuxer != "ivf" {
			unit = slices.Concat(slices.Concat(s.format.Sets...), unit)
			var kept []byte
			for part := range parts(unit) {
				const group4, group2, userData2 = 0xb3, 0xb8, 0xb2
				code := part[3]
				if mpeg4 := s.format.Codec == MPEG4; mpeg4 && code != group4 || !mpeg4 && code != group2 && code != userData2 {
					kept = append(kept, part...)
				}
			}
			unit = kept
		}
		if bytes.Equal(bytes.TrimRight(got, "\x00"), bytes.TrimRight(unit, "\x00")) {
			return n
		}
	}
	return -1
}

func (s sender) check(t *testing.T, r *Receiver) {
	t.Helper()
	frame := r.KeyFrame()
	if frame == nil {
		t.Fatalf("no key frame%s", r.Troubles())
	}
	if frame.Codec != Codec(s.film.Codec) || frame.Width != filmWidth || frame.Height != filmHeight || frame.CapturedAt.IsZero() || frame.Arriving < 0 {
		t.Errorf("%s %dx%d, at %s", frame.Codec, frame.Width, frame.Height, frame.CapturedAt)
	}
	if s.keyFrame(frame) < 0 {
		t.Errorf("what is given is no key frame of the film")
	}
}

func TestCodecs_onlyWholeKeyFrames(t *testing.T) {
	t.Parallel()
	for _, s := range senders(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			t.Run("joined anywhere", s.joinedAnywhere)
			t.Run("a packet lost", s.aPacketLost)
			t.Run("every fault of packets", s.everyFault)
			t.Run("the limit", s.theLimit)
			t.Run("nothing behind it", s.nothingBehind)
			t.Run("what it starts with", s.startsWith)
			t.Run("only pictures between", s.onlyBetween)
		})
	}
}

func (s sender) joinedAnywhere(t *testing.T) {
	all := s.packets(t)
	for from := range len(all) / 2 {
		s.check(t, s.receive(t, all[from:]))
	}
}

func (s sender) aPacketLost(t *testing.T) {
	all := s.packets(t)
	for lost := range len(all) / 2 {
		r := s.receive(t, slices.Concat(all[:lost], all[lost+1:]))
		s.check(t, r)
		if all[lost].Timestamp == 0 && lost > 0 && s.keyFrame(r.KeyFrame()) == 0 {
			t.Errorf("packet %d of the first key frame was lost, and it was given", lost)
		}
	}
}

func (s sender) everyFault(t *testing.T) {
	walks := 50
	if testkit.IsLong() {
		walks = 1000
	}
	given, all := 0, s.packets(t)
	for seed := range uint64(walks) {
		random := rand.New(rand.NewPCG(seed, 15))
		packets := spoil(s.careless(all, random), random)
		if frame := s.receive(t, packets).KeyFrame(); frame != nil {
			given++
			if s.keyFrame(frame) < 0 {
				t.Errorf("seed %d: what is given is no key frame of the film", seed)
			}
		}
	}
	if given < walks/4 {
		t.Errorf("%d of %d gave a picture", given, walks)
	}
}

func (s sender) theLimit(t *testing.T) {
	r, err := NewReceiver(s.format, 2*mostOfAPacket)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.packets(t) {
		raw, marshal := p.Marshal()
		if marshal != nil {
			t.Fatal(marshal)
		}
		if err = r.Take(raw); err != nil || r.KeyFrame() != nil {
			break
		}
	}
	if r.KeyFrame() != nil || err != nil && !errors.Is(err, ErrTooBig) {
		t.Errorf("a key frame above the limit is given: %v", err)
	}
}

// nothingBehind sends one key frame, and then nothing: it counts when that has been so for long, but not where its end is missing.
func (s sender) nothingBehind(t *testing.T) {
	var all []*rtp.Packet
	for _, p := range s.packets(t) {
		if p.Timestamp == 0 {
			all = append(all, p)
		}
	}
	r := s.receive(t, all)
	if r.KeyFrame() == nil {
		if _, waiting := r.Waiting(); !waiting {
			t.Error("it is not waited for the next picture")
		}
		r.Settle()
	}
	s.check(t, r)
	r = s.receive(t, all[:len(all)-1])
	if _, waiting := r.Waiting(); waiting || r.KeyFrame() != nil {
		t.Errorf("without its end it is whole, or waits to be: %v", waiting)
	}
}

// startsWith joins at every packet: only the first of a key frame begins one.
func (s sender) startsWith(t *testing.T) {
	all := s.packets(t)
	for i, p := range all[:len(all)/2] {
		r := s.receive(t, all[i:i+1])
		want := StartBetween
		switch frame := int(p.Timestamp / clockPerFrame); {
		case s.film.Demuxer != "ivf":
			want = StartUnknown // encoders of these codecs are not asked
		case frame%s.film.GOP == 0 && (i == 0 || all[i-1].Timestamp != p.Timestamp):
			want = StartKeyFrame
		}
		if got := r.Start(); got != want {
			t.Errorf("packet %d, of picture %d: %d, want %d", i, p.Timestamp/clockPerFrame, got, want)
		}
	}
}

// onlyBetween sends no key frame, and then one that is damaged: what came is said.
func (s sender) onlyBetween(t *testing.T) {
	all := s.packets(t)
	var between []*rtp.Packet
	for _, p := range all {
		if frame := int(p.Timestamp / clockPerFrame); frame == 1 || frame == 2 {
			between = append(between, p)
		}
	}
	if said := s.receive(t, between).Troubles(); !strings.Contains(said, "pictures came in 0s, and each needs earlier ones") {
		t.Errorf("of pictures that need others it says %q", said)
	}
	damaged := slices.Concat(all[:1], all[2:20])
	for _, p := range damaged {
		if p.Timestamp > 3*clockPerFrame {
			return // the key frame is too small for this
		}
	}
	if said := s.receive(t, damaged).Troubles(); !strings.Contains(said, "parts missing") {
		t.Errorf("of a key frame that is damaged it says %q", said)
	}
}

// careless returns the packets as one may send them who leaves out one of the two signs of the end of a VP9 frame: the bit E of the
// descriptor (RFC 9628 section 4.2), or the marker.
func (s sender) careless(packets []*rtp.Packet, random *rand.Rand) []*rtp.Packet {
	const ends = 0x04
	how := random.IntN(3)
	if s.format.Codec != VP9 || how == 0 {
		return packets
	}
	var out []*rtp.Packet
	for _, p := range packets {
		p := &rtp.Packet{Header: p.Header, Payload: bytes.Clone(p.Payload)}
		p.Payload[0] &^= ends
		if how == 1 && p.Marker {
			p.Payload[0] |= ends
			p.Marker = false
		}
		out = append(out, p)
	}
	return out
}

// spoil does to the packets what networks and careless senders do.
func spoil(packets []*rtp.Packet, random *rand.Rand) []*rtp.Packet {
	often := func(percent int) bool { return random.IntN(100) < percent }
	var out []*rtp.Packet
	loss, marks, stamps, order := random.IntN(4), random.IntN(4), random.IntN(3), random.IntN(4)
	for _, p := range packets {
		p := &rtp.Packet{Header: p.Header, Payload: p.Payload}
		switch marks {
		case 1:
			p.Marker = false
		case 2:
			p.Marker = p.Marker || often(5)
		}
		switch stamps {
		case 1:
			p.Timestamp = 7
		case 2:
			p.Timestamp = random.Uint32()
		}
		if loss > 0 && often(loss) {
			continue
		}
		out = append(out, p)
		if order == 1 && often(5) {
			out = append(out, p) // twice
		}
		if last := len(out) - 1; order == 2 && often(2) && last > 0 {
			out[last-1], out[last] = out[last], out[last-1]
		}
	}
	return out
}

// FuzzCodecs feeds one track with packets: each is one byte of length, one of flags, and so many bytes of payload.
func FuzzCodecs(f *testing.F) {
	codecs := []Codec{VP8, VP9, AV1, MPEG4, MPEG2}
	for which, seed := range []string{
		"\x0e\x01\x10\x10\x02\x00\x9d\x01\x2a\x40\x01\xf0\x00\x01\x02\x03\x02\x01\x10\x01",
		"\x0c\x01\x8c\x01\x82\x49\x83\x42\x00\x13\xf0\x0e\xf0\x01",
		"\x10\x01\x28\x0b\x0a\x00\x00\x00\x02\xaf\xff\x9b\x5f\x30\x08\x32\x10\x01",
		"\x20\x01\x00\x00\x01\xb0\x01\x00\x00\x01\xb5\x89\x13\x00\x00\x01\x00\x00\x00\x01\x20\x00\xc4\x8d\x88\x00\xf5\x14\x04\x2e\x14\x63\x00\x00\x09\x00\x00\x00\x01\xb6\x10\x00\x00\x01\xb6",
		"\x2c\x01\x00\x00\x00\x00\x00\x00\x01\xb3\x14\x20\xb6\x13\xff\xff\xe0\x18\x00\x00\x01\xb5\x14\x8a\x00\x01\x00\x24\x00\x00\x01\x00\x00\x0f\xff\xf8\x00\x00\x01\x01\x10\x00\x00\x01\xb8\x00",
	} {
		f.Add(byte(which), []byte(seed))
	}
	f.Add(byte(3), []byte("000\x00\x00\x01\x00\x00\x010")) // a start code whose last byte could begin the next
	f.Add(byte(3), []byte("\x0a\x01\x00\x00\x01\x00\x00\x01\x00\x00\x01\x00"))
	f.Add(byte(4), []byte("\x0e\x01\x00\x00\x00\x00\x00\x00\x01\x00\x00\x01\x00\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, which byte, script []byte) {
		const limit = 4096
		r, err := NewReceiver(Format{Codec: codecs[int(which)%len(codecs)], Payload: payloadType, Sets: [][]byte{script[:min(len(script), 40)]}}, limit)
		if err != nil {
			t.Fatal(err)
		}
		packet := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: payloadType}}
		for len(script) >= 2 && r.KeyFrame() == nil {
			size, flags := min(int(script[0]), len(script)-2), script[1]
			packet.Marker = flags&1 != 0
			packet.SequenceNumber += 1 + uint16(flags>>1&1)
			packet.Timestamp += uint32(flags >> 2 & 1)
			packet.Payload = script[2 : 2+size]
			raw, err := packet.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if r.Take(raw) != nil {
				return
			}
			script = script[2+size:]
		}
		_ = r.Troubles()
		if _, waiting := r.Waiting(); waiting {
			r.Settle()
		}
		frame := r.KeyFrame()
		switch {
		case frame == nil:
		case len(frame.Bytes) > limit+maxSetSize || frame.Width < 0 || frame.Height < 0 || frame.Arriving < 0:
			t.Errorf("%d bytes, %dx%d", len(frame.Bytes), frame.Width, frame.Height)
		case slices.Contains(codecs[:3], frame.Codec) != bytes.HasPrefix(frame.Bytes, []byte("DKIF")):
			t.Errorf("%s: % x", frame.Codec, frame.Bytes[:4])
		}
	})
}
