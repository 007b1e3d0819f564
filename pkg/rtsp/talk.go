package rtsp

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/login"
	"github.com/camwarden/camwarden/pkg/socket"
)

// maxStray is how many messages that nobody asked for are read while an answer is awaited.
const maxStray = 32

// talk is one conversation with a camera, from connect to close.
type talk struct {
	ctx     context.Context
	target  Target
	limits  Limits
	observe func(fault.Step, depacketize.Codec)
	whole   time.Time // when everything but the goodbye must be done
	step    fault.Step
	trip    time.Duration

	wire      *wire
	deafen    func() // ends the watch over ctx, and waits until it has ended
	ended     bool
	cseq      int
	forsaken  []forsaken // requests whose answers are not waited for any more
	echoes    int        // how many answers bore the CSeq of their request; -1: once one did not
	login     *login.Login
	url       string // of the stream, in requests
	base      string // of the presentation: what PLAY and TEARDOWN name
	server    string // as the camera says it
	realm     string // of its first challenge
	sessionID string
	requested bool          // a key frame
	records   bool          // it takes streams from others: it is no camera, but a server that has one behind it
	took      time.Duration // the last answer
	mute      bool          // OPTIONS was not answered in time
	granted   bool          // SETUP was
	session   Session

	codec    depacketize.Codec // of the track that was chosen
	payload  byte              // and its payload type
	receiver *depacketize.Receiver
	sockets  *sockets  // of UDP
	bye      time.Time // when RTCP said that a source leaves; zero once video came after it
	followed bool      // a redirect
}

// begin connects to the target; its errors are explained already, and what it then returns has ended.
func begin(ctx context.Context, target Target, limits Limits, observe func(fault.Step, depacketize.Codec)) (*talk, error) {
	t := &talk{ctx: ctx, target: target, limits: limits.complete(), observe: observe, deafen: func() {}}
	if err := t.check(); err != nil {
		t.ended = true
		return t, err
	}
	t.whole = time.Now().Add(t.limits.Whole)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(t.whole) {
		t.whole = deadline
	}
	t.url = t.scheme() + "://" + hostPort(target.Address) + target.Path
	t.base = t.url

	if err := t.connect(); err != nil {
		err = t.explain(err)
		t.end()
		return t, err
	}
	return t, nil
}

func (t *talk) scheme() string {
	if t.target.Scheme == "" {
		return "rtsp"
	}
	return t.target.Scheme
}

// check refuses what cannot be asked of any camera.
func (t *talk) check() error {
	target := t.target
	switch {
	case !target.Address.IsValid():
		return fault.New(fault.DNS, fault.Connect, "%s has no address", t.clean(target.Host)).WithHint("does the name resolve on this host?")
	case t.scheme() != "rtsp" && t.scheme() != "rtsps":
		return t.fault(fault.Usage, "unknown scheme %q", t.clean(target.Scheme)).WithHint("rtsp or rtsps")
	case !strings.HasPrefix(target.Path, "/") && target.Path != "", unfit(target.Path):
		return t.fault(fault.Usage, "the path %q cannot stand in a request", t.clean(target.Path)).WithHint("begin it with a slash and percent-encode blanks")
	case t.scheme() == "rtsps" && target.Transport == camera.UDP:
		return t.fault(fault.Usage, "rtsps over UDP would send the video in the clear").WithHint("transport: tcp")
	}
	switch target.Transport {
	case "", camera.TCP, camera.UDP, camera.Auto:
		return nil
	}
	return t.fault(fault.Usage, "unknown transport %q", t.clean(string(target.Transport))).WithHint("tcp, udp or auto")
}

func (t *talk) connect() error {
	t.note(fault.Connect)
	conn, trip, err := socket.Dial(t.ctx, t.target.Address, t.deadline())
	if err != nil {
		return err
	}
	t.trip = trip
	t.session.Local = socket.Local(conn)
	t.wire = newWire(conn, t.limits.Bytes)
	t.watch()
	t.wire.until(t.deadline())
	if t.scheme() != "rtsps" {
		return nil
	}
	over, err := socket.Secure(t.wire.meter, cmp.Or(t.target.Host, t.target.Address.Addr().WithZone("").String()), t.target.RootCAs)
	t.wire.speak(over)
	return err
}

// watch makes the end of the context end whatever the wire waits for.
func (t *talk) watch() {
	done := make(chan struct{})
	stop := context.AfterFunc(t.ctx, func() {
		defer close(done)
		t.wire.interrupt()
	})
	t.deafen = func() {
		if !stop() {
			<-done
		}
	}
}

// end tears down what stands and closes what is open. Further calls do nothing.
func (t *talk) end() {
	if t.ended {
		return
	}
	t.ended = true
	t.goodbye()
	t.deafen()
	t.sockets.close()
	if t.wire != nil {
		// No SO_LINGER: after an answered TEARDOWN nothing is unread, and close sends FIN. Where the camera still
		// streams, the kernel sends RST by itself (RFC 2525 section 2.17), which is what a deaf camera must hear.
		_ = t.wire.conn.Close()
	}
}

// note begins a step.
func (t *talk) note(step fault.Step) {
	t.step = step
	if t.observe != nil {
		t.observe(step, t.codec)
	}
}

// deadline is when a step that begins now must be done.
func (t *talk) deadline() time.Time {
	deadline := time.Now().Add(t.limits.Step)
	if t.whole.Before(deadline) {
		return t.whole
	}
	return deadline
}

// forsaken is a request whose answer may still come.
type forsaken struct {
	method method
	cseq   int
}

func (t *talk) schemes() []string {
	if t.target.Schemes == nil {
		return []string{login.Digest, login.Basic}
	}
	return t.target.Schemes
}

// mostStale is how often one request is repeated with a new nonce because the camera calls the last one too old.
const mostStale = 1

// ask sends a request as one step, logs in if the camera wants that and we have not yet, and returns the answer. That the nonce of
// a log-in is stale is no refusal (RFC 2617 section 3.2.1): the password was right.
func (t *talk) ask(step fault.Step, method method, url string, headers map[string]string) (*answer, error) {
	return t.askUntil(step, t.deadline(), method, url, headers)
}

func (t *talk) askUntil(step fault.Step, deadline time.Time, method method, url string, headers map[string]string) (*answer, error) {
	t.note(step)
	t.wire.until(deadline)
	for stale := 0; ; stale++ {
		asked := time.Now()
		answer, err := t.exchange(method, url, headers)
		t.took = time.Since(asked)
		if err != nil || answer == nil || answer.status != http.StatusUnauthorized {
			return answer, err
		}
		challenges := answer.header["www-authenticate"]
		t.realm = cmp.Or(t.realm, login.Realm(challenges))
		next := login.NewOf(t.schemes(), challenges, t.target.Username, t.target.Password)
		switch {
		case method == methodOptions && len(challenges) == 0:
			return answer, nil // whether it wants a log-in, and how, the next answer says
		case t.login == nil && t.target.Username == "" && t.target.Password == "":
			return nil, t.fault(fault.Auth, "it wants a log-in, and none is given").WithHint("name its user in the URL, or as username in the configuration, and give the password in CAM_PASSWORD or a password_file")
		case t.login == nil && len(challenges) == 0:
			return nil, t.fault(fault.Auth, "it answered 401 and does not say how to log in").WithHint("may this user see this stream?")
		case t.login == nil && next == nil:
			return nil, t.fault(fault.Auth, "it wants a log-in of a kind we do not know").WithHint("switch the camera to digest authentication")
		case t.login == nil:
			stale-- // this is the log-in itself
		case next != nil && next.Stale() && stale < mostStale:
		case next != nil && next.Stale():
			return nil, t.fault(fault.Auth, "it calls each of our log-ins too old, whatever we answer (stale nonces)").
				WithHint("the password is not the trouble: restart the camera, or look for a proxy before it that answers for several")
		default:
			return nil, t.refused(challenges, time.Since(asked))
		}
		t.login = next
	}
}

// refused is the fault of a log-in that the camera did not accept. Some servers wait before they say so, and do not repeat their
// challenge, which looks like other trouble.
func (t *talk) refused(challenges []string, took time.Duration) error {
	const slow = time.Second
	how := ""
	switch {
	case took >= slow && len(challenges) == 0:
		how = fmt.Sprintf(", after %.1f s and without a new challenge, as MediaMTX does", took.Seconds())
	case took >= slow:
		how = fmt.Sprintf(", after %.1f s", took.Seconds())
	}
	return t.fault(fault.Auth, "%w%s", login.ErrRefused, how).
		WithHint("some cameras lock an account after a few wrong log-ins: check before the next try")
}

// exchange sends one request and reads until its answer. Video that comes meanwhile is taken, and when it completes
// the key frame the answer is no longer waited for: it is nil then.
func (t *talk) exchange(method method, url string, headers map[string]string) (*answer, error) {
	if err := t.send(method, url, headers); err != nil {
		return nil, err
	}
	for range maxStray {
		answer, err := t.listen()
		switch {
		case err != nil:
			return nil, err
		case answer == nil:
			t.forsake(method)
			return nil, nil
		case t.answers(method, answer):
			return answer, nil
		}
	}
	return nil, errNotRTSP
}

// forsake waits no longer for the answer to the last request.
func (t *talk) forsake(method method) { t.forsaken = append(t.forsaken, forsaken{method, t.cseq}) }

// listen reads until an answer, whosever it is, or until the key frame is whole.
func (t *talk) listen() (*answer, error) {
	for requests := 0; requests < maxStray; {
		m, err := t.wire.next()
		switch {
		case err != nil:
			return nil, err
		case m.answer != nil:
			return m.answer, nil
		case m.request != nil:
			requests++
			if err := t.reply(m.request); err != nil {
				return nil, err
			}
		case t.receiver != nil:
			if err := t.interleaved(m.channel, m.packet); err != nil {
				return nil, err
			}
			if t.receiver.KeyFrame() != nil {
				return nil, nil
			}
		}
	}
	return nil, errNotRTSP
}

// answers reports whether the answer is final and belongs to the last request, which is of that method. One request at a time is
// under way, so the next final answer is its own, whatever cameras put into CSeq (nothing, 0, always 1, one too few), unless it
// is the late one of a request that was given up.
func (t *talk) answers(method method, answer *answer) bool {
	if answer.status < http.StatusOK {
		return false
	}
	cseq, err := strconv.Atoi(strings.TrimSpace(answer.header.first("cseq")))
	if err == nil && cseq == t.cseq {
		if t.echoes >= 0 {
			t.echoes++
		}
		return true
	}
	for i, late := range t.forsaken {
		if err == nil && cseq == late.cseq || late.method == methodOptions && method == methodDescribe && answer.header.first("public") != "" {
			t.forsaken = slices.Delete(t.forsaken, i, i+1)
			return false
		}
	}
	if method == methodTeardown && t.echoes > 1 {
		return false // this camera knows how to count, and only now says things that nobody asked for
	}
	if n := len(t.forsaken); n > 0 && method == methodTeardown {
		t.forsaken = t.forsaken[:n-1] // answers come in order
		return false
	}
	t.echoes = -1
	return true
}

func (t *talk) send(method method, url string, headers map[string]string) error {
	t.cseq++
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s RTSP/1.0\r\nCSeq: %d\r\nUser-Agent: %s\r\n", method, url, t.cseq, cmp.Or(t.target.Agent, "camwarden"))
	if t.login != nil {
		fmt.Fprintf(&text, "Authorization: %s\r\n", t.login.Authorization(string(method), url))
	}
	if t.sessionID != "" {
		fmt.Fprintf(&text, "Session: %s\r\n", t.sessionID)
	}
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(&text, "%s: %s\r\n", name, headers[name])
	}
	text.WriteString("\r\n")
	return t.wire.send([]byte(text.String()))
}

// reply answers a request of the camera's: it asks whether we live, or wants something that we do not do.
func (t *talk) reply(request *request) error {
	status := "501 Not Implemented"
	switch request.method {
	case "OPTIONS", "GET_PARAMETER", "SET_PARAMETER":
		status = "200 OK"
	}
	cseq := ""
	if len(request.cseq) > 0 && len(request.cseq) < 20 {
		cseq = "CSeq: " + request.cseq + "\r\n"
	}
	return t.wire.send([]byte("RTSP/1.0 " + status + "\r\n" + cseq + "\r\n"))
}
