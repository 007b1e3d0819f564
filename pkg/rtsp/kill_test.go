package rtsp_test

import (
	"context"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// childVariable makes the test binary a client that waits at the address.
const childVariable = "CAMWARDEN_TEST_RTSP_CHILD"

func fetchForEver(address string) {
	target := rtsp.Target{Address: netip.MustParseAddrPort(address), Path: "/stream1"}
	_, _, _ = rtsp.Fetch(context.Background(), target, rtsp.Limits{Step: time.Minute, Whole: time.Minute}, nil)
}

func TestFetch_killedClosesItsConnection(t *testing.T) {
	t.Parallel()
	for _, temper := range []camsim.Temper{
		camsim.MuteAtOptions, camsim.MuteAtDescribe, camsim.MuteAtSetup, camsim.MuteAtPlay, camsim.SilentAfterPlay, camsim.LongGOP,
	} {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: temper})
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), childVariable+"="+camera.Address().String())
			child.Stdout, child.Stderr = io.Discard, io.Discard
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the child at its step", func() bool {
				counts := camera.Counts()
				switch temper {
				case camsim.MuteAtOptions:
					return counts.Options == 1
				case camsim.MuteAtDescribe:
					return counts.Describes == 1
				case camsim.MuteAtSetup:
					return counts.Setups == 1
				}
				return counts.Plays == 1
			})
			_ = child.Process.Kill()
			_ = child.Wait()
			waitFor(t, "the end of the connection", func() bool { return camera.Counts().Connections == 0 })
		})
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
