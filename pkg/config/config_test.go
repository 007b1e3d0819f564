package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
)

func noEnv(string) string { return "" }

// write makes a configuration that only its owner can read.
func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, content string) *config.Config {
	t.Helper()
	c, err := config.Load(write(t, content), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// same compares configurations, whatever file they are from. Secrets are compared by what they say of themselves.
func same(a, b *config.Config) string {
	x, y := *a, *b
	x.Path, y.Path, x.Inventory.Source, y.Inventory.Source = "", "", "", ""
	secrets := cmp.Comparer(func(a, b camera.Secret) bool {
		return a.String() == b.String() && a.Implied() == b.Implied() && a.Plain() == b.Plain()
	})
	return cmp.Diff(x, y, secrets, cmpopts.IgnoreUnexported(config.Config{}),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }))
}

func TestTheTemplateSaysTheDefaultsAndNothingElse(t *testing.T) {
	t.Parallel()
	if diff := same(config.Default(), load(t, string(config.Template()))); diff != "" {
		t.Errorf("as it is written: %s", diff)
	}
	got := load(t, regexp.MustCompile(`(?m)^#(\S|  )`).ReplaceAllString(string(config.Template()), "$1"))
	if len(got.Inventory.Cameras) != 2 || len(got.Inventory.Subnets) != 1 || got.Go2rtc == nil || got.Go2rtc.URL != "http://127.0.0.1:1984" {
		t.Errorf("its examples gave %+v", got.Inventory)
	}
	got.Inventory.Cameras, got.Inventory.Subnets, got.Go2rtc = nil, nil, nil
	got.Inventory.Defaults.LimitAssumed = true // somebody has said it now
	if diff := same(config.Default(), got); diff != "" {
		t.Errorf("without its comment signs: %s", diff)
	}
	if strings.Contains(string(config.Template()), "\t") {
		t.Error("it holds a tab, which YAML does not indent with")
	}
}

const house = `
sources: [ffmpeg]
output_dir: pictures
cooldown: 90s
jpeg_quality: 5
ffmpeg: {path: bin/ffmpeg}
defaults: {username: viewer, password_env: HOUSE_PW, port: 8554, path: live, transport: udp, max_connections: 3, reserve: 1, timeout: 2s, session_timeout: 0}
subnets:
  office: [192.168.125.0/24, "::ffff:10.0.0.0/104", gate]
  attic: [yard]
cameras:
  - {id: gate, port: 554, host: 192.168.125.19, model: Tapo C110, path: "/a?b=c d"}
  - {id: 門, host: "[fe80::1%eth0]", port: 9554, username: "", transport: auto}
  - {id: 007, host: nvr.lan, username: null-and-void, password_file: pw, max_connections: 8, timeout: 1m30s}
  - {id: yard, url: "rtsps://ad%40min:h%2Fu@192.168.125.45/sub", max_connections: 4, reserve: 2}
  - {id: bare, url: "rtsp://10.0.0.1", password: ""}
go2rtc:
reap: {programs: [gst-launch-1.0]}
`

func TestACameraIsTheDefaultsAndWhatItSaysItself(t *testing.T) {
	t.Parallel()
	c := load(t, house)
	dir := filepath.Dir(c.Path)
	want := []camera.Camera{
		{ID: "gate", Host: "192.168.125.19", Address: netip.MustParseAddrPort("192.168.125.19:554"), Port: 554, Scheme: "rtsp", Path: "/a?b=c%20d",
			Username: "viewer", Password: camera.Secret{Env: "HOUSE_PW"}, Model: "Tapo C110", Brand: "tapo", Transport: camera.UDP, KeyFrameRequest: camera.AutoRequest, MaxConnections: 3, Reserve: 1, Timeout: 2 * time.Second},
		{ID: "門", Host: "fe80::1%eth0", Address: netip.MustParseAddrPort("[fe80::1%eth0]:9554"), Port: 9554, Scheme: "rtsp", Path: "/live",
			Transport: camera.Auto, KeyFrameRequest: camera.AutoRequest, MaxConnections: 3, Reserve: 1, Timeout: 2 * time.Second},
		{ID: "007", Host: "nvr.lan", Port: 8554, Scheme: "rtsp", Path: "/live", Username: "null-and-void", Password: camera.Secret{File: dir + "/pw"},
			Transport: camera.UDP, KeyFrameRequest: camera.AutoRequest, MaxConnections: 8, Reserve: 1, Timeout: 90 * time.Second},
		{ID: "yard", Host: "192.168.125.45", Address: netip.MustParseAddrPort("192.168.125.45:322"), Port: 322, Scheme: "rtsps", Path: "/sub",
			Username: "ad@min", Password: camera.PlainSecret("h/u"), Transport: camera.UDP, KeyFrameRequest: camera.AutoRequest, MaxConnections: 4, Reserve: 2, Timeout: 2 * time.Second},
		{ID: "bare", Host: "10.0.0.1", Address: netip.MustParseAddrPort("10.0.0.1:554"), Port: 554, Scheme: "rtsp", Path: "/",
			Username: "viewer", Password: camera.PlainSecret(""), Transport: camera.UDP, KeyFrameRequest: camera.AutoRequest, MaxConnections: 3, Reserve: 1, Timeout: 2 * time.Second},
	}
	for i := range want {
		want[i].Stream, want[i].Channel = camera.Main, 1
		want[i].SnapshotAuth, want[i].HTTPConnections = camera.AuthAuto, camera.DefaultHTTPConnections
	}
	where := cmp.Comparer(func(a, b camera.Secret) bool { return a.String() == b.String() && a.Plain() == b.Plain() })
	addresses := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if diff := cmp.Diff(want, c.Inventory.Cameras, where, addresses); diff != "" {
		t.Error(diff)
	}
	for i, plain := range map[int]string{3: "h/u", 4: ""} {
		if got, err := c.Inventory.Cameras[i].Password.Reveal(); got != plain || err != nil {
			t.Errorf("camera %d has the password %q, %v", i, got, err)
		}
	}
	if c.Inventory.Defaults.Password.Env != "HOUSE_PW" || !c.Inventory.Defaults.Password.For("").IsZero() {
		t.Error("a variable for the password must matter only together with a user name")
	}
	if c.OutputDir != dir+"/pictures" || c.FFmpeg.Path != dir+"/bin/ffmpeg" || c.Inventory.Source != c.Path {
		t.Errorf("relative paths became %s and %s; source %s", c.OutputDir, c.FFmpeg.Path, c.Inventory.Source)
	}
	if c.Go2rtc == nil || c.Go2rtc.URL != "http://127.0.0.1:1984" || c.Go2rtc.StreamPrefix != "camwarden-" {
		t.Errorf("an empty section is not the default one: %+v", c.Go2rtc)
	}
	nets := []camera.Subnet{
		{Name: "office", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.125.0/24"), netip.MustParsePrefix("10.0.0.0/8")}, Cameras: []string{"gate"}},
		{Name: "attic", Cameras: []string{"yard"}},
	}
	if diff := cmp.Diff(nets, c.Inventory.Subnets, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestALimitIsAssumedUntilSomebodySaysIt(t *testing.T) {
	t.Parallel()
	c := load(t, "cameras:\n  - {id: a, host: a}\n  - {id: b, host: b, max_connections: 2}\n")
	if in := c.Inventory; !in.Defaults.LimitAssumed || !in.Cameras[0].LimitAssumed || in.Cameras[1].LimitAssumed {
		t.Errorf("said by one camera only: %+v", in)
	}
	c = load(t, "defaults: {max_connections: 2}\ncameras: [{id: a, host: a}]")
	if in := c.Inventory; in.Defaults.LimitAssumed || in.Cameras[0].LimitAssumed {
		t.Errorf("said by the defaults: %+v", in)
	}
}

func TestAnAnchorStandsForItsValue(t *testing.T) {
	t.Parallel()
	c := load(t, "cooldown: &d 7s\ndefaults: {timeout: *d}\ncameras:\n  - &one {id: a, host: a}\n")
	if c.Inventory.Defaults.Timeout != 7*time.Second || len(c.Inventory.Cameras) != 1 {
		t.Errorf("%+v", c.Inventory)
	}
}

func TestNothingInAFileIsTheDefaults(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "\n\n", "# nothing\n", "---\n", "null", "\ufeff", "cameras:\nsubnets:\ndefaults:\nreap:\ndoctor:\nffmpeg:\n"} {
		if diff := same(config.Default(), load(t, content)); diff != "" {
			t.Errorf("%q: %s", content, diff)
		}
	}
	if c, err := config.Load("", noEnv); err != nil || same(config.Default(), c) != "" || c.Path != "" {
		t.Errorf("no file: %v", err)
	}
	if c, err := config.Load("/dev/null", noEnv); err != nil || same(config.Default(), c) != "" {
		t.Errorf("/dev/null: %v", err)
	}
}

// collision finds two ids with one slug, which takes some 80,000 attempts.
func collision(t *testing.T) (a, b string) {
	t.Helper()
	seen := map[string]string{}
	for x := '一'; x < '一'+2000; x++ {
		for y := '一'; y < '一'+500; y++ {
			id := string([]rune{x, y})
			slug := camera.Slug(id)
			if other, ok := seen[slug]; ok {
				return other, id
			}
			seen[slug] = id
		}
	}
	t.Fatal("no two ids share a slug")
	return "", ""
}

func TestTheURLOfGo2rtcIsKeptWithoutItsLogIn(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{
		"http://u:h%2Funter@10.0.0.1:1984/base/": "http://10.0.0.1:1984/base", "https://u@go.lan": "https://go.lan", "unix:///run/go2rtc.sock": "unix:///run/go2rtc.sock",
	} {
		c := load(t, "go2rtc: {url: '"+written+"', ca_file: ca.pem}")
		g := c.Go2rtc
		if g.URL != want || g.CAFile != filepath.Dir(c.Path)+"/ca.pem" || strings.Contains(written, "u@") && g.Username != "u" {
			t.Errorf("%s became %+v", written, g)
		}
		if password, err := g.Password.Reveal(); err != nil || strings.Contains(written, "unter") != (password == "h/unter") {
			t.Errorf("%s: password %q, %v", written, password, err)
		}
	}
}
