package rtsp_test

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/rtsp"
)

// fake is a scripted camera: it answers every step well, except for those its script has words of its own for.
type fake struct {
	describe string // its SDP; "" is that of one H.264 track
	on       map[string]func(l *line, request string)
	media    func(l *line) // runs beside the conversation, from the answer to PLAY on

	listener net.Listener
	wg       sync.WaitGroup
	mu       sync.Mutex
	requests []string // whole, in the order of arrival
}

// line is one connection of a fake.
type line struct {
	fake *fake
	conn net.Conn
	over bool
}

// A picture of 64x64 that is all grey, coded by x264.
var (
	fakeSPS = decode64("Z0LACtkEewEQAAADABAAAAMDIPEiZIA=")
	fakePPS = decode64("aM4PyA==")
)

const fakeControl = "trackID=1"

func decode64(text string) []byte {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return raw
}

func fakeSDP() string {
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nb=nonsense\r\nm=audio 0 RTP/AVP 8\r\na=control:trackID=0\r\n" +
		"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=" +
		base64.StdEncoding.EncodeToString(fakeSPS) + "," + base64.StdEncoding.EncodeToString(fakePPS) + "\r\na=control:" + fakeControl + "\r\n"
}

func (f *fake) start(t testing.TB) rtsp.Target {
	t.Helper()
	if f.describe == "" {
		f.describe = fakeSDP()
	}
	var err error
	if f.listener, err = net.Listen("tcp", net.JoinHostPort(loopback(), "0")); err != nil {
		t.Fatal(err)
	}
	f.wg.Add(1)
	go f.serve()
	t.Cleanup(func() {
		_ = f.listener.Close()
		f.wg.Wait()
	})
	return rtsp.Target{Address: f.listener.Addr().(*net.TCPAddr).AddrPort(), Path: "/live"}
}

func (f *fake) serve() {
	defer f.wg.Done()
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.wg.Add(1)
		go func() {
			defer f.wg.Done()
			defer conn.Close()
			f.talk(&line{fake: f, conn: conn})
		}()
	}
}

// talk reads request after request until the client hangs up.
func (f *fake) talk(l *line) {
	reader := bufio.NewReader(l.conn)
	for !l.over {
		if next, err := reader.Peek(4); err == nil && next[0] == '$' { // RTCP of the client's
			if _, err := reader.Discard(4 + int(binary.BigEndian.Uint16(next[2:]))); err != nil {
				return
			}
			continue
		}
		var request strings.Builder
		for !strings.HasSuffix(request.String(), "\r\n\r\n") {
			text, err := reader.ReadString('\n')
			if err != nil {
				return
			}
			request.WriteString(text)
		}
		f.mu.Lock()
		f.requests = append(f.requests, request.String())
		f.mu.Unlock()
		f.answer(l, request.String())
	}
}

func (f *fake) answer(l *line, request string) {
	method, _, _ := strings.Cut(request, " ")
	if special := f.on[method]; special != nil {
		special(l, request)
		return
	}
	switch method {
	case "DESCRIBE":
		l.reply(request, "200 OK", f.describe)
	case "SETUP":
		l.reply(request, "200 OK", "", "Session: 12345678;timeout=60", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
	case "PLAY":
		l.reply(request, "200 OK", "")
		l.play()
	default:
		l.reply(request, "200 OK", "")
	}
}

func (l *line) play() {
	if l.fake.media != nil {
		l.fake.wg.Add(1)
		go func() {
			defer l.fake.wg.Done()
			l.fake.media(l)
		}()
	}
}

func header(request, name string) string {
	for text := range strings.SplitSeq(request, "\r\n") {
		if key, value, ok := strings.Cut(text, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (l *line) reply(request, status, body string, headers ...string) {
	text := "RTSP/1.0 " + status + "\r\nCSeq: " + header(request, "CSeq") + "\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
	}
	l.write([]byte(text + "\r\n" + body))
}

// write says whether the client is still there.
func (l *line) write(raw []byte) bool {
	_, err := l.conn.Write(raw)
	return err == nil
}

// drip writes text for ever, again and again, with a pause between.
func (l *line) drip(text string, pause time.Duration) {
	for l.write([]byte(text)) {
		time.Sleep(pause)
	}
	l.over = true
}

// packet frames one RTP packet.
func packet(channel byte, number uint16, stamp uint32, marker bool, payload ...byte) []byte {
	raw := []byte{'$', channel, 0, 0, 0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
	if marker {
		raw[5] |= 0x80
	}
	binary.BigEndian.PutUint16(raw[2:], uint16(12+len(payload)))
	binary.BigEndian.PutUint16(raw[6:], number)
	binary.BigEndian.PutUint32(raw[8:], stamp)
	return append(raw, payload...)
}

// count is how often a method was asked for.
func (f *fake) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, request := range f.requests {
		if strings.HasPrefix(request, method+" ") {
			n++
		}
	}
	return n
}
