// Package capture knows the ways to get a still from a camera, tries them in order, and never trusts what it got.
package capture

import (
	"context"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/redact"
)

// Source is one way to get a still. Its methods may be called from several goroutines, Check before all others.
type Source interface {
	// Name is the source's name in the configuration and in documents.
	Name() string
	// Check says whether the source can work on this host at all, without touching a camera.
	// The error is a *fault.Error of class no-source or local, or cancelled when ctx ended first.
	Check(ctx context.Context) error
	// Notices are sentences for the operator, known after Check: what weakens a promise here. They may be none, and a Capture
	// may add to them.
	Notices() []string
	// Construct prepares the source for a round over the cameras; Destruct takes down what it made.
	Construct(ctx context.Context, cameras []camera.Camera) error
	// Capture takes one still. It returns when nothing of it is left, at the latest soon after the deadline of ctx,
	// which it must have. The still counts only when Report.Err is nil.
	Capture(ctx context.Context, v Visit) (Still, Report)
	Destruct(ctx context.Context) error
}

// Visit is the wish for one still.
type Visit struct {
	Camera   camera.Camera   // its address must be resolved
	Password string          // "": the camera's own secret is revealed
	Timeout  time.Duration   // of all sources together; 0: the camera's own. The deadline of the context counts too
	Strict   bool            // decode the whole picture, not only its headers
	Room     Room            // for the source that is tried first; see Chain.Room
	LogIns   *lockout.Memory // of refused log-ins; nil: none is remembered
	Cut      error           // why the deadline of the context comes before the camera's own time-out; nil: it does not
}

// addressed is an error when the camera cannot be dialled because nobody knows where it is.
func (v Visit) addressed() *fault.Error {
	if v.Camera.Address.IsValid() {
		return nil
	}
	return fault.New(fault.DNS, fault.Connect, "the address of %s is not known", v.Camera.ID).WithHint("check host of this camera in the configuration")
}

// budget is the one place where the time of a visit is set: its time-out, or the camera's own, or what ctx has left.
func (v Visit) budget(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := v.Timeout
	if limit <= 0 {
		limit = v.Camera.Timeout
	}
	if _, bounded := ctx.Deadline(); bounded && limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// explain is an attempt's error as its visit tells it: a time-out that the visit did not set is not the camera's fault, and
// nothing in it is secret.
func (v Visit) explain(err *fault.Error) *fault.Error {
	if v.Cut != nil && err.Class == fault.Timeout {
		err = fault.New(fault.Deadline, err.Step, "ended%s: %w", err.Step.At(), v.Cut)
	}
	return clean(err, redact.New(v.Password))
}

// clean redacts once more what people will read: a camera may have sent the password back in words of its own.
func clean(err *fault.Error, secrets *redact.Redactor) *fault.Error {
	cleaned := *err // visits may share what a server said to all of them
	cleaned.Message, cleaned.Hint = secrets.String(err.Message), secrets.String(err.Hint)
	return &cleaned
}

// Still is one picture and where it comes from.
type Still struct {
	JPEG          []byte
	CapturedAt    time.Time     // when the picture came from the camera
	Waited        time.Duration // from the dial until then
	KeyFrame      time.Duration // from the key frame's first byte to its last; 0 when the source cannot tell
	Decode        time.Duration // from the key frame to the JPEG; 0 likewise
	Width, Height int           // pixels
	Repeated      bool          // the camera sent the very bytes of its last still
	Codec         string        // of the camera's stream, in ffmpeg's spelling (h264, hevc, mjpeg, vp8, vp9, av1, mpeg4, mpeg2video, mpeg1video); "" when not known
}

// Report is how a source's attempt went.
type Report struct {
	Dialled           bool         // a connection to the camera was opened for this attempt, or may have been
	Relayed           bool         // not by us, though: another server dialled and tells us how it fared
	KeyFrameRequested bool         // the camera was asked for a key frame
	Final             bool         // whatever the class says, no other source may try: it would walk into the same trap
	Err               *fault.Error // nil: there is a still
}
