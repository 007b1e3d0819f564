package rtsp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/socket"
)

// fault returns an error of this conversation, at its present step, with nothing secret in it.
func (t *talk) fault(class fault.Class, format string, args ...any) *fault.Error {
	step := t.step
	if step == "" {
		step = fault.Connect
	}
	err := fault.New(class, step, t.target.Address.String()+": "+format, args...)
	err.Message = t.secrets().String(err.Message)
	return err
}

// secrets knows what must not be said: a camera can say anything, our own log-in included.
func (t *talk) secrets() *redact.Redactor {
	login := t.target.Username + ":" + t.target.Password
	return redact.New(t.target.Password, base64.StdEncoding.EncodeToString([]byte(login)))
}

// clean makes text of the camera's fit for a message. Secrets go first: cut or in other letters they would not be known.
func (t *talk) clean(text string) string {
	const enough = 4 << 10
	return clean(t.secrets().String(text[:min(len(text), enough)]))
}

// explain turns what ended the conversation into a fault. nil stays nil.
func (t *talk) explain(err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	why, ok := causeOf(err)
	switch {
	case errors.Is(err, context.Canceled) || t.ctx.Err() != nil && !errors.Is(t.ctx.Err(), context.DeadlineExceeded) && why.Class == fault.Timeout:
		return t.fault(fault.Cancelled, "cancelled")
	case !ok:
		return t.unexpected(err)
	case why.Class == fault.Closed && t.step == fault.Play:
		// What a Tapo says when all its slots are taken.
		return t.fault(fault.Exhausted, "%s instead of playing, which cameras do when they have no free connection", why.Message).
			WithHint("somebody else may hold its connections; on this host: ss -tnp dst %s", t.target.Address)
	case why.Class == fault.Timeout:
		return t.timeout()
	}
	f := t.fault(why.Class, "%s", why.Message)
	if why.Class == fault.Closed && t.session.Requested {
		return t.fault(why.Class, "%s after it was asked for a key frame", why.Message).
			WithHint("if it does so each time, set key_frame_request: off for this camera")
	}
	if why.Hint != "" {
		f = f.WithHint("%s", why.Hint)
	}
	return f
}

// causeOf tells what an error of the connection means; ok is false for an error that is none.
func causeOf(err error) (cause socket.Cause, ok bool) {
	if errors.Is(err, errFlood) {
		return socket.Cause{Class: fault.Protocol, Message: "it sent more than the limit without a whole key frame"}, true
	}
	return socket.CauseOf(err, "rtsp")
}

// timeout says what did not come in time.
func (t *talk) timeout() error {
	switch t.step {
	case fault.Media:
		return t.noMedia()
	case fault.KeyFrame:
		return t.fault(fault.Timeout, "video came, but no clean key frame in time%s", t.receiver.Troubles()).
			WithHint("allow more time, or let the camera send key frames more often")
	}
	if t.step == fault.Describe && t.records {
		return t.fault(fault.Timeout, "no answer in time: it takes streams from others, so it may be waiting for a camera of its own").
			WithHint("go2rtc and Frigate wait for 10 s before they say 404: allow more time, or ask them what the camera says")
	}
	return t.fault(fault.Timeout, "no answer in time")
}

// noMedia says what came instead of video.
func (t *talk) noMedia() error {
	if count, payload := t.receiver.Strange(); count > 0 {
		return t.fault(fault.Timeout, "it plays, but sends payload type %d, and its description names %d", payload, t.payload).
			WithHint("the source ffmpeg may be able to read it")
	}
	if t.sockets != nil && t.sockets.stranger.IsValid() {
		return t.fault(fault.Timeout, "it plays, but no video came in time; what came was from %s, which it did not announce", t.sockets.stranger).
			WithHint("if that is another address of the camera's, use transport: tcp")
	}
	return t.fault(fault.Timeout, "it plays, but no video came in time").WithHint("is the camera overloaded, or UDP blocked?")
}

// unexpected explains an error that is neither of the network nor ours: what came was not what RTSP allows.
func (t *talk) unexpected(err error) error {
	switch {
	case errors.Is(err, ErrHTTP):
		return t.fault(fault.Protocol, "what answers there is HTTP").WithHint("is this the camera's RTSP port?").Because(ErrHTTP)
	case errors.Is(err, errNotRTSP):
		return t.fault(fault.Protocol, "what it sends is not RTSP").WithHint("is this the camera's RTSP port?")
	case errors.Is(err, depacketize.ErrTooBig):
		return t.fault(fault.Protocol, "its key frame is larger than %d bytes", t.limits.Picture)
	case errors.Is(err, depacketize.ErrNotVideo):
		return t.fault(fault.Protocol, "what it sends is not the video it announced")
	case errors.Is(err, errBye):
		return t.fault(fault.Closed, "it ended the stream")
	case errors.Is(err, depacketize.ErrHugeJPEG):
		return t.fault(fault.NoVideo, "%w", err).WithHint("choose a smaller picture, or H.264")
	case errors.Is(err, depacketize.ErrMisfit):
		return t.fault(fault.NoVideo, "%w", err).
			WithHint("other programs show a wrong picture there; choose one of at most 2040 pixels, or H.264, or give the camera a snapshot")
	}
	return t.fault(fault.Protocol, "what it sends is not RTSP: %s", t.clean(err.Error()))
}

// clean leaves printable ASCII, and not much of it.
func clean(text string) string {
	const longest = 80
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return strings.TrimSpace(text)
}

// unfit reports whether text cannot stand in a request: a blank or a line end would begin something else.
func unfit(text string) bool {
	const longest = 2000
	return len(text) > longest || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

func hostPort(address netip.AddrPort) string {
	return net.JoinHostPort(address.Addr().WithZone("").Unmap().String(), strconv.Itoa(int(address.Port())))
}

// absolute reports whether a URL names a scheme of RTSP.
func absolute(raw string) bool {
	lower := strings.ToLower(raw)
	return strings.HasPrefix(lower, "rtsp://") || strings.HasPrefix(lower, "rtsps://")
}

// withoutUser removes user-info from a URL that a camera made up.
func withoutUser(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	return scheme + "://" + host[strings.LastIndexByte(host, '@')+1:] + path
}

// trackURL is the URL of a track: its control attribute, appended to the presentation's as all clients do, query or not.
func trackURL(presentation, control string) (string, error) {
	whole := presentation
	switch {
	case control == "" || control == "*":
	case absolute(control):
		whole = withoutUser(control)
	case control[0] == '/' || control[0] == '?' || strings.HasSuffix(presentation, "/"):
		whole = presentation + control
	default:
		whole = presentation + "/" + control
	}
	if unfit(whole) {
		return "", fmt.Errorf("unfit for a request: %q", whole)
	}
	return whole, nil
}
