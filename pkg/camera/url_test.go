package camera_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
)

func TestAURLIsReadAsGenerouslyAsItIsSafe(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][5]string{ // host:port, path, user, password, id
		"rtsp://192.168.1.5/stream1":                  {"192.168.1.5:554", "/stream1", "", "", "192.168.1.5_554_stream1"},
		"RTSP://192.168.1.5":                          {"192.168.1.5:554", "/", "", "", "192.168.1.5_554"},
		"rtsps://gate.lan/a":                          {"gate.lan:322", "/a", "", "", "gate.lan_322_a"},
		"rtsp://gate.lan:/a":                          {"gate.lan:554", "/a", "", "", "gate.lan_554_a"},
		"rtsp://u:p@gate:8554/a?b=c&d=e":              {"gate:8554", "/a?b=c&d=e", "u", "p", "gate_8554_a_b_c_d_e"},
		"rtsp://u:p@[::1]:8554/a":                     {"[::1]:8554", "/a", "u", "p", "ip--1_8554_a"},
		"rtsp://[fe80::1%25eth0]/a":                   {"[fe80::1%25eth0]:554", "/a", "", "", "ip" + "fe80--1_eth0_554_a"},
		"rtsp://[fe80::1%eth0]/a":                     {"[fe80::1%25eth0]:554", "/a", "", "", "ip" + "fe80--1_eth0_554_a"},
		"rtsp://u:p%40ss%2Fw%23@10.0.0.1/a":           {"10.0.0.1:554", "/a", "u", "p@ss/w#", "10.0.0.1_554_a"},
		"rtsp://u:p@ss@10.0.0.1/a":                    {"10.0.0.1:554", "/a", "u", "p@ss", "10.0.0.1_554_a"},
		"rtsp://u:p/w@gate/a":                         {"gate:554", "/a", "u", "p/w", "gate_554_a"},
		"rtsp://u:p#w?x@10.0.0.1/a":                   {"10.0.0.1:554", "/a", "u", "p#w?x", "10.0.0.1_554_a"},
		"rtsp://u:1234/5@10.0.0.1/a":                  {"10.0.0.1:554", "/a", "u", "1234/5", "10.0.0.1_554_a"},
		"rtsp://u:100%@gate/a":                        {"gate:554", "/a", "u", "100%", "gate_554_a"},
		"rtsp://u:a b'c:d@gate/a":                     {"gate:554", "/a", "u", "a b'c:d", "gate_554_a"},
		"rtsp://u:pässwörd@gate/a":                    {"gate:554", "/a", "u", "pässwörd", "gate_554_a"},
		"rtsp://10.0.0.1/cam@main":                    {"10.0.0.1:554", "/cam@main", "", "", "10.0.0.1_554_cam_main"},
		"rtsp://gate/cam@main":                        {"gate:554", "/cam@main", "", "", "gate_554_cam_main"},
		"rtsp://u:p@10.0.0.1/cam@10.0.0.2":            {"10.0.0.1:554", "/cam@10.0.0.2", "u", "p", "10.0.0.1_554_cam_10.0.0.2"},
		"rtsp://gate/a b\"ü%zz":                       {"gate:554", "/a%20b%22%C3%BC%25zz", "", "", "gate_554_a_20b_22_C3_BC_25zz"},
		"rtsp://10.0.0.1/user=a&password=hunter2&c=1": {"10.0.0.1:554", "/user=a&password=hunter2&c=1", "", "", "10.0.0.1_554_user_a_password_c_1"},
		"rtsp://カメラ.local/a":                          {"カメラ.local:554", "/a", "", "", "カメラ.local_554_a"},
	} {
		c, err := camera.ParseURL(raw, camera.Defaults())
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		password, err := c.Password.Reveal()
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if got := [5]string{strings.TrimSuffix(strings.SplitN(c.URL(), "://", 2)[1], c.Path), c.Path, c.Username, password, c.ID}; got != want {
			t.Errorf("%s:\n got %q\nwant %q", raw, got, want)
		}
		if err := camera.ValidID(c.ID); err != nil {
			t.Errorf("%s: its own id %q is bad: %v", raw, c.ID, err)
		}
	}
}

func TestABadURLIsRefusedWithoutShowingAnyOfIt(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", "gate", "http://u:hunter2@gate/", "hunter2://x", "rtsp://", "rtsp://u:hunter2@", "rtsp://u:hunter2", "rtsp://u:hunter2@:554/a",
		"rtsp://u:hunter2@gate:0/", "rtsp://u:hunter2@gate:65536/", "rtsp://u:hunter2@gate:x/", "rtsp://u:hunter2@[::1/", "rtsp://u:hunter2@[gate]/",
		"rtsp://u:hunter2@[::1]x/", "rtsp://u:hunter2@10.0.0.300/", "rtsp://u:hunter2@ga te/", "rtsp://u:hunter2@gate/\r\nX: y", "rtsp://u:hunter2@::1/",
		"rtsp://u:hunter2@gate/a#b", "rtsp://u:x@hunter2/w@host/path", "rtsp://u:1234/hunter2@host/a", "rtsp://u:hunter2@\xff/",
		"rtsp://u:x@hun.ter2/y@10.0.0.1/s", "rtsp://[fe80::1%gate ]/a",
	} {
		_, err := camera.ParseURL(raw, camera.Defaults())
		if fault.ClassOf(err) != fault.Usage {
			t.Errorf("%q: %v, want a usage fault", raw, err)
			continue
		}
		if shown := err.Error() + fault.From(err, "", "").Hint; strings.Contains(shown, "hunter2") || strings.Contains(shown, "gate") {
			t.Errorf("%q: the error shows a part of it: %s", raw, shown)
		}
	}
}

func TestURL_forTheChildCarriesAnyPassword(t *testing.T) {
	t.Parallel()
	c := camera.Camera{Scheme: "rtsp", Host: "gate.lan", Port: 8554, Path: "/a?b=c", Username: "ad:min"}
	for _, password := range []string{"p@ss/w#rd", "100%&'x y+z?:", "パス", `"\`, ""} {
		for _, address := range []string{"", "192.168.1.5:8554", "[2001:db8::1]:8554"} {
			c.Address, _ = netip.ParseAddrPort(address)
			u, err := url.Parse(c.DialURL(password))
			if err != nil {
				t.Errorf("%q: %v", password, err)
				continue
			}
			if got, _ := u.User.Password(); got != password || u.User.Username() != c.Username {
				t.Errorf("%q: the child would log in as %q with %q", password, u.User.Username(), got)
			}
			if want := address; want != "" && u.Host != want || want == "" && u.Host != "gate.lan:8554" {
				t.Errorf("it would dial %s instead of %s", u.Host, address)
			}
			if strings.ContainsAny(c.DialURL(password), "' \"\\+") {
				t.Errorf("%q is not encoded enough", password)
			}
		}
		if strings.Contains(c.URL(), "@") {
			t.Errorf("URL() has user-info: %s", c.URL())
		}
	}
	c = camera.Camera{Scheme: "rtsp", Host: "fe80::1%eth0", Port: 554, Path: "/"}.At(netip.MustParseAddr("fe80::1%eth0"))
	if got := c.DialURL(""); got != "rtsp://[fe80::1%eth0]:554/" {
		t.Errorf("zone: %s", got)
	}
}

func TestAnImpliedPasswordCountsOnlyWithAUserName(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{"rtsp://gate/a": "", "rtsp://u@gate/a": "$CAM_PASSWORD", "rtsp://u:@gate/a": "***"} {
		c, err := camera.ParseURL(raw, camera.Defaults())
		if err != nil || c.Password.String() != want {
			t.Errorf("%s: password from %q, %v, want %q", raw, c.Password, err, want)
		}
	}
}

func TestAHostIsANameOrAnAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"gate": "gate ", "192.168.1.5": "192.168.1.5 192.168.1.5", "[::1]": "::1 ::1", "::1": "::1 ::1", "fe80::1%eth0": "fe80::1%eth0 fe80::1%eth0",
		"::ffff:10.0.0.1": "::ffff:10.0.0.1 10.0.0.1", "カメラ.local": "カメラ.local ",
	} {
		host, addr, err := camera.ParseHost(text)
		got := host + " "
		if addr.IsValid() {
			got += addr.String()
		}
		if got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10.0.0.300", "gate:554", "u@gate", "ga te", "[gate]", "[10.0.0.1]", "fe80::1%a b", "/x", "-x"} {
		if host, _, err := camera.ParseHost(text); err == nil {
			t.Errorf("%q was read as %q", text, host)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"rtsp://u:p@ss/w#rd@192.168.1.5:554/stream1?x=y", "rtsps://[fe80::1%25eth0]:1/", "rtsp://u:p%40@gate", "RTSP://a@b@c/d@e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := camera.ParseURL(raw, camera.Defaults())
		if err != nil {
			if fault.ClassOf(err) != fault.Usage {
				t.Errorf("%q: %v is no usage fault", raw, err)
			}
			return
		}
		if err := camera.ValidID(c.ID); err != nil {
			t.Errorf("%q: id %q: %v", raw, c.ID, err)
		}
		again, err := camera.ParseURL(c.URL(), camera.Defaults())
		if err != nil && !strings.Contains(c.Path, "@") {
			t.Fatalf("%q: its own URL %q: %v", raw, c.URL(), err)
		}
		if err == nil && again.URL() != c.URL() && !strings.Contains(c.Path, "@") {
			t.Errorf("%q: %q became %q", raw, c.URL(), again.URL())
		}
		if strings.ContainsAny(c.URL(), " \r\n\x00") {
			t.Errorf("%q: %q cannot stand in a request line", raw, c.URL())
		}
	})
}
