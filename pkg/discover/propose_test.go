package discover

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
)

// A stranger's device chooses its own model, maker and paths. Whatever it writes there, the configuration that is printed has the
// keys it should have and no others, and the device's words stay the values of its own keys.
func TestDraft_strangersWords(t *testing.T) {
	t.Parallel()
	words := []string{
		"x\nnotify: {exec: [reboot]}", "x: y", "&a b", "*a", "!!binary x", "'x", `"x`, "# x", "- x", "{a: b}", "[a", "%TAG ! x", "@x", "`x", "> x", "| x", "x\r\n...\n---\nnotify: exec",
		"\u2028notify: exec", "\u0085notify: exec", "yes", "null", "~", "0x10", "1e3", "", " ", "\x00", strings.Repeat("x", 500), "<<: *a", "? x", "\tx", "x #y", "x\\ny",
	}
	for _, word := range words {
		r := &run{report: Report{Devices: []Device{{
			Address: "127.0.0.5", Model: word, Maker: word, Ports: []Port{{554, "rtsp"}}, LogIn: "accepted", login: LogIn{Username: "viewer", Password: "geheim"},
			Streams: []Stream{{Path: cleanPath(word), Port: 554, Scheme: "rtsp", Source: word, Width: 2, Height: 2}, {Path: "/sub", Port: 554, Scheme: "rtsp", Source: word, Width: 1, Height: 1}},
		}}}}
		r.name()
		text, err := config.Draft{Cameras: r.report.Draft(false, camera.Secret{Env: "CAM_PASSWORD"})}.YAML()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		tree, problem := config.ParseTree(text)
		if problem != nil || len(tree.Keys) != 1 || tree.Keys[0].Name != "cameras" || len(tree.Keys[0].Value.Items) != 1 {
			t.Fatalf("%q gives\n%s", word, text)
		}
		for _, key := range tree.Keys[0].Value.Items[0].Keys {
			if !slices.Contains([]string{"id", "host", "port", "path", "sub_path", "username", "password_env", "model", "brand"}, key.Name) {
				t.Errorf("%q gives the key %q", word, key.Name)
			}
		}
		c, err := config.Load(path, os.Getenv)
		if err != nil {
			if strings.ContainsFunc(word, unicode.IsControl) {
				continue // pkg/onvif takes control characters out of what devices say
			}
			t.Fatalf("%q: %v\n%s", word, err, text)
		}
		if got := c.Inventory.Cameras[0]; got.Model != word || got.Username != "viewer" || got.SubPath != "/sub" {
			t.Errorf("%q became %+v", word, got)
		}
		if strings.Contains(string(text), "geheim") {
			t.Errorf("the password is in %s", text)
		}
	}
}

func cleanPath(word string) string {
	path, err := camera.CleanPath("/" + strings.ReplaceAll(word, "#", ""))
	if err != nil {
		return "/"
	}
	return path
}

func TestDraft_sourcesAndStreams(t *testing.T) {
	t.Parallel()
	r := &run{report: Report{Devices: []Device{
		{Address: "127.0.0.5", Brand: "hikvision", Ports: []Port{{554, "rtsp"}}, LogIn: "accepted", Streams: []Stream{
			{Path: "/101", Port: 554, Scheme: "rtsp", Source: "1", Width: 1920, Height: 1080}, {Path: "/102", Port: 554, Scheme: "rtsp", Source: "1", Width: 640, Height: 360},
			{Path: "/201", Port: 554, Scheme: "rtsp", Source: "2", Width: 1920, Height: 1080}, {Path: "", Port: 554, Scheme: "rtsp", Source: "3"}, {Path: "/x", Scheme: "rtsp", Source: "4", hidden: true},
		}},
		{Address: "127.0.1.5", Brand: "hikvision", Ports: []Port{{8554, "rtsp"}}, LogIn: "not-tried"},
		{Address: "127.0.0.6", Ports: []Port{{80, "http"}}, LogIn: "not-tried"},
		{Address: "127.0.0.7", Camera: "gate", Known: true, Ports: []Port{{554, "rtsp"}}},
	}}}
	r.name()
	var got []string
	for _, c := range r.report.Draft(true, camera.Secret{}) {
		got = append(got, c.ID+" "+c.Host+" "+c.Path+" "+c.SubPath)
	}
	want := "hikvision-5 127.0.0.5 /101 /102, hikvision-5-2 127.0.0.5 /201 , hikvision-127-0-1-5 127.0.1.5  "
	if strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}

// What the draft cannot say, it says that it does not: a path that holds a log-in is shown nowhere.
func TestDraft_pathByHand(t *testing.T) {
	t.Parallel()
	hidden := Stream{Path: "/live?user=viewer&password=***", Port: 554, Scheme: "rtsp", Source: "1", hidden: true}
	whole := Stream{Path: "/101", Port: 554, Scheme: "rtsp", Source: "2"}
	for _, tt := range []struct {
		brand   string
		streams []Stream
		want    string
	}{
		{"", []Stream{hidden}, "# cam-5: its path holds a log-in: set path by hand\ncameras:\n"},
		{"hikvision", []Stream{hidden}, "# hikvision-5: its path holds a log-in: set path by hand\ncameras:\n"},
		{"", []Stream{hidden, whole}, "# cam-5: it has another stream, whose path holds a log-in: set that path by hand\ncameras:\n"},
		{"", nil, "# cam-5: its path is not known: set path by hand\ncameras:\n"},
		{"hikvision", nil, "cameras:\n"}, // the configuration knows it
		{"", []Stream{whole}, "cameras:\n"},
	} {
		r := &run{report: Report{Devices: []Device{{Address: "127.0.0.5", Brand: tt.brand, Ports: []Port{{554, "rtsp"}}, Streams: tt.streams}}}}
		r.name()
		text, err := config.Draft{Cameras: r.report.Draft(true, camera.Secret{})}.YAML()
		if err != nil || !strings.HasPrefix(string(text), tt.want) {
			t.Errorf("%q with %v, %v:\n%s", tt.brand, tt.streams, err, text)
		}
	}
}

func TestAnnouncement_ofAnotherHost(t *testing.T) {
	t.Parallel()
	from := netip.MustParseAddr("127.0.0.5")
	for _, tt := range []struct {
		text string
		want match
		ok   bool
	}{
		{`<e:E><e:Body><d:ProbeMatches><d:ProbeMatch><d:XAddrs>http://127.0.0.5:8000/onvif/x</d:XAddrs></d:ProbeMatch></d:ProbeMatches></e:Body></e:E>`, match{8000, "/onvif/x"}, true},
		{`<ProbeMatch><XAddrs>http://10.9.9.9:8000/evil http://127.0.0.5/good</XAddrs></ProbeMatch>`, match{80, "/good"}, true},
		{`<ProbeMatch><XAddrs>http://10.9.9.9:8000/evil</XAddrs></ProbeMatch>`, match{0, "/evil"}, true},
		{`<ProbeMatch><XAddrs>gopher://127.0.0.5/x</XAddrs></ProbeMatch>`, match{}, true},
		{`<!DOCTYPE l [<!ENTITY a "aaaa">]><ProbeMatch><XAddrs>&a;</XAddrs>`, match{}, true},
		{`nonsense`, match{}, false},
		{strings.Repeat("<x>", 20000), match{}, false},
	} {
		if got, ok := readMatch([]byte(tt.text), from); got != tt.want || ok != tt.ok {
			t.Errorf("%.60s: %+v %v", tt.text, got, ok)
		}
	}
}

func FuzzAnnouncement(f *testing.F) {
	f.Add([]byte(`<ProbeMatch><XAddrs>http://127.0.0.5:8000/onvif/x</XAddrs></ProbeMatch>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, _ := readMatch(text, netip.MustParseAddr("127.0.0.5"))
		if clean, err := camera.CleanPath(m.path); m.path != "" && (err != nil || clean != m.path) {
			t.Errorf("path %q", m.path)
		}
	})
}
