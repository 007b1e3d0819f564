package snapshot

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/httpwire"
	"github.com/camwarden/camwarden/pkg/login"
	"github.com/camwarden/camwarden/pkg/socket"
)

const (
	maxRedirects = 3
	maxLogIns    = 2        // a visit: the second where the nonce was stale, or a redirect led to what asks again
	drainMost    = 64 << 10 // bytes of a refusal that are read to keep the connection; a longer one costs a new connection
	readBuffer   = 16 << 10
)

var errFlood = errors.New("byte limit exceeded")

// talk is one visit: one request after the other, over one connection at a time.
type talk struct {
	ctx    context.Context
	target Target
	limits Limits
	whole  time.Time // when everything must be done
	step   fault.Step

	conn   net.Conn // nil: none is open
	meter  *meter
	br     *bufio.Reader
	local  netip.AddrPort // our end of the last connection
	used   bool           // a request went over this connection before
	again  bool           // a request has been repeated because a connection that was kept had died
	login  *login.Login
	logIns int // that were sent in this visit; a redirect does not change that
	cookie string
	stop   func() // ends the watch over ctx, and waits until it has ended

	mu          sync.Mutex
	interrupted bool
}

func newTalk(ctx context.Context, target Target, limits Limits) *talk {
	limits.Whole = cmp.Or(limits.Whole, DefaultWhole)
	limits.Picture = cmp.Or(limits.Picture, DefaultPicture)
	limits.Bytes = cmp.Or(limits.Bytes, DefaultBytes)
	target.Auth = cmp.Or(target.Auth, Auto)
	target.Path = cmp.Or(target.Path, "/")
	t := &talk{ctx: ctx, target: target, limits: limits, whole: time.Now().Add(limits.Whole), step: fault.Connect, stop: func() {}}
	if target.Auth == Query && (target.Username != "" || target.Password != "") {
		t.logIns = 1
	}
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(t.whole) {
		t.whole = deadline
	}
	t.meter = &meter{left: limits.Bytes}
	return t
}

// check refuses what cannot be asked of any camera.
func (t *talk) check() error {
	switch {
	case !t.target.Address.IsValid():
		return fault.New(fault.DNS, fault.Connect, "%s has no address", t.clean(t.target.Host)).WithHint("does the name resolve on this host?")
	case !strings.HasPrefix(t.target.Path, "/"), unfit(t.target.Path), unfit(t.target.Host):
		return t.fault(fault.Usage, "the snapshot path %q cannot stand in a request", t.clean(t.target.Path)).
			WithHint("begin it with a slash and percent-encode blanks")
	}
	return nil
}

// fetch asks until there is a picture, or an answer that is final.
func (t *talk) fetch() (Picture, error) {
	for redirects := 0; ; {
		answer, err := t.ask()
		if err != nil {
			return Picture{}, err
		}
		switch {
		case answer.Status == http.StatusUnauthorized:
			if err := t.challenged(answer); err != nil {
				return Picture{}, err
			}
		case answer.Redirects():
			if redirects++; redirects > maxRedirects {
				return Picture{}, t.fault(fault.Protocol, "it redirects in circles").WithHint("open the snapshot path in a browser, and take the URL where that ends")
			}
			if err := t.follow(answer); err != nil {
				return Picture{}, err
			}
		case answer.Status >= 200 && answer.Status < 300 && answer.Status != http.StatusNoContent:
			return t.picture(answer)
		default:
			return Picture{}, t.refusal(answer)
		}
		if !t.drain(answer) {
			if err := t.hangUp(); err != nil {
				return Picture{}, err
			}
		}
	}
}

// ask sends the request and reads the header of its answer. A connection that the camera had kept may have died meanwhile: then
// the request is sent once more over a new one (RFC 9112 section 9.3.1).
func (t *talk) ask() (*httpwire.Answer, error) {
	for {
		if err := t.connect(); err != nil {
			return nil, err
		}
		t.step = fault.Request
		kept := t.used
		t.used = true
		_, err := t.conn.Write([]byte(t.request()))
		var answer *httpwire.Answer
		if err == nil {
			answer, err = httpwire.Read(t.br)
		}
		if err == nil {
			return answer, nil
		}
		why, known := socket.CauseOf(err, "http")
		if !kept || t.again || !known || why.Class != fault.Closed {
			return nil, err
		}
		t.again = true
		if err := t.hangUp(); err != nil {
			return nil, err
		}
	}
}

func (t *talk) request() string {
	var text strings.Builder
	text.WriteString("GET " + t.target.Path + " HTTP/1.1\r\nHost: " + t.hostPort() + "\r\nUser-Agent: camwarden\r\nAccept: */*\r\n")
	if t.cookie != "" {
		text.WriteString("Cookie: " + t.cookie + "\r\n")
	}
	if t.login != nil {
		text.WriteString("Authorization: " + t.login.Authorization(http.MethodGet, t.target.Path) + "\r\n")
	}
	text.WriteString("\r\n")
	return text.String()
}

// drain reads past the body of an answer that is of no use, and reports whether the connection can be used again. It does not
// wait long for what was announced: another connection costs less.
func (t *talk) drain(a *httpwire.Answer) bool {
	const patience = 300 * time.Millisecond
	if soon := time.Now().Add(patience); soon.Before(t.whole) {
		t.until(soon)
		defer t.until(t.whole)
	}
	return a.Drain(drainMost)
}

// challenged prepares the log-in that an answer asks for.
func (t *talk) challenged(answer *httpwire.Answer) error {
	offers := answer.Header["www-authenticate"]
	next := login.NewOf(t.schemes(), offers, t.target.Username, t.target.Password)
	switch {
	case t.login != nil && next != nil && next.Stale() && t.logIns < maxLogIns:
	case t.login != nil:
		return t.fault(fault.Auth, "%w", login.ErrRefused).WithHint(hintLock)
	case t.target.Auth == None:
		return t.fault(fault.Auth, "it wants a log-in, and snapshot_auth is none").WithHint("set snapshot_auth: auto for this camera")
	case t.target.Auth == Query:
		return t.fault(fault.Auth, "%w that stand in the path (401)", login.ErrRefused).WithHint("check them, or set snapshot_auth: auto for this camera")
	case t.logIns >= maxLogIns:
		return t.inCircles()
	case t.target.Username == "" && t.target.Password == "":
		return t.fault(fault.Auth, "it wants a log-in, and none is given").WithHint("name its user in the URL, or as username in the configuration, and give the password in CAM_PASSWORD or a password_file")
	case next == nil && login.NewOf([]string{login.Basic}, offers, "", "") != nil:
		return t.fault(fault.Auth, "it knows only Basic, which would send the password in the clear").
			WithHint("use https:// if the camera has it, or set snapshot_auth: basic for this camera")
	case next == nil:
		return t.fault(fault.Auth, "it wants a log-in of a kind we do not know (401)").WithHint("switch the camera to digest authentication")
	}
	t.login = next
	t.logIns++
	t.bake(answer)
	return nil
}

// schemes are those by which we would log in here, the best first.
func (t *talk) schemes() []string {
	switch {
	case t.target.Auth == Basic:
		return []string{login.Basic, login.Digest}
	case t.target.Auth == Auto && t.target.TLS:
		return []string{login.Digest, login.Basic}
	}
	return []string{login.Digest}
}

// bake keeps the cookies of a challenge for the log-in that answers it: some cameras want them back (RFC 6265 section 5.4).
func (t *talk) bake(answer *httpwire.Answer) {
	const longest = 4 << 10
	for _, line := range answer.Header["set-cookie"] {
		pair, _, _ := strings.Cut(line, ";")
		if pair = strings.TrimSpace(pair); strings.Contains(pair, "=") && len(t.cookie)+len(pair) < longest {
			t.cookie += cond(t.cookie != "", "; ") + pair
		}
	}
}

func cond(yes bool, text string) string {
	if yes {
		return text
	}
	return ""
}

// connect opens a connection if there is none.
func (t *talk) connect() error {
	if t.conn != nil {
		return nil
	}
	t.step = fault.Connect
	conn, _, err := socket.Dial(t.ctx, t.target.Address, t.whole)
	if err != nil {
		return err
	}
	t.local = socket.Local(conn)
	t.meter.Conn = conn
	t.conn, t.used = t.meter, false
	t.watch()
	t.until(t.whole)
	if t.target.TLS {
		over, err := t.secure()
		if err != nil {
			return err
		}
		t.conn = over
	}
	t.br = bufio.NewReaderSize(t.conn, readBuffer)
	return nil
}

// watch makes the end of the context end whatever is waited for.
func (t *talk) watch() {
	done := make(chan struct{})
	stop := context.AfterFunc(t.ctx, func() {
		defer close(done)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.interrupted = true
		_ = t.meter.SetDeadline(time.Unix(1, 0))
	})
	t.stop = func() {
		if !stop() {
			<-done
		}
	}
}

// until sets the deadline of all that follows. After an interrupt it has passed already.
func (t *talk) until(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.interrupted {
		deadline = time.Unix(1, 0)
	}
	_ = t.meter.SetDeadline(deadline) // fails only on a closed connection, and then so does what comes next
}

// secure speaks TLS. Where nothing comes back, a blank line tells a port that speaks plainly, and waits for the end of our request,
// from a camera that hangs.
func (t *talk) secure() (net.Conn, error) {
	const pause = 700 * time.Millisecond
	before := t.meter.left
	rest := time.Until(t.whole)
	t.until(t.whole.Add(-min(rest/4, 2*pause)))
	over, err := socket.Secure(t.meter, cmp.Or(t.target.Host, t.target.Address.Addr().WithZone("").String()), t.target.RootCAs)
	if t.ctx.Err() != nil {
		return nil, errors.Join(t.ctx.Err(), err)
	}
	t.until(t.whole)
	if err == nil {
		return over, nil
	}
	if why, known := socket.CauseOf(err, "http"); !known || why.Class != fault.Timeout || t.meter.left < before {
		return nil, err
	}
	t.until(time.Now().Add(min(rest/8, pause)))
	if _, failed := t.meter.Write([]byte("\r\n\r\n")); failed != nil {
		return nil, err
	}
	if _, failed := t.meter.Read(make([]byte, 1)); failed == nil || !isTimeout(failed) {
		return nil, t.fault(fault.Protocol, "it does not speak TLS").WithHint("try the same URL with http://")
	}
	return nil, err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// hangUp closes the connection, and sees that it is gone before another one may be dialled.
func (t *talk) hangUp() error {
	t.close()
	if t.target.Gone == nil {
		return nil
	}
	return t.target.Gone(t.local)
}

func (t *talk) close() {
	t.stop()
	t.stop = func() {}
	if t.conn != nil {
		_ = t.meter.Conn.Close() // without TLS's goodbye, for which a camera that hangs would let us wait
	}
	t.conn = nil
}

// end closes what is open. Further calls do nothing.
func (t *talk) end() { t.close() }

func (t *talk) hostPort() string {
	host := t.target.Host
	if host == "" {
		host = t.target.Address.Addr().WithZone("").Unmap().String()
	}
	port := t.target.Address.Port()
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	if port == 80 && !t.target.TLS || port == 443 && t.target.TLS {
		return host
	}
	return host + ":" + strconv.Itoa(int(port))
}

// meter is a connection that gives at most so many bytes.
type meter struct {
	net.Conn
	left int64
}

// Read reads from the connection, or fails with errFlood when the limit has been reached.
func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errFlood
	}
	n, err := m.Conn.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	return n, err
}
