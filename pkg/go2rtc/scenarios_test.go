package go2rtc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// This file is what a client does with a whole server and its cameras: with the simulated one always (sim_test.go), and
// with a real one where GO2RTC names it (real_test.go).

// running is a server that lives.
type running struct {
	*go2rtc.Client
	t        *testing.T
	url      string
	config   string         // its configuration file
	patience time.Duration  // for an answer of a camera
	sim      *camsim.Go2rtc // nil for a real one
}

// starter starts a server with these streams in its configuration.
type starter func(t *testing.T, streams string) *running

func simulated(t *testing.T, config camsim.Config) *camsim.Camera {
	t.Helper()
	camera, err := camsim.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(camera.Close)
	return camera
}

func (r *running) frame(name string, limit time.Duration) (go2rtc.Picture, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	return r.Frame(ctx, name)
}

// free waits until a camera has no connection.
func free(t *testing.T, camera *camsim.Camera) {
	t.Helper()
	for began := time.Now(); camera.Counts().Connections > 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%s: %+v", camera.Name(), camera.Counts())
		}
	}
}

func registersTakesAPictureAndForgets(t *testing.T, start starter) {
	t.Helper()
	r := start(t, "streams:\n  stream1: rtsp://127.0.0.2:9/elsewhere # theirs\n")
	camera := simulated(t, camsim.Config{Temper: camsim.Digest, Username: "admin", Password: "p&#@/%:x y"})
	before, _ := os.ReadFile(r.config)
	url := strings.Replace(camera.URL(), "rtsp://", "rtsp://admin:p%26%23%40%2F%25%3Ax%20y@", 1)
	// A camera's path that is the name of somebody's stream: a plain PATCH would link the two.
	if !strings.HasSuffix(url, "/stream1") {
		t.Fatal(url)
	}
	reg := one(t, r.Client, go2rtc.Source{Name: "camwarden-gate", URL: url})
	if !reg.Created || reg.Err != nil {
		t.Fatalf("%+v", reg)
	}
	if reg := one(t, r.Client, go2rtc.Source{Name: "camwarden-gate", URL: url}); reg.Created || reg.Err != nil {
		t.Errorf("%+v", reg)
	}
	for range 2 {
		picture, err := r.frame("camwarden-gate", 20*time.Second)
		if err != nil || len(picture.JPEG) < 1000 {
			t.Fatalf("%d bytes: %v", len(picture.JPEG), err)
		}
		t.Logf("a picture of %d bytes after %s", len(picture.JPEG), picture.Waited)
	}
	if got := remove(t, r.Client, "camwarden-gate"); !got.Gone || got.Err != nil || got.Note != "" {
		t.Errorf("%+v", got)
	}
	free(t, camera)
	if c := camera.Counts(); c.ConnectionsMost != 1 || c.Teardowns != 2 || c.LoginsFailed != 0 {
		t.Errorf("%+v", c)
	}
	list, err := r.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "stream1" || list[0].Producers[0].Source != "rtsp://127.0.0.2:9/elsewhere" {
		t.Errorf("%+v, %v", list, err)
	}
	if after, _ := os.ReadFile(r.config); !bytes.Equal(before, after) {
		t.Errorf("the configuration was\n%s\nand is\n%s", before, after)
	}
}

func saysWhyACameraFails(t *testing.T, start starter) {
	t.Helper()
	r := start(t, "")
	for temper, want := range map[camsim.Temper]struct {
		class fault.Class
		step  fault.Step
	}{
		camsim.Refuses:         {fault.Refused, fault.Connect},
		camsim.ClosesAtConnect: {fault.Closed, ""},
		camsim.WrongPassword:   {fault.Auth, fault.Describe},
		camsim.NotFound:        {fault.Protocol, fault.Describe},
		camsim.Unavailable:     {fault.Protocol, fault.Describe},
		camsim.BusyAtSetup:     {fault.Protocol, fault.Setup},
		camsim.GarbageAnswers:  {fault.Protocol, ""},
		camsim.MuteAtConnect:   {fault.Timeout, ""},
		camsim.MuteAtSetup:     {fault.Timeout, ""},
		camsim.DropsSYN:        {fault.Timeout, ""}, // connect, but go2rtc takes 5 s to say so
		camsim.SilentAfterPlay: {},
	} {
		few := []camsim.Temper{camsim.Refuses, camsim.WrongPassword, camsim.NotFound, camsim.BusyAtSetup, camsim.MuteAtSetup, camsim.SilentAfterPlay}
		if !slices.Contains(testkit.Some(camsim.Tempers(), few...), temper) {
			continue
		}
		camera := simulated(t, camsim.Config{Temper: temper, Username: "u", Password: "hush-hush"})
		name := "camwarden-" + string(temper)
		if reg := one(t, r.Client, go2rtc.Source{Name: name, URL: camera.LoginURL()}); !reg.Created || reg.Err != nil {
			t.Fatalf("%+v", reg)
		}
		if want.class != "" {
			if _, err := r.frame(name, 20*time.Second); !errors.Is(err, go2rtc.ErrEmpty) {
				t.Errorf("%s: %v", temper, err)
			}
		}
		began := time.Now()
		err := r.Probe(t.Context(), name)
		f := fault.From(err, "", "")
		switch {
		case want.class == "" && err != nil:
			t.Errorf("%s: %v", temper, err)
		case want.class != "" && (f == nil || f.Class != want.class || f.Step != want.step && f.Class != fault.Timeout || strings.Contains(f.Message, "hush")):
			t.Errorf("%s: %+v", temper, f)
		}
		t.Logf("%s: %v after %s, %d connections", temper, err, time.Since(began).Round(time.Millisecond), camera.Counts().ConnectionsTotal)
		if want.class == fault.Timeout {
			time.Sleep(r.patience - go2rtc.CallTimeout + time.Second) // until the probe that was given up has ended
		}
		if got := remove(t, r.Client, name); !got.Gone || got.Err != nil {
			t.Errorf("%s: %+v", temper, got)
		}
	}
}

func flushesAStuckPicture(t *testing.T, start starter) {
	t.Helper()
	r := start(t, "")
	all := []camsim.Temper{camsim.SilentAfterPlay, camsim.RTCPOnly, camsim.ClosesAtPlay, camsim.ResetsMidFrame}
	for _, temper := range testkit.Some(all, all[:2]...) {
		camera := simulated(t, camsim.Config{Temper: temper})
		source := go2rtc.Source{Name: "camwarden-" + string(temper), URL: camera.URL()}
		if reg := one(t, r.Client, source); reg.Err != nil {
			t.Fatal(reg.Err)
		}
		_, err := r.frame(source.Name, time.Second)
		wantFault(t, err, fault.Timeout)
		there, _, _ := r.Get(t.Context(), source.Name)
		if j := go2rtc.Judge(there, mine(), time.Now()); len(j.Ours) != 1 || j.Watched() {
			t.Errorf("%s: %s", temper, j.Words())
		}
		if got := remove(t, r.Client, source.Name); got.Gone || !strings.Contains(got.Why, "a picture being taken") {
			t.Errorf("%s: %+v", temper, got)
		}
		patience := 6 * r.patience
		if temper == camsim.RTCPOnly {
			patience = 3 * r.patience // it never stops sending, so go2rtc never dials again
		}
		began := time.Now()
		got := flush(t, r.Client, patience, source)
		t.Logf("%s: %+v after %s", temper, got, time.Since(began).Round(time.Millisecond))
		if temper == camsim.RTCPOnly && !got.Done {
			continue
		}
		if !got.Done || !got.Restored || got.Err != nil {
			t.Errorf("%s: %+v", temper, got)
		}
		free(t, camera)
		if got := remove(t, r.Client, source.Name); !got.Gone || got.Err != nil {
			t.Errorf("%s: %+v", temper, got)
		}
	}
}

func saysHowAPictureThatNeverComesEnds(t *testing.T, start starter) {
	t.Helper()
	r := start(t, "")
	camera := simulated(t, camsim.Config{Temper: camsim.LateKeyFrame, Delay: time.Minute, GOP: time.Minute})
	source := go2rtc.Source{Name: "camwarden-late", URL: camera.URL()}
	one(t, r.Client, source)
	_, err := r.frame(source.Name, time.Second)
	wantFault(t, err, fault.Timeout)
	got := flush(t, r.Client, 7*time.Second, source)
	if want := fmt.Sprintf("ss -K dst %s dport = %d", camera.Address().Addr(), camera.Address().Port()); got.Done || !strings.Contains(got.Why, want) {
		t.Errorf("%+v", got)
	}
}

func seesAndKeepsAViewer(t *testing.T, start starter) {
	t.Helper()
	camera := simulated(t, camsim.Config{Temper: camsim.Healthy})
	r := start(t, "streams:\n  theirs: "+camera.URL()+"\n")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/stream.mp4?src=theirs", nil)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req) //nolint:bodyclose // closed by the goroutine that watches
	if err != nil {
		t.Fatal(err)
	}
	watching := make(chan struct{})
	go func() { defer close(watching); _, _ = io.Copy(io.Discard, res.Body); _ = res.Body.Close() }()
	list, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := camera.Address()
	target := go2rtc.Target{Scheme: "rtsp", Host: address.Addr().String(), Address: address, Path: "/stream1"}
	found := go2rtc.Watched(list, target, mine(), time.Now())
	if len(found) != 1 || found[0].Stream.Name != "theirs" || len(found[0].Viewers) != 1 {
		t.Errorf("%+v", found)
	}
	target.Address = netip.AddrPortFrom(address.Addr(), address.Port()+1)
	if also := go2rtc.Watched(list, target, mine(), time.Now()); len(also) != 0 {
		t.Errorf("%+v", also)
	}
	if _, err := r.frame("theirs", 20*time.Second); err != nil {
		t.Error(err)
	}
	if got := remove(t, r.Client, "theirs"); got.Gone || len(got.Kept.Viewers) != 1 || !strings.Contains(got.Why, "1 viewer: an MP4 viewer") {
		t.Errorf("%+v", got)
	}
	if c := camera.Counts(); c.ConnectionsTotal != 1 {
		t.Errorf("the camera was dialled again: %+v", c)
	}
	leave()
	<-watching
	free(t, camera)
	if got := remove(t, r.Client, "theirs"); !got.Gone || got.Err != nil {
		t.Errorf("%+v", got)
	}
}

// isReachedBehindBasePathLogInAndSocket is for a server at a socket, below /rtc, with a log-in, no file and no RTSP.
func isReachedBehindBasePathLogInAndSocket(t *testing.T, socket string) {
	t.Helper()
	options := go2rtc.Options{URL: "http+unix://" + strings.ReplaceAll(socket, "/", "%2F") + "/rtc", Username: "admin", Password: "p:w #%ß"}
	c := newClient(t, options)
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		info, err := c.Info(t.Context())
		if err == nil {
			if info.ConfigPath != "" || info.RTSPListen != "" {
				t.Errorf("%+v", info)
			}
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal(err)
		}
	}
	one(t, c, gate())
	if got := remove(t, c, "camwarden-gate"); !got.Gone || got.Err != nil || got.Note != "config file disabled" {
		t.Errorf("%+v", got)
	}
	_, err := c.RestreamURL(t.Context(), "camwarden-gate")
	wantFault(t, err, fault.Go2rtc, "does not serve RTSP")
	options.Password = "wrong"
	if _, err = newClient(t, options).List(t.Context()); err != nil { // before 1.9.12 any log-in will do on this host
		wantFault(t, err, fault.Go2rtc, "does not accept our log-in")
	}
	_, err = newClient(t, go2rtc.Options{URL: "unix://" + socket, Username: "admin", Password: "p:w #%ß"}).List(t.Context())
	wantFault(t, err, fault.Go2rtc, "base path")
}
