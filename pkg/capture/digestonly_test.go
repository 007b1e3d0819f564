package capture

import (
	"net/netip"
	"testing"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// What is not known to be a camera is told no password in clear, though it wants one.
func TestTarget_digestOnly(t *testing.T) {
	t.Parallel()
	sim, err := camsim.Start(camsim.Config{
		Temper: camsim.Basic, Address: netip.AddrPortFrom(camsim.DrawSubnet().Addr().Next(), camsim.DefaultPort), Username: "viewer", Password: "geheim", Path: "/a",
	})
	testkit.Check(t, err)
	t.Cleanup(sim.Close)
	for _, only := range []bool{true, false} {
		cam := camera.Defaults()
		cam.ID, cam.Host, cam.Port, cam.Path, cam.Username, cam.DigestOnly = "gate", sim.Address().Addr().String(), sim.Address().Port(), "/a", "viewer", only
		_, err := rtsp.Probe(t.Context(), targetOf(cam.At(sim.Address().Addr()), "geheim"), rtsp.Limits{})
		if only != (fault.ClassOf(err) == fault.Auth) || only != (sim.Counts().Logins == 0) {
			t.Errorf("digest only %v: %v, %+v", only, err, sim.Counts())
		}
	}
}
