package camsim_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

func TestAPathThatIsAStreamsNameLinksToThatStream(t *testing.T) {
	t.Parallel()
	theirs, ours, other := start(t, camsim.Config{Temper: camsim.Healthy}), start(t, camsim.Config{Temper: camsim.Healthy}), start(t, camsim.Config{Temper: camsim.Healthy, Path: "/other"})
	for _, source := range []string{
		ours.URL(), ours.URL() + "#backchannel=0", ours.URL() + "?x=1", strings.Replace(ours.URL(), "rtsp", "RTSP", 1), strings.Replace(ours.URL(), "stream1", "%73tream1", 1), "stream1",
	} {
		r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"stream1": theirs.URL()}})
		r.call(200, "PATCH", "/api/streams", "name", "cw-12", "src", source)
		r.picture("cw-12", theirs) // the wrong camera's
		if got := r.look("cw-12").Producers[0].URL; got != theirs.URL() {
			t.Errorf("%s: it shows the source %s", source, got)
		}
		// To set the source again changes theirs.
		r.call(200, "PATCH", "/api/streams", "name", "cw-12", "src", other.URL())
		r.picture("stream1", other)
		// The link can be removed alone.
		r.call(400, "DELETE", "/api/streams", "src", "cw-12")
		r.picture("stream1", other)
	}
	for _, source := range []string{ours.URL() + safe, strings.Replace(ours.URL(), "stream1", "/stream1", 1), ours.URL() + "/"} {
		r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"stream1": theirs.URL()}})
		r.call(200, "PATCH", "/api/streams", "name", "cw-12", "src", source)
		if got := r.look("cw-12").Producers[0].URL; got != source {
			t.Errorf("%s: it shows the source %s", source, got)
		}
		r.picture("stream1", theirs)
	}
	r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"stream1": theirs.URL()}})
	r.register("cw-12", ours)
	r.picture("cw-12", ours)
	r.call(400, "PUT", "/api/streams", "name", "cw-13", "src", ours.URL()) // never linked, and written down if it can be
	r.picture("cw-13", ours)
}

func TestDeletedAndReplacedStreamsGoOnUnseen(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"DELETE", "PUT"} {
		camera := start(t, camsim.Config{Temper: camsim.Healthy})
		r := startRelay(t, camsim.Go2rtcConfig{})
		r.register("cw-1", camera)
		leave := r.Watch("cw-1", camsim.Viewer{Format: "webrtc/whep", UserAgent: "Mozilla/5.0"})
		s := r.look("cw-1")
		if len(s.Consumers) != 1 || s.Consumers[0].Protocol != "http+udp" || s.Consumers[0].Agent != "Mozilla/5.0" {
			t.Fatalf("the viewer is %+v", s.Consumers)
		}
		src := map[string]string{"DELETE": "cw-1", "PUT": camera.URL()}[method]
		r.call(400, method, "/api/streams", "src", src, "name", "cw-1")
		eventually(t, camera, "the connection stays", func(c camsim.Counts) bool { return c.Connections == 1 })
		if c := r.Counts(); c.Ghosts != 1 {
			t.Errorf("%s: counts %+v", method, c)
		}
		// Registered again it is another stream, and dials again.
		r.call(400, "DELETE", "/api/streams", "src", "cw-1")
		r.register("cw-1", camera)
		if s := r.look("cw-1"); !idle(s) {
			t.Errorf("%s: a fresh stream is %+v", method, s)
		}
		r.picture("cw-1", camera)
		eventually(t, camera, "the ghost's connection is left", func(c camsim.Counts) bool { return c.Connections == 1 && c.ConnectionsMost == 2 })
		leave()
		eventually(t, camera, "it ends with its viewer", func(c camsim.Counts) bool { return c.Connections == 0 })
	}
}

func TestADeletedStreamFinishesItsPicture(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.LateKeyFrame, Delay: time.Second})
	r := startRelay(t, camsim.Go2rtcConfig{})
	r.register("cw-1", camera)
	done := make(chan reply)
	go func() { done <- r.try(context.Background(), "GET", "/api/frame.jpeg", "src", "cw-1") }()
	r.until("cw-1", "somebody waits", func(s shown) bool { return len(s.Consumers) == 1 })
	r.call(400, "DELETE", "/api/streams", "src", "cw-1")
	if got := <-done; got.status != 200 || !strings.HasPrefix(got.body, "\xff\xd8") {
		t.Errorf("the picture of a deleted stream: %d, %.40q", got.status, got.body)
	}
	eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
}

func TestWhatIsNoStreamIsRefused(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"theirs": "rtsp://127.0.0.2:9/x"}})
	list := r.call(200, "GET", "/api/streams").body
	for _, method := range []string{"PUT", "PATCH", "DELETE"} {
		for _, pairs := range [][]string{nil, {"name", "theirs"}, {"name", "theirs", "src", ""}} {
			if got := r.call(200, method, "/api/streams", pairs...); got.body != list {
				t.Errorf("%s %q: %s", method, pairs, got.body)
			}
		}
	}
	for source, want := range map[string]string{
		"rtsp://u:p w@127.0.0.2/x": "streams: source with spaces may be insecure\n", "exec:reboot": "streams: source from insecure producer\n",
		"gopher://x": "streams: source not supported\n", "nothing": "streams: source not supported\n",
	} {
		for _, method := range []string{"PUT", "PATCH"} {
			if got := r.call(400, method, "/api/streams", "name", "cw-1", "src", source); got.body != want {
				t.Errorf("%s %s: %q, want %q", method, source, got.body, want)
			}
		}
	}
	if got := r.call(400, "PATCH", "/api/streams", "src", "rtsp://127.0.0.2:9/y"); got.body != "\n" {
		t.Errorf("PATCH without a name: %q", got.body)
	}
	r.call(200, "OPTIONS", "/api/streams", "src", "theirs")
	r.call(400, "POST", "/api/streams", "src", "theirs")
	if got := r.call(404, "GET", "/api/frame.jpeg", "src", "cw-1"); got.body != "stream not found\n" {
		t.Errorf("a picture of nothing: %q", got.body)
	}
	r.call(404, "GET", "/api/frame.jpeg")
	if got := r.call(200, "GET", "/api/streams").body; got != list {
		t.Errorf("the list has become %s", got)
	}
	r.call(200, "GET", "/api/frame.jpeg", "src", "rtsp://127.0.0.2:9/y") // registers what it is asked for
	if c := r.Counts(); c.Streams != 2 {
		t.Errorf("counts %+v", c)
	}
}

const block = "# theirs\napi:\n  listen: 127.0.0.1:1984 # here\nstreams:\n  # the gate\n  gate: rtsp://127.0.0.2:9/gate # front\n  yard:\n    - rtsp://127.0.0.2:9/yard\n    - ffmpeg:yard#video=mjpeg\nlog: {level: error}\n"

func TestTheFileIsRewrittenWhateverCameOfIt(t *testing.T) {
	t.Parallel()
	const source = "rtsp://127.0.0.2:9/shed"
	for what, row := range map[string]struct {
		before       string // "-" is no file
		put          int
		putSays      string
		remove       string // a name
		removed      int
		removedSays  string
		after        string
		mode         os.FileMode
		rememberedAs int // streams that a restart finds
	}{
		"block style": {
			before: block, put: 200, remove: "yard", removed: 200, rememberedAs: 2,
			after: strings.Replace(block, "  yard:\n    - rtsp://127.0.0.2:9/yard\n    - ffmpeg:yard#video=mjpeg\n", "  cw-1:\n    - rtsp://127.0.0.2:9/shed\n", 1),
		},
		"a name that is not in the file": {
			before: block, put: 200, remove: "nobody", removed: 200, rememberedAs: 3,
			after: strings.Replace(block, "log:", "  cw-1:\n    - rtsp://127.0.0.2:9/shed\nlog:", 1),
		},
		"no file":                       {before: "-", put: 200, remove: "gate", removed: 200, after: "streams:\n  cw-1:\n    - rtsp://127.0.0.2:9/shed\n", rememberedAs: 1},
		"nothing changed":               {before: block, remove: "nobody", removed: 200, after: block, rememberedAs: 2},
		"no file, and nothing to write": {before: "-", remove: "gate", removed: 400, removedSays: "yaml: path not exist\n", after: "-"},
		"read-only": {
			before: block, put: 400, putSays: "open FILE: permission denied\n", remove: "gate", removed: 400, removedSays: "open FILE: permission denied\n",
			after: block, mode: 0o444, rememberedAs: 2,
		},
		"no YAML": {before: "streams:\n  gate: \"rtsp\n", put: 400, putSays: "yaml: line 3: found unexpected end of stream\n", remove: "gate", removed: 400, removedSays: "yaml: line 3: found unexpected end of stream\n", after: "streams:\n  gate: \"rtsp\n", rememberedAs: 1},
		"flow style": {
			before: "api: {}\nstreams: {gate: rtsp://127.0.0.2:9/a, yard: rtsp://127.0.0.2:9/b}\nlog: {}\n", put: 400, putSays: "yaml: line 3: did not find expected key\n",
			remove: "gate", removed: 200, after: "api: {}\nlog: {}\n", // the yard's too
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "go2rtc.yaml")
			if row.before != "-" {
				if err := os.WriteFile(path, []byte(row.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := startRelay(t, camsim.Go2rtcConfig{ConfigFile: path})
			if row.mode != 0 {
				if err := os.Chmod(path, row.mode); err != nil {
					t.Fatal(err)
				}
			}
			r.call(200, "PATCH", "/api/streams", "name", "cw-2", "src", "rtsp://127.0.0.2:9/only-in-memory")
			said := func(got reply, want string) {
				t.Helper()
				if want = strings.ReplaceAll(want, "FILE", path); got.body != want {
					t.Errorf("it says %q, want %q", got.body, want)
				}
			}
			if row.put != 0 {
				said(r.call(row.put, "PUT", "/api/streams", "name", "cw-1", "src", source), row.putSays)
				r.look("cw-1") // there, whatever was said
			}
			said(r.call(row.removed, "DELETE", "/api/streams", "src", row.remove), row.removedSays)
			r.call(404, "GET", "/api/streams", "src", row.remove)
			after, err := os.ReadFile(path)
			if row.after == "-" && err == nil || row.after != "-" && string(after) != row.after {
				t.Errorf("the file is\n%s(%v)\nwant\n%s", after, err, row.after)
			}
			if err := r.Restart(); err != nil {
				t.Fatal(err)
			}
			if c := r.Counts(); c.Streams != row.rememberedAs {
				t.Errorf("after a restart there are %d streams, want %d: %s", c.Streams, row.rememberedAs, r.call(200, "GET", "/api/streams").body)
			}
			info := r.call(200, "GET", "/api").body
			if !strings.Contains(info, `"config_path":"`+path+`"`) || !strings.Contains(info, `"version":"1.9.14"`) || !strings.Contains(info, `"listen":"127.0.0.1:`) {
				t.Errorf("it says of itself %s", info)
			}
		})
	}
}

func TestRedactionMissesWhatJSONHasEscaped(t *testing.T) {
	t.Parallel()
	r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{
		"plain": "rtsp://u:pass@127.0.0.2/x", "encoded": "rtsp://u:%26%3C%23@127.0.0.2/x", "ampersand": "rtsp://u:p&w@127.0.0.2/x", "hash": "rtsp://u:p#w@127.0.0.2/x",
	}})
	got := r.call(200, "GET", "/api/streams").body
	for _, want := range []string{`"plain":{"producers":[{"url":"rtsp://***@127.0.0.2/x"`, `"encoded":{"producers":[{"url":"rtsp://***@`, `u:p\u0026w@`, `u:p#w@`} {
		if !strings.Contains(got, want) {
			t.Errorf("the list lacks %q: %s", want, got)
		}
	}
	r = startRelay(t, camsim.Go2rtcConfig{Unmasked: true, Streams: map[string]string{"plain": "rtsp://u:pass@127.0.0.2/x"}})
	if got := r.call(200, "GET", "/api/streams").body; !strings.Contains(got, "rtsp://u:pass@127.0.0.2/x") {
		t.Errorf("an older server masked: %s", got)
	}
}
