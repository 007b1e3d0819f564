package camsim_test

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// silence is how long a test listens before it believes that no answer will come.
const silence = 300 * time.Millisecond

// The steps of a still, in their order.
const (
	options = iota
	describe
	setup
	play
)

// take takes one step of a still and waits so long for the answer.
func take(c *client, step int, wait time.Duration) (answer, error) {
	c.t.Helper()
	if step == setup {
		return c.trySetup(wait)
	}
	return c.try(wait, [...]string{options: "OPTIONS", describe: "DESCRIBE", play: "PLAY"}[step], c.url)
}

func TestScript_breaksAtTheStepOfTheTemper(t *testing.T) {
	t.Parallel()
	for temper, want := range map[camsim.Temper]struct {
		step   int    // the first that gets no 200
		ending string // how it fails: timeout, eof, reset, or what it answers
	}{
		camsim.ClosesAtConnect: {options, "eof"},
		camsim.MuteAtConnect:   {options, "timeout"},
		camsim.MuteAtOptions:   {options, "timeout"},
		camsim.MuteAtDescribe:  {describe, "timeout"},
		camsim.MuteAtSetup:     {setup, "timeout"},
		camsim.MuteAtPlay:      {play, "timeout"},
		camsim.ClosesAtPlay:    {play, "eof"},
		camsim.ResetsAtPlay:    {play, "reset"},
		camsim.WrongPassword:   {describe, "401"},
		camsim.NotFound:        {describe, "404"},
		camsim.BusyAtSetup:     {setup, "453"},
		camsim.Unavailable:     {describe, "503"},
		camsim.Redirects:       {describe, "302"},
		camsim.GarbageAnswers:  {options, "not RTSP"},
	} {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: temper})
			client := dial(t, camera)
			for step := range want.step {
				if got, err := take(client, step, patience); err != nil || got.status != 200 {
					t.Fatalf("step %d: status %d, %v, want 200", step, got.status, err)
				}
			}
			wait := patience
			if want.ending == "timeout" {
				wait = silence
			}
			got, err := take(client, want.step, wait)
			checkEnding(t, want.ending, got, err)
			if want.ending == "timeout" {
				if got := camera.Counts().Connections; got != 1 {
					t.Errorf("%d connections while it is mute, want 1", got)
				}
				if way := client.ending(silence); way != "timeout" {
					t.Errorf("a mute camera ended the connection: %s", way)
				}
			}
			_ = client.conn.Close()
			eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections+c.Sessions+c.Slots == 0 })
		})
	}
}

func checkEnding(t *testing.T, want string, got answer, err error) {
	t.Helper()
	switch want {
	case "timeout", "reset":
		if err == nil || wayOf(err) != want {
			t.Errorf("status %d, %v, want %s", got.status, err, want)
		}
	case "eof":
		// A request that meets a closed socket is answered by RST: both are the sight of a closed connection.
		if err == nil || wayOf(err) != "eof" && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("status %d, %v, want a closed connection", got.status, err)
		}
	case "not RTSP":
		if err == nil || wayOf(err) == "eof" || wayOf(err) == "timeout" {
			t.Errorf("status %d, %v, want garbage", got.status, err)
		}
	default:
		if err != nil || strconv.Itoa(got.status) != want {
			t.Errorf("status %d, %v, want %s", got.status, err, want)
		}
	}
}

func TestScript_muteCountsTheTeardown(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.MuteAtPlay})
	client := dial(t, camera)
	client.options()
	client.describe()
	client.setup(200)
	for _, method := range []string{"PLAY", "TEARDOWN"} {
		if got, err := client.try(silence, method, client.url); err == nil {
			t.Errorf("%s was answered by %d", method, got.status)
		}
	}
	eventually(t, camera, "the TEARDOWN counted, and the session still there", func(c camsim.Counts) bool {
		return c.Teardowns == 1 && c.Sessions == 1
	})
}

func TestScript_muteDoesNotHangUpOnNonsense(t *testing.T) {
	t.Parallel()
	for temper, step := range map[camsim.Temper]int{camsim.MuteAtConnect: options, camsim.MuteAtOptions: options, camsim.MuteAtDescribe: describe, camsim.GarbageAnswers: options} {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: temper})
			client := dial(t, camera)
			for earlier := range step {
				if _, err := take(client, earlier, patience); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = take(client, step, silence)
			if _, err := client.conn.Write([]byte("\x00\xff no RTSP at all\r\n\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			if way := client.ending(silence); way != "timeout" {
				t.Errorf("nonsense ended the connection: %s", way)
			}
			if got := camera.Counts().Connections; got != 1 {
				t.Errorf("%d connections, want 1", got)
			}
			_ = client.conn.Close()
			eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
		})
	}
}

func TestScript_silentAfterPlayStillAnswers(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.SilentAfterPlay})
	client := dial(t, camera)
	client.watch()
	if way := client.ending(silence); way != "timeout" {
		t.Fatalf("the connection ended: %s", way)
	}
	client.ask(200, "GET_PARAMETER", client.url)
	client.teardown()
	eventually(t, camera, "the session over", func(c camsim.Counts) bool { return c.Sessions == 0 && c.Teardowns == 1 })
}

func TestRTCPOnlyDripsSenderReportsAndNoVideo(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.RTCPOnly, Delay: 50 * time.Millisecond})
	client := dial(t, camera)
	client.watch()
	_ = client.conn.SetReadDeadline(time.Now().Add(patience))
	for range 5 {
		channel, payload, err := client.frame()
		if err != nil {
			t.Fatal(err)
		}
		const senderReport = 200 // RFC 3550 section 12.1
		if channel != 1 || len(payload) < 28 || payload[1] != senderReport {
			t.Errorf("channel %d, % x: want a sender report on channel 1", channel, payload)
		}
	}
	client.teardown()
}

func TestScript_resetsMidFrameHasNoEnd(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.ResetsMidFrame})
	client := dial(t, camera)
	client.watch()
	_ = client.conn.SetReadDeadline(time.Now().Add(patience))
	packets := 0
	for {
		_, payload, err := client.frame()
		if err != nil {
			if wayOf(err) != "reset" {
				t.Errorf("the media ended by %v, want a reset", err)
			}
			break
		}
		packets++
		if payload[1]&0x80 != 0 {
			t.Error("a packet bears the marker of a frame's end")
		}
	}
	if packets == 0 {
		t.Error("not even the beginning of a frame came")
	}
}

func TestGarbageMediaIsFramedAndMeansNothing(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.GarbageMedia, Delay: 10 * time.Millisecond})
	client := dial(t, camera)
	client.watch()
	_ = client.conn.SetReadDeadline(time.Now().Add(patience))
	last := uint64(0)
	for range 10 {
		channel, payload, err := client.frame()
		if err != nil || channel != 0 || len(payload) != 512 {
			t.Fatalf("channel %d, %d bytes, %v", channel, len(payload), err)
		}
		if now := binary.BigEndian.Uint64(payload); now == last {
			t.Error("twice the same noise")
		} else {
			last = now
		}
	}
}

func TestARedirectNamesACameraThatCountsWhoComes(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Redirects})
	client := dial(t, camera)
	location := client.ask(302, "DESCRIBE", client.url).header.Get("Location")
	if want := "rtsp://" + camera.Elsewhere().String() + "/stream1"; location != want || camera.Elsewhere().Addr() == camera.Address().Addr() {
		t.Errorf("sent to %q, want %q on another address than %s", location, want, camera.Address())
	}
	if got := camera.Counts().Followed; got != 0 {
		t.Errorf("%d came before anyone went", got)
	}
	follower, err := net.DialTimeout("tcp", camera.Elsewhere().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = follower.Close() }()
	eventually(t, camera, "one who followed", func(c camsim.Counts) bool { return c.Followed == 1 })
}

func TestNobodyListensAtACameraThatRefuses(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Refuses})
	if _, err := net.DialTimeout("tcp", camera.Address().String(), patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling ended by %v, want connection refused", err)
	}
}

func TestDropsSYN_leavesTheDialUnanswered(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.DropsSYN})
	for range 3 {
		_, err := net.DialTimeout("tcp", camera.Address().String(), silence)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("dialling ended by %v, want no answer at all", err)
			}
		}
	}
	// Who counts the connections of this host to the camera must not find the simulation's own.
	if held := connectionsTo(t, camera.Address()); len(held) > 0 {
		t.Errorf("sockets whose remote end is the camera: %v", held)
	}
}
