package depacketize

import (
	"bytes"
	"testing"

	"github.com/pion/rtp"
)

// samePacket compares what we read in a packet with what another reader of the field does.
func samePacket(t *testing.T, raw []byte) {
	t.Helper()
	got, ok := parsePacket(raw)
	var want rtp.Packet
	err := want.Unmarshal(raw)
	if err == nil && want.Version != 2 {
		if ok {
			t.Errorf("%x: taken, though of version %d", raw, want.Version)
		}
		return
	}
	switch {
	case err != nil && !ok:
		return
	case err != nil && ok && raw[0]&0x20 != 0 && raw[len(raw)-1] == 0:
		return // the other reader refuses padding of no length
	case err != nil && raw[0]&0x10 != 0:
		return // the other reader also judges what stands in an extension
	case err != nil && raw[0]&0x20 != 0 && raw[len(raw)-1] == 0:
		return // there are cameras that set the padding bit and pad nothing
	case err != nil || !ok:
		t.Errorf("%x: taken %v, by the other reader %v", raw, ok, err)
		return
	}
	if got.marker != want.Marker || got.format != want.PayloadType || got.sequence != want.SequenceNumber ||
		got.stamp != want.Timestamp || got.source != want.SSRC || !bytes.Equal(got.payload, want.Payload) {
		t.Errorf("%x: read %+v, want %+v", raw, got, want)
	}
}

func packetsOfAllKinds(t testing.TB) map[string][]byte {
	t.Helper()
	marshal := func(p rtp.Packet) []byte {
		p.Version, p.PayloadType, p.SequenceNumber, p.Timestamp, p.SSRC = 2, 96, 0xfffe, 0xdeadbeef, 0x01020304
		p.Payload = []byte("video")
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	extended := rtp.Packet{Header: rtp.Header{Extension: true, ExtensionProfile: 0xabac, CSRC: []uint32{7}}} // the profile of ONVIF's replay
	if err := extended.SetExtension(0, make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
	padded := rtp.Packet{Header: rtp.Header{Padding: true, Marker: true, PaddingSize: 4}}
	return map[string][]byte{
		"plain":        marshal(rtp.Packet{}),
		"marked":       marshal(rtp.Packet{Header: rtp.Header{Marker: true}}),
		"contributors": marshal(rtp.Packet{Header: rtp.Header{CSRC: []uint32{1, 2, 3}}}),
		"extended":     marshal(extended),
		"padded":       marshal(padded),
	}
}

func TestPacket_readOrRefusedAtAnyLength(t *testing.T) {
	t.Parallel()
	for name, whole := range packetsOfAllKinds(t) {
		got, ok := parsePacket(whole)
		if !ok || string(got.payload) != "video" {
			t.Errorf("%s: payload %q", name, got.payload)
		}
		for size := range len(whole) {
			samePacket(t, whole[:size])
			if _, ok := parsePacket(whole[:size]); ok && size < bytes.Index(whole, []byte("video")) {
				t.Errorf("%s: taken, with %d bytes of its header", name, size)
			}
		}
		for i := range whole {
			for _, value := range []byte{0, 1, 0x7f, 0x80, 0xff, whole[i] ^ 0x10, whole[i] ^ 0x20} {
				odd := bytes.Clone(whole)
				odd[i] = value
				samePacket(t, odd)
			}
		}
	}
}

func FuzzPacket(f *testing.F) {
	for _, whole := range packetsOfAllKinds(f) {
		f.Add(whole)
	}
	f.Fuzz(samePacket)
}
