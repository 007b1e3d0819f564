package rtsp_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// GStreamer's server sends from whatever address the kernel chooses, 127.0.0.1 here, and announces its port and SSRC.
func TestUDP_fromAnotherAddressGStreamer(t *testing.T) {
	t.Parallel()
	address := gstreamer(t, loopback(), "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! "+
		"x264enc tune=zerolatency key-int-max=10 ! rtph264pay name=pay0 pt=96", "", "")
	target := rtsp.Target{Address: address, Path: "/stream1", Transport: camera.UDP}
	frame, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
	if err != nil || !session.TornDown {
		t.Fatalf("%v, session %+v", err, session)
	}
	smpteBars(t, frame, 320, 240)
}

// Where the camera names its source the video may come from there; from an address that nobody announced it is not taken, and that
// address is named.
func TestUDP_whoMaySend(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		announce string // behind the ports; SENDER and PORT are where it really comes from
		right    bool
	}{
		"its source announced":        {";source=SENDER", true},
		"nothing announced":           {"", false},
		"another source announced":    {";source=127.9.9.9", false},
		"port and SSRC announced":     {";server_port=PORT-PORT;ssrc=00000001", true},
		"the port, and another SSRC":  {";server_port=PORT-PORT;ssrc=00000002", false},
		"the SSRC, and another port":  {";server_port=6000-6001;ssrc=00000001", false},
		"the port, and no SSRC":       {";server_port=PORT-PORT", false},
		"a source that is no address": {";source=cam.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sender, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(loopback())})
			if err != nil {
				t.Fatal(err)
			}
			defer sender.Close()
			at := sender.LocalAddr().(*net.UDPAddr).AddrPort()
			port := ""
			sim := &fake{on: map[string]func(*line, string){}}
			sim.on["SETUP"] = func(l *line, request string) {
				_, pair, _ := strings.Cut(header(request, "Transport"), "client_port=")
				port, _, _ = strings.Cut(pair, "-")
				announced := strings.NewReplacer("SENDER", at.Addr().String(), "PORT", itoa(int(at.Port()))).Replace(c.announce)
				l.reply(request, "200 OK", "", "Session: 1", "Transport: RTP/AVP;unicast;client_port="+pair+announced)
			}
			sim.media = func(l *line) {
				to := netip.MustParseAddrPort(net.JoinHostPort(l.conn.RemoteAddr().(*net.TCPAddr).IP.String(), port))
				for n := uint16(0); !l.over && n < 1000; n++ {
					if _, err := sender.WriteToUDPAddrPort(packet(0, n, uint32(n), true, 0x65, 0x88, 0x84, n8(n))[4:], to); err != nil {
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			}
			limits := patient()
			if !c.right {
				limits.Whole = time.Second
			}
			target := sim.start(t)
			target.Transport = camera.UDP
			_, _, err = rtsp.Fetch(t.Context(), target, limits, nil)
			if c.right != (err == nil) {
				t.Fatalf("%v", err)
			}
			if !c.right && (fault.ClassOf(err) != fault.Timeout || !strings.Contains(err.Error(), "from "+at.Addr().String())) {
				t.Errorf("%v: does not say that it came from %s", err, at.Addr())
			}
		})
	}
}
