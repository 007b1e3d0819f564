package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/proc"
)

// TestDoctor_healthyMediaServer runs what a recorder's host runs all day: a media server of its own, cameras published into it
// by more ffmpegs than any camera would bear, and viewers of it. The line that README gives to cron is silent about it.
func TestDoctor_healthyMediaServer(t *testing.T) {
	t.Parallel()
	requireGStreamer(t)
	for _, uid := range users() {
		t.Run(fmt.Sprintf("uid %d", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy, Name: "gate"}}, asUser(uid))
			server := startGStreamer(t, s.mark, nil, "smpte75", "+published")
			at := server.address
			publish := s.start("ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-rtsp_transport", "tcp", "-i", s.subnet.Camera("gate").URL(),
				"-c", "copy", "-rtsp_transport", "tcp", "-f", "rtsp", fmt.Sprintf("rtsp://%s/published", at))
			var viewers []*run
			for range 4 {
				viewers = append(viewers, s.start("ffmpeg", "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", fmt.Sprintf("rtsp://%s/smpte75", at), "-c", "copy", "-f", "null", "-"))
			}
			prefix := netip.PrefixFrom(at.Addr(), 24).Masked().String()
			s.holds(at, 5)
			s.holds(s.subnet.Camera("gate").Address(), 1)
			look := s.start("camwarden", "doctor", prefix, s.subnet.Prefix.String(), "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "--fail-on", "warning", "-o", "json")
			look.ends(0)
			var doc examination
			conforms(t, "doctor", look.stdout.String(), look.stderr.String(), &doc)
			if doc.Status != "ok" || len(doc.Findings) != 0 || doc.Connections.Total != 6 {
				t.Errorf("status %s, %d connections, %+v", doc.Status, doc.Connections.Total, doc.Findings)
			}
			for _, c := range doc.Cameras {
				if c.Address == at.String() && (!c.Server || c.Limit != 0 || c.Connections != 5) {
					t.Errorf("the server: %+v", c)
				}
			}
			quiet := s.start("camwarden", "doctor", prefix, s.subnet.Prefix.String(), "-c", s.path("cameras.yaml"), "--state-dir", s.path("state"), "--fail-on", "warning", "-q")
			quiet.ends(0)
			if said := quiet.stdout.String() + quiet.stderr.String(); said != "" {
				t.Errorf("cron would have mailed: %s", said)
			}
			// A still of one's own server is no camera's slot either, however many are connected.
			still := s.start("camwarden", "snapshot", fmt.Sprintf("rtsp://%s/smpte75", at), "-f", s.path("still.jpg"), "--state-dir", s.path("state"), "--timeout", within.String(), "-o", "json")
			still.ends(0)
			for _, r := range append(viewers, publish) {
				r.lives()
				if t.Failed() {
					t.Log(r.stderr)
				}
			}
		})
	}
}

// holds waits until this host has as many connections to an address.
func (s *site) holds(at netip.AddrPort, n int) {
	s.t.Helper()
	eventually(s.t, func() error {
		sockets, err := proc.Default().Standing([]uint16{at.Port()})
		check(s.t, err)
		found := 0
		for _, c := range sockets.Conns {
			if c.Remote == at && c.State == proc.Established {
				found++
			}
		}
		if found != n {
			return fmt.Errorf("%d connections to %s, want %d", found, at, n)
		}
		return nil
	})
}

// TestDoctor_forwarderIsACamera: what listens here is only the near end of a tunnel, so the limit of the camera behind it holds.
// The forwarder is this test binary by the name of one that is in the field.
func TestDoctor_forwarderIsACamera(t *testing.T) {
	t.Parallel()
	for _, uid := range users() {
		t.Run(fmt.Sprintf("uid %d", uid), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, []camsim.Config{{Temper: camsim.Healthy, Name: "far"}}, asUser(uid))
			self, err := os.Executable()
			check(t, err)
			if os.Link(self, s.path("bin", "socat")) != nil {
				copied(t, self, s.path("bin", "socat"))
			}
			near := netip.AddrPortFrom(s.subnet.Prefix.Addr().Next().Next().Next(), camsim.DefaultPort)
			tunnel := s.startWith(func(cmd *exec.Cmd) { cmd.Path = s.path("bin", "socat"); cmd.Args[0] = "socat" },
				"camwarden", near.String(), s.subnet.Camera("far").Address().String())
			eventually(t, func() error {
				_, found, err := proc.Default().Listening(near)
				if err == nil && !found {
					err = fmt.Errorf("nobody listens at %s", near)
				}
				return err
			})
			url := fmt.Sprintf("rtsp://%s%s", near, s.subnet.Camera("far").Config().Path)
			for range 2 {
				s.start("ffmpeg", "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url, "-frames:v", "1000000", "-vf", "select=0", "-f", "null", "-")
			}
			s.holds(near, 2)
			look := s.start("camwarden", "doctor", near.String(), "--state-dir", s.path("state"), "-o", "json")
			look.end()
			var doc examination
			conforms(t, "doctor", look.stdout.String(), look.stderr.String(), &doc)
			if len(doc.Cameras) != 1 || doc.Cameras[0].Server || doc.Cameras[0].Limit != 2 || !doc.Cameras[0].LimitAssumed {
				t.Errorf("%+v", doc.Cameras)
			}
			still := s.start("camwarden", "snapshot", url, "-f", s.path("still.jpg"), "--state-dir", s.path("state"), "-o", "json")
			still.ends(1)
			if !strings.Contains(still.stdout.String(), `"exhausted"`) {
				t.Errorf("a third connection was made to a camera behind a tunnel: %s", still.stdout)
			}
			tunnel.lives()
		})
	}
}

// forward is a forwarder: it listens at the first address and connects to the second.
func forward() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			far, err := net.Dial("tcp", os.Args[2])
			if err != nil {
				return
			}
			defer far.Close()
			go func() { _, _ = io.Copy(far, conn) }()
			_, _ = io.Copy(conn, far)
		}()
	}
}
