package camsim_test

import (
	"image/jpeg"
	"net/http"
	"net/netip"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/onvif"
)

// The URL of the picture that a device names is one where there is a picture, for who may have it.
func TestONVIF_pictureWhereItSays(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "viewer"} {
		at := netip.AddrPortFrom(camsim.DrawSubnet().Addr().Next(), 8000)
		o, err := camsim.StartONVIF(camsim.ONVIFConfig{Address: at, Username: user, Password: "secret"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(o.Close)
		d, err := onvif.Ask(t.Context(), onvif.Target{Address: at, Username: user, Password: "secret", LogIn: true}, onvif.Limits{})
		if err != nil || len(d.Profiles) == 0 {
			t.Fatalf("%v, %+v", err, d)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at.String()+d.Profiles[0].Snapshot.Path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if user != "" {
			if answer.StatusCode != http.StatusUnauthorized || answer.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("without a log-in: %d", answer.StatusCode)
			}
			continue
		}
		if picture, err := jpeg.Decode(answer.Body); err != nil || picture.Bounds().Dx() == 0 {
			t.Errorf("%s: %v", request.URL, err)
		}
	}
}
