package capture

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
)

func TestHint_byBrand(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		brand string
		class fault.Class
		want  string
	}{
		{"tapo", fault.Auth, "look; TP-Link Tapo wants: a camera account made in the app"},
		{"dahua", fault.Auth, "it says the same when all its users are logged in"},
		{"hikvision", fault.Auth, "it locks for 30m0s after 5 wrong log-ins"},
		{"reolink", fault.NotFound, "cameras of Reolink have /Preview_03_main, /h265Preview_03_main too"},
		{"reolink", fault.Timeout, ""},
		{"", fault.Auth, ""},
	} {
		failed := fault.New(tt.class, "", "no: %w", fs.ErrPermission).WithHint("look")
		got := byBrand(camera.Camera{Brand: tt.brand, Channel: 3, Path: "/h264Preview_03_main"}, failed)
		if tt.want == "" && got != failed || !strings.Contains(got.Hint, tt.want) || failed.Hint != "look" || !errors.Is(got, fs.ErrPermission) {
			t.Errorf("%s, %s: %q", tt.brand, tt.class, got.Hint)
		}
	}
	if byBrand(camera.Camera{Brand: "tapo"}, nil) != nil {
		t.Error("an error out of nothing")
	}
}
