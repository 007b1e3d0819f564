package rtsp

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/login"
)

// goodbyeBytes is how much video we read past while we wait for the answer to TEARDOWN. It is generous, because to
// close with anything unread is to reset, and a reset can destroy a TEARDOWN that the camera has not yet read.
const goodbyeBytes = 64 << 20

func (t *talk) fetch() (depacketize.KeyFrame, error) {
	if err := t.open(); err != nil {
		return depacketize.KeyFrame{}, err
	}
	return t.await()
}

// open sets the video track up.
func (t *talk) open() error {
	offer, err := t.describe()
	if err != nil {
		return err
	}
	track, ok := offer.video(t.target.Codecs...)
	if !ok {
		return t.fault(fault.NoVideo, "it offers %s, and no video that can be read here", t.clean(offer.String())).
			WithHint("the source ffmpeg may be able to read it")
	}
	t.codec, t.payload = track.codec, track.payload
	if t.receiver, err = depacketize.NewReceiver(track.format(), t.limits.Picture); err != nil {
		return err
	}
	return t.setup(track)
}

// await plays until a key frame is whole.
func (t *talk) await() (depacketize.KeyFrame, error) {
	asked := time.Now()
	if err := t.play(); err != nil {
		return depacketize.KeyFrame{}, err
	}
	if err := t.receive(); err != nil {
		return depacketize.KeyFrame{}, err
	}
	frame := *t.receiver.KeyFrame()
	frame.Waited = frame.CapturedAt.Sub(asked)
	return frame, nil
}

func (t *talk) probe() (Info, error) {
	offer, err := t.describe()
	info := Info{RoundTrip: t.trip, Server: t.clean(t.server), Realm: t.clean(t.realm), Session: t.clean(offer.session), Local: t.session.Local}
	for _, track := range offer.tracks {
		info.Tracks = append(info.Tracks, Track{Media: t.clean(track.media), Encoding: t.clean(track.encoding), Usable: track.codec != ""})
	}
	return info, err
}

// describe asks OPTIONS and DESCRIBE, and follows one redirect to another stream of the same camera.
func (t *talk) describe() (offer, error) {
	answer, err := t.options()
	if err == nil && (answer == nil || !isRedirect(answer.status)) {
		answer, err = t.ask(fault.Describe, methodDescribe, t.url, map[string]string{"Accept": "application/sdp"})
		if err != nil && t.mute && isTimeout(err) && !t.wire.answered {
			t.note(fault.Options) // it never said a word
		}
	}
	if err != nil {
		return offer{}, err
	}
	if server := answer.header.first("server"); server != "" {
		t.server = server
	}
	if isRedirect(answer.status) {
		if err := t.follow(answer); err != nil {
			return offer{}, err
		}
		return t.describe()
	}
	if err := t.accepted(answer); err != nil {
		return offer{}, err
	}
	offer := parseOffer(answer.body)
	if len(offer.tracks) == 0 {
		return offer, t.fault(fault.Protocol, "its description of the stream names no track")
	}
	t.base = t.presentation(answer, offer)
	return offer, nil
}

// mostForOptions is how long an answer to OPTIONS is waited for. Some cameras have none, and what matters comes next.
const mostForOptions = 2 * time.Second

// options asks OPTIONS. That it is refused, or not answered, means nothing, but for a log-in that it wants and a redirect. The
// answer is nil when there was none.
func (t *talk) options() (*answer, error) {
	deadline := t.deadline()
	if soon := time.Now().Add(min(mostForOptions, time.Until(deadline)/3)); soon.Before(deadline) {
		deadline = soon
	}
	answer, err := t.askUntil(fault.Options, deadline, methodOptions, t.url, nil)
	switch {
	case err == nil:
		if server := answer.header.first("server"); server != "" {
			t.server = server
		}
		t.records = strings.Contains(strings.ToUpper(answer.header.first("public")), "ANNOUNCE")
		return answer, nil
	case isTimeout(err) && t.ctx.Err() == nil && time.Now().Before(t.whole):
		t.wire.failed = nil
		t.mute = true
		t.forsake(methodOptions)
		return nil, nil
	}
	return nil, err
}

// presentation is the URL that stands for all tracks: the description's own, the answer's, or the one we asked for.
func (t *talk) presentation(answer *answer, offer offer) string {
	candidates := []string{offer.control}
	for _, name := range []string{"content-base", "content-location"} {
		candidates = append(candidates, answer.header[name]...)
	}
	for _, candidate := range candidates {
		candidate = withoutUser(strings.TrimSpace(candidate))
		if strings.HasPrefix(candidate, "/") && candidate != offer.control {
			candidate = t.scheme() + "://" + hostPort(t.target.Address) + candidate
		}
		if absolute(candidate) && !unfit(candidate) {
			return candidate
		}
	}
	return t.url
}

// setup opens a session with the one track.
func (t *talk) setup(track track) error {
	url, err := trackURL(t.base, track.control)
	if err != nil {
		return t.fault(fault.Protocol, "it names its video track by %q", t.clean(track.control))
	}
	if t.target.Transport == camera.UDP {
		return t.setupUDP(url)
	}
	// Until the answer says otherwise, a session may stand.
	t.session.Opened = true
	answer, err := t.ask(fault.Setup, methodSetup, url, map[string]string{"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
	if err != nil {
		return t.unopened(err)
	}
	if answer.status == statusUnsupportedTransport && t.target.Transport == camera.Auto && t.scheme() == "rtsp" {
		return t.setupUDP(url)
	}
	if err := t.opened(answer); err != nil {
		return err
	}
	transport, err := t.transport(answer)
	if err != nil {
		return err
	}
	if transport.udp {
		return t.fault(fault.Protocol, "asked for the video on the same connection, it granted another way").WithHint("try transport: udp")
	}
	if ids := transport.channels; ids[0] >= 0 {
		t.wire.channels = [2]byte{byte(ids[0]), byte(ids[1])}
	}
	return nil
}

// setupUDP opens a session whose video comes to two ports of ours.
func (t *talk) setupUDP(url string) error {
	var err error
	if t.sockets, err = listenUDP(t.wire.conn.LocalAddr(), t.target.Address.Addr()); err != nil {
		t.note(fault.Setup)
		return t.fault(fault.Local, "no pair of UDP ports: %w", err)
	}
	t.session.Opened = true
	port := t.sockets.port
	answer, err := t.ask(fault.Setup, methodSetup, url, map[string]string{
		"Transport": fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d", port, port+1),
	})
	if err != nil {
		return t.unopened(err)
	}
	if err := t.opened(answer); err != nil {
		return err
	}
	transport, err := t.transport(answer)
	if err != nil {
		return err
	}
	if transport.tcp || transport.multicast {
		return t.fault(fault.Protocol, "asked for the video over unicast UDP, it granted another way").WithHint("try transport: tcp")
	}
	t.sockets.announced, t.sockets.granted = transport.source, transport
	t.sockets.reports = transport.ports[1]
	t.sockets.greet(transport.ports[0], transport.ports[1])
	return nil
}

// unopened keeps the session apart from a SETUP that was refused for certain.
func (t *talk) unopened(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		t.session.Opened = false
	}
	return err
}

// opened notes the session that an answer to SETUP grants.
func (t *talk) opened(answer *answer) error {
	if err := t.accepted(answer); err != nil {
		t.session.Opened = false
		return err
	}
	t.granted = true
	if value := answer.header.first("session"); value != "" {
		id, _, _ := strings.Cut(value, ";")
		if id = strings.TrimSpace(id); unfit(id) {
			return t.fault(fault.Protocol, "its session id cannot stand in a request")
		}
		t.sessionID = id
	}
	return nil
}

func (t *talk) transport(answer *answer) (transport, error) {
	granted := parseTransport(answer.header["transport"])
	if granted.hasSSRC {
		t.receiver.Expect(granted.ssrc)
	}
	if granted.secure {
		// A description may offer SRTP only, as servers do behind TLS, and still grant RTP when asked for it.
		return granted, t.fault(fault.NoVideo, "it encrypts the video itself (SRTP), although it was asked not to")
	}
	return granted, nil
}

// play asks for the video. A key frame that is whole before the answer is as good.
func (t *talk) play() error {
	answer, err := t.ask(fault.Play, methodPlay, t.base, map[string]string{"Range": "npt=0.000-"})
	if err != nil || answer == nil {
		return err
	}
	return t.accepted(answer)
}

// slowAnswer is what a camera that only looks something up never takes.
const slowAnswer = 2 * time.Second

// accepted turns an answer that is not a success into a fault.
func (t *talk) accepted(answer *answer) error {
	status := answer.status
	if status >= 200 && status < 300 {
		return nil
	}
	said := strings.TrimSpace("it answered " + strconv.Itoa(status) + " " + t.clean(answer.reason))
	switch {
	case isRedirect(status):
		return t.elsewhere(answer)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return t.fault(fault.Auth, "%s", said).WithHint("may this user see this stream?")
	case status == http.StatusNotFound && t.took >= slowAnswer:
		return t.fault(fault.NotFound, "%s after %.1f s", said, t.took.Seconds()).
			WithHint("a server such as go2rtc or Frigate says so, and so late, when its own camera does not answer: look there first")
	case status == http.StatusNotFound:
		return t.fault(fault.NotFound, "%s", said).WithHint("check the path of the stream in the camera's manual")
	case status == statusNotEnoughBandwidth, status == http.StatusServiceUnavailable:
		return t.fault(fault.Exhausted, "%s", said).WithHint("somebody else may hold its connections; on this host: ss -tnp dst %s", t.target.Address)
	}
	return t.fault(fault.Protocol, "%s", said)
}

// answerPatience is how long an answer to TEARDOWN is waited for before we hang up, and wait on for the camera to do the same.
const answerPatience = DefaultGoodbye / 3

// goodbye sends TEARDOWN for a session that stands, and waits a moment for its answer. What interrupts the visit does
// not interrupt this: it has a bound of its own.
//
// Where no answer comes (go2rtc sends none, and keeps the connection open) the evidence is, in this order: the camera hangs up in
// order once we have, or its kernel has acknowledged the TEARDOWN behind a picture, so that it was not dead.
func (t *talk) goodbye() {
	if !t.granted || t.wire.broken() {
		return
	}
	deadline := time.Now().Add(t.limits.Goodbye)
	t.wire.farewell(time.Now().Add(min(t.limits.Goodbye/3, answerPatience)), goodbyeBytes)
	if t.send(methodTeardown, t.base, nil) != nil {
		return
	}
	answer, err := t.lastAnswer()
	if err == nil && t.renews(answer) && t.send(methodTeardown, t.base, nil) == nil {
		answer, err = t.lastAnswer()
	}
	if err != nil && isTimeout(err) && t.wire.hangUp() {
		t.wire.failed = nil
		t.wire.until(deadline)
		answer, err = t.lastAnswer()
	}
	if err != nil {
		// A camera that hangs up in order has read what we sent: with TEARDOWN still unread its kernel would reset.
		t.session.TornDown = t.wire.hungUp()
		// More bytes than we read say as little as none: what counts is that its kernel has TEARDOWN.
		said := isTimeout(err) || errors.Is(err, errFlood)
		t.session.Told = t.receiver.KeyFrame() != nil && said && t.wire.acknowledged()
		return
	}
	t.session.TornDown = answer.status >= 200 && answer.status < 300 || answer.status == statusSessionNotFound
}

// renews takes a new nonce, where the answer says that the last one was too old.
func (t *talk) renews(answer *answer) bool {
	if answer.status != http.StatusUnauthorized || t.login == nil {
		return false
	}
	next := login.NewOf(t.schemes(), answer.header["www-authenticate"], t.target.Username, t.target.Password)
	if next == nil || !next.Stale() {
		return false
	}
	t.login = next
	return true
}

// lastAnswer waits for the answer to TEARDOWN.
func (t *talk) lastAnswer() (*answer, error) {
	for {
		answer, err := t.wire.nextAnswer()
		if err != nil || t.answers(methodTeardown, answer) {
			return answer, err
		}
	}
}
