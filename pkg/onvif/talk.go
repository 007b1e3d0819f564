package onvif

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
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
	defaultStep  = 4 * time.Second
	defaultWhole = 12 * time.Second
	defaultBytes = 8 << 20
	defaultPath  = "/onvif/device_service"
	maxRedirects = 3
	drainMost    = 64 << 10
)

// method is how we log in to the device.
type method int

const (
	noLogIn method = iota
	byDigest
	byToken
)

// talk is one conversation: one call after the other, over one connection at a time.
type talk struct {
	ctx    context.Context
	target Target
	limits Limits
	whole  time.Time
	device Device

	conn  net.Conn // nil: none is open
	br    *bufio.Reader
	local netip.AddrPort
	used  bool
	stop  func()
	mu    sync.Mutex
	ended bool // the context has

	method   method
	login    *login.Login
	proven   bool          // it answered an ONVIF call without a log-in
	accepted bool          // the device took the log-in
	refused  bool          // it did not: nothing more is sent
	wanted   bool          // it wanted one that was not to be sent
	once     bool          // it takes each nonce of a digest for one request
	clock    time.Duration // what to add to our clock for the device's

	media, media2 string // the paths of its services; "" where it has none
}

func newTalk(ctx context.Context, target Target, limits Limits) *talk {
	limits.Step = cmp.Or(limits.Step, defaultStep)
	limits.Whole = cmp.Or(limits.Whole, defaultWhole)
	limits.Bytes = cmp.Or(limits.Bytes, defaultBytes)
	target.Path = cmp.Or(target.Path, defaultPath)
	target.Agent = cmp.Or(target.Agent, "camwarden")
	t := &talk{ctx: ctx, target: target, limits: limits, whole: time.Now().Add(limits.Whole), stop: func() {}}
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(t.whole) {
		t.whole = deadline
	}
	return t
}

func (t *talk) outcome() LogIn {
	switch {
	case t.refused:
		return Refused
	case t.accepted:
		return Accepted
	case t.wanted || len(t.device.Profiles) == 0:
		return NotTried
	default:
		return None
	}
}

// call makes one call, logging in where the device wants that, and returns its envelope. At most one log-in fails: after that none
// is sent.
func (t *talk) call(path string, r request) (*element, error) {
	if t.once && t.method == byDigest {
		t.method = noLogIn // to be asked for anew
	}
	for renewed := false; ; {
		answer, err := t.post(path, r)
		if err != nil {
			return nil, err
		}
		if !answer.denied() {
			proves := answer.fault == nil && answer.status < http.StatusMultipleChoices && (t.method == byDigest || t.method == byToken && !r.open)
			t.accepted = t.accepted || proves
			t.proven = t.proven || t.method == noLogIn && answer.isONVIF()
			return answer.result(r)
		}
		next := login.NewOf(t.schemes(), answer.offers, t.target.Username, t.target.Password)
		if t.method == byDigest && !renewed && next != nil && (next.Stale() || t.accepted) {
			t.once = t.once || !next.Stale() // it takes each nonce once, and does not say so
			t.login, renewed = next, true
			continue
		}
		if err := t.logIn(r, answer, next); err != nil {
			return nil, err
		}
	}
}

// logIn chooses how to log in after an answer that wants it; the error says why that is not done.
func (t *talk) logIn(r request, denial answer, next *login.Login) error {
	switch {
	case t.method != noLogIn && t.accepted:
		return denial.because(r) // the log-in is right, the user may not do this
	case t.method != noLogIn:
		t.refused, t.method = true, noLogIn
		return ErrRefused
	case t.refused:
		return ErrRefused
	case !t.target.LogIn || t.target.Username == "":
		t.wanted = true
		return ErrWanted
	case next != nil:
		t.login, t.method = next, byDigest
	case r.open: // a token has the time in it, and whatever is answered without one is not worth a refusal
		return denial.because(r)
	default:
		t.method = byToken
	}
	return nil
}

// schemes are those of the challenges that may be answered. Basic gives the server the password itself: it goes over TLS alone, whose
// certificate proves nothing here, and so only to an address that the user named or a service that has shown to be ONVIF.
func (t *talk) schemes() []string {
	if t.target.TLS && (t.target.Known || t.proven) {
		return []string{login.Digest, login.Basic}
	}
	return []string{login.Digest}
}

// answer is what came back.
type answer struct {
	status   int
	envelope *element
	unread   error // why there is no envelope
	fault    *Fault
	offers   []string // of log-ins
}

// denied reports whether the device wants another log-in, or one at all.
func (a answer) denied() bool {
	return a.status == http.StatusUnauthorized || a.fault != nil && a.fault.denied()
}

// isONVIF reports whether this is a result of one of the calls that ONVIF lets everybody make.
func (a answer) isONVIF() bool {
	if a.fault != nil || a.unread != nil || a.status >= http.StatusMultipleChoices {
		return false
	}
	return slices.ContainsFunc([]string{"Date", "Service", "XAddr", "Profiles", "Manufacturer"}, func(name string) bool { return a.envelope.find(name) != nil })
}

// because is what to say of an answer that is no result.
func (a answer) because(r request) error {
	if a.fault != nil {
		return a.fault
	}
	return &Fault{Operation: r.name, Code: strconv.Itoa(a.status)}
}

func (a answer) result(r request) (*element, error) {
	switch {
	case a.fault != nil:
		return nil, a.fault
	case a.unread != nil && a.status == http.StatusNotFound:
		return nil, ErrNoService
	case a.unread != nil && a.status >= 400:
		return nil, fmt.Errorf("%w: %s is answered with %d", ErrNotONVIF, r.name, a.status)
	case a.unread != nil:
		return nil, a.unread
	}
	return a.envelope, nil
}

// post sends one call and reads its answer, following redirects to the same server alone.
func (t *talk) post(path string, r request) (answer, error) {
	for range maxRedirects + 1 {
		got, err := t.exchange(path, r)
		if err != nil {
			return answer{}, err
		}
		if got.Server == "" {
			got.Server = t.device.Server
		}
		t.device.HTTP, t.device.Server = true, got.Server
		if got.to == "" {
			t.device.ONVIF = t.device.ONVIF || got.unread == nil
			return got.answer, nil
		}
		path = t.servicePath(got.to)
	}
	return answer{}, fmt.Errorf("%w: it redirects in circles", ErrNotONVIF)
}

// got is an answer with what only the wire knows of it.
type got struct {
	answer

	Server string
	to     string // where it redirects, "" where it does not
}

// exchange sends one request over the connection, or a new one, and reads the whole answer.
func (t *talk) exchange(path string, r request) (got, error) {
	for again := false; ; again = true {
		kept := t.conn != nil && t.used
		a, err := t.send(path, r)
		if err == nil {
			return t.read(a, r)
		}
		why, known := socket.CauseOf(err, "http")
		if !kept || again || !known || why.Class != fault.Closed { // a connection that was kept may have died (RFC 9112 9.3.1)
			return got{}, err
		}
		if err := t.hangUp(); err != nil {
			return got{}, err
		}
	}
}

func (t *talk) send(path string, r request) (*httpwire.Answer, error) {
	if err := t.connect(); err != nil {
		return nil, err
	}
	t.until(t.deadline())
	t.used = true
	if _, err := io.WriteString(t.conn, t.message(path, r)); err != nil {
		return nil, err
	}
	return httpwire.Read(t.br)
}

// message is the request as it goes out.
func (t *talk) message(path string, r request) string {
	body := r.envelope("")
	authorization := ""
	switch {
	case t.method == byToken && !r.open:
		body = r.envelope(token(t.target.Username, t.target.Password, time.Now().Add(t.clock)))
	case t.method == byDigest:
		authorization = "Authorization: " + t.login.Authorization(http.MethodPost, path) + "\r\n"
	}
	return "POST " + path + " HTTP/1.1\r\nHost: " + t.hostPort() + "\r\nUser-Agent: " + t.target.Agent + "\r\n" +
		"Content-Type: application/soap+xml; charset=utf-8; action=\"" + r.action() + "\"\r\n" + authorization +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

func (t *talk) read(a *httpwire.Answer, r request) (got, error) {
	g := got{answer: answer{status: a.Status, offers: a.Header["www-authenticate"]}, Server: clean(a.First("server"))}
	if len(g.offers) > 0 && t.device.Realm == "" {
		t.device.Realm = clean(login.Realm(g.offers))
	}
	if a.Redirects() {
		g.to = cmp.Or(strings.TrimSpace(a.First("location")), "/")
	}
	body := &bounded{r: a.Decoded(), left: t.limits.Bytes}
	var err error
	if g.envelope, err = decode(body); err != nil {
		if _, wire := socket.CauseOf(err, "http"); wire && !errors.Is(err, io.ErrUnexpectedEOF) {
			return g, err
		}
		g.unread = err
	} else {
		g.fault = faultOf(g.envelope, r.name)
	}
	if !a.Drain(drainMost) {
		return g, t.hangUp()
	}
	return g, nil
}

// bounded gives at most so many bytes, and ErrFlood where there are more.
type bounded struct {
	r    io.Reader
	left int64
}

// Read reads from what is bounded.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, ErrFlood
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (t *talk) deadline() time.Time {
	deadline := time.Now().Add(t.limits.Step)
	if t.whole.Before(deadline) {
		return t.whole
	}
	return deadline
}

func (t *talk) connect() error {
	if t.conn != nil {
		return nil
	}
	deadline := t.deadline()
	conn, _, err := socket.Dial(t.ctx, t.target.Address, deadline)
	if err != nil {
		return err
	}
	t.conn, t.local, t.used = conn, socket.Local(conn), false
	t.watch()
	t.until(deadline)
	speaker := conn
	if t.target.TLS {
		if speaker, err = socket.Secure(conn, t.host(), nil); err != nil {
			t.close()
			return err
		}
		t.conn = speaker
	}
	t.br = bufio.NewReaderSize(speaker, 16<<10)
	return nil
}

// watch makes the end of the context end whatever is waited for.
func (t *talk) watch() {
	done := make(chan struct{})
	conn := t.conn
	stop := context.AfterFunc(t.ctx, func() {
		defer close(done)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.ended = true
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	t.stop = func() {
		if !stop() {
			<-done
		}
	}
}

func (t *talk) until(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		deadline = time.Unix(1, 0)
	}
	_ = t.conn.SetDeadline(deadline) // fails only on a closed connection, and then so does what comes next
}

// hangUp closes the connection, and sees that it is gone before another one may be dialled.
func (t *talk) hangUp() error {
	t.close()
	if t.target.Gone == nil {
		return nil
	}
	return t.target.Gone(t.local)
}

// close closes what is open. Further calls do nothing.
func (t *talk) close() {
	t.stop()
	t.stop = func() {}
	if t.conn == nil {
		return
	}
	if over, ok := t.conn.(interface{ NetConn() net.Conn }); ok { // without TLS's goodbye, for which a device that hangs lets us wait
		_ = over.NetConn().Close()
	} else {
		_ = t.conn.Close()
	}
	t.conn = nil
}

func (t *talk) scheme() string {
	if t.target.TLS {
		return "https"
	}
	return "http"
}

// host is the address as a URL writes it.
func (t *talk) host() string {
	host := t.target.Address.Addr().WithZone("").Unmap().String()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host
}

func (t *talk) hostPort() string {
	return t.host() + ":" + strconv.Itoa(int(t.target.Address.Port()))
}
