package camsim_test

import (
	"flag"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// TestMain lets more tests run at once than there are processors: they wait, for cameras and for ffmpeg.
func TestMain(m *testing.M) {
	flag.Parse()
	if at := flag.Lookup("test.parallel"); at.Value.String() == at.DefValue {
		_ = flag.Set("test.parallel", "8")
	}
	goleak.VerifyTestMain(m)
}

func TestHealthy_keyFrameFirstThenOneASecond(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy})
	client := dial(t, camera)
	client.watch()
	types := client.pictures(12)
	if want := []byte{5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 1}; !slices.Equal(types, want) {
		t.Errorf("pictures %v, want %v (5 is a key frame)", types, want)
	}
	counts := camera.Counts()
	if counts.Connections != 1 || counts.Sessions != 1 || counts.Slots != 1 {
		t.Errorf("while it runs: %+v", counts)
	}
	client.teardown()
	_ = client.conn.Close()
	eventually(t, camera, "connection and session gone", func(c camsim.Counts) bool { return c.Connections+c.Sessions+c.Slots == 0 })
	want := camsim.Counts{
		ConnectionsMost: 1, ConnectionsTotal: 1, SessionsMost: 1, SessionsTotal: 1,
		Requests: 5, Options: 1, Describes: 1, Setups: 1, Plays: 1, Teardowns: 1,
	}
	if got := camera.Counts(); got != want {
		t.Errorf("in the end: %+v, want %+v", got, want)
	}
}

func TestEachSessionHasItsOwnKeyFrameAtOnce(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy})
	for range 3 {
		client := dial(t, camera)
		client.watch()
		if types := client.pictures(4); !slices.Equal(types, []byte{5, 1, 1, 1}) {
			t.Errorf("a client's pictures are %v, want a key frame first", types)
		}
	}
	if counts := camera.Counts(); counts.ConnectionsMost != 3 || counts.SessionsMost != 3 {
		t.Errorf("three clients at once, counted %+v", counts)
	}
}

func TestPath_queryBelongsToIt(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy, Path: "/cam/realmonitor?channel=1&subtype=0"})
	client := dial(t, camera)
	client.ask(404, "DESCRIBE", "rtsp://"+camera.Address().String()+"/stream1")
	client.watch()
}

func TestASlowCameraTakesItsDelayForEveryAnswer(t *testing.T) {
	t.Parallel()
	delay := 200 * time.Millisecond
	camera := start(t, camsim.Config{Temper: camsim.Slow, Delay: delay})
	client := dial(t, camera)
	began := time.Now()
	client.watch()
	if took := time.Since(began); took < 4*delay {
		t.Errorf("four answers took %s, want at least %s", took, 4*delay)
	}
	if types := client.pictures(1); types[0] != 5 {
		t.Error("it is slow, but should send a key frame first")
	}
}

func TestALateKeyFrameComesAfterItsDelay(t *testing.T) {
	t.Parallel()
	delay := 700 * time.Millisecond
	camera := start(t, camsim.Config{Temper: camsim.LateKeyFrame, Delay: delay})
	client := dial(t, camera)
	client.options()
	client.describe()
	client.setup(200)
	asked := time.Now()
	client.play()
	types := client.pictures(8)
	if want := []byte{1, 1, 1, 1, 1, 1, 1, 5}; !slices.Equal(types, want) {
		t.Errorf("pictures %v, want %v", types, want)
	}
	if took := time.Since(asked); took < delay-50*time.Millisecond {
		t.Errorf("the key frame came %s after PLAY, want %s", took, delay)
	}
}

func TestALongGOPRunsByTheClockOfTheCamera(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.LongGOP, GOP: time.Minute})
	for range 2 {
		client := dial(t, camera)
		client.watch()
		if types := client.pictures(15); slices.Contains(types, 5) {
			t.Errorf("a key frame among the first pictures %v of a stream that has one a minute", types)
		}
	}
}

func TestLoginsAreCountedByOutcome(t *testing.T) {
	t.Parallel()
	for _, temper := range []camsim.Temper{camsim.Healthy, camsim.Digest, camsim.Basic, camsim.MuteAtPlay} {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: temper, Username: "admin", Password: "p@ss/#%&'ü"})
			client := dial(t, camera)
			client.options()
			offered := client.ask(401, "DESCRIBE", client.url).header["Www-Authenticate"]
			if temper == camsim.Basic && (len(offered) != 1 || offered[0][:5] != "Basic") {
				t.Errorf("offers %q, want Basic alone", offered)
			}
			if temper == camsim.Digest && (len(offered) != 1 || offered[0][:6] != "Digest") {
				t.Errorf("offers %q, want Digest alone", offered)
			}
			wrong, right := basic("admin", "guess"), basic("admin", "p@ss/#%&'ü")
			if temper == camsim.Digest {
				wrong, right = digest(offered[0], "admin", "guess", client.url), digest(offered[0], "admin", "p@ss/#%&'ü", client.url)
			}
			client.ask(200, "DESCRIBE", client.url, right)
			client.ask(200, "DESCRIBE", client.url, right)
			client.ask(401, "DESCRIBE", client.url, wrong)
			got := camera.Counts()
			if got.Challenges != 1 || got.Logins != 1 || got.LoginsFailed != 1 {
				t.Errorf("counted %+v, want one challenge, one log-in, one failure", got)
			}
			if parsed, err := url.Parse(camera.LoginURL()); err != nil || parsed.User.Username() != "admin" {
				t.Errorf("the URL with the log-in does not parse: %v", err)
			} else if password, _ := parsed.User.Password(); password != "p@ss/#%&'ü" {
				t.Errorf("the URL carries the password %q", password)
			}
		})
	}
}

func TestSlots_refusedAsConfigured(t *testing.T) {
	t.Parallel()
	for _, full := range []camsim.Full{camsim.RefuseSetup, camsim.CloseAtPlay} {
		t.Run(string(full), func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: camsim.LimitedSlots, Slots: 2, Full: full})
			polite, rude, third := dial(t, camera), dial(t, camera), dial(t, camera)
			polite.watch()
			rude.watch()
			third.options()
			third.describe()
			if full == camsim.RefuseSetup {
				third.setup(453)
			} else {
				third.setup(200)
				if _, err := third.try(patience, "PLAY", third.url); err == nil || wayOf(err) != "eof" {
					t.Errorf("PLAY without a slot ended by %v, want FIN", err)
				}
			}
			if got := camera.Counts(); got.Turned != 1 || got.Slots != 2 {
				t.Errorf("counted %+v, want 1 turned away and 2 slots", got)
			}
			polite.teardown()
			eventually(t, camera, "one slot free", func(c camsim.Counts) bool { return c.Slots == 1 })
			_ = rude.conn.Close()
			eventually(t, camera, "both slots free", func(c camsim.Counts) bool { return c.Slots == 0 })
			dial(t, camera).watch()
		})
	}
}

func TestSlots_lingerAfterAnAbruptEnd(t *testing.T) {
	t.Parallel()
	linger := 1500 * time.Millisecond
	for _, full := range []camsim.Full{camsim.RefuseSetup, camsim.CloseAtPlay} {
		t.Run(string(full), func(t *testing.T) {
			t.Parallel()
			patient := start(t, camsim.Config{Temper: camsim.LingeringSlots, Slots: 1, Linger: 6 * patience, Full: full})
			polite := dial(t, patient)
			polite.watch()
			polite.teardown()
			eventually(t, patient, "the slot free after TEARDOWN, long before it would be after an abrupt end", func(c camsim.Counts) bool { return c.Slots == 0 })

			camera := start(t, camsim.Config{Temper: camsim.LingeringSlots, Slots: 1, Linger: linger, Full: full})
			rude := dial(t, camera)
			rude.watch()
			_ = rude.conn.Close()
			closed := time.Now()
			eventually(t, camera, "the session over", func(c camsim.Counts) bool { return c.Sessions == 0 })
			if got := camera.Counts(); got.Slots != 1 && time.Since(closed) < linger {
				t.Errorf("after an abrupt end %d slots are taken, want 1 that lingers", got.Slots)
			}
			eventually(t, camera, "the slot free again", func(c camsim.Counts) bool { return c.Slots == 0 })
			if took := time.Since(closed); took < linger {
				t.Errorf("the slot lingered %s, want %s", took, linger)
			}
		})
	}
}

func TestOverUDPTheVideoComesFromTheAnnouncedPorts(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy, UDP: true, Picture: 2})
	run := ffmpeg(t, camera.URL(), fair("udp"))
	if run.exit != 0 {
		t.Fatalf("ffmpeg over UDP: exit %d: %s", run.exit, run.stderr)
	}
	if got := bar(t, run.picture); !near(got, 0, 0, 255) {
		t.Errorf("the bar is %v, want blue", got)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	for what, config := range map[string]camsim.Config{
		"unknown temper":   {Temper: "moody"},
		"no temper":        {},
		"no user":          {Temper: camsim.Digest},
		"a relative path":  {Temper: camsim.Healthy, Path: "stream1"},
		"a fifth picture":  {Temper: camsim.Healthy, Picture: 4},
		"a GOP of an hour": {Temper: camsim.Healthy, GOP: time.Hour},
		"unknown full":     {Temper: camsim.Healthy, Full: "shrug"},
		"negative delay":   {Temper: camsim.Slow, Delay: -1},
		"not loopback":     {Temper: camsim.Healthy, Address: addrPort("192.0.2.1:8554")},
	} {
		camera, err := camsim.Start(config)
		if err == nil {
			camera.Close()
			t.Errorf("%s: started", what)
		}
	}
}

func ExampleStart() {
	camera, err := camsim.Start(camsim.Config{Name: "gate", Temper: camsim.ClosesAtPlay})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer camera.Close()
	fmt.Println(camera.Name(), camera.Temper().Sentence())
	fmt.Println(camera.Counts().ConnectionsMost)
	// Output:
	// gate closes the connection (FIN) instead of answering PLAY, as a Tapo without a free slot
	// 0
}
