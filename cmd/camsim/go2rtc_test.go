package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/camsim"
)

func TestGo2rtc_runsBesideTheCameras(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	path := filepath.Join(t.TempDir(), "sim.yaml")
	go func() {
		args := "--cameras gate=digest:admin:secret -o json --counts 127.0.0.1:0 --go2rtc 127.0.0.1:0/streams=true/old=true/patience=2s --config " + path
		code <- run(ctx, strings.Fields(args), writer, &stderr)
		_ = writer.Close()
	}()
	var doc document
	if err := json.NewDecoder(reader).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	picture, status := get(t, http.MethodGet, doc.Go2rtcURL+"/api/frame.jpeg?src=gate")
	if sight, err := camsim.SightOf(picture); err != nil || status != http.StatusOK || sight.Camera.String() != doc.Cameras[0].Address {
		t.Errorf("%d: the picture shows %+v, %v", status, sight, err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Go2rtc map[string]string
	}
	if err := yaml.Unmarshal(raw, &config); err != nil || config.Go2rtc["url"] != doc.Go2rtcURL {
		t.Errorf("%v: the configuration is\n%s", err, raw)
	}
	counts := strings.TrimSuffix(doc.CountsURL, "/counts") + "/go2rtc"
	said, _ := get(t, http.MethodGet, counts)
	var counted camsim.Go2rtcCounts
	if err := json.Unmarshal(said, &counted); err != nil || counted.Frames != 1 || counted.Streams != 1 || len(counted.Cameras) != 1 {
		t.Errorf("%v: %s", err, said)
	}
	for _, step := range []struct {
		do     string // to it
		status int
		after  int // of a list of its streams; 0: it is dead
	}{
		{"/trouble?kind=garbage", http.StatusOK, http.StatusOK}, {"/trouble?kind=gout", http.StatusBadRequest, http.StatusOK}, {"/trouble?kind=slow&delay=soon", http.StatusBadRequest, http.StatusOK},
		{"/kill", http.StatusOK, 0}, {"/trouble", http.StatusOK, 0}, {"/restart", http.StatusOK, http.StatusOK},
	} {
		if _, status := get(t, http.MethodPost, counts+step.do); status != step.status {
			t.Errorf("%s: %d, want %d", step.do, status, step.status)
		}
		if _, status := get(t, http.MethodGet, doc.Go2rtcURL+"/api/streams"); status != step.after {
			t.Errorf("after %s it answers %d, want %d", step.do, status, step.after)
		}
	}
	stop()
	if got := <-code; got != exitDone || !strings.Contains(stderr.String(), "1 frames") {
		t.Errorf("exit %d: %s", got, stderr.String())
	}
}

// get returns status 0 when there is no answer.
func get(t *testing.T, method, url string) (body []byte, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		return nil, 0
	}
	defer func() { _ = res.Body.Close() }()
	body, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body, res.StatusCode
}

func TestAGo2rtcIsReadWithItsOptions(t *testing.T) {
	t.Parallel()
	got, err := parseRelay("127.0.0.1:1984/base=%2Frtc/config=%2Ftmp%2Fg.yaml/hold=1ms/leak=2s/no-ffmpeg=true/old=1/patience=3s/rtsp=127.0.0.2:8554/socket=g.sock/transcode=4ms")
	if err != nil {
		t.Fatal(err)
	}
	if got.BasePath != "/rtc" || got.ConfigFile != "/tmp/g.yaml" || got.Hold != time.Millisecond || got.Leak != 2*time.Second || !got.NoFFmpeg || !got.Old ||
		got.Patience != 3*time.Second || got.RTSP.String() != "127.0.0.2:8554" || got.Socket != "g.sock" || got.Transcode != 4*time.Millisecond || got.streams {
		t.Errorf("%+v", got)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &stdout, &stderr); code != exitDone {
		t.Errorf("exit %d", code)
	}
	for _, option := range relayOptions() {
		if !strings.Contains(stderr.String(), "\n  "+option.name+"=") {
			t.Errorf("the help does not tell of option %s", option.name)
		}
	}
	if !slices.IsSortedFunc(relayOptions(), func(a, b option[relayWish]) int { return strings.Compare(a.name, b.name) }) {
		t.Error("the options are not in order")
	}
}

func TestAGo2rtcThatCannotStartIsAFailure(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	args := strings.Fields("--cameras gate=healthy --go2rtc 127.0.0.1:0/socket=%2Fnowhere%2Fat%2Fall.sock")
	if code := run(t.Context(), args, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "go2rtc") {
		t.Errorf("exit %d, %s", code, stderr.String())
	}
}
