package camera_test

import (
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/redact"
)

func TestAnIDIsMadeOfLettersOfAnyScript(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"gate", "Gate-2.west_side", "門", "व्हिडिओ", "9", "_x", strings.Repeat("a", 64)} {
		if err := camera.ValidID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", ".hidden", "-flag", "a/b", "a b", "a:b", "a\x00", "\xff", "..", strings.Repeat("a", 65), strings.Repeat("門", 22)} {
		if camera.ValidID(id) == nil {
			t.Errorf("%q was accepted", id)
		}
	}
}

func TestASlugIsASCIIAndTellsIDsApart(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, id := range []string{"gate", "Gate", "ga.te", "ga_te", "ga-te", "門", "窓", "café", "cafe"} {
		slug := camera.Slug(id)
		if other, taken := seen[slug]; taken {
			t.Errorf("%q and %q have the same slug %q", id, other, slug)
		}
		seen[slug] = id
		if strings.Trim(slug, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%q: slug %q", id, slug)
		}
	}
	if got := camera.Slug("gate"); !strings.HasPrefix(got, "gate-") || len(got) != len("gate-")+8 {
		t.Errorf("slug of gate: %q", got)
	}
}

func TestALongPathMakesAShortIDOfItsOwn(t *testing.T) {
	t.Parallel()
	a := camera.IDFor("10.0.0.1", 554, "/"+strings.Repeat("門", 40)+"a")
	b := camera.IDFor("10.0.0.1", 554, "/"+strings.Repeat("門", 40)+"b")
	if a == b || camera.ValidID(a) != nil || camera.ValidID(b) != nil {
		t.Errorf("%q and %q", a, b)
	}
}

func TestID_ofATokenIsItsHash(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		host string
		port uint16
		path string
		want string // "#" stands for 8 hex digits
	}{
		// No secret, no change.
		{"192.168.125.19", 554, "/stream1", "192.168.125.19_554_stream1"},
		{"gate.local", 8554, "/h264Preview_01_main", "gate.local_8554_h264Preview_01_main"},
		{"192.168.1.9", 554, "/cam/realmonitor?channel=1&subtype=0", "192.168.1.9_554_cam_realmonitor_channel_1_subtype_0"},
		{"fd00::1", 554, "/Streaming/Channels/101", "ipfd00--1_554_Streaming_Channels_101"},
		{"192.168.1.9", 554, "/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp", "192.168.1.9_554_user_admin_password"},
		{"192.168.1.9", 554, "/live?user=a&password=b&ch=1", "192.168.1.9_554_live_user_a_password_ch_1"},
		// Tokens.
		{"nvr", 7441, "/vGiUVAvRD0ZuPxxz?enableSrtp", "nvr_7441_#_enableSrtp"},
		{"fd00::1", 7447, "/short", "ipfd00--1_7447_#"},
		{"hub", 554, "/live/9f86d081884c7d659a2feaa0c55ad015", "hub_554_live_#"},
		{"hub", 554, "/live?token=Xk7Qz92LmPw4RtYs&ch=1", "hub_554_live_token_ch_1_#"},
		// A password could be guessed, and tried against its hash.
		{"hub", 554, "/live?key=Kette9", "hub_554_live_key"},
	} {
		id := camera.IDFor(c.host, c.port, c.path)
		before, after, hashed := strings.Cut(c.want, "#")
		sum := strings.TrimSuffix(strings.TrimPrefix(id, before), after)
		switch {
		case !hashed && id != c.want, hashed && (len(sum) != 8 || strings.Trim(sum, "0123456789abcdef") != ""):
			t.Errorf("%s: %q, want %q", c.path, id, c.want)
		case camera.ValidID(id) != nil:
			t.Errorf("%q: %v", id, camera.ValidID(id))
		}
	}
	a, b := camera.IDFor("nvr", 7441, "/vGiUVAvRD0ZuPxxz"), camera.IDFor("nvr", 7441, "/vGiUVAvRD0ZuPxxa")
	if a == b || a != camera.IDFor("nvr", 7441, "/vGiUVAvRD0ZuPxxz") {
		t.Errorf("two cameras of one recorder: %q and %q", a, b)
	}
}

func TestShownPath_hidesTokens(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		port       uint16
		path, want string
	}{
		{7447, "/short", "/***"}, {554, "/short", "/short"}, {554, "/live/9f86d081884c7d659a2feaa0c55ad015", "/live/***"},
		{554, "/a@b:c", "/a@b:c"}, {554, "/live?user=a&password=b&ch=1", "/live?user=a&password=***&ch=1"}, {554, "", ""},
	} {
		if got := (camera.Camera{Scheme: "rtsp", Port: c.port}).ShownPath(c.path); got != c.want {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
	}
}

func TestID_holdsNoPasswordOfItsURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://user:PassWord77@127.77.12.2:8080/snapshot.jpg?p=PassWord77":   "127.77.12.2_8080_snapshot.jpg_p",
		"http://user:PassWord77@127.77.12.2:8080/snapshot.jpg?p=%50assWord77": "127.77.12.2_8080_snapshot.jpg_p",
		"https://user:a%2Fb%40c99@cam.local/still/a%2fb%40c99/1":              "cam.local_443_still_1",
		"rtsp://user:PassWord77@127.77.12.2/x/PassWord77/y?a=PassWord77&ch=2": "127.77.12.2_554_x_y_a_ch_2",
		"rtsp://user:p/PassWord77@127.77.12.2/x?a=p%2FPassWord77":             "127.77.12.2_554_x_a",
		"rtsp://user:PassWord77@127.77.12.2/cam?channel=1&subtype=0":          "127.77.12.2_554_cam_channel_1_subtype_0",
		"rtsp://user:1@127.77.12.2/stream1":                                   "127.77.12.2_554_stream1",
		"rtsp://user@127.77.12.2/user/PassWord77":                             "127.77.12.2_554_user_PassWord77",
		"http://user:PassWord77@127.77.12.2:8080/snapshot.jpg":                "127.77.12.2_8080_snapshot.jpg",
	} {
		parse := camera.ParseURL
		if camera.IsHTTP(url) {
			parse = camera.ParseHTTP
		}
		c, err := parse(url, camera.Camera{})
		if err != nil || c.ID != want {
			t.Errorf("%s: %q, want %q; %v", url, c.ID, want, err)
		}
	}
}

func TestURL_hintsAreShownAsTheyAre(t *testing.T) {
	t.Parallel()
	for url, parse := range map[string]func(string, camera.Camera) (camera.Camera, error){
		"http://": camera.ParseHTTP, "rtsp://h:99999/": camera.ParseURL,
	} {
		_, err := parse(url, camera.Camera{})
		hint := fault.From(err, "", "").Hint
		if !strings.Contains(hint, "://USER@HOST:PORT/PATH") || redact.String(hint) != hint {
			t.Errorf("%q is shown as %q", hint, redact.String(hint))
		}
	}
}
