package rtsp

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
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
	t.codec = track.codec
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
	info := Info{RoundTrip: t.trip, Server: t.clean(t.server), Local: t.session.Local}
	for _, track := range offer.tracks {
		info.Tracks = append(info.Tracks, Track{Media: t.clean(track.media), Encoding: t.clean(track.encoding), Usable: track.codec != ""})
	}
	return info, err
}

// describe asks OPTIONS and DESCRIBE.
func (t *talk) describe() (offer, error) {
	answer, err := t.ask(fault.Options, base.Options, t.url, nil)
	if err != nil {
		return offer{}, err
	}
	if values := answer.Header["Server"]; len(values) > 0 {
		t.server = values[0]
	}
	switch int(answer.StatusCode) {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, 455, 551:
		// It does not know OPTIONS; what we need is what comes next.
	default:
		if err := t.accepted(answer); err != nil {
			return offer{}, err
		}
	}

	answer, err = t.ask(fault.Describe, base.Describe, t.url, map[string]string{"Accept": "application/sdp"})
	if err != nil {
		return offer{}, err
	}
	if err := t.accepted(answer); err != nil {
		return offer{}, err
	}
	offer := parseOffer(answer.Body)
	if len(offer.tracks) == 0 {
		return offer, t.fault(fault.Protocol, "its description of the stream names no track")
	}
	t.base = t.presentation(answer, offer)
	return offer, nil
}

// presentation is the URL that stands for all tracks: the description's own, the answer's, or the one we asked for.
func (t *talk) presentation(answer *base.Response, offer offer) string {
	candidates := []string{offer.control}
	for _, name := range []string{"Content-Base", "Content-Location"} {
		candidates = append(candidates, answer.Header[name]...)
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
	answer, err := t.ask(fault.Setup, base.Setup, url, map[string]string{"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
	if err != nil {
		return t.unopened(err)
	}
	if answer.StatusCode == base.StatusUnsupportedTransport && t.target.Transport == camera.Auto && t.scheme() == "rtsp" {
		return t.setupUDP(url)
	}
	if err := t.opened(answer); err != nil {
		return err
	}
	transport, err := t.transport(answer)
	if err != nil {
		return err
	}
	if transport.Protocol != headers.TransportProtocolTCP {
		return t.fault(fault.Protocol, "asked for the video on the same connection, it granted another way").WithHint("try transport: udp")
	}
	if ids := transport.InterleavedIDs; ids != nil && ids[0] >= 0 && ids[0] <= 255 {
		t.channel = byte(ids[0])
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
	answer, err := t.ask(fault.Setup, base.Setup, url, map[string]string{
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
	if transport.Protocol != headers.TransportProtocolUDP || transport.Delivery != nil && *transport.Delivery != headers.TransportDeliveryUnicast {
		return t.fault(fault.Protocol, "asked for the video over unicast UDP, it granted another way").WithHint("try transport: tcp")
	}
	if ports := transport.ServerPorts; ports != nil {
		t.sockets.greet(ports[0], ports[1])
	}
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
func (t *talk) opened(answer *base.Response) error {
	if err := t.accepted(answer); err != nil {
		t.session.Opened = false
		return err
	}
	t.granted = true
	if values := answer.Header["Session"]; len(values) > 0 {
		id, _, _ := strings.Cut(values[0], ";")
		if id = strings.TrimSpace(id); unfit(id) {
			return t.fault(fault.Protocol, "its session id cannot stand in a request")
		}
		t.sessionID = id
	}
	return nil
}

func (t *talk) transport(answer *base.Response) (headers.Transport, error) {
	var transport headers.Transport
	if err := transport.Unmarshal(answer.Header["Transport"]); err != nil {
		return transport, t.fault(fault.Protocol, "it does not say how the video will come")
	}
	if transport.Profile == headers.TransportProfileSAVP {
		// A description may offer SRTP only, as servers do behind TLS, and still grant RTP when asked for it.
		return transport, t.fault(fault.NoVideo, "it encrypts the video itself (SRTP), although it was asked not to")
	}
	return transport, nil
}

// play asks for the video. A key frame that is whole before the answer is as good.
func (t *talk) play() error {
	answer, err := t.ask(fault.Play, base.Play, t.base, map[string]string{"Range": "npt=0.000-"})
	if err != nil || answer == nil {
		return err
	}
	return t.accepted(answer)
}

// accepted turns an answer that is not a success into a fault.
func (t *talk) accepted(answer *base.Response) error {
	status := int(answer.StatusCode)
	if status >= 200 && status < 300 {
		return nil
	}
	said := strings.TrimSpace("it answered " + strconv.Itoa(status) + " " + t.clean(answer.StatusMessage))
	switch {
	case status >= 300 && status < 400:
		return t.fault(fault.Protocol, "%w to %s (%d), where we do not follow", ErrRedirected, t.location(answer), status).
			WithHint("if that is the camera's real address, use it")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return t.fault(fault.Auth, "%s", said).WithHint("may this user see this stream?")
	case status == http.StatusNotFound:
		return t.fault(fault.NotFound, "%s", said).WithHint("check the path of the stream in the camera's manual")
	case status == int(base.StatusNotEnoughBandwidth), status == http.StatusServiceUnavailable:
		return t.fault(fault.Exhausted, "%s", said).WithHint("somebody else may hold its connections; on this host: ss -tnp dst %s", t.target.Address)
	}
	return t.fault(fault.Protocol, "%s", said)
}

// goodbye sends TEARDOWN for a session that stands, and waits a moment for its answer. What interrupts the visit does
// not interrupt this: it has a bound of its own.
func (t *talk) goodbye() {
	if !t.granted || t.wire.broken() {
		return
	}
	t.wire.farewell(time.Now().Add(t.limits.Goodbye), goodbyeBytes)
	if t.send(base.Teardown, t.base, nil) != nil {
		return
	}
	for {
		answer, err := t.wire.nextAnswer()
		if err != nil {
			// A camera that hangs up in order has read what we sent: with TEARDOWN still unread its kernel would reset.
			t.session.TornDown = t.wire.hungUp()
			return
		}
		if t.answers(answer) {
			status := answer.StatusCode
			t.session.TornDown = status >= 200 && status < 300 || status == base.StatusSessionNotFound
			return
		}
	}
}
