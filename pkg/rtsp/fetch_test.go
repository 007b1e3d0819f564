package rtsp_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(childVariable); address != "" {
		fetchForEver(address)
		return
	}
	goleak.VerifyTestMain(m)
}

// expectation is how a visit to a camera of some temper must end.
type expectation struct {
	class fault.Class // "" is a picture
	step  fault.Step
	torn  bool // TEARDOWN was answered
	left  bool // a session may linger
	stops time.Duration
}

// expectations has a row for every temper of the simulated cameras.
func expectations() map[camsim.Temper]expectation {
	picture := expectation{torn: true, stops: 30 * time.Second}
	return map[camsim.Temper]expectation{
		camsim.Healthy: picture, camsim.Digest: picture, camsim.Basic: picture, camsim.LimitedSlots: picture, camsim.LingeringSlots: picture,
		camsim.Slow:         picture,
		camsim.LongGOP:      {class: fault.Timeout, step: fault.KeyFrame, torn: true},
		camsim.LateKeyFrame: {class: fault.Timeout, step: fault.KeyFrame, torn: true},

		camsim.Refuses:         {class: fault.Refused, step: fault.Connect},
		camsim.DropsSYN:        {class: fault.Timeout, step: fault.Connect},
		camsim.ClosesAtConnect: {class: fault.Closed, step: fault.Options},
		camsim.MuteAtConnect:   {class: fault.Timeout, step: fault.Options},
		camsim.MuteAtOptions:   {class: fault.Timeout, step: fault.Options},
		camsim.MuteAtDescribe:  {class: fault.Timeout, step: fault.Describe},
		camsim.MuteAtSetup:     {class: fault.Timeout, step: fault.Setup, left: true},
		camsim.MuteAtPlay:      {class: fault.Timeout, step: fault.Play, torn: true}, // it hangs up when we do
		camsim.ClosesAtPlay:    {class: fault.Exhausted, step: fault.Play, left: true},
		camsim.ResetsAtPlay:    {class: fault.Exhausted, step: fault.Play, left: true},
		camsim.SilentAfterPlay: {class: fault.Timeout, step: fault.Media, torn: true},
		camsim.RTCPOnly:        {class: fault.Timeout, step: fault.Media, torn: true},
		camsim.ResetsMidFrame:  {class: fault.Closed, step: fault.KeyFrame, left: true},

		camsim.WrongPassword:  {class: fault.Auth, step: fault.Describe},
		camsim.NotFound:       {class: fault.NotFound, step: fault.Describe},
		camsim.BusyAtSetup:    {class: fault.Exhausted, step: fault.Setup},
		camsim.Unavailable:    {class: fault.Exhausted, step: fault.Describe},
		camsim.Redirects:      {class: fault.Protocol, step: fault.Describe},
		camsim.GarbageMedia:   {class: fault.Protocol, step: fault.Media, torn: true},
		camsim.GarbageAnswers: {class: fault.Protocol, step: fault.Options},
	}
}

func TestFetch_everyTemper(t *testing.T) {
	t.Parallel()
	for _, temper := range camsim.Tempers() {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			want, known := expectations()[temper]
			if !known {
				t.Skipf("no expectation for temper %s", temper)
			}
			limit := 2 * time.Second
			if want.stops > 0 {
				limit = want.stops
			}
			config := camsim.Config{Temper: temper, Delay: delayOf(temper)}
			if temper == camsim.Digest || temper == camsim.Basic || temper == camsim.WrongPassword {
				config.Username, config.Password = "viewer", `p@ss/#%&'ü"\`
			}
			camera := start(t, config)
			goodbye := rtsp.DefaultGoodbye
			if want.torn {
				goodbye = 20 * time.Second // it answers, but this machine may be busy
			}
			began := time.Now()
			frame, session, err := rtsp.Fetch(t.Context(), targetOf(camera), rtsp.Limits{Whole: limit, Goodbye: goodbye}, nil)
			took := time.Since(began)

			if took > limit+2*time.Second {
				t.Errorf("took %s with a limit of %s", took, limit)
			}
			var f *fault.Error
			if errors.As(err, &f); want.class == "" {
				if err != nil {
					t.Fatalf("no picture: %v", err)
				}
				if frame.Codec != depacketize.H264 || len(frame.Bytes) == 0 || frame.Width == 0 {
					t.Errorf("an odd picture: codec %q, %d bytes, %dx%d", frame.Codec, len(frame.Bytes), frame.Width, frame.Height)
				}
			} else if f == nil || f.Class != want.class || f.Step != want.step {
				t.Fatalf("ended with %#v (%v), want class %s at step %s", f, err, want.class, want.step)
			}
			if session.TornDown != want.torn || session.Lingers() != want.left {
				t.Errorf("session %+v, want torn down %v, lingering %v", session, want.torn, want.left)
			}
			settled(t, camera, want.torn)
			if counts := camera.Counts(); counts.Logins > 1 || counts.LoginsFailed > 1 || counts.Challenges > 1 || counts.Followed > 0 {
				t.Errorf("more than one log-in, or a redirect followed: %+v", counts)
			}
		})
	}
}

func delayOf(temper camsim.Temper) time.Duration {
	switch temper {
	case camsim.RTCPOnly:
		return 100 * time.Millisecond
	case camsim.LateKeyFrame:
		return 30 * time.Second
	}
	return 0
}

func start(t testing.TB, config camsim.Config) *camsim.Camera {
	t.Helper()
	camera, err := camsim.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(camera.Close)
	return camera
}

func targetOf(camera *camsim.Camera) rtsp.Target {
	config := camera.Config()
	return rtsp.Target{Address: camera.Address(), Path: config.Path, Username: config.Username, Password: config.Password}
}

// settled waits until the camera has noticed that nobody is there any more.
func settled(t *testing.T, camera *camsim.Camera, torn bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		counts := camera.Counts()
		if counts.Connections == 0 && counts.Sessions == 0 && (!torn || counts.Teardowns == 1) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left at the camera: %+v", counts)
		}
	}
}

func TestFetch_cancelledSaysGoodbye(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.SilentAfterPlay})
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	_, session, err := rtsp.Fetch(ctx, targetOf(camera), patient(), func(step fault.Step, codec depacketize.Codec) {
		if (codec == depacketize.H264) != slices.Contains([]fault.Step{fault.Setup, fault.Play, fault.Media, fault.KeyFrame}, step) {
			t.Errorf("step %s: codec %q", step, codec)
		}
		if step == fault.Media {
			cancel()
		}
	})
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	if fault.ClassOf(err) != fault.Cancelled || !session.TornDown {
		t.Fatalf("ended with %v, session %+v", err, session)
	}
	settled(t, camera, true)
}

func TestProbeOpensNoSession(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy})
	info, err := rtsp.Probe(t.Context(), targetOf(camera), rtsp.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Tracks) != 1 || info.Tracks[0].Encoding != "H264" || !info.Tracks[0].Usable || info.RoundTrip <= 0 {
		t.Errorf("probe says %+v", info)
	}
	settled(t, camera, false)
	if counts := camera.Counts(); counts.Setups != 0 || counts.SessionsTotal != 0 {
		t.Errorf("probe opened a session: %+v", counts)
	}
}

func TestNothingIsDialledForWhatCannotBeAsked(t *testing.T) {
	t.Parallel()
	address := netip.MustParseAddrPort("127.0.0.1:1")
	for name, target := range map[string]rtsp.Target{
		"a path with a line end":  {Address: address, Path: "/a\r\nTEARDOWN"},
		"a path without a slash":  {Address: address, Path: "stream"},
		"another scheme":          {Address: address, Scheme: "http"},
		"video in the clear":      {Address: address, Scheme: "rtsps", Transport: camera.UDP},
		"a transport of no kind":  {Address: address, Transport: "pigeon"},
		"a name without address.": {Host: "gate.example"},
	} {
		_, session, err := rtsp.Fetch(t.Context(), target, rtsp.Limits{}, func(step fault.Step, _ depacketize.Codec) { t.Errorf("%s: step %s began", name, step) })
		if class := fault.ClassOf(err); class != fault.Usage && class != fault.DNS || session.Opened {
			t.Errorf("%s: %v", name, err)
		}
	}
}
