package observe

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// A connection of go2rtc that none of its producers accounts for is one that it has lost, and holds a slot of the camera.
func TestStreams_connectionsBeyondProducers(t *testing.T) {
	t.Parallel()
	gate, yard := netip.MustParseAddrPort("127.70.1.1:554"), netip.MustParseAddrPort("127.70.1.2:554")
	conn := func(inode uint64, to netip.AddrPort) proc.Conn { return proc.Conn{Inode: inode, Remote: to} }
	view := streams.View{States: []streams.State{
		{Stream: go2rtc.Stream{Name: "gate", Producers: []go2rtc.Producer{
			{ID: 1, Format: "rtsp", RemoteAddr: "127.70.1.1:554 forwarded"}, {Source: "rtsp://127.70.1.1/stream2"}, // the second is not connected
		}}},
		{Stream: go2rtc.Stream{Name: "mapped", Producers: []go2rtc.Producer{{ID: 2, Format: "rtsp", RemoteAddr: "[::ffff:127.70.1.1]:554"}}}},
		{Stream: go2rtc.Stream{Name: "pipe", Producers: []go2rtc.Producer{{ID: 3, Format: "exec", RemoteAddr: "somewhere"}}}},
	}}
	for name, c := range map[string]struct {
		conns []proc.Conn
		want  []uint64
	}{
		"none":                         {},
		"as many as producers":         {[]proc.Conn{conn(1, gate), conn(2, gate)}, nil},
		"one too many":                 {[]proc.Conn{conn(1, gate), conn(2, gate), conn(3, gate)}, []uint64{3}},
		"of a camera without producer": {[]proc.Conn{conn(1, yard), conn(2, gate)}, []uint64{1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var found []uint64
			for _, c := range unexplained(c.conns, view) {
				found = append(found, c.Inode)
			}
			if !slices.Equal(found, c.want) {
				t.Errorf("unexplained: %v, want %v", found, c.want)
			}
		})
	}
}
