package brand_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/brand"
	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/redact"
)

func TestBrands_factsHaveSources(t *testing.T) {
	t.Parallel()
	facts := 0
	ids := map[string]bool{}
	check := func(b brand.Brand, what string, s brand.Source) {
		facts++
		if s.Certainty != "documented" && s.Certainty != "reported" || s.Source == "" || strings.Contains(s.Source, "none") {
			t.Errorf("%s: %s is %q, from %q", b.ID, what, s.Certainty, s.Source)
		}
	}
	texts := func(b brand.Brand, what string, list ...*brand.Text) {
		for _, f := range list {
			if f != nil {
				check(b, what, f.Source)
			}
		}
	}
	for _, b := range brand.All() {
		if ids[b.ID] || camera.ValidID(b.ID) != nil || b.ID != strings.ToLower(b.ID) {
			t.Errorf("the id %q", b.ID)
		}
		ids[b.ID] = true
		texts(b, "path", b.RTSP.Main, b.RTSP.Sub, b.Snapshot.Path, b.Snapshot.Auth, b.LogIn)
		for _, n := range []*brand.Number{b.RTSP.Port, b.Snapshot.Port, b.Limit, b.ONVIF} {
			if n != nil {
				check(b, "number", n.Source)
				if n.Value < 1 || n.Value > 65535 {
					t.Errorf("%s: %d", b.ID, n.Value)
				}
			}
		}
		for _, list := range [][]brand.Text{b.RTSP.Others, b.Habits} {
			for _, f := range list {
				texts(b, f.Value, &f)
			}
		}
		for _, m := range b.Marks {
			check(b, m.Text, m.Source)
		}
		for _, n := range b.Notes {
			check(b, n.Text, n.Source)
		}
		if b.Lockout != nil {
			check(b, "lockout", b.Lockout.Source)
		}
	}
	if facts < 200 {
		t.Errorf("%d facts", facts)
	}
}

// Paths may hold the places of a user name and a password, never one of either.
func TestBrands_pathsHoldNoPassword(t *testing.T) {
	t.Parallel()
	places := regexp.MustCompile(`\{(username|password|random)\}`)
	for _, b := range brand.All() {
		for _, path := range append(b.Paths(7), b.Path(true, 7), b.SnapshotPath(7)) {
			if path == "" {
				continue
			}
			plain := places.ReplaceAllString(path, "")
			clean, err := camera.CleanPath(plain)
			if err != nil || clean != plain {
				t.Errorf("%s: %s is no path of a URL (%v)", b.ID, path, err)
			}
			if redact.String(plain) != plain && !strings.Contains(path, "{password}") {
				t.Errorf("%s: a password in %s", b.ID, path)
			}
			if strings.Contains(plain, "{") {
				t.Errorf("%s: an unknown place in %s", b.ID, path)
			}
		}
	}
}

func TestBrand_ofModel(t *testing.T) {
	t.Parallel()
	for model, want := range map[string]string{
		"Tapo C110": "tapo", "TP-Link VIGI C300": "vigi", "HIKVISION": "hikvision", "DS-2CD2143G2-I": "hikvision", "Hikvision DS-7608": "hikvision",
		"Foscam C1": "foscam", "Foscam MJPEG FI8910W": "foscam-mjpeg", "FI8910W": "foscam-mjpeg", "RLC-510A": "reolink", "AXIS P1445-LE": "axis",
		"Axistown 3": "", "": "", "Yi": "yi", "Yin 3": "",
	} {
		if b, ok := brand.Of(model); b.ID != want || ok != (want != "") {
			t.Errorf("%q is %q", model, b.ID)
		}
	}
}

func TestBrand_channels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ id, main, sub, snapshot string }{
		{"hikvision", "/Streaming/Channels/1201", "/Streaming/Channels/1202", "/ISAPI/Streaming/channels/1201/picture"},
		{"reolink", "/h264Preview_12_main", "/h264Preview_12_sub", "/cgi-bin/api.cgi?cmd=Snap&channel=11&rs={random}&user={username}&password={password}"},
		{"geovision", "/CH012.sdp", "", ""},
		{"tapo", "/stream1", "/stream2", ""},
	} {
		b, ok := brand.Get(tt.id)
		if got := [3]string{b.Path(false, 12), b.Path(true, 12), b.SnapshotPath(12)}; !ok || got != [3]string{tt.main, tt.sub, tt.snapshot} {
			t.Errorf("%s: %v", tt.id, got)
		}
	}
}

func TestBrand_recognised(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		where      brand.Where
		text, want string
	}{
		{brand.RTSPServer, "Dahua Rtsp Server", "dahua"}, {brand.Realm, "AXIS_ACCC8E012345", "axis"}, {brand.RTSPServer, "Rtsp Server/2.0", ""},
		{brand.RTSPServer, "AXIS_", ""}, {brand.HTTPServer, "App-webs/", "hikvision"}, {brand.SDP, "v=0\r\ns=Session streamed by \"preview\"\r\n", "reolink"},
	} {
		if b, ok := brand.Recognise(tt.where, tt.text); b.ID != tt.want || ok != (tt.want != "") {
			t.Errorf("%s %q is %q", tt.where, tt.text, b.ID)
		}
	}
	if b, _ := brand.Get("dahua"); !b.Has(brand.FullIs401) || b.Has(brand.TokenLogOut) {
		t.Errorf("habits of Dahua: %v", b.Habits)
	}
}
