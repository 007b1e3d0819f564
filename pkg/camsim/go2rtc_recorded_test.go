package camsim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// The recordings are answers of the real server, which pkg/go2rtc is tested with too.
func recording(t *testing.T, path ...string) (status int, kind, body string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(append([]string{"..", "go2rtc", "testdata"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	head, text, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	if _, err := fmt.Sscanf(lines[0], "HTTP/1.1 %d", &status); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if value, ok := strings.CutPrefix(line, "Content-Type: "); ok {
			kind = value
		}
	}
	return status, kind, string(text)
}

// fieldsOf returns the paths of all fields in a JSON text, such as "consumers[].senders[].codec.level string", but for
// those that are left out while they are zero, or by some kinds of viewers.
func fieldsOf(t *testing.T, text string) []string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	found := map[string]bool{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for name, inner := range value {
				walk(path+"."+name, inner)
			}
		case []any:
			for _, inner := range value {
				walk(path+"[]", inner)
			}
		default:
			found[strings.TrimPrefix(path, ".")+fmt.Sprintf(" %T", value)] = true
		}
	}
	walk("", value)
	var paths []string
	for path := range found {
		name, _, _ := strings.Cut(path[strings.LastIndex(path, ".")+1:], " ")
		if !slices.Contains([]string{"bytes", "packets", "bytes_recv", "bytes_send", "recv", "send", "level", "profile"}, name) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

func TestRefusalsAreThoseOfTheRealServer(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"theirs": "rtsp://127.0.0.2:9/x"}})
	for file, call := range map[string]apiCall{
		"stream-unknown-404.txt": streamsCall("GET", "src", "nobody"), "probe-unknown-404.txt": streamsCall("GET", "src", "nobody", "video", "all"),
		"frame-unknown-404.txt": {"GET", "/api/frame.jpeg", []string{"src", "nobody"}}, "delete-noconfig-400.txt": streamsCall("DELETE", "src", "theirs"),
		"patch-space-400.txt": streamsCall("PATCH", "name", "cw-1", "src", "rtsp://u:p w@127.0.0.2/x"), "basepath-404.txt": {"GET", "/rtc/api/streams", nil},
	} {
		status, kind, body := recording(t, "recorded", file)
		if got := r.try(t.Context(), call.method, call.path, call.pairs...); got.status != status || got.kind != kind || got.body != body {
			t.Errorf("%s: %+v, recorded was %d %s %q", file, got, status, kind, body)
		}
	}
	for file, temper := range map[string]camsim.Temper{
		"probe-fault-401-wrong-password.txt": camsim.WrongPassword, "probe-fault-404.txt": camsim.NotFound, "probe-fault-setup-453.txt": camsim.BusyAtSetup,
	} {
		camera := start(t, camsim.Config{Temper: temper, Username: "user", Password: "secret"})
		r.register("cw-1", camera)
		status, kind, body := recording(t, "recorded", file)
		if got := r.call(status, "GET", "/api/streams", "src", "cw-1", "video", "all"); got.kind != kind || got.body != body {
			t.Errorf("%s: %+v, recorded was %s %q", file, got, kind, body)
		}
		status, kind, body = recording(t, "recorded", "frame-fault-404.txt")
		if got := r.call(status, "GET", "/api/frame.jpeg", "src", "cw-1"); got.kind != kind || got.body != body {
			t.Errorf("%s: the picture is %+v", file, got)
		}
	}
}

func TestStreamsHaveTheFieldsOfTheRealServer(t *testing.T) {
	t.Parallel()
	silent, running := start(t, camsim.Config{Temper: camsim.SilentAfterPlay}), start(t, camsim.Config{Temper: camsim.Healthy})
	for _, folder := range []string{"recorded", "legacy"} {
		old := folder == "legacy"
		r := startRelay(t, camsim.Go2rtcConfig{Old: old, ConfigFile: filepath.Join(t.TempDir(), "g.yaml"), Streams: map[string]string{"silent": silent.URL() + safe, "running": running.URL()}})
		same := func(file, got string) {
			t.Helper()
			_, _, recorded := recording(t, folder, file)
			if got, want := fieldsOf(t, got), fieldsOf(t, recorded); !slices.Equal(got, want) {
				t.Errorf("%s: the fields are\n%s\nrecorded were\n%s", file, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		shows := func(name string) string { return r.call(200, "GET", "/api/streams", "src", name).body }
		same("api-info.json", r.call(200, "GET", "/api").body)
		same("stream-idle.json", shows("running"))
		r.giveUp("silent")
		same("stream-stuck-snapshot.json", shows("silent"))
		leaveMP4 := r.Watch("running", camsim.Viewer{Format: "mp4", UserAgent: "curl"})
		same("stream-with-viewer-mp4.json", shows("running"))
		leaveMP4()
		if old {
			continue
		}
		for file, viewer := range map[string]camsim.Viewer{
			"stream-with-viewer-webrtc.json": {Format: "webrtc/whep", UserAgent: "Mozilla"}, "stream-with-viewer-mse.json": {Format: "mse/fmp4", UserAgent: "Mozilla"},
			"stream-with-viewer-hls.json": {Format: "hls/mpegts", UserAgent: "curl"}, "stream-with-preload.json": {Format: "preload"}, "stream-with-own-snapshot.json": {Format: "keyframe", UserAgent: "camwarden"},
		} {
			leave := r.Watch("running", viewer)
			same(file, shows("running"))
			leave()
			r.until("running", "idle", idle)
		}
		p := r.player("running")
		p.ask(200, "DESCRIBE", p.url, "User-Agent: Lavf59.27.100")
		p.setup(200)
		p.play()
		same("stream-with-viewer-rtsp.json", shows("running"))
		_ = p.conn.Close()
		r.until("running", "idle", idle)
		same("stream-after-viewer.json", shows("running"))
		same("stream-probe.json", r.call(200, "GET", "/api/streams", "src", "running", "video", "all", "audio", "all", "microphone", "").body)
	}
}

func TestAPictureHasTheHeaderOfTheRealServer(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy})
	r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"theirs": camera.URL()}})
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL()+"/api/frame.jpeg?src=theirs", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	raw, err := os.ReadFile(filepath.Join("..", "go2rtc", "testdata", "recorded", "frame-ok-headers.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(string(raw)), "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		if got := res.Header.Get(name); ok && name != "Date" && name != "Content-Length" && name != "Connection" && got != value {
			t.Errorf("%s is %q, recorded was %q", name, got, value)
		}
	}
	if !res.Close || res.ContentLength < 1000 {
		t.Errorf("it closes: %v, after %d bytes", res.Close, res.ContentLength)
	}
}
