package go2rtc

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Probe makes go2rtc connect to the camera of a stream and set up its video, and says why that fails: nil when it does
// not. The error has the camera's class, and its step where go2rtc's text tells it. It costs the camera one connection
// and one log-in more, so it is for a picture that failed, once, and not where the log-in may be the reason.
//
// What takes go2rtc 5 s, namely a camera that does not answer, is a time-out here after CallTimeout.
func (c *Client) Probe(ctx context.Context, name string) error {
	if name == "" {
		return c.fault("a stream without a name cannot be probed")
	}
	done, err := c.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	limited, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	// Not bounded: go2rtc takes this name under its lock, so what is left of it overlaps nothing.
	got, err := c.do(limited, request{method: http.MethodGet, path: "api/streams", query: url.Values{"src": {name}, "video": {"all"}}})
	switch {
	case err != nil && timedOut(err) && ctx.Err() == nil:
		return c.picked(fault.Timeout, "", "the camera of %s does not answer it within %s", name, CallTimeout)
	case err != nil:
		return c.explain(ctx, err)
	case got.status == http.StatusOK:
		return nil
	case got.status == http.StatusNotFound && strings.TrimSpace(string(got.body)) == "":
		return c.fault("%w: %s", ErrUnknown, name)
	case got.status != http.StatusInternalServerError:
		return c.refusal(got)
	}
	return c.reason(name, string(got.body))
}

// reason reads what go2rtc says of a camera. It takes down only the first error of several producers.
func (c *Client) reason(name, said string) error {
	said = strings.TrimPrefix(strings.TrimSpace(said), "streams: ")
	class, step := fault.Protocol, fault.Step("")
	hint := ""
	for _, row := range reasons() {
		if strings.Contains(said, row.text) && strings.Contains(said, row.also) {
			class, step, hint = row.class, row.step, row.hint
			break
		}
	}
	f := c.picked(class, step, "the camera of %s: %s", name, c.clean(said))
	if hint != "" {
		return f.WithHint("%s", hint)
	}
	return f
}

type reasonRow struct {
	text, also string
	class      fault.Class
	step       fault.Step
	hint       string
}

// reasons is what go2rtc's texts mean (pkg/rtsp/client.go and internal/streams/add_consumer.go there, and Go's net).
func reasons() []reasonRow {
	const hidden = "go2rtc does not say which; camwarden snapshot --source rtsp does"
	return []reasonRow{
		{"user/pass not provided", "", fault.Auth, fault.Describe, "the camera wants a log-in: set username and password_file"},
		{"wrong user/pass", "", fault.Auth, fault.Describe, "check the camera's username and password"},
		{"malformed response", "", fault.Protocol, "", "is this the camera's RTSP port?"},
		{"empty response", "", fault.Protocol, "", "is this the camera's RTSP port?"},
		{"wrong response on OPTIONS", "", fault.Protocol, fault.Options, ""},
		{"wrong response on DESCRIBE", "", fault.Protocol, fault.Describe, "404, 453 or 5xx: " + hidden},
		{"wrong response on SETUP", "", fault.Protocol, fault.Setup, "453, 461 or another: " + hidden},
		{"wrong response on PLAY", "", fault.Protocol, fault.Play, hidden},
		{"fork/exec", "", fault.Go2rtc, "", "install ffmpeg where go2rtc runs, or set ffmpeg.bin in go2rtc.yaml"},
		{"codecs not matched", "", fault.NoVideo, fault.Describe, ""},
		{"unknown error", "", fault.NoVideo, fault.Describe, "the camera offers no video"},
		{"no such host", "", fault.DNS, fault.Connect, "does the name resolve where go2rtc runs?"},
		{"connection refused", "", fault.Refused, fault.Connect, ""},
		{"no route to host", "", fault.Unreachable, fault.Connect, ""},
		{"network is unreachable", "", fault.Unreachable, fault.Connect, ""},
		{"i/o timeout", "dial ", fault.Timeout, fault.Connect, ""},
		{"i/o timeout", "", fault.Timeout, "", ""},
		{"connection reset", "", fault.Closed, "", ""},
		{"broken pipe", "", fault.Closed, "", ""},
		{"EOF", "", fault.Closed, "", ""},
		{"too many open files", "", fault.Go2rtc, "", "raise LimitNOFILE of go2rtc's service"},
		{"unsupported scheme", "", fault.Go2rtc, "", ""},
	}
}
