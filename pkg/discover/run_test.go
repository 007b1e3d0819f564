package discover

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func newPlan(t *testing.T, ports []uint16, addresses ...netip.Addr) Plan {
	t.Helper()
	base := t.TempDir()
	book, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(base, "run"), State: filepath.Join(base, "state")}, proc.Default(), "run-"+t.Name())
	testkit.Check(t, err)
	return Plan{
		Addresses: addresses, Ports: ports, Jobs: 1, Timeout: 500 * time.Millisecond,
		Slots: slot.Table{Ledger: book, FS: proc.Default()}, LogIns: lockout.Open(book, true),
	}
}

// An address that was idle when the discovery began may be busy when its turn comes: whoever visits it has its slot. Nothing listens
// there in this test, since what listens on this host is no camera and has no limit.
func TestRun_busyMeanwhile(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"lease", "socket"} {
		first := camsim.DrawSubnet().Addr().Next()
		second := netip.AddrPortFrom(first.Next(), 8000)
		plan := newPlan(t, []uint16{8000}, first, second.Addr())
		plan.Ask = func(done, _ int) { // the first address is done, and the second comes next
			switch {
			case done > 1:
			case by == "lease":
				cam := camera.Defaults()
				cam.ID, cam.Port, cam.MaxConnections = "gate", second.Port(), 1
				_, err := plan.Slots.Take(t.Context(), slot.Request{Camera: cam.At(second.Addr()), Kind: ledger.Connection, Deadline: proc.BootTime() + time.Minute})
				testkit.Check(t, err)
			default:
				connect(t, second)
			}
		}
		report := Run(t.Context(), plan)
		if len(report.Blind) != 1 || report.Blind[0].Where != second.Addr().String() || len(report.Devices) > 0 {
			t.Errorf("by a %s: dialled although its only slot was taken: %+v", by, report)
		}
	}
}

// connect makes a connection that stands until the test ends, to an address where nobody listens any more.
func connect(t *testing.T, at netip.AddrPort) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at.String())
	testkit.Check(t, err)
	defer listener.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at.String())
	testkit.Check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	accepted, err := listener.Accept()
	testkit.Check(t, err)
	t.Cleanup(func() { _ = accepted.Close() })
}

// A web page beside the service of a camera is no trouble of the camera.
func TestRun_webBesideONVIF(t *testing.T) {
	t.Parallel()
	addr := camsim.DrawSubnet().Addr().Next()
	o, err := camsim.StartONVIF(camsim.ONVIFConfig{Address: netip.AddrPortFrom(addr, 8000)})
	testkit.Check(t, err)
	t.Cleanup(o.Close)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", netip.AddrPortFrom(addr, 8080).String())
	testkit.Check(t, err)
	page := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = page.Serve(listener) }()
	t.Cleanup(func() { _ = page.Close() })
	report := Run(t.Context(), newPlan(t, []uint16{8000, 8080}, addr))
	if len(report.Devices) != 1 || len(report.Devices[0].Streams) == 0 || len(report.Devices[0].Ports) != 2 || report.Devices[0].Error != nil {
		t.Errorf("%+v", report.Devices)
	}
	alone := Run(t.Context(), newPlan(t, []uint16{8080}, addr)) // where nothing else is, that is the answer
	if len(alone.Devices) != 1 || alone.Devices[0].Error == nil || !strings.Contains(alone.Devices[0].Error.Message, "no ONVIF service") {
		t.Errorf("%+v", alone.Devices)
	}
}

// RTSP is in clear, and a server there may be anybody's, whatever brand it claims: it is told a digest, or nothing.
func TestRun_basicOverRTSP(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{false, true} {
		addr := camsim.DrawSubnet().Addr().Next()
		o, err := camsim.StartONVIF(camsim.ONVIFConfig{Address: netip.AddrPortFrom(addr, 8000), Server: "App-webs/", Quirks: []camsim.Quirk{camsim.NoONVIF}})
		testkit.Check(t, err)
		t.Cleanup(o.Close)
		sim, err := camsim.Start(camsim.Config{Temper: camsim.Basic, Address: netip.AddrPortFrom(addr, 8554), Username: "viewer", Password: "geheim", Path: "/Streaming/Channels/101"})
		testkit.Check(t, err)
		t.Cleanup(sim.Close)
		plan := newPlan(t, []uint16{8000, 8554}, addr)
		plan.LogIn = &LogIn{"viewer", "geheim"}
		if known {
			cam := camera.Defaults()
			cam.ID, cam.Host, cam.Port = "gate", addr.String(), 8554
			plan.Known = []camera.Camera{cam.At(addr)}
		}
		report := Run(t.Context(), plan)
		if len(report.Devices) != 1 {
			t.Fatalf("%+v", report)
		}
		d, counts := report.Devices[0], sim.Counts()
		if known != (d.LogIn == "accepted") || known != (counts.Logins > 0) || !known && (d.Error == nil || d.LogIn != "not-tried") {
			t.Errorf("known %v: log-in %s, %v, %+v", known, d.LogIn, d.Error, counts)
		}
	}
}

// A web server with TLS is told a password in clear where the configuration names its address, and else not.
func TestRun_basicOverTLS(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{false, true} {
		addr := camsim.DrawSubnet().Addr().Next()
		var told atomic.Bool
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				told.Store(true)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="NAS"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		testkit.Check(t, server.Listener.Close())
		var err error
		server.Listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", netip.AddrPortFrom(addr, 8443).String())
		testkit.Check(t, err)
		server.StartTLS()
		t.Cleanup(server.Close)
		plan := newPlan(t, []uint16{8443}, addr)
		plan.LogIn = &LogIn{"viewer", "geheim"}
		if known {
			cam := camera.Defaults()
			cam.ID, cam.Host, cam.Username, cam.Password = "gate", addr.String(), "viewer", camera.PlainSecret("geheim")
			plan.Known = []camera.Camera{cam.At(addr)}
		}
		if report := Run(t.Context(), plan); told.Load() != known || len(report.Devices) != 1 {
			t.Errorf("known %v: told %v: %+v", known, told.Load(), report)
		}
	}
}
