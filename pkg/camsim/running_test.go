package camsim_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestRunning_oneKeyFrameForAllClients(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy, GOP: 2 * time.Second, JoinAnywhere: true})
	if !camera.LastKeyFrame().IsZero() {
		t.Error("a key frame has been sent before anybody watched")
	}
	due := camera.NextKeyFrame()
	if wait := time.Until(due); wait <= 0 || wait > 2*time.Second {
		t.Fatalf("the next key frame is due in %s, want within the GOP", wait)
	}
	var arrived []time.Time
	for range 2 { // one joins after the other
		client := dial(t, camera)
		client.watch()
		types := client.pictures(1)
		for types[0] != 5 {
			types = client.pictures(1)
		}
		arrived = append(arrived, time.Now())
		for deadline := time.Now().Add(patience); camera.LastKeyFrame().Before(arrived[len(arrived)-1].Add(-time.Second)); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the key frame that began to arrive at %s was last sent at %s", arrived[len(arrived)-1], camera.LastKeyFrame())
			}
		}
	}
	for i, at := range arrived {
		// Each comes with one of the key frames that the camera's clock says, not with its own.
		if off := at.Sub(due) % (2 * time.Second); off < 0 || off > time.Second {
			t.Errorf("client %d saw its key frame %s after the due time of one", i, off)
		}
	}
}

func TestRunning_lastByteOfAKeyFrameIsNoted(t *testing.T) {
	t.Parallel()
	all := []camsim.Config{{Codec: camsim.H264Slices}, {Codec: camsim.MJPEG}, {Codec: camsim.H264}, {Codec: camsim.H265CRA}, {TLS: true}}
	for _, config := range testkit.Some(all, all[:2]...) {
		config.Temper = camsim.Healthy
		camera := start(t, config)
		if !camera.NextKeyFrame().IsZero() {
			t.Error("a camera whose clients each have a key frame at once says when the next is due")
		}
		asked := time.Now()
		run := ffmpeg(t, camera.URL(), fair("tcp"))
		if run.exit != 0 {
			t.Fatalf("%+v: exit %d: %s", config, run.exit, run.stderr)
		}
		if sent := camera.LastKeyFrame(); sent.Before(asked) || sent.After(time.Now()) {
			t.Errorf("%+v: the key frame was sent at %s, want between %s and now", config, sent, asked)
		}
	}
}

func TestTLS_believedByItsCertificate(t *testing.T) {
	t.Parallel()
	for _, temper := range []camsim.Temper{camsim.Healthy, camsim.MuteAtDescribe} { // either kind of server
		camera := start(t, camsim.Config{Temper: temper, TLS: true, Username: "user", Password: "secret"})
		if !strings.HasPrefix(camera.URL(), "rtsps://127.") || !strings.HasPrefix(camera.LoginURL(), "rtsps://user:secret@127.") {
			t.Errorf("URLs %s and %s", camera.URL(), camera.LoginURL())
		}
		for name, roots := range map[string]*x509.CertPool{"its own": camera.RootCAs(), "none": x509.NewCertPool()} {
			dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{RootCAs: roots}}
			conn, err := dialer.DialContext(t.Context(), "tcp", camera.Address().String())
			if (err == nil) != (name == "its own") {
				t.Errorf("%s: with the root %q: %v", temper, name, err)
			}
			if err != nil {
				continue
			}
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, "OPTIONS "+camera.URL()+" RTSP/1.0\r\nCSeq: 1\r\n\r\n")
			reply := make([]byte, len("RTSP/1.0 200"))
			if _, err := io.ReadFull(conn, reply); err != nil || string(reply) != "RTSP/1.0 200" {
				t.Errorf("%s: OPTIONS over TLS: %q, %v", temper, reply, err)
			}
			_ = conn.Close()
		}
		eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
	}
	if plain := start(t, camsim.Config{Temper: camsim.Healthy}); plain.RootCAs() != nil || !strings.HasPrefix(plain.URL(), "rtsp://") {
		t.Error("a camera without TLS has a certificate")
	}
}

func TestTempersAreTheSameOverTLS(t *testing.T) {
	t.Parallel()
	mute := start(t, camsim.Config{Temper: camsim.MuteAtConnect, TLS: true})
	client := dial(t, mute)
	_ = client.conn.SetDeadline(time.Now().Add(silence))
	if err := tls.Client(client.conn, &tls.Config{RootCAs: mute.RootCAs(), ServerName: mute.Address().Addr().String()}).HandshakeContext(t.Context()); wayOf(err) != "timeout" {
		t.Errorf("the handshake with a mute camera ended by %v, want no word", err)
	}
	_ = client.conn.Close()
	eventually(t, mute, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })

	resets := start(t, camsim.Config{Temper: camsim.ResetsMidFrame, TLS: true})
	if run := ffmpeg(t, resets.URL(), fair("tcp")); run.exit == 0 && run.stderr == "" {
		t.Error("a camera that resets in the middle of a key frame gave a clean picture")
	}
	hostile := start(t, camsim.Config{Temper: camsim.EndlessKeyFrame, TLS: true})
	secure, err := tls.Dial("tcp", hostile.Address().String(), &tls.Config{RootCAs: hostile.RootCAs()})
	if err != nil {
		t.Fatal(err)
	}
	flooded := talkOver(t, hostile, secure)
	flooded.watch()
	hostile.Close()
	if way := flooded.ending(patience); way == "timeout" {
		t.Error("the connection is still open after Close")
	}
}

func TestWhatCannotBeShownIsRefused(t *testing.T) {
	t.Parallel()
	for what, config := range map[string]camsim.Config{
		"unknown codec":                    {Codec: "vp8"},
		"a GOP the film cannot have":       {Codec: camsim.H265CRA, GOP: 2 * time.Second},
		"a GOP of JPEGs":                   {Codec: camsim.MJPEG, GOP: time.Second},
		"parameter sets of JPEGs":          {Codec: camsim.MJPEG, Sets: camsim.SetsInBand},
		"unknown place for parameter sets": {Sets: "nowhere"},
		"TLS beside UDP":                   {TLS: true, UDP: true},
		"aggregated JPEGs":                 {Temper: camsim.NestedAggregation, Codec: camsim.MJPEG},
	} {
		if config.Temper == "" {
			config.Temper = camsim.Healthy
		}
		if camera, err := camsim.Start(config); err == nil {
			camera.Close()
			t.Errorf("%s: started", what)
		}
	}
	for _, codec := range camsim.Codecs() { // with its defaults every temper takes every codec
		for _, temper := range slices.Concat(camsim.Tempers(), camsim.HostileTempers()) {
			if codec == camsim.MJPEG && temper == camsim.NestedAggregation {
				continue
			}
			camera, err := camsim.Start(camsim.Config{Temper: temper, Codec: codec, Username: "user", Password: "secret"})
			if err != nil {
				t.Errorf("%s with %s: %v", temper, codec, err)
				continue
			}
			camera.Close()
		}
	}
}
