package camsim_test

import (
	"context"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// giveUp asks for a picture that does not come, and hangs up once it is listed as waiting.
func (r *relay) giveUp(name string) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		ctx, hangUp := context.WithCancel(r.t.Context())
		done := make(chan reply, 1)
		go func() { done <- r.try(ctx, "GET", "/api/frame.jpeg", "src", name) }()
		for len(done) == 0 && len(r.look(name).Consumers) == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		hangUp()
		got := <-done
		if got.status == 0 {
			return
		}
		// A machine that is busy may take longer for a camera's answer than the server waits.
		if got.body != "" || time.Now().After(deadline) {
			r.t.Fatalf("a picture that cannot come: %d, %.60q", got.status, got.body)
		}
	}
}

// flush sets the test picture and waits until everything is released.
func (r *relay) flush(name, codec string, camera *camsim.Camera) {
	r.t.Helper()
	r.call(200, "PATCH", "/api/streams", "name", name, "src", "ffmpeg:virtual?video&size=320x240#video="+codec)
	r.until(name, "flushed", idle)
	eventually(r.t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
}

func TestAPictureNobodyWaitsForKeepsTheCameraAwake(t *testing.T) {
	t.Parallel()
	for _, config := range []camsim.Config{
		{Temper: camsim.SilentAfterPlay}, {Temper: camsim.MuteAtPlay}, {Temper: camsim.ClosesAtPlay}, {Temper: camsim.ResetsMidFrame}, {Temper: camsim.GarbageMedia}, {Temper: camsim.SilentAfterPlay, Codec: camsim.H265},
	} {
		t.Run(string(config.Temper)+" "+string(config.Codec), func(t *testing.T) {
			t.Parallel()
			camera := start(t, config)
			r := startRelay(t, camsim.Go2rtcConfig{Patience: 500 * time.Millisecond})
			r.register("cw-1", camera)
			r.giveUp("cw-1")
			s := r.look("cw-1")
			if len(s.Consumers) != 1 || s.Consumers[0].Format != "keyframe" || s.Consumers[0].Agent != "camsim/test" {
				t.Fatalf("its consumers are %+v", s.Consumers)
			}
			stuck := s.Consumers[0].ID
			before := r.Dials(camera).Ever
			r.holdsUntil(camera, "dialled again and again", func(d camsim.Go2rtcDials) bool { return d.Ever > before+2 })
			if s := r.look("cw-1"); len(s.Consumers) != 1 || s.Consumers[0].ID != stuck {
				t.Errorf("its consumers are %+v, want still %d", s.Consumers, stuck)
			}
			if d := r.Dials(camera); d.Most > 2 { // the new one stands before the old one is closed
				t.Errorf("it counts %+v", d)
			}
			codec := "h264"
			if config.Codec == camsim.H265 {
				// The test picture of another codec frees nobody, but the camera is left alone.
				r.call(200, "PATCH", "/api/streams", "name", "cw-1", "src", "ffmpeg:virtual?video#video=h264")
				eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
				if s := r.look("cw-1"); len(s.Consumers) != 1 {
					t.Errorf("the test picture of another codec freed %+v", s)
				}
				codec = "h265"
			}
			r.flush("cw-1", codec, camera)
			r.counts("the answer nobody reads is finished", func(c camsim.Go2rtcCounts) bool { return c.InFlight == 0 })
			r.register("cw-1", camera)
			if s := r.look("cw-1"); !idle(s) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestTheStormOfACameraThatClosesIsBounded(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.ClosesAtPlay})
	r := startRelay(t, camsim.Go2rtcConfig{Storm: 50 * time.Millisecond})
	r.register("cw-1", camera)
	began := time.Now()
	r.giveUp("cw-1")
	time.Sleep(time.Second)
	if d := r.Dials(camera); d.Ever < 3 || d.Ever > 2+int(time.Since(began)/(50*time.Millisecond)) {
		t.Errorf("within %s it counts %+v", time.Since(began), d)
	}
}

func TestACameraWithoutAKeyFrameIsHeldForGood(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.LateKeyFrame, Delay: time.Minute})
	r := startRelay(t, camsim.Go2rtcConfig{Patience: 2 * time.Second})
	r.register("cw-1", camera)
	r.giveUp("cw-1")
	r.call(200, "PATCH", "/api/streams", "name", "cw-1", "src", "ffmpeg:virtual?video#video=h264")
	time.Sleep(3 * time.Second) // longer than a camera that is silent would be left alone
	first := r.look("cw-1")
	if len(first.Consumers) != 1 || len(first.Producers) != 1 || first.Producers[0].RemoteAddr != camera.Address().String() {
		t.Fatalf("%+v", first)
	}
	r.until("cw-1", "it goes on receiving", func(s shown) bool { return s.Producers[0].BytesRecv > first.Producers[0].BytesRecv })
	if c := camera.Counts(); c.ConnectionsTotal != 1 || c.Connections != 1 {
		t.Errorf("the camera counts %+v", c)
	}
}

func TestADeletedStreamsStuckPictureIsOutOfReach(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.SilentAfterPlay})
	r := startRelay(t, camsim.Go2rtcConfig{Patience: 500 * time.Millisecond})
	r.register("cw-1", camera)
	r.giveUp("cw-1")
	r.call(400, "DELETE", "/api/streams", "src", "cw-1")
	r.call(200, "PATCH", "/api/streams", "name", "cw-1", "src", "ffmpeg:virtual?video#video=h264") // another stream
	before := r.Dials(camera).Ever
	r.holdsUntil(camera, "dialled again and again", func(d camsim.Go2rtcDials) bool { return d.Ever > before+2 })
	if c := r.Counts(); c.Ghosts != 1 || c.InFlight != 1 {
		t.Errorf("counts %+v", c)
	}
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, camera, "only a restart ends it", func(c camsim.Counts) bool { return c.Connections == 0 })
	if c := r.Counts(); c.Ghosts != 0 || c.InFlight != 0 {
		t.Errorf("counts %+v", c)
	}
}

func TestTheTestPictureNeedsFFmpegAndALoopbackPort(t *testing.T) {
	t.Parallel()
	for what, config := range map[string]camsim.Go2rtcConfig{
		"no ffmpeg": {NoFFmpeg: true}, "no RTSP": {NoRTSP: true}, "RTSP elsewhere": {RTSP: addrPort("127.0.0.2:0")},
	} {
		camera := start(t, camsim.Config{Temper: camsim.SilentAfterPlay})
		config.Patience = 500 * time.Millisecond
		r := startRelay(t, config)
		r.register("cw-1", camera)
		r.giveUp("cw-1")
		r.call(200, "PATCH", "/api/streams", "name", "cw-1", "src", "ffmpeg:virtual?video#video=h264")
		time.Sleep(4 * config.Patience)
		if s := r.look("cw-1"); len(s.Consumers) != 1 {
			t.Errorf("%s: flushed all the same: %+v", what, s)
		}
	}
}

func TestATestPictureIsToldFromACameras(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{})
	for _, codec := range []string{"h264", "h265", "mjpeg"} {
		r.call(200, "PATCH", "/api/streams", "name", "cw-1", "src", "ffmpeg:virtual?video#video="+codec)
		got := r.call(200, "GET", "/api/frame.jpeg", "src", "cw-1")
		if sight, err := camsim.SightOf([]byte(got.body)); err != nil || !sight.Test || sight.Camera.IsValid() {
			t.Errorf("%s: %+v, %v", codec, sight, err)
		}
	}
	if _, err := camsim.SightOf([]byte("\xff\xd8\xff\xe0 another's\xff\xd9")); err == nil {
		t.Error("a picture of somebody else shows something")
	}
}
