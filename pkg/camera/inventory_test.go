package camera_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
)

// house is an inventory with a recorder of two channels, names that resolve and one that does not.
func house() camera.Inventory {
	one := func(id, host string, port uint16, path string) camera.Camera {
		c := camera.Defaults()
		c.ID, c.Host, c.Port, c.Path, c.Username, c.Password = id, host, port, path, "admin", camera.PlainSecret("pw-"+id)
		c.MaxConnections = 4
		if addr, err := netip.ParseAddr(host); err == nil {
			c = c.At(addr)
		}
		return c
	}
	return camera.Inventory{
		Defaults: camera.Defaults(),
		Source:   "house.yaml",
		Cameras: []camera.Camera{
			one("gate", "192.168.125.19", 554, "/stream1"),
			one("nvr1", "10.0.0.2", 554, "/ch1"),
			one("nvr2", "10.0.0.2", 554, "/ch2"),
			one("yard", "yard.lan", 554, "/stream1"),
			one("lost", "lost.lan", 554, "/stream1"),
			one("six", "fe80::7%eth0", 8554, "/s"),
			one("mapped", "::ffff:192.168.125.20", 554, "/s"),
		},
		Subnets: []camera.Subnet{
			{Name: "office", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.125.0/24")}},
			{Name: "mixed", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Cameras: []string{"gate", "lost"}},
		},
	}
}

func lookup(host string) (netip.Addr, error) {
	if host == "yard.lan" {
		return netip.MustParseAddr("192.168.125.45"), nil
	}
	return netip.Addr{}, errors.New("no such host")
}

func ids(cameras []camera.Camera) string {
	var all []string
	for _, c := range cameras {
		all = append(all, c.ID)
	}
	return strings.Join(all, " ")
}

func TestAnArgumentNamesCamerasInManyWays(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"gate": "gate", "192.168.125.19": "gate", "192.168.125.19:554": "gate", "gate gate 192.168.125.19": "gate",
		"10.0.0.2": "nvr1 nvr2", "10.0.0.2:554 nvr1": "nvr1 nvr2", "yard.lan": "yard", "YARD.LAN:554": "yard", "192.168.125.45": "yard",
		"[fe80::7%eth0]:8554": "six", "fe80::7%eth0": "six", "[fe80::7%eth0]": "six", "192.168.125.20": "mapped", "::ffff:192.168.125.19": "gate",
		"10.9.9.9": "10.9.9.9_554_stream1", "10.9.9.9:8554": "10.9.9.9_8554_stream1", "192.168.125.19:8554": "192.168.125.19_8554_stream1",
		"rtsp://192.168.125.19/stream1": "gate", "rtsp://192.168.125.45/stream1": "yard", "rtsp://192.168.125.19/other": "192.168.125.19_554_other",
		"yard gate": "yard gate", "rtsp://10.9.9.9/a?token=1 rtsp://10.9.9.9/a?token=2 rtsp://10.9.9.9/a?token=2": "10.9.9.9_554_a_token 10.9.9.9_554_a_token-2",
	} {
		picked, err := house().Pick(strings.Fields(args), lookup)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if got := ids(picked); got != want {
			t.Errorf("%s: picked %q, want %q", args, got, want)
		}
	}
	if picked, err := (camera.Inventory{Defaults: camera.Defaults()}).Pick([]string{"rtsp://u:p@127.0.0.1:8554/x"}, nil); err != nil || len(picked) != 1 {
		t.Errorf("a URL without any configuration: %v, %v", picked, err)
	}
}

func TestInventory_urlTakesOverButItsLogIn(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"rtsp://192.168.125.19/stream1":             "admin pw-gate",
		"rtsp://192.168.125.19:554/stream1":         "admin pw-gate",
		"rtsp://guest:other@192.168.125.19/stream1": "guest other",
		"rtsp://admin@192.168.125.19/stream1":       "admin pw-gate",
	} {
		picked, err := house().Pick([]string{"gate", url}, lookup)
		if err != nil || len(picked) != 1 {
			t.Fatalf("%s: %v, %v", url, picked, err)
		}
		password, err := picked[0].Password.Reveal()
		if got := picked[0].Username + " " + password; got != want || err != nil {
			t.Errorf("%s: logs in with %q (%v), want %q", url, got, err, want)
		}
		if picked[0].MaxConnections != 4 {
			t.Errorf("%s: limit %d, want the configured 4", url, picked[0].MaxConnections)
		}
	}
	picked, err := house().Pick([]string{"rtsp://10.0.0.2/ch9"}, lookup)
	if err != nil || picked[0].MaxConnections != 4 {
		t.Errorf("another path at a known address has the limit %v (%v), want the address's 4", picked, err)
	}
}

func TestInventory_unknownNamesTheNearest(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{"gaet": "gate", "nvr3": "nvr1 or nvr2", "nonsense": "rtsp://", "yard.lam": "yard.lan"} {
		_, err := house().Pick([]string{arg}, lookup)
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.From(err, "", "").Hint, want) {
			t.Errorf("%s: %+v, want a usage fault with %q in its hint", arg, err, want)
		}
	}
	_, err := house().Pick([]string{"admin:hunter2@gate"}, lookup)
	if err == nil || strings.Contains(err.Error()+fault.From(err, "", "").Hint, "hunter2") {
		t.Errorf("the error shows a password: %v", err)
	}
}

func TestSelect_subnetSaysWhatItCouldNotKnow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, subnets, cameras, key, blind string }{
		{"192.168.125.77/24", "192.168.125.0/24", "gate yard mapped", "192.168.125.0+24", "lost.lan"},
		{"office", "office", "gate yard mapped", "192.168.125.0+24", "lost.lan"},
		{"::ffff:192.168.125.0/120", "192.168.125.0/24", "gate yard mapped", "192.168.125.0+24", "lost.lan"},
		{"mixed office", "mixed office", "gate nvr1 nvr2 yard lost mapped", "10.0.0.0+8,192.168.125.0+24,id=gate,id=lost", ""},
		{"10.0.0.0/8 10.0.0.0/24", "10.0.0.0/24 10.0.0.0/8", "nvr1 nvr2", "10.0.0.0+8", "lost.lan"},
		{"fe80::/10", "fe80::/10", "six", "fe80--+10", "lost.lan"},
		{"all", "all", "gate nvr1 nvr2 yard lost six mapped", "all", ""},
	} {
		got, err := house().Select(strings.Fields(c.args), lookup)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		if ids(got.Cameras) != c.cameras || strings.Join(got.Subnets, " ") != c.subnets || got.Key != c.key || strings.Join(got.Blind, " ") != c.blind {
			t.Errorf("%s: got %q subnets %q key %q blind %q", c.args, ids(got.Cameras), got.Subnets, got.Key, got.Blind)
		}
	}
}

func TestAnEmptySelectionSaysWhereTheCamerasAre(t *testing.T) {
	t.Parallel()
	resolvable := house()
	resolvable.Cameras = slices.DeleteFunc(resolvable.Cameras, func(c camera.Camera) bool { return c.ID == "lost" })
	for arg, want := range map[string]string{
		"172.16.0.0/12": "192.168.125.0/24 (3), 10.0.0.0/24 (2)", "offcie": "office", "gate": "snapshot", "10.0.0.2": "10.0.0.2/32", "10.0.0.0/33": "/24",
	} {
		_, err := resolvable.Select([]string{arg}, lookup)
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.From(err, "", "").Hint, want) {
			t.Errorf("%s: %#v, want a usage fault with %q in its hint", arg, err, want)
		}
	}
	if _, err := house().Select([]string{"172.16.0.0/12"}, lookup); fault.ClassOf(err) != fault.DNS {
		t.Errorf("a host that did not resolve may lie in the prefix, but the answer was %v", err)
	}
	if _, err := (camera.Inventory{}).Select([]string{"all"}, nil); fault.ClassOf(err) != fault.Usage {
		t.Errorf("an empty inventory: %v", err)
	}
}

func TestCamerasOfOneAddressMustShareItsLimits(t *testing.T) {
	t.Parallel()
	inv := house()
	inv.Cameras[3].Host, inv.Cameras[3].MaxConnections = "yard.lan", 1
	inv.Cameras[4].Host = "192.168.125.45"
	inv.Cameras[4] = inv.Cameras[4].At(netip.MustParseAddr("192.168.125.45"))
	_, err := inv.Select([]string{"all"}, lookup)
	if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "yard") || !strings.Contains(err.Error(), "lost") {
		t.Errorf("got %v, want a usage fault that names both", err)
	}
}
