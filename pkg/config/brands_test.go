package config_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestBrand_givesWhatIsNotSaid(t *testing.T) {
	t.Parallel()
	tests := []struct{ about, defaults, camera, want string }{
		{"its path", "", "brand: hikvision", "/Streaming/Channels/101 554 2 true"},
		{"by the maker's own name", "", "brand: TP-Link Tapo", "/stream1 554 2 true"},
		{"a channel", "", "brand: hikvision, channel: 12", "/Streaming/Channels/1201 554 2 true"},
		{"the smaller stream", "", "brand: dahua, channel: 2, stream: sub", "/cam/realmonitor?channel=2&subtype=1 554 2 true"},
		{"port and limit", "", "brand: foscam", "/videoMain 88 2 true"},
		{"a limit", "", "brand: vivotek", "/live.sdp 554 10 true"},
		{"what the camera names wins", "", "brand: foscam, path: /x, port: 99, max_connections: 3", "/x 99 3 false"},
		{"a brand of the defaults", "{brand: reolink}", "channel: 3", "/h264Preview_03_main 554 2 true"},
		{"which what they name beats", "{brand: foscam, path: /x, port: 99}", "channel: 3", "/x 99 2 true"},
		{"and a camera's own brand beats both", "{brand: foscam, path: /x, port: 99}", "brand: tapo", "/stream1 554 2 true"},
		{"the model names it", "", "model: Dahua IPC-HDW2431", "/cam/realmonitor?channel=1&subtype=0 554 2 true"},
		{"weaker than the defaults", "{path: /live}", "model: Dahua IPC-HDW2431", "/live 554 2 true"},
		{"a model that names none", "", "model: Lobby 2", "/stream1 554 2 true"},
		{"a sub_path of its own", "", "path: /a, sub_path: /b, stream: sub", "/b 554 2 true"},
		{"one without a known path", "", "brand: unifi", "/stream1 7447 2 true"},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			text := "cameras: [{id: a, host: 127.0.0.9, " + tt.camera + "}]\n"
			if tt.defaults != "" {
				text = "defaults: " + tt.defaults + "\n" + text
			}
			got := load(t, text).Inventory.Cameras[0]
			if said := strings.Join([]string{got.Path, str(got.Port), str(got.MaxConnections), str(got.LimitAssumed)}, " "); said != tt.want {
				t.Errorf("%s, want %s", said, tt.want)
			}
			if got.Address.Port() != got.Port {
				t.Errorf("address %s, port %d", got.Address, got.Port)
			}
		})
	}
}

func TestBrand_urlSaysWhere(t *testing.T) {
	t.Parallel()
	c := load(t, "cameras: [{id: a, url: 'rtsp://127.0.0.9/', brand: foscam}, {id: b, url: 'rtsp://127.0.0.8/main', brand: tapo, stream: sub}]").Inventory
	if a := c.Cameras[0]; a.Path != "/" || a.Port != 554 {
		t.Errorf("%s", a.URL())
	}
	if b := c.Cameras[1]; b.Path != "/stream2" {
		t.Errorf("%s", b.URL())
	}
}

func TestBrand_snapshot(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ defaults, camera, want string }{
		{"{}", "brand: hikvision, channel: 2", "/ISAPI/Streaming/channels/201/picture auto"},
		{"{}", "brand: foscam", "http://{host}:88/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr={username}&pwd={password} query"},
		{"{}", "brand: tapo", " auto"},
		{"{}", "brand: instar", "/tmpfs/snap.jpg auto"},
		{"{}", "brand: hikvision, snapshot: /x, snapshot_auth: digest", "/x digest"},
		{"{}", "brand: hikvision, snapshot: ''", " auto"},
		{"{}", "model: Hikvision DS-2CD", " auto"},
		{"{brand: hikvision}", "channel: 3", "/ISAPI/Streaming/channels/301/picture auto"},
		{"{brand: hikvision, snapshot: /x}", "channel: 3", "/x auto"},
		{"{brand: reolink}", "brand: esp32-cam, path: /x", "/capture none"},
	} {
		got := load(t, "defaults: "+tt.defaults+"\ncameras: [{id: a, host: 127.0.0.9, "+tt.camera+"}]\n").Inventory.Cameras[0]
		if said := got.Snapshot + " " + string(got.SnapshotAuth); said != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.defaults, tt.camera, said, tt.want)
		}
	}
}

func TestBrand_ofAnAddressAlone(t *testing.T) {
	t.Parallel()
	if d := load(t, "defaults: {brand: foscam, stream: sub}").Inventory.Defaults; d.Path != "/videoSub" || d.Port != 88 {
		t.Errorf("%s %d", d.Path, d.Port)
	}
	c := load(t, "")
	if err := c.AssumeBrand("dahua"); err != nil || c.Inventory.Defaults.Path != "/cam/realmonitor?channel=1&subtype=0" {
		t.Errorf("%v, %s", err, c.Inventory.Defaults.Path)
	}
	if err := c.AssumeBrand("dahuo"); err == nil {
		t.Error("an unknown brand is taken")
	}
}

func str(value any) string { return fmt.Sprint(value) }
