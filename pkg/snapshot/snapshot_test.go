package snapshot

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/httpwire"
	"github.com/camwarden/camwarden/pkg/login"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// camera answers each request by its number, over connections that it keeps open; nil hangs up.
type camera struct {
	at       netip.AddrPort
	dials    atomic.Int64
	requests chan string
}

func serve(t *testing.T, answer func(n int, request string, conn net.Conn) []byte) *camera {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	c := &camera{at: netip.MustParseAddrPort(listener.Addr().String()), requests: make(chan string, 100)}
	go func() {
		for n := 0; ; {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			c.dials.Add(1)
			for {
				request, err := readRequest(conn)
				if err != nil {
					break
				}
				n++
				c.requests <- request
				reply := answer(n, request, conn)
				if reply == nil {
					break
				}
				if _, err := conn.Write(reply); err != nil {
					break
				}
			}
			_ = conn.Close()
		}
	}()
	return c
}

func readRequest(conn net.Conn) (string, error) {
	var text []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(text, []byte("\r\n\r\n")) {
		if _, err := conn.Read(one); err != nil {
			return "", err
		}
		text = append(text, one[0])
	}
	return string(text), nil
}

func reply(status, headers string, body []byte) []byte {
	return append(fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n", status, len(body), headers), body...)
}

func (c *camera) fetch(t *testing.T, limit time.Duration) (Picture, error) {
	t.Helper()
	target := Target{Address: c.at, Path: "/shot.jpg", Username: "viewer", Password: "s3cret&pass"}
	picture, local, err := Fetch(t.Context(), target, Limits{Whole: limit})
	if !local.IsValid() {
		t.Error("no local end")
	}
	if err != nil && strings.Contains(err.Error(), "s3cret") {
		t.Errorf("it tells the password: %v", err)
	}
	return picture, err
}

const challenge = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n%d\", qop=\"auth\"\r\n"

func TestFetch_logsInOverTheSameConnection(t *testing.T) {
	t.Parallel()
	whole := testkit.Photo(t, 320, 180)
	c := serve(t, func(n int, request string, _ net.Conn) []byte {
		if !strings.Contains(request, "Authorization: Digest") {
			return reply("401 Unauthorized", fmt.Sprintf(challenge, n), []byte("no"))
		}
		return reply("200 OK", "", whole)
	})
	picture, err := c.fetch(t, 10*time.Second)
	if err != nil || !bytes.Equal(picture.JPEG, whole) || c.dials.Load() != 1 {
		t.Errorf("%d bytes, %v, %d dials", len(picture.JPEG), err, c.dials.Load())
	}
	first, second := <-c.requests, <-c.requests
	if strings.Contains(first, "Authorization") || strings.Contains(second, "s3cret") || len(c.requests) > 0 {
		t.Errorf("%q\n%q", first, second)
	}
}

func TestFetch_aRefusedLogInIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(n int) []byte
		logIns int // that go out
		wraps  bool
	}{
		"refused": {func(n int) []byte { return reply("401 No", fmt.Sprintf(challenge, n), nil) }, 1, true},
		"always stale": {func(n int) []byte {
			return reply("401 No", strings.TrimSuffix(fmt.Sprintf(challenge, n), "\r\n")+", stale=true\r\n", nil)
		}, 2, true},
		"then Basic": {func(n int) []byte {
			return reply("401 No", fmt.Sprintf(challenge, n)+"WWW-Authenticate: Basic realm=\"b\"\r\n", nil)
		}, 1, true},
		"Basic in the clear": {func(int) []byte { return reply("401 No", "WWW-Authenticate: Basic realm=\"b\"\r\n", nil) }, 0, false},
		"nothing to answer":  {func(int) []byte { return reply("401 No", "", nil) }, 0, false},
		"forbidden":          {func(int) []byte { return reply("403 No", fmt.Sprintf(challenge, 1), nil) }, 0, false},
		"refused and locked": {func(n int) []byte {
			return reply([]string{"401 No", "403 Locked"}[min(n-1, 1)], fmt.Sprintf(challenge, n), nil)
		}, 1, true},
		"redirected to the next that asks": {func(n int) []byte {
			if n%2 == 1 {
				return reply("401 No", fmt.Sprintf(challenge, n), nil)
			}
			return reply("302 Found", fmt.Sprintf("Location: /snap%d\r\n", n), nil)
		}, 2, true},
		"redirected to the next, stale": {func(n int) []byte {
			return [][]byte{
				reply("401 No", fmt.Sprintf(challenge, n), nil), reply("401 No", strings.TrimSuffix(fmt.Sprintf(challenge, n), "\r\n")+", stale=true\r\n", nil),
				reply("302 Found", "Location: /snap\r\n", nil), reply("401 No", fmt.Sprintf(challenge, n), nil),
			}[min(n-1, 3)]
		}, 2, true},
		"redirected to a log-in page": {func(n int) []byte {
			return [][]byte{
				reply("401 No", fmt.Sprintf(challenge, n), nil), reply("302 Found", "Location: /login.html\r\n", nil),
				reply("200 OK", "", []byte("<html><body>Password</body></html>")),
			}[min(n-1, 2)]
		}, 1, true},
		"redirected and forbidden": {func(n int) []byte {
			return [][]byte{
				reply("401 No", fmt.Sprintf(challenge, n), nil), reply("302 Found", "Location: /no\r\n", nil), reply("403 No", "", nil),
			}[min(n-1, 2)]
		}, 1, true},
		"answered with a log-in page": {func(n int) []byte {
			return [][]byte{reply("401 No", fmt.Sprintf(challenge, n), nil), reply("200 OK", "", []byte("<html><body>Password</body></html>"))}[min(n-1, 1)]
		}, 1, true},
		"answered with XML": {func(n int) []byte {
			return [][]byte{reply("401 No", fmt.Sprintf(challenge, n), nil), reply("200 OK", "", []byte("<Status>Unauthorized</Status>"))}[min(n-1, 1)]
		}, 1, true},
		"a log-in page at once": {func(int) []byte { return reply("200 OK", "", []byte("<html><body>Password</body></html>")) }, 0, false},
		"an unknown algorithm": {func(int) []byte {
			return reply("401 No", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA3-512\r\n", nil)
		}, 0, false},
		"hangs up on the login": {func(n int) []byte { return [][]byte{reply("401 No", fmt.Sprintf(challenge, n), nil), nil}[min(n-1, 1)] }, 2, false},
	} {
		cam := serve(t, func(n int, _ string, _ net.Conn) []byte { return c.answer(n) })
		_, err := cam.fetch(t, 10*time.Second)
		class := fault.ClassOf(err)
		if class != fault.Auth && (class != fault.Closed || !strings.HasPrefix(name, "hangs")) || errors.Is(err, login.ErrRefused) != c.wraps ||
			class == fault.Auth && errors.Is(err, ErrUnspent) != (c.logIns == 0) {
			t.Errorf("%s: %v, refused: %v", name, err, errors.Is(err, login.ErrRefused))
		}
		sent := 0
		for len(cam.requests) > 0 {
			if request := <-cam.requests; strings.Contains(request, "Authorization:") {
				sent++
				if strings.Contains(request, "Basic") {
					t.Errorf("%s: the password went out in the clear", name)
				}
			}
		}
		if sent != c.logIns {
			t.Errorf("%s: %d log-ins, want %d", name, sent, c.logIns)
		}
	}
}

// What came is judged by its bytes, and told for what it is.
func TestFetch_namesWhatIsNoPicture(t *testing.T) {
	t.Parallel()
	whole := testkit.Photo(t, 320, 180)
	for name, c := range map[string]struct {
		answer []byte
		class  fault.Class
		says   string
	}{
		"Reolink, not logged in": {reply("200 OK", "", []byte(`[{"cmd":"Snap","code":1,"error":{"detail":"please login first","rspCode":-6}}]`)), fault.Auth, "please login first"},
		"Reolink, full":          {reply("200 OK", "", []byte(`[{"cmd":"Login","error":{"detail":"max session","rspCode":-5}}]`)), fault.Exhausted, "no session left"},
		"a log-in page":          {reply("200 OK", "Content-Type: image/jpeg\r\n", []byte("<html><body>Password</body></html>")), fault.Auth, "log-in page"},
		"a page":                 {reply("200 OK", "", []byte("<!DOCTYPE html><body>The device is busy</body>")), fault.NotJPEG, "busy"},
		"go2rtc's dead source":   {reply("200 OK", "", nil), fault.NotJPEG, "nothing"},
		"busy":                   {reply("503 Device Busy", "", nil), fault.Exhausted, "503"},
		"too often":              {reply("429 Slow Down", "", nil), fault.Exhausted, "429"},
		"gone":                   {reply("404 Not Found", "", whole), fault.NotFound, "404"},
		"ustreamer, no signal":   {reply("200 OK", "X-UStreamer-Online: false\r\n", whole), fault.NoVideo, "X-UStreamer-Online"},
		"a PNG":                  {reply("200 OK", "", []byte("\x89PNG\r\n\x1a\n")), fault.NotJPEG, "PNG"},
		"half":                   {reply("200 OK", "", whole[:len(whole)/2]), fault.NotJPEG, "FF D9"},
		"a thumbnail without its picture": {
			reply("200 OK", "", append([]byte("\x00\x00\xff\xe1\x20\x00Exif\x00\x00"), whole...)), fault.NotJPEG, "no JPEG",
		},
		"somewhere else":      {reply("302 Found", "Location: http://192.0.2.7/x\r\n", nil), fault.Protocol, "192.0.2.7"},
		"TLS on a plain port": {[]byte("\x15\x03\x01\x00\x02\x02\x46\n"), fault.Protocol, "not HTTP"},
	} {
		cam := serve(t, func(int, string, net.Conn) []byte { return c.answer })
		_, err := cam.fetch(t, 2*time.Second)
		if fault.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %s %v, want %s with %q", name, fault.ClassOf(err), err, c.class, c.says)
		}
	}
}

func TestFetch_waitsForNothingBehindThePicture(t *testing.T) {
	t.Parallel()
	whole := testkit.Photo(t, 320, 180)
	var zipped bytes.Buffer
	packer := gzip.NewWriter(&zipped)
	_, _ = packer.Write(whole)
	_ = packer.Close()
	part := append([]byte("HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n--x\r\nContent-Type: image/jpeg\r\n\r\n"), whole...)
	torn := append(append(bytes.Clone(part[:len(part)-500]), "\r\n--x\r\nContent-Type: image/jpeg\r\n\r\n"...), whole...)
	for name, answer := range map[string][]byte{
		"a length too long":     append([]byte("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), whole...),
		"no length":             append([]byte("HTTP/1.1 200 OK\r\n\r\n"), whole...),
		"no number":             append([]byte("HTTP/1.1 200 OK\r\nContent-Length: -1\r\nno-cache\r\nHTTP/1.0 200 OK\r\n\r\n"), whole...),
		"chunks without an end": append(fmt.Appendf(nil, "ICY 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", len(whole)), whole...),
		"packed":                append([]byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"), zipped.Bytes()...),
		"a stream":              part,
		"a stream, first torn":  torn,
	} {
		cam := serve(t, func(_ int, _ string, conn net.Conn) []byte {
			_, _ = conn.Write(answer)
			_, _ = conn.Read(make([]byte, 1)) // keeps the connection until we hang up
			return nil
		})
		began := time.Now()
		picture, err := cam.fetch(t, time.Minute)
		if err != nil || !bytes.Equal(picture.JPEG, whole) {
			t.Errorf("%s: %d bytes, %v", name, len(picture.JPEG), err)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

// An answer without an end is neither waited for nor kept: 64 MiB are what a round may take in all.
func TestFetch_endlessBodiesCostLittle(t *testing.T) {
	t.Parallel()
	whole := testkit.Photo(t, 320, 180)
	noise := bytes.Repeat([]byte("camera"), 10000)
	for name, begin := range map[string]string{
		"a picture that does not end": "HTTP/1.1 200 OK\r\n\r\n" + string(whole[:len(whole)/2]),
		"a header that does not end":  "HTTP/1.1 200 OK\r\nX: ",
		"no picture at all":           "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n",
	} {
		cam := serve(t, func(_ int, _ string, conn net.Conn) []byte {
			_, _ = conn.Write([]byte(begin))
			for {
				if _, err := conn.Write(noise); err != nil {
					return nil
				}
			}
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := cam.fetch(t, time.Minute)
		runtime.ReadMemStats(&after)
		if class := fault.ClassOf(err); class != fault.NotJPEG && class != fault.Protocol {
			t.Errorf("%s: %v", name, err)
		}
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 64 {
			t.Errorf("%s: %d MiB", name, mib)
		}
	}
}

func TestFetch_endsWithItsContext(t *testing.T) {
	t.Parallel()
	cam := serve(t, func(_ int, _ string, conn net.Conn) []byte {
		_, _ = conn.Read(make([]byte, 1)) // mute
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-cam.requests; cancel() }()
	_, _, err := Fetch(ctx, Target{Address: cam.at}, Limits{Whole: time.Minute})
	if fault.ClassOf(err) != fault.Cancelled {
		t.Errorf("%v", err)
	}
	late, end := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer end()
	_, _, err = Fetch(late, Target{Address: cam.at}, Limits{})
	if fault.ClassOf(err) != fault.Timeout {
		t.Errorf("%v", err)
	}
}

// FuzzAnswer reads any answer without a panic, and gives out nothing that does not begin and end as a JPEG.
func FuzzAnswer(f *testing.F) {
	whole := testkit.Photo(f, 64, 48)
	f.Add(append([]byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), whole...))
	f.Add(append([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n"), whole...))
	f.Add([]byte("HTTP/1.0 200 OK\r\nContent-Type: multipart/x; b=c\r\n\r\n--c\r\n\r\n\xff\xd8\xff\xd8\xff\xd9"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Write(answer)
			_ = theirs.Close()
		}()
		talk := newTalk(t.Context(), Target{Address: netip.MustParseAddrPort("127.0.0.1:80")}, Limits{})
		talk.meter.Conn, talk.conn = ours, ours
		talk.br = bufio.NewReaderSize(ours, readBuffer)
		a, err := httpwire.Read(talk.br)
		if err == nil && a.Status == 200 {
			var picture Picture
			if picture, err = talk.picture(a); err == nil && (!bytes.HasPrefix(picture.JPEG, []byte{0xff, 0xd8}) || !bytes.HasSuffix(picture.JPEG, []byte{0xff, 0xd9})) {
				t.Errorf("% x", picture.JPEG)
			}
		}
		_ = ours.Close()
		_ = talk.explain(err)
	})
}
