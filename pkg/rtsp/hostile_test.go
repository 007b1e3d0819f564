package rtsp_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// hostility is one thing a camera can do to a client, and how the visit must end.
type hostility struct {
	name   string
	fake   *fake
	class  fault.Class
	step   fault.Step
	limits rtsp.Limits
}

const (
	fuStart = "\x7c\x85" // FU-A of an IDR slice: its start, something of its middle, its end
	fuMore  = "\x7c\x05"
	fuEnd   = "\x7c\x45"
)

func saying(method string, say func(*line, string)) *fake {
	return &fake{on: map[string]func(*line, string){method: say}}
}

func showing(media func(*line)) *fake { return &fake{media: media} }

func hostilities() []hostility {
	short := rtsp.Limits{Whole: 2 * time.Second}
	megabyte := strings.Repeat("x", 1<<20)
	return []hostility{
		{"announces 1 GiB", saying("DESCRIBE", func(l *line, request string) {
			l.write([]byte("RTSP/1.0 200 OK\r\nCSeq: " + header(request, "CSeq") + "\r\nContent-Length: 1073741824\r\n\r\n"))
			l.drip(megabyte, 0)
		}), fault.Protocol, fault.Describe, short},
		{"sends headers without end", saying("OPTIONS", func(l *line, _ string) {
			l.write([]byte("RTSP/1.0 200 OK\r\n"))
			l.drip("X-More: "+strings.Repeat("y", 1000)+"\r\n", 0)
		}), fault.Protocol, fault.Options, short},
		{"sends one header without end", saying("DESCRIBE", func(l *line, _ string) {
			l.write([]byte("RTSP/1.0 200 OK\r\nX-Long: "))
			l.drip(megabyte, 0)
		}), fault.Protocol, fault.Describe, short},
		{"sends headers byte by byte", saying("DESCRIBE", func(l *line, _ string) {
			l.write([]byte("RTSP/1.0 200 OK\r\nX-Slow: "))
			l.drip("z", 20*time.Millisecond)
		}), fault.Timeout, fault.Describe, short},
		{"sends a description without end", saying("DESCRIBE", func(l *line, request string) {
			l.reply(request, "200 OK", "")
			l.drip("m=video 0 RTP/AVP 96\r\n", 0)
		}), fault.Protocol, fault.Describe, short},
		{"sends a description of nothing but tracks", &fake{describe: strings.Repeat("m=video 0 RTP/AVP 1 2 3 4 5 6\r\n", 4000)}, fault.NoVideo, fault.Describe, short},
		{"answers with interim answers without end", saying("SETUP", func(l *line, _ string) {
			l.drip("RTSP/1.0 100 Continue\r\n\r\n", 0)
		}), fault.Protocol, fault.Setup, short},
		{"answers other questions without end", saying("OPTIONS", func(l *line, _ string) {
			l.drip("RTSP/1.0 200 OK\r\nCSeq: 4711\r\n\r\n", 0)
		}), fault.Protocol, fault.Describe, short},
		{"asks back without end", saying("OPTIONS", func(l *line, _ string) {
			l.drip("OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", 0)
		}), fault.Protocol, fault.Options, short},
		{"demands a new digest log-in each time", saying("DESCRIBE", func(l *line, request string) {
			l.reply(request, "401 Unauthorized", "", fmt.Sprintf(`WWW-Authenticate: Digest realm="x", nonce="%d", stale=true`, time.Now().UnixNano()))
		}), fault.Auth, fault.Describe, short},
		{"sends us in a circle", saying("DESCRIBE", func(l *line, request string) {
			l.reply(request, "302 Moved", "", "Location: rtsp://user:secret@"+l.conn.LocalAddr().String()+"/live")
		}), fault.Protocol, fault.Describe, short},
		{"names a track that would be a second request", &fake{describe: strings.Replace(fakeSDP(), fakeControl, "a b TEARDOWN rtsp://x/", 1)}, fault.Protocol, fault.Describe, short},
		{"gives a session id that would be a second header", saying("SETUP", func(l *line, request string) {
			l.reply(request, "200 OK", "", "Session: a b", "Transport: RTP/AVP/TCP;interleaved=0-1")
		}), fault.Protocol, fault.Setup, short},

		{"sends a million tiny fragments", showing(func(l *line) {
			l.write(packet(0, 0, 1, false, []byte(fuStart+"\x88")...))
			for from := 1; from < 1_000_000; from += 1000 {
				var burst bytes.Buffer
				for n := from; n < from+1000; n++ {
					burst.Write(packet(0, uint16(n), 1, false, []byte(fuMore+"x")...))
				}
				if !l.write(burst.Bytes()) {
					return
				}
			}
		}), fault.Timeout, fault.KeyFrame, rtsp.Limits{Whole: 3 * time.Second}},
		{"nests aggregations", showing(func(l *line) {
			for n := uint16(0); l.write(packet(0, n, uint32(n), true, 24, 0, 8, 24, 0, 5, 24, 0, 2, 0x65, 0x88)); n++ {
				time.Sleep(time.Millisecond)
			}
		}), fault.Timeout, fault.KeyFrame, short},
		{"sends fragments without a start", showing(func(l *line) {
			for n := uint16(0); l.write(packet(0, n, uint32(n), true, []byte(fuEnd+"\x88 and so on")...)); n++ {
				time.Sleep(time.Millisecond)
			}
		}), fault.Timeout, fault.KeyFrame, short},
		{"loses every second packet", showing(func(l *line) {
			for n := uint16(0); ; n += 4 {
				first, last := packet(0, n, uint32(n), false, []byte(fuStart+"\x88")...), packet(0, n+2, uint32(n), true, []byte(fuEnd+"x")...)
				if !l.write(append(first, last...)) {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}), fault.Timeout, fault.KeyFrame, short},
		{"sends a key frame that never ends", showing(func(l *line) {
			l.write(packet(0, 0, 1, false, []byte(fuStart+"\x88")...))
			for n := uint16(1); l.write(packet(0, n, 1, false, []byte(fuMore+strings.Repeat("x", 60000))...)); n++ {
			}
		}), fault.Protocol, fault.KeyFrame, rtsp.Limits{Whole: 20 * time.Second}},
		{"sends slices that never end", showing(func(l *line) {
			l.write(packet(0, 0, 1, false, 0x65, 0x88))
			for n := uint16(1); l.write(packet(0, n, 1, false, []byte("\x65\x08"+strings.Repeat("x", 60000))...)); n++ {
			}
		}), fault.Protocol, fault.KeyFrame, rtsp.Limits{Whole: 20 * time.Second}},
		{"sends pictures without end and never a key frame", showing(func(l *line) {
			for n := uint16(0); l.write(packet(0, n, uint32(n), true, []byte("\x41\x88"+strings.Repeat("x", 60000))...)); n++ {
			}
		}), fault.Protocol, fault.KeyFrame, rtsp.Limits{Whole: 20 * time.Second}},
		{"sends on channels never announced", showing(func(l *line) {
			raw := packet(7, 0, 0, true, []byte("\x65\x88"+strings.Repeat("x", 60000))...)
			for n := byte(0); l.write(raw); n++ { // in place: the memory that is watched is ours too
				raw[1], raw[7] = 7+n%200, n
			}
		}), fault.Protocol, fault.Media, rtsp.Limits{Whole: 20 * time.Second}},
		{"sends parameter sets without end", showing(func(l *line) {
			for n := uint16(0); ; n++ {
				pps := append([]byte{0x68, byte(n), byte(n >> 8)}, bytes.Repeat([]byte{1}, 4000)...)
				if !l.write(packet(0, n, uint32(n), true, pps...)) {
					return
				}
			}
		}), fault.Protocol, fault.KeyFrame, rtsp.Limits{Whole: 20 * time.Second}},
		{"says goodbye instead of playing", showing(func(l *line) {
			l.write([]byte("$\x01\x00\x08\x81\xcb\x00\x01\x00\x00\x00\x01"))
		}), fault.Closed, fault.Media, short},
		{"loses its framing", showing(func(l *line) {
			l.write(packet(0, 0, 1, false, 0x41, 0x88))
			l.drip("\x00\x01\x02 no frame", 0)
		}), fault.Protocol, fault.KeyFrame, short},
	}
}

// No t.Parallel: it measures the memory of the process.
func TestFetch_hostileCameraIsCapped(t *testing.T) { //nolint:paralleltest // see above
	const most = 64 << 20
	for _, h := range hostilities() {
		t.Run(h.name, func(t *testing.T) {
			target := h.fake.start(t)
			target.Username, target.Password = "viewer", "s3cr3t!"
			peak := watchMemory(t)
			began := time.Now()
			h.limits.Goodbye = 20 * time.Second // it is answered, but this machine may be busy
			_, session, err := rtsp.Fetch(t.Context(), target, h.limits, nil)
			took, memory := time.Since(began), peak()

			var f *fault.Error
			if !errors.As(err, &f) || f.Class != h.class || f.Step != h.step {
				t.Errorf("ended with %#v, want %s at %s", err, h.class, h.step)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells too much: %v", err)
			}
			if took > h.limits.Whole+5*time.Second {
				t.Errorf("took %s with a limit of %s", took, h.limits.Whole)
			}
			if memory > most {
				t.Errorf("needed %d MiB of memory, want at most %d", memory>>20, most>>20)
			}
			if setups := h.fake.count("SETUP"); setups > 1 || h.fake.count("DESCRIBE") > 3 {
				t.Errorf("asked again and again: %d SETUP, %d DESCRIBE", setups, h.fake.count("DESCRIBE"))
			}
			if h.fake.count("PLAY") == 1 && h.fake.count("TEARDOWN") != 1 {
				t.Errorf("%d TEARDOWN for a session that stood", h.fake.count("TEARDOWN"))
			}
			t.Logf("%s, %d MiB, session %+v: %v", took.Round(time.Millisecond), memory>>20, session, err)
		})
	}
}

// watchMemory samples the heap, dead objects included, until its result is called for the growth at its peak.
func watchMemory(t *testing.T) (peak func() uint64) {
	t.Helper()
	read := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	before, most := read(), uint64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(2 * time.Millisecond); ; {
			if now := read(); now > before {
				most = max(most, now-before)
			}
			select {
			case <-tick.C:
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		return most
	}
}

func TestFetch_saysThatHTTPAnswers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	named := saying("OPTIONS", func(l *line, _ string) { // what it says names RTSP, and it does not hang up
		l.write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nRTSP/1.0 is no version of HTTP\r\n"))
	}).start(t)
	for name, target := range map[string]rtsp.Target{
		"net/http": {Address: server.Listener.Addr().(*net.TCPAddr).AddrPort(), Path: "/"}, "one that names RTSP": named,
	} {
		_, _, err := rtsp.Fetch(t.Context(), target, patient(), nil)
		known := fault.From(err, "", "")
		if !errors.Is(err, rtsp.ErrHTTP) || known.Class != fault.Protocol || known.Message != target.Address.String()+": what answers there is HTTP" ||
			known.Hint != "is this the camera's RTSP port?" {
			t.Errorf("%s: %+v", name, known)
		}
	}
}
