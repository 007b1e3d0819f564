package camsim_test

import (
	"bufio"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// patience is how long a test waits for what should happen at once.
const patience = 10 * time.Second

// start starts a camera on an address of its own and closes it with the test.
func start(t *testing.T, config camsim.Config) *camsim.Camera {
	t.Helper()
	camera, err := camsim.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(camera.Close)
	return camera
}

// client speaks RTSP as text, without the library the cameras are made of.
type client struct {
	t       *testing.T
	conn    net.Conn
	reader  *bufio.Reader
	cseq    int
	session string
	url     string
}

func dial(t *testing.T, camera *camsim.Camera) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", camera.Address().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	return talkOver(t, camera, conn)
}

// talkOver speaks to a camera over a connection that stands.
func talkOver(t *testing.T, camera *camsim.Camera, conn net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, conn: conn, reader: bufio.NewReader(conn), url: camera.URL()}
}

// answer is a response with its body.
type answer struct {
	status int
	header textproto.MIMEHeader
	body   string
}

// try sends a request and reads the answer; the error is that of the connection, or a time-out after wait.
func (c *client) try(wait time.Duration, method, url string, header ...string) (answer, error) {
	c.t.Helper()
	c.cseq++
	request := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n", method, url, c.cseq)
	if c.session != "" {
		request += "Session: " + c.session + "\r\n"
	}
	for _, line := range header {
		request += line + "\r\n"
	}
	if _, err := io.WriteString(c.conn, request+"\r\n"); err != nil {
		return answer{}, err
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(wait))
	lines := textproto.NewReader(c.reader)
	for {
		first, err := c.reader.Peek(1)
		if err != nil {
			return answer{}, err
		}
		if first[0] != '$' {
			break
		}
		if _, _, err := c.frame(); err != nil {
			return answer{}, err
		}
	}
	status, err := lines.ReadLine()
	if err != nil {
		return answer{}, err
	}
	fields := strings.Fields(status)
	if len(fields) < 2 || fields[0] != "RTSP/1.0" {
		return answer{}, fmt.Errorf("not RTSP: %.40q", status)
	}
	got := answer{}
	if got.status, err = strconv.Atoi(fields[1]); err != nil {
		return answer{}, err
	}
	if got.header, err = lines.ReadMIMEHeader(); err != nil {
		return answer{}, err
	}
	if length, _ := strconv.Atoi(got.header.Get("Content-Length")); length > 0 {
		body := make([]byte, length)
		if _, err := io.ReadFull(c.reader, body); err != nil {
			return answer{}, err
		}
		got.body = string(body)
	}
	if session := got.header.Get("Session"); session != "" {
		c.session, _, _ = strings.Cut(session, ";")
	}
	return got, nil
}

// ask demands an answer with the status.
func (c *client) ask(status int, method, url string, header ...string) answer {
	c.t.Helper()
	got, err := c.try(patience, method, url, header...)
	if err != nil {
		c.t.Fatalf("%s: %v, want status %d", method, err, status)
	}
	if got.status != status {
		c.t.Fatalf("%s: status %d, want %d", method, got.status, status)
	}
	return got
}

func (c *client) options()  { c.t.Helper(); c.ask(200, "OPTIONS", c.url) }
func (c *client) describe() { c.t.Helper(); c.ask(200, "DESCRIBE", c.url, "Accept: application/sdp") }

func (c *client) trySetup(wait time.Duration) (answer, error) {
	c.t.Helper()
	return c.try(wait, "SETUP", c.url+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
}

func (c *client) setup(status int) {
	c.t.Helper()
	got, err := c.trySetup(patience)
	if err != nil || got.status != status {
		c.t.Fatalf("SETUP: status %d, %v, want %d", got.status, err, status)
	}
}
func (c *client) play()     { c.t.Helper(); c.ask(200, "PLAY", c.url) }
func (c *client) teardown() { c.t.Helper(); c.ask(200, "TEARDOWN", c.url) }

// watch goes as far as PLAY.
func (c *client) watch() {
	c.t.Helper()
	c.options()
	c.describe()
	c.setup(200)
	c.play()
}

// frame reads one interleaved frame.
func (c *client) frame() (channel byte, payload []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(c.reader, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0] != '$' {
		return 0, nil, fmt.Errorf("no interleaved frame: %q", head)
	}
	payload = make([]byte, binary.BigEndian.Uint16(head[2:]))
	_, err = io.ReadFull(c.reader, payload)
	return head[1], payload, err
}

// pictures reads media until it has seen the beginning of n pictures, and returns their NAL unit types.
func (c *client) pictures(n int) (types []byte) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * patience))
	for len(types) < n {
		channel, payload, err := c.frame()
		if err != nil {
			c.t.Fatalf("media: %v", err)
		}
		if channel != 0 || len(payload) < 14 {
			continue
		}
		for _, kind := range typesOf(payload[12:]) { // no CSRCs, no extension
			if kind == 1 || kind == 5 {
				types = append(types, kind)
			}
		}
	}
	return types
}

// typesOf returns the types of the H.264 NAL units that begin in a payload.
func typesOf(nal []byte) (types []byte) {
	switch kind := nal[0] & 0x1f; kind {
	case 24: // STAP-A
		for rest := nal[1:]; len(rest) > 2; {
			size := int(binary.BigEndian.Uint16(rest))
			types = append(types, rest[2]&0x1f)
			rest = rest[2+size:]
		}
	case 28: // FU-A
		if nal[1]&0x80 != 0 {
			types = append(types, nal[1]&0x1f)
		}
	default:
		types = append(types, kind)
	}
	return types
}

// ending reads until the connection ends and says how: "eof", "reset", "timeout" when it does not within wait.
func (c *client) ending(wait time.Duration) string {
	_ = c.conn.SetReadDeadline(time.Now().Add(wait))
	_, err := io.Copy(io.Discard, c.reader)
	return wayOf(err)
}

func wayOf(err error) string {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	}
	return err.Error()
}

// eventually waits until the condition holds for the camera's counts.
func eventually(t *testing.T, camera *camsim.Camera, what string, holds func(camsim.Counts) bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds(camera.Counts()) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s; counts %+v", patience, what, camera.Counts())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// addrPort parses an address of a test.
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// basic and digest write the header of a log-in at DESCRIBE (RFC 7617; RFC 2617 section 3.2.2, without qop).
func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func digest(challenge, user, password, uri string) string {
	field := func(name string) string {
		_, rest, _ := strings.Cut(challenge, name+`="`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	hash := func(text string) string {
		sum := md5.Sum([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	realm, nonce := field("realm"), field("nonce")
	response := hash(hash(user+":"+realm+":"+password) + ":" + nonce + ":" + hash("DESCRIBE:"+uri))
	return fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`, user, realm, nonce, uri, response)
}
