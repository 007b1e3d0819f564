package rtsp_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// A camera whose next key frame is a minute away gives one when it is asked, once; and is not asked where there is no need.
func TestKeyFrameRequest_whoIsAsked(t *testing.T) {
	t.Parallel()
	short := rtsp.Limits{Step: time.Minute, Whole: 3 * time.Second, Goodbye: 20 * time.Second}
	for name, c := range map[string]struct {
		how    camera.KeyFrameRequest
		config camsim.Config
		limits rtsp.Limits
		asked  int
		class  fault.Class // "" is a picture
	}{
		"H.264, obeys":        {camera.AutoRequest, camsim.Config{Temper: camsim.LongGOP, Requests: camsim.ObeysRequests}, patient(), 1, ""},
		"H.265, obeys":        {camera.AutoRequest, camsim.Config{Temper: camsim.LongGOP, Requests: camsim.ObeysRequests, Codec: camsim.H265}, patient(), 1, ""},
		"by default":          {"", camsim.Config{Temper: camsim.LongGOP, Requests: camsim.ObeysRequests}, patient(), 1, ""},
		"by FIR":              {camera.FullIntraRequest, camsim.Config{Temper: camsim.LongGOP, Requests: camsim.ObeysRequests}, patient(), 1, ""},
		"ignores":             {camera.AutoRequest, camsim.Config{Temper: camsim.LongGOP, GOP: 4 * time.Second}, patient(), 1, ""},
		"ignores, and no end": {camera.AutoRequest, camsim.Config{Temper: camsim.LongGOP, GOP: time.Minute}, short, 1, fault.Timeout},
		"dislikes":            {camera.AutoRequest, camsim.Config{Temper: camsim.LongGOP, GOP: time.Minute, Requests: camsim.DislikesRequests}, patient(), 1, fault.Closed},
		"off":                 {camera.NoRequest, camsim.Config{Temper: camsim.LongGOP, GOP: time.Minute, Requests: camsim.ObeysRequests}, short, 0, fault.Timeout},
		"a key frame first":   {camera.AutoRequest, camsim.Config{Temper: camsim.Healthy, Requests: camsim.DislikesRequests}, patient(), 0, ""},
		"JPEG":                {camera.AutoRequest, camsim.Config{Temper: camsim.Healthy, Codec: camsim.MJPEG, JoinAnywhere: true, Requests: camsim.DislikesRequests}, patient(), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.config.Temper == camsim.LongGOP && c.config.GOP == 0 {
				c.config.GOP = time.Minute
			}
			sim := start(t, c.config)
			if next := sim.NextKeyFrame(); c.config.GOP == time.Minute && !next.IsZero() {
				time.Sleep(time.Until(next.Add(-59 * time.Second))) // it has just begun: we join behind its key frame
			}
			target := targetOf(sim)
			target.KeyFrameRequest = c.how
			_, session, err := rtsp.Fetch(t.Context(), target, c.limits, nil)
			if fault.ClassOf(err) != c.class || session.Requested != (c.asked == 1) {
				t.Errorf("%v, session %+v", err, session)
			}
			settled(t, sim, false)
			if counts := sim.Counts(); counts.KeyFrameRequests != c.asked {
				t.Errorf("asked %d times, want %d", counts.KeyFrameRequests, c.asked)
			}
		})
	}
}

// viewer is somebody else who watches, and counts the pictures from key frame to key frame.
type viewer struct {
	mu     sync.Mutex
	groups []int
	since  int
}

func (v *viewer) packet(payload []byte, marker bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	// An IDR picture: a slice of it, or the first fragment of one.
	if kind := payload[0] & 0x1f; kind == 5 || kind == 28 && payload[1]&0x9f == 0x85 {
		if v.since > 0 {
			v.groups = append(v.groups, v.since)
		}
		v.since = 0
	}
	if marker {
		v.since++
	}
}

func (v *viewer) lengths() []int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]int(nil), v.groups...)
}

func watch(t testing.TB, address string) *viewer {
	t.Helper()
	v := &viewer{}
	tcp := gortsplib.ProtocolTCP
	u, err := base.ParseURL("rtsp://" + address + "/stream1")
	if err != nil {
		t.Fatal(err)
	}
	client := &gortsplib.Client{Protocol: &tcp, Scheme: u.Scheme, Host: u.Host, ReadTimeout: time.Minute}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	described, _, err := client.Describe(u)
	if err == nil {
		err = client.SetupAll(described.BaseURL, described.Medias)
	}
	if err != nil {
		t.Fatal(err)
	}
	client.OnPacketRTPAny(func(_ *description.Media, _ format.Format, p *rtp.Packet) { v.packet(p.Payload, p.Marker) })
	if _, err := client.Play(nil); err != nil {
		t.Fatal(err)
	}
	return v
}

// runningGStreamer is a camera that nobody can rewind: a seekable one begins with a key frame at every PLAY.
func runningGStreamer(t testing.TB, host, encoder string) string {
	t.Helper()
	return gstreamer(t, host, "intervideosrc channel=one ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! "+encoder, "", "",
		"videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! intervideosink channel=one").String()
}

func TestKeyFrameRequest_GStreamer(t *testing.T) {
	t.Parallel()
	const group = 600 // pictures: a minute
	address := runningGStreamer(t, loopback(), "x264enc tune=zerolatency key-int-max=600 option-string=scenecut=0 ! rtph264pay name=pay0 pt=96 config-interval=-1")
	v := watch(t, address)
	for v.count() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	target := rtsp.Target{Address: netip.MustParseAddrPort(address), Path: "/stream1"}
	frame, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
	if err != nil || !session.Requested || frame.Codec != depacketize.H264 {
		t.Fatalf("%v, session %+v", err, session)
	}
	smpteBars(t, frame, 320, 240)
	for len(v.lengths()) == 0 && time.Since(began) < time.Minute {
		time.Sleep(10 * time.Millisecond)
	}
	if lengths := v.lengths(); len(lengths) == 0 || lengths[0] >= group {
		t.Errorf("key frames after %v pictures: none was made for us", lengths)
	}
}

func (v *viewer) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.since
}

// The next key frame is ten minutes away, so it is the request that brings it.
func TestKeyFrameRequest_GStreamerVPx(t *testing.T) {
	t.Parallel()
	for codec, encoder := range map[depacketize.Codec]string{
		depacketize.VP8: "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=6000 ! rtpvp8pay name=pay0 pt=96",
		depacketize.VP9: "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=6000 ! rtpvp9pay name=pay0 pt=96",
	} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			address := runningGStreamer(t, loopback(), encoder)
			v := watch(t, address)
			for v.pictures() < 3 {
				time.Sleep(10 * time.Millisecond)
			}
			target := rtsp.Target{Address: netip.MustParseAddrPort(address), Path: "/stream1"}
			frame, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
			if err != nil || !session.Requested || frame.Codec != codec {
				t.Fatalf("%v, session %+v", err, session)
			}
			smpteBars(t, frame, 320, 240)
		})
	}
}

// pictures is how many have come, of any codec.
func (v *viewer) pictures() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.since
	for _, length := range v.groups {
		n += length
	}
	return n
}
