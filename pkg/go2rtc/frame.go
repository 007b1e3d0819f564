package go2rtc

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// What a picture that failed is known by, with errors.Is.
var (
	// ErrEmpty says that go2rtc answered with nothing, which is how it says that the camera failed. Probe tells why.
	ErrEmpty = errors.New("an empty answer")
	// ErrUnknown says that go2rtc has no stream of the name.
	ErrUnknown = errors.New("no such stream")
	// ErrTested says that the stream may have shown go2rtc's test picture, because it was being flushed.
	ErrTested = errors.New("being flushed")
)

// Picture is one whole JPEG.
type Picture struct {
	JPEG   []byte
	At     time.Time     // when it began to arrive
	Waited time.Duration // from asking until then: the next key frame, and what go2rtc needs to make a JPEG of it
}

// Frame takes one picture of a registered stream. It waits for no other call, takes no lock, and may run several times
// at once. Its time is the caller's; FrameTimeout when there is none.
//
// A picture counts when it came with 200, as image/jpeg, and begins and ends as a JPEG does. When Frame gives up, by
// time-out or because it was cancelled, go2rtc does not notice: it goes on waiting for a key frame and holds the camera.
// Look at the stream again, and Flush it if our consumer stays.
func (c *Client) Frame(ctx context.Context, name string) (Picture, error) {
	// A name with a scheme would be taken for a source, and dialled, if the stream has gone meanwhile.
	if name == "" || strings.Contains(name, ":") {
		return Picture{}, c.fault("no picture is asked of a stream named %q", c.clean(name))
	}
	ended, err := c.begin(name)
	if err != nil {
		return Picture{}, err
	}
	picture, err := c.frame(ctx, name)
	if late := ended(); late != nil && err == nil {
		return Picture{}, late
	}
	return picture, err
}

func (c *Client) frame(ctx context.Context, name string) (Picture, error) {
	limited := ctx
	if _, ends := ctx.Deadline(); !ends {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, FrameTimeout)
		defer cancel()
	}
	var asked atomic.Bool
	traced := httptrace.WithClientTrace(limited, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { asked.Store(true) },
	})
	began := time.Now()
	got, err := c.do(traced, request{method: http.MethodGet, path: "api/frame.jpeg", query: url.Values{"src": {name}}, limit: maxFrame})
	switch {
	case err == nil:
	case asked.Load() && errors.Is(limited.Err(), context.DeadlineExceeded) && !errors.Is(ctx.Err(), context.Canceled):
		f := c.fault("no picture of %s within %s", name, time.Since(began).Round(10*time.Millisecond)).
			WithHint("the camera sends nothing or no key frame, or go2rtc hangs; look for a stuck one: camwarden streams")
		f.Class = fault.Timeout
		return Picture{}, f
	default:
		return Picture{}, c.explain(ctx, err)
	}
	if err := c.checkPicture(got, name); err != nil {
		return Picture{}, err
	}
	return Picture{JPEG: got.body, At: got.at, Waited: got.at.Sub(began)}, nil
}

// checkPicture tells a picture from everything else that may come with 200.
func (c *Client) checkPicture(got answer, name string) error {
	said := string(got.body[:min(len(got.body), 4<<10)])
	switch {
	case got.status == http.StatusNotFound && strings.Contains(said, "stream not found"):
		return c.fault("%w: %s", ErrUnknown, name).WithHint("was it removed, or go2rtc restarted, meanwhile? camwarden streams")
	case got.status == http.StatusInternalServerError && strings.Contains(said, "fork/exec"):
		return c.fault("it cannot start ffmpeg: %s", c.clean(said)).
			WithHint("install ffmpeg where go2rtc runs, or set ffmpeg.bin in go2rtc.yaml")
	case got.status == http.StatusInternalServerError:
		return c.picked(fault.Decode, fault.Decoding, "its ffmpeg could not make a picture of %s: %s", name, c.clean(said))
	case got.status != http.StatusOK:
		return c.refusal(got)
	case len(got.body) == 0:
		return c.fault("the camera of %s gave no picture: %w", name, ErrEmpty)
	}
	kind, _, _ := mime.ParseMediaType(got.kind)
	switch {
	case kind != "image/jpeg":
		return c.picked(fault.NotJPEG, "", "what it calls a picture of %s is %q", name, c.clean(got.kind))
	case !bytes.HasPrefix(got.body, []byte{0xff, 0xd8}):
		return c.picked(fault.NotJPEG, "", "its picture of %s does not begin like a JPEG", name)
	case !bytes.HasSuffix(got.body, []byte{0xff, 0xd9}):
		return c.picked(fault.NotJPEG, "", "its picture of %s is cut off", name)
	}
	return nil
}

// picked is fault with a class and step of the camera's.
func (c *Client) picked(class fault.Class, step fault.Step, format string, args ...any) *fault.Error {
	f := c.fault(format, args...)
	f.Class, f.Step = class, step
	return f
}

// begin notes that a picture is being taken. ended takes the note back, and says whether it may be the test picture.
func (c *Client) begin(name string) (ended func() error, err error) {
	tested := func() error {
		if !c.tested[name] {
			return nil
		}
		return c.fault("the stream %s may show a test picture: %w", name, ErrTested)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := tested(); err != nil {
		return nil, err
	}
	c.frames[name]++
	return func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.frames[name]--; c.frames[name] == 0 {
			delete(c.frames, name)
		}
		return tested()
	}, nil
}

// setTested notes whether a stream may show the test picture. It may not while we take a picture of it.
func (c *Client) setTested(name string, may bool) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !may {
		delete(c.tested, name)
		return true
	}
	if c.frames[name] > 0 {
		return false
	}
	c.tested[name] = true
	return true
}
