package streams

import (
	"net/netip"
	"testing"

	"github.com/camwarden/camwarden/pkg/go2rtc"
)

func TestEnd_connectionThatMayBeSomebodys(t *testing.T) {
	t.Parallel()
	address := netip.MustParseAddrPort("192.168.125.19:554")
	stream := func(name string, p go2rtc.Producer) go2rtc.Stream {
		return go2rtc.Stream{Name: name, Producers: []go2rtc.Producer{{Source: "rtsp://192.168.125.19/idle"}, p}}
	}
	ours := stream("camwarden-gate", go2rtc.Producer{ID: 1, RemoteAddr: "192.168.125.19:554"})
	for name, c := range map[string]struct {
		other go2rtc.Producer
		want  bool
	}{
		"idle":                                    {go2rtc.Producer{}, true},
		"connected to another camera":             {go2rtc.Producer{ID: 2, RemoteAddr: "192.168.125.45:554"}, true},
		"connected to another channel of this":    {go2rtc.Producer{ID: 2, RemoteAddr: "192.168.125.19:554 forwarded"}, false},
		"the same, as the kernel writes it":       {go2rtc.Producer{ID: 2, RemoteAddr: "[::ffff:192.168.125.19]:554"}, false},
		"connected, and it does not say where to": {go2rtc.Producer{ID: 2}, false},
	} {
		if got := nobodyElse([]go2rtc.Stream{ours, stream("channel1", c.other)}, "camwarden-gate", address); got != c.want {
			t.Errorf("another stream is %s: %v", name, got)
		}
	}
}
