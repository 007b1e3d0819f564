package rtsp_test

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// loopback draws an address of 127.0.0.0/8, so that tests do not meet.
func loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(241), rand.IntN(256), 1+rand.IntN(254))
}

func itoa(n int) string { return strconv.Itoa(n) }

// goodPicture demands that the key frame is one of the clip's key frames, as ffmpeg decodes it itself.
func goodPicture(t *testing.T, c *clip, frame depacketize.KeyFrame) {
	t.Helper()
	if frame.Codec != c.codec || frame.Width != c.width || frame.Height != c.height {
		t.Errorf("the key frame says %s %dx%d, want %s %dx%d", frame.Codec, frame.Width, frame.Height, c.codec, c.width, c.height)
	}
	got := pictures(t, c.codec, frame.Bytes, c.width, c.height)
	if len(got) != 1 {
		t.Fatalf("ffmpeg decodes %d pictures of it, want 1", len(got))
	}
	best, which := 0.0, -1
	for i, want := range c.frames {
		if quality := psnr(got[0], want); quality > best {
			best, which = quality, i
		}
	}
	t.Logf("PSNR %.1f dB with frame %d, %d bytes, waited %s", best, which, len(frame.Bytes), frame.Waited)
	if best < 35 {
		t.Errorf("PSNR %.1f dB against ffmpeg's own decode, want at least 35", best)
	}
	if c.codec != depacketize.JPEG && which%c.gop != 0 {
		t.Errorf("it shows frame %d, which is no key frame", which)
	}
}

func TestThePictureIsTheOneThatFFmpegDecodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		recipe    recipe
		described bool
	}{
		"H.264, one slice, sets in the SDP": {recipe{codec: depacketize.H264, width: 320, height: 180, options: "slices=1"}, true},
		"H.264, one slice, sets in band":    {recipe{codec: depacketize.H264, width: 320, height: 180, options: "slices=1"}, false},
		"H.264, four slices":                {recipe{codec: depacketize.H264, width: 640, height: 360, options: "slices=4:bframes=0"}, false},
		"H.264, thirty slices":              {recipe{codec: depacketize.H264, width: 640, height: 480, options: "slices=30"}, true},
		"H.264, full range":                 {recipe{codec: depacketize.H264, width: 320, height: 240, full: true, options: "slices=2"}, false},
		"H.264, portrait":                   {recipe{codec: depacketize.H264, width: 180, height: 320, options: "slices=1"}, true},
		"H.264, odd size":                   {recipe{codec: depacketize.H264, width: 322, height: 182, options: "slices=1"}, false},
		"H.265, IDR":                        {recipe{codec: depacketize.H265, width: 320, height: 180, options: "open-gop=0:bframes=0"}, true},
		"H.265, IDR with B-frames":          {recipe{codec: depacketize.H265, width: 320, height: 180, options: "open-gop=0:bframes=3"}, false},
		"H.265, CRA with leading pictures":  {recipe{codec: depacketize.H265, width: 320, height: 240, options: "open-gop=1:bframes=3"}, false},
		"H.265, three slices, full range":   {recipe{codec: depacketize.H265, width: 640, height: 360, full: true, options: "open-gop=0:slices=3"}, true},
		"H.265, portrait, odd size":         {recipe{codec: depacketize.H265, width: 182, height: 322, options: "open-gop=0"}, false},
		"JPEG, 4:2:0, tables of its own":    {recipe{codec: depacketize.JPEG, width: 640, height: 360}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clip := film(t, c.recipe)
			station, target := play(t, broadcast{clip: clip, from: 2, described: c.described})
			frame, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
			if err != nil {
				t.Fatal(err)
			}
			goodPicture(t, clip, frame)
			if frame.FullRange != (c.recipe.full || c.recipe.codec == depacketize.JPEG) {
				t.Errorf("full range %v", frame.FullRange)
			}
			if !session.TornDown {
				t.Error("the session was not torn down")
			}
			station.tornDown(t)
		})
	}
}

// tornDown waits until every session has ended, and demands that it was by TEARDOWN.
func (s *station) tornDown(t *testing.T) {
	t.Helper()
	waitFor(t, "the end of the session", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.ends) > 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, end := range s.ends {
		if !strings.Contains(end, "teardown") && !strings.Contains(end, "torn down") {
			t.Errorf("a session ended by %q", end)
		}
	}
}

func TestAKeyFrameWithALostPacketIsNeverGiven(t *testing.T) {
	t.Parallel()
	for _, codec := range []depacketize.Codec{depacketize.H264, depacketize.H265, depacketize.JPEG} {
		clip := film(t, recipe{codec: codec, width: 640, height: 360, options: "slices=4"})
		for _, where := range []string{"first", "middle", "last"} {
			t.Run(string(codec)+", the "+where, func(t *testing.T) {
				t.Parallel()
				_, target := play(t, broadcast{clip: clip, from: 0, mangle: func(packets []*rtp.Packet, unit int) []*rtp.Packet {
					if unit >= clip.gop*2 || len(packets) < 3 {
						return packets // two key frames are damaged, the third is not
					}
					at := map[string]int{"first": 0, "middle": len(packets) / 2, "last": len(packets) - 1}[where]
					return append(packets[:at:at], packets[at+1:]...)
				}})
				frame, _, err := rtsp.Fetch(t.Context(), target, patient(), nil)
				if err != nil {
					t.Fatal(err)
				}
				goodPicture(t, clip, frame)
			})
		}
	}
}

func TestFetch_keyFrameWithoutAMarker(t *testing.T) {
	t.Parallel()
	clip := film(t, recipe{codec: depacketize.H264, width: 320, height: 180, options: "slices=3"})
	for name, mangle := range map[string]func(*rtp.Packet, int){
		"by its time stamp":              func(p *rtp.Packet, _ int) { p.Marker = false },
		"by its first slice":             func(p *rtp.Packet, _ int) { p.Marker, p.Timestamp = false, 7 },
		"with time stamps that go wild":  func(p *rtp.Packet, unit int) { p.Timestamp = uint32(unit*unit) * 0x1234567 },
		"with one time stamp for all":    func(p *rtp.Packet, _ int) { p.Timestamp = 7 },
		"with sequence numbers that end": func(p *rtp.Packet, _ int) { p.SequenceNumber += 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, target := play(t, broadcast{clip: clip, from: 2, mangle: func(packets []*rtp.Packet, unit int) []*rtp.Packet {
				for _, packet := range packets {
					mangle(packet, unit)
				}
				return packets
			}})
			frame, _, err := rtsp.Fetch(t.Context(), target, patient(), nil)
			if err != nil {
				t.Fatal(err)
			}
			goodPicture(t, clip, frame)
		})
	}
}

func TestAJPEGNeedsNobodyToDecodeIt(t *testing.T) {
	t.Parallel()
	clip := film(t, recipe{codec: depacketize.JPEG, width: 640, height: 360})
	_, target := play(t, broadcast{clip: clip})
	frame, _, err := rtsp.Fetch(t.Context(), target, patient(), nil)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := jpeg.Decode(bytes.NewReader(frame.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	if size := picture.Bounds().Size(); size.X != 640 || size.Y != 360 {
		t.Errorf("size %v", size)
	}
}

func TestTheVideoMayComeOverUDP(t *testing.T) {
	t.Parallel()
	for _, codec := range []depacketize.Codec{depacketize.H264, depacketize.H265, depacketize.JPEG} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			// RTP counts the size of a JPEG in blocks of 8.
			clip := film(t, recipe{codec: codec, width: 320, height: 184, options: "bframes=0"})
			_, target := play(t, broadcast{clip: clip, from: 2, port: 20000 + 2*rand.IntN(10000)})
			target.Transport = camera.UDP
			frame, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
			if err != nil {
				t.Fatal(err)
			}
			goodPicture(t, clip, frame)
			if !session.TornDown {
				t.Error("the session was not torn down")
			}
		})
	}
}

func TestACameraThatHasNoUDPSaysSo(t *testing.T) {
	t.Parallel()
	clip := film(t, recipe{codec: depacketize.H264, width: 320, height: 180, options: "bframes=0"})
	_, target := play(t, broadcast{clip: clip})
	target.Transport = camera.UDP
	_, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
	if fault.ClassOf(err) != fault.Protocol || session.Opened {
		t.Errorf("ended with %v, session %+v", err, session)
	}
}

func TestTheConnectionMayBeTLSOrIPv6(t *testing.T) {
	t.Parallel()
	clip := film(t, recipe{codec: depacketize.H264, width: 320, height: 180, options: "bframes=0"})
	config, pool := certificate(t, "gate.example")

	fetch := func(t *testing.T, target rtsp.Target) error {
		t.Helper()
		frame, _, err := rtsp.Fetch(t.Context(), target, rtsp.Limits{Whole: 20 * time.Second}, nil)
		if err == nil {
			goodPicture(t, clip, frame)
		}
		return err
	}
	_, secret := play(t, broadcast{clip: clip, tls: config})
	if err := fetch(t, secret); err != nil {
		t.Errorf("a certificate nobody asked to verify: %v", err)
	}
	secret.RootCAs, secret.Host = pool, "gate.example"
	if err := fetch(t, secret); err != nil {
		t.Errorf("a certificate of a known authority: %v", err)
	}
	secret.Host = "yard.example"
	if err := fetch(t, secret); fault.ClassOf(err) != fault.Protocol {
		t.Errorf("a certificate for another name: %v", err)
	}
	_, plain := play(t, broadcast{clip: clip})
	plain.Scheme = "rtsps"
	if err := fetch(t, plain); err == nil {
		t.Error("a camera without TLS was believed to speak it")
	}
	_, six := play(t, broadcast{clip: clip, host: "::1"})
	if err := fetch(t, six); err != nil {
		t.Errorf("over IPv6: %v", err)
	}
}
