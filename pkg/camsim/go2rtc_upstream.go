package camsim

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/conn"
	"github.com/pion/rtp"
)

// upstream is one connection to a camera, or to go2rtc's own ffmpeg where that makes a test picture.
type upstream struct {
	life    *life
	id      uint32
	shown   string // the source without what follows "#"
	address string // of the camera, as it was dialled
	path    string
	codec   codecInfo
	sdp     string
	deaf    bool  // nothing of it fits the tracks of its consumers
	virtual *film // of the test picture, nil for a camera
	bytes   atomic.Int64

	url         *base.URL
	user        *url.Userinfo
	secure      *tls.Config
	backchannel bool // it asks for a channel to the camera's loudspeaker, and a second time without one when that fails

	socket  *socket
	buffer  *bufio.Reader // of the socket
	reader  *conn.Conn    // of that
	login   *auth.Sender
	control string
	cseq    int
	session string
	sending sync.Mutex
}

// open connects to a source and asks what it has. A DESCRIBE that fails leaves its connection open to nobody.
func (l *life) open(source string) (*upstream, error) {
	raw, fragment, options := strings.Cut(source, "#")
	if query, ok := strings.CutPrefix(raw, "ffmpeg:virtual?"); ok {
		return l.openVirtual(source, query, fragment)
	}
	u, err := base.ParseURL(raw)
	if err != nil {
		_, err := url.Parse(raw)
		if err == nil {
			err = errors.New("unsupported scheme: " + raw)
		}
		return nil, errors.New(masked(err.Error()))
	}
	up := &upstream{life: l, id: l.ids.Add(1), shown: raw, user: u.User, url: u.CloneWithoutCredentials()}
	up.path = up.url.Path
	if up.url.RawQuery != "" {
		up.path += "?" + up.url.RawQuery
	}
	up.backchannel = !options
	for _, option := range strings.Split(fragment, "#") {
		up.backchannel = up.backchannel || option == "backchannel=1"
	}
	if u.Scheme != "rtsp" {
		// Assumed of rtsps: the certificate of an address is not checked. That of rtspx never is.
		up.url.Scheme = "rtsps"
		up.secure = &tls.Config{InsecureSkipVerify: true}
	}
	up.address = u.Host
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		up.address = net.JoinHostPort(strings.Trim(u.Host, "[]"), "554")
	}
	for {
		if err := up.dial(); err != nil {
			return nil, err
		}
		err := up.describe()
		if err == nil {
			return up, nil
		}
		if !up.backchannel {
			return nil, err
		}
		up.backchannel = false // perhaps it was that: everything once more
	}
}

// describe asks for the description.
func (up *upstream) describe() error {
	res, err := up.ask(base.Describe, up.url, base.Header{"Accept": base.HeaderValue{"application/sdp"}})
	if err == nil {
		err = up.read(res)
	}
	switch {
	case err == nil:
		return nil
	case gone(err):
		_ = up.socket.Close()
	default:
		up.socket.leak()
	}
	return err
}

func (up *upstream) dial() error {
	ctx, cancel := context.WithCancel(up.life.ctx)
	defer cancel()
	socket, err := up.life.sockets.dial(ctx, up.address, up.secure)
	if err != nil {
		if up.life.ctx.Err() != nil {
			return errDead
		}
		return err
	}
	up.socket, up.login, up.cseq, up.session = socket, nil, 0, ""
	up.buffer = bufio.NewReader(countedReader{socket, &up.bytes})
	up.reader = conn.NewConn(up.buffer, socket)
	return nil
}

// gone tells whether the camera has ended the connection, so that there is nothing to leak.
func gone(err error) bool {
	var broken *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &broken) && !broken.Timeout()
}

// ask sends a request and reads the answer; it logs in when it is asked to.
func (up *upstream) ask(method base.Method, to *base.URL, header base.Header) (*base.Response, error) {
	for {
		if err := up.send(method, to, header); err != nil {
			return nil, err
		}
		_ = up.socket.SetReadDeadline(time.Now().Add(up.life.config.Patience))
		res, err := up.hear()
		if err != nil {
			return nil, err
		}
		if res.StatusCode == base.StatusUnauthorized {
			if err := up.challenged(res); err != nil {
				return nil, err
			}
			continue
		}
		if where, moved := movedTo(res); moved {
			if err := up.follow(where); err != nil {
				return nil, err
			}
			to = up.url
			continue
		}
		if res.StatusCode != base.StatusOK {
			return nil, fmt.Errorf("wrong response on %s", method)
		}
		if up.login != nil && method == base.Describe {
			up.count(func(d *Go2rtcDials) { d.Logins++ })
		}
		return res, nil
	}
}

// hear reads an answer. What is none is quoted, as it came.
func (up *upstream) hear() (*base.Response, error) {
	begins, err := up.buffer.Peek(len("RTSP/"))
	if err == nil && string(begins) != "RTSP/" {
		var line []byte
		if line, err = up.buffer.ReadSlice('\n'); err == nil || errors.Is(err, bufio.ErrBufferFull) {
			text := strings.TrimRight(string(line), "\r\n")
			if fields := strings.SplitN(text, " ", 3); len(fields) == 3 {
				_, err = strconv.Atoi(fields[1]) // a status, for all it knows
				if err != nil {
					return nil, err
				}
			}
			return nil, fmt.Errorf("malformed response: %s", text)
		}
	}
	if err != nil {
		return nil, err
	}
	res, err := up.reader.ReadResponse()
	var network net.Error
	if err != nil && !errors.As(err, &network) && !gone(err) {
		return nil, fmt.Errorf("malformed response: %w", err)
	}
	return res, err
}

// movedTo returns where an answer sends the client (RFC 2326 section 11.3).
func movedTo(res *base.Response) (to string, moved bool) {
	where := res.Header["Location"]
	if res.StatusCode != base.StatusMovedPermanently && res.StatusCode != base.StatusFound || len(where) == 0 {
		return "", false
	}
	return strings.TrimSpace(where[0]), true
}

// follow goes where the camera sends it, with the log-in it has.
func (up *upstream) follow(where string) error {
	to, err := base.ParseURL(where)
	if err != nil {
		return err
	}
	_ = up.socket.Close()
	up.url, up.address, up.path = to.CloneWithoutCredentials(), to.Host, to.Path
	login := ":"
	if up.user != nil {
		login = up.user.String()
	}
	up.shown = to.Scheme + "://" + login + "@" + strings.TrimPrefix(up.url.String(), to.Scheme+"://")
	return up.dial()
}

func (up *upstream) challenged(res *base.Response) error {
	switch {
	case up.user == nil:
		return errors.New("user/pass not provided")
	case up.login != nil:
		up.count(func(d *Go2rtcDials) { d.LoginsFailed++ })
		return errors.New("wrong user/pass")
	}
	password, _ := up.user.Password()
	login := &auth.Sender{WWWAuth: res.Header["WWW-Authenticate"], User: up.user.Username(), Pass: password}
	if login.Initialize() != nil {
		return errors.New("wrong user/pass")
	}
	up.login = login
	return nil
}

func (up *upstream) count(change func(*Go2rtcDials)) {
	up.life.g.calls.dialled(up.socket.camera, change)
}

func (up *upstream) send(method base.Method, to *base.URL, header base.Header) error {
	req := &base.Request{Method: method, URL: to, Header: base.Header{"User-Agent": base.HeaderValue{up.life.agent()}}}
	for name, value := range header {
		req.Header[name] = value
	}
	if up.backchannel && method == base.Describe {
		req.Header["Require"] = base.HeaderValue{"www.onvif.org/ver20/backchannel"}
	}
	up.sending.Lock() // the end of a connection may come while it begins to play
	defer up.sending.Unlock()
	up.cseq++
	req.Header["CSeq"] = base.HeaderValue{fmt.Sprint(up.cseq)}
	if up.session != "" {
		req.Header["Session"] = base.HeaderValue{up.session}
	}
	if up.login != nil {
		up.login.AddAuthorization(req)
	}
	_ = up.socket.SetWriteDeadline(time.Now().Add(up.life.config.Patience))
	return up.reader.WriteRequest(req)
}

// read reads the description.
func (up *upstream) read(res *base.Response) error {
	if where := res.Header["Content-Base"]; len(where) > 0 {
		if to, err := base.ParseURL(strings.TrimSpace(where[0])); err == nil {
			up.url = to
		}
	}
	up.sdp = string(res.Body)
	up.codec, up.control = readSDP(up.sdp)
	if up.codec.name == "" {
		return errors.New("unknown error") // no video
	}
	return nil
}

// setup sets the video up. Asked for a loudspeaker's channel, a camera may have refused for that: it is tried again without.
func (up *upstream) setup() error {
	if up.virtual != nil {
		return nil
	}
	err := up.trySetup()
	if err != nil && up.backchannel {
		up.backchannel = false
		up.close()
		if err := up.dial(); err != nil {
			return err
		}
		if err := up.describe(); err != nil {
			return err
		}
		err = up.trySetup()
	}
	return err
}

func (up *upstream) trySetup() error {
	control := up.control
	if !strings.Contains(control, "://") {
		control = strings.TrimSuffix(up.url.String(), "/") + "/" + control
	}
	to, err := base.ParseURL(control)
	if err != nil {
		return err
	}
	res, err := up.ask(base.Setup, to, base.Header{"Transport": base.HeaderValue{"RTP/AVP/TCP;unicast;interleaved=0-1"}})
	if err != nil {
		return err
	}
	if session := res.Header["Session"]; len(session) > 0 {
		up.session, _, _ = strings.Cut(session[0], ";")
	}
	return nil
}

// play sends PLAY, does not wait for an answer, and reads until the connection ends or is silent for too long.
func (up *upstream) play(video *track) {
	if up.virtual != nil {
		up.playVirtual(video)
		return
	}
	if up.send(base.Play, up.url, nil) != nil {
		return
	}
	for {
		_ = up.socket.SetReadDeadline(time.Now().Add(up.life.silence()))
		what, err := up.reader.Read()
		if err != nil {
			return
		}
		frame, ok := what.(*base.InterleavedFrame)
		if !ok || frame.Channel != 0 {
			continue
		}
		if new(rtp.Packet).Unmarshal(frame.Payload) != nil {
			return // it dials again at once
		}
		if !up.deaf && video != nil {
			video.write(append([]byte(nil), frame.Payload...), up)
		}
	}
}

// close tells the camera and hangs up.
func (up *upstream) close() {
	if up.socket == nil {
		return
	}
	_ = up.send(base.Teardown, up.url, nil)
	_ = up.socket.Close()
}

// remote is the camera's address as the lists show it.
func (up *upstream) remote() string {
	if up.socket == nil {
		return up.life.config.RTSP.String()
	}
	return up.socket.camera.String()
}

// countedReader counts what is read.
type countedReader struct {
	from io.Reader
	read *atomic.Int64
}

// Read reads.
func (r countedReader) Read(into []byte) (int, error) {
	n, err := r.from.Read(into)
	r.read.Add(int64(n))
	return n, err
}
