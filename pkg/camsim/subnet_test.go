package camsim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// connectionsTo reads the states of this host's TCP sockets in SYN_SENT or ESTABLISHED whose remote end is the address.
func connectionsTo(t *testing.T, address netip.AddrPort) []string {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip(err)
	}
	quad := address.Addr().As4()
	// proc_pid_net(5), on a little-endian host
	remote := fmt.Sprintf("%02X%02X%02X%02X:%04X", quad[3], quad[2], quad[1], quad[0], address.Port())
	var states []string
	for _, line := range strings.Split(string(table), "\n") {
		if fields := strings.Fields(line); len(fields) > 3 && fields[2] == remote && (fields[3] == "01" || fields[3] == "02") {
			states = append(states, fields[3])
		}
	}
	return states
}

func TestEveryTemperHasANameOfItsOwnAndASentence(t *testing.T) {
	t.Parallel()
	seen := map[camsim.Temper]bool{}
	for _, temper := range slices.Concat(camsim.Tempers(), camsim.HostileTempers()) {
		if seen[temper] || temper.Sentence() == "" || strings.ContainsAny(string(temper), " :,/=") {
			t.Errorf("temper %q: twice, without a sentence, or not fit for a command line", temper)
		}
		seen[temper] = true
	}
	if got := camsim.Temper("moody").Sentence(); got != "" {
		t.Errorf("an unknown temper has the sentence %q", got)
	}
}

func TestClose_endsEveryTemperWithClients(t *testing.T) {
	t.Parallel()
	for _, temper := range slices.Concat(camsim.Tempers(), camsim.HostileTempers()) {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			config := camsim.Config{Temper: temper, Username: "user", Password: "secret", Delay: time.Minute}
			camera := start(t, config)
			if temper != camsim.Refuses && temper != camsim.DropsSYN {
				open, hung := dial(t, camera), dial(t, camera)
				_, _ = open.conn.Write([]byte("OPTIONS " + camera.URL() + " RTSP/1.0\r\nCSeq: 1\r\n\r\n"))
				_, _ = hung.conn.Write([]byte("OPT"))
				eventually(t, camera, "both connections seen", func(c camsim.Counts) bool { return c.ConnectionsTotal == 2 })
			}
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				camera.Close()
				camera.Close()
			}()
			select {
			case <-closed:
			case <-time.After(patience):
				t.Fatal("Close does not return")
			}
			if got := camera.Counts(); got.Connections != 0 || got.Sessions != 0 {
				t.Errorf("after Close: %+v", got)
			}
			config.Address = camera.Address()
			restart(t, config)
		})
	}
}

// restart starts a camera where one was. A child that another test has forked and that has not yet reached its exec
// may hold a copy of the old listener for a moment, so a port in use is tried again.
func restart(t *testing.T, config camsim.Config) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		camera, err := camsim.Start(config)
		if err == nil {
			t.Cleanup(camera.Close)
			return
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestCloseEndsWatchedSessions(t *testing.T) {
	t.Parallel()
	for _, temper := range []camsim.Temper{
		camsim.Healthy, camsim.LongGOP, camsim.SilentAfterPlay, camsim.RTCPOnly, camsim.GarbageMedia,
		camsim.StrayChannels, camsim.TinyFragments, camsim.NestedAggregation, camsim.EndlessKeyFrame, camsim.GapsInKeyFrame,
	} {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: temper})
			client := dial(t, camera)
			client.watch()
			camera.Close()
			if got := camera.Counts(); got.Connections != 0 || got.Sessions != 0 {
				t.Errorf("after Close: %+v", got)
			}
			if way := client.ending(patience); way == "timeout" {
				t.Error("the client's connection is still open")
			}
		})
	}
}

func TestSubnet_addressesInTurn(t *testing.T) {
	t.Parallel()
	prefix := camsim.DrawSubnet()
	if first := prefix.Addr().As4(); prefix.Bits() != 24 || first[0] != 127 || first[1] < 10 || first[1] > 250 {
		t.Fatalf("drew %s, want a 127.x.y.0/24 with x from 10 to 250", prefix)
	}
	subnet, err := camsim.StartSubnet(prefix, []camsim.Config{
		{Name: "gate", Temper: camsim.Healthy},
		{Name: "yard", Temper: camsim.MuteAtConnect, Address: netip.AddrPortFrom(netip.Addr{}, 9554)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(subnet.Close)
	base := prefix.Addr()
	for name, want := range map[string]netip.AddrPort{
		"gate": netip.AddrPortFrom(base.Next(), camsim.DefaultPort),
		"yard": netip.AddrPortFrom(base.Next().Next(), 9554),
	} {
		if camera := subnet.Camera(name); camera == nil || camera.Address() != want {
			t.Errorf("%s is %+v, want it at %s", name, camera, want)
		}
	}
	if subnet.Camera("attic") != nil {
		t.Error("found a camera that is not there")
	}
}

func TestASubnetThatCannotStartWholeLeavesNothing(t *testing.T) {
	t.Parallel()
	prefix := camsim.DrawSubnet()
	_, err := camsim.StartSubnet(prefix, []camsim.Config{{Name: "gate", Temper: camsim.Healthy}, {Name: "yard", Temper: "moody"}})
	if err == nil || !strings.Contains(err.Error(), "moody") {
		t.Fatalf("error %v, want one that names the temper", err)
	}
	restart(t, camsim.Config{Temper: camsim.Healthy, Address: netip.AddrPortFrom(prefix.Addr().Next(), camsim.DefaultPort)})
	if _, err := camsim.StartSubnet(netip.MustParsePrefix("127.9.9.0/31"), []camsim.Config{{Temper: camsim.Refuses}, {Temper: camsim.Refuses}}); err == nil {
		t.Error("two cameras found room where there is one address")
	}
}

func TestTheCountsCanBeAskedOverHTTP(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Name: "gate", Temper: camsim.Healthy, Username: "user", Password: "secret"})
	client := dial(t, camera)
	client.options()
	recorder := httptest.NewRecorder()
	camsim.CountsHandler([]*camsim.Camera{camera}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/counts", nil))
	var reports []camsim.Report
	if err := json.Unmarshal(recorder.Body.Bytes(), &reports); err != nil {
		t.Fatal(err)
	}
	if len(reports) != 1 || reports[0].Camera != "gate" || reports[0].Counts.Options != 1 || reports[0].Counts.Connections != 1 {
		t.Errorf("reported %+v", reports)
	}
	if strings.Contains(recorder.Body.String(), "secret") {
		t.Error("the password is among the counts")
	}
}
