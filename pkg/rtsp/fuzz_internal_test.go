package rtsp

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
)

// FuzzOffer reads any description.
func FuzzOffer(f *testing.F) {
	f.Add([]byte("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=Z0I=,aM4=\na=control:v"))
	f.Add([]byte("a=control:*\nm=video 0 RTP/AVP 26 27\n"))
	f.Fuzz(func(t *testing.T, sdp []byte) {
		offer := parseOffer(sdp)
		if track, ok := offer.video(); ok {
			if _, err := depacketize.NewReceiver(track.format(), 1<<16); err != nil {
				t.Error(err)
			}
			if url, err := trackURL("rtsp://h/", track.control); err == nil && strings.ContainsAny(url, " \r\n") {
				t.Errorf("%q", url)
			}
		}
		_ = offer.String()
	})
}

// FuzzConversation lets a camera say the whole script at once, whatever it is asked, and hang up.
func FuzzConversation(f *testing.F) {
	const ok = "RTSP/1.0 200 OK\r\n"
	sdp := "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets=Z0LACtoEJsBEAAADAAQAAAMAyDxImoA=,aM4PyA==\r\n"
	describe := ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(sdp)) + sdp
	setup := ok + "Session: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n"
	media := "$\x00\x00\x0f\x80\xe0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x01\x65\x88\x84"
	f.Add([]byte(strings.Join([]string{ok + "\r\n", describe, setup, ok + "\r\n" + media, ok + "\r\n"}, "")))
	f.Add([]byte(strings.Join([]string{"RTSP/1.0 401 No\r\nWWW-Authenticate: Digest realm=\"r\",nonce=\"n\"\r\n\r\n", ok + "\r\n", describe, setup, media}, "")))
	f.Add([]byte(strings.Join([]string{ok + "\r\n", "RTSP/1.0 302 Moved\r\nLocation: rtsp://x\r\n\r\n"}, "")))
	f.Add([]byte(strings.Join([]string{"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" + ok + "\r\n", describe, setup, ok + "\r\n$\x01\x00\x04\x81\xcb\x00\x00"}, "")))
	f.Fuzz(func(t *testing.T, script []byte) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			go func() {
				_, _ = theirs.Write(script)
				_ = theirs.Close()
			}()
			_, _ = io.Copy(io.Discard, theirs)
		}()
		limits := Limits{Step: time.Second, Whole: time.Second, Goodbye: 50 * time.Millisecond, Bytes: 1 << 16, Picture: 1 << 12}.complete()
		talk := &talk{
			ctx: t.Context(), limits: limits, whole: time.Now().Add(limits.Whole), deafen: func() {}, wire: newWire(ours, limits.Bytes),
			target: Target{Address: netip.MustParseAddrPort("127.0.0.1:554"), Username: "u", Password: "s3cr3t!"}, url: "rtsp://127.0.0.1/", base: "rtsp://127.0.0.1/",
		}
		_, err := talk.fetch()
		err = talk.explain(err)
		talk.end()
		<-done
		if err != nil {
			known := fault.From(err, "", "")
			if known.Class == "" || known.Step == "" || known.Class == fault.Local || strings.Contains(known.Message+known.Hint, "s3cr3t!") {
				t.Errorf("%+v", known)
			}
		}
	})
}

// FuzzTransport reads any answer to SETUP; what it names can be used as it stands.
func FuzzTransport(f *testing.F) {
	f.Add("RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=0x1F;mode=\"RECEIVE,PLAY\"")
	f.Add("RTP/AVP;unicast;client_port=1-2;server_port=5000-5001;source=[::1],RTP/SAVP/TCP")
	f.Fuzz(func(t *testing.T, value string) {
		got := parseTransport([]string{value})
		for _, n := range []int{got.channels[0], got.channels[1]} {
			if n < -1 || n > 255 {
				t.Errorf("channel %d", n)
			}
		}
		for _, n := range []int{got.ports[0], got.ports[1]} {
			if n < -1 || n > 65535 {
				t.Errorf("port %d", n)
			}
		}
	})
}

// FuzzWire reads anything as messages, in pieces of any size: it ends, and holds no more than a message may.
func FuzzWire(f *testing.F) {
	f.Add([]byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\n \r\nContent-Length: 3\r\n\r\nv=0$\x00\x00\x0d\x80\x60\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x65"), byte(7))
	f.Add([]byte("\x00\x01junk$\x00\x00\x04\x80\xc9\x00\x00OPTIONS * RTSP/1.0\nCSeq: 1\n\nrtsp/2.0 401 No\r\rx"), byte(1))
	f.Fuzz(func(t *testing.T, script []byte, step byte) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for rest := script; len(rest) > 0; {
				n := min(len(rest), int(step)+1)
				if _, err := theirs.Write(rest[:n]); err != nil {
					break
				}
				rest = rest[n:]
			}
			_ = theirs.Close()
		}()
		w := newWire(ours, 1<<20)
		w.until(time.Now().Add(10 * time.Second))
		messages := 0
		for ; ; messages++ {
			m, err := w.next()
			if err != nil {
				if isTimeout(err) {
					t.Errorf("%d messages, and then nothing ended it", messages)
				}
				break
			}
			if m.answer != nil && (m.answer.status < 100 || m.answer.status > 999 || len(m.answer.body) > maxBody+readBuffer) {
				t.Errorf("%+v", m.answer)
			}
			if messages > len(script) {
				t.Fatalf("%d messages in %d bytes", messages, len(script))
			}
		}
		_ = ours.Close()
		<-done
	})
}
