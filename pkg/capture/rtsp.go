package capture

import (
	"context"
	"errors"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/jpeg"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// RTSP is the source "rtsp": camwarden itself fetches one key frame and hangs up, so no other process ever holds the
// camera's connection or learns its password. Only then a supervised ffmpeg, which dials nobody, makes a JPEG of it;
// a camera that sends JPEG needs none.
type RTSP struct {
	streamed
	slots   slot.Table
	decoder *ffmpeg.Decoder
	notices []string
}

// NewRTSP returns the source. The program decodes; it is an ffmpeg, named by path or to be found in PATH.
func NewRTSP(program string, picturing ffmpeg.Picturing, supervisor *supervise.Supervisor, slots slot.Table) *RTSP {
	if program == "" {
		program = "ffmpeg"
	}
	return &RTSP{slots: slots, decoder: ffmpeg.NewDecoder(program, picturing, supervisor, slots.Ledger)}
}

// Name is "rtsp".
func (r *RTSP) Name() string { return "rtsp" }

// Check always passes: without an ffmpeg the source still serves the cameras that send JPEG, and a notice says so.
func (r *RTSP) Check(context.Context) error {
	notices, err := r.decoder.Look()
	r.notices = notices
	if err != nil {
		r.notices = []string{"only cameras that send JPEG can give stills by the source rtsp: " + err.Error()}
	}
	return nil
}

// Notices says, after Check, what this host lacks.
func (r *RTSP) Notices() []string { return r.notices }

// Construct has nothing to prepare: every visit dials by itself.
func (r *RTSP) Construct(context.Context, []camera.Camera) error { return nil }

// Destruct has nothing to take down: no connection outlives its Capture.
func (r *RTSP) Destruct(context.Context) error { return nil }

// Capture fetches one key frame and decodes it. It waits for a slot first; the error is then of class exhausted, busy,
// cooling or cancelled. The slot is given back before the decode, because the camera has been hung up on by then.
func (r *RTSP) Capture(ctx context.Context, v Visit) (Still, Report) {
	if err := v.addressed(); err != nil {
		return Still{}, Report{Err: err}
	}
	f, err := r.fetch(ctx, v)
	var to *rtsp.RedirectError
	if err != nil && errors.As(err, &to) && ctx.Err() == nil {
		// Another port of the camera's is another address, with slots of its own.
		v.Camera.Scheme, v.Camera.Address, v.Camera.Path = to.Scheme, to.Address, to.Path
		f, err = r.fetch(ctx, v)
		f.dialled = true
	}
	report := Report{Dialled: f.dialled, KeyFrameRequested: f.requested}
	if err != nil {
		// Of such JPEGs ffmpeg would make a picture, and a wrong one.
		report.Final = errors.Is(err, rtsp.ErrRedirected) || errors.Is(err, depacketize.ErrMisfit) || errors.Is(err, depacketize.ErrHugeJPEG)
		report.Err = err
		return Still{}, report
	}
	defer r.decoder.Leave()
	report.Err = r.picture(ctx, v, &f.still, f.special, f.waiting)
	return f.still, report
}

// fetched is a key frame that is not yet a picture.
type fetched struct {
	dialled   bool
	requested bool // a key frame was
	still     Still
	special   ffmpeg.Special
	waiting   *ffmpeg.Poised
}

// fetch dials the camera. Its visit counts with the decoder until it leaves: here, unless there is a key frame.
func (r *RTSP) fetch(ctx context.Context, v Visit) (f fetched, problem *fault.Error) {
	f.dialled, problem = connection(ctx, r.slots, v, v.Camera, func(ctx context.Context) (end ending, problem *fault.Error) {
		r.decoder.Enter()
		began := time.Now()
		stream, err := rtsp.Open(ctx, r.target(v), limitsFor(left(ctx)))
		defer func() {
			session := stream.Close()
			end = ending{session.Local, session.Lingers()}
			f.requested = session.Requested
		}()
		if err != nil {
			return end, r.explain(v, err)
		}
		if stream.Codec() != depacketize.JPEG {
			f.waiting = r.decoder.Poise(ctx, v.Camera.ID, spelling(stream.Codec()))
		}
		frame, err := stream.KeyFrame()
		if err != nil {
			return end, r.explain(v, err)
		}
		f.still, f.special = stillOf(frame, began), specialOf(frame)
		return end, nil
	})
	if problem == nil {
		return f, nil
	}
	f.waiting.Dismiss()
	if f.dialled {
		r.decoder.Leave()
	}
	return f, problem
}

// target is the camera, with what is of use to us of what it offers.
func (r *RTSP) target(v Visit) rtsp.Target {
	target := targetOf(v.Camera, v.Password)
	if r.decoder.Missing() != nil {
		target.Codecs = []depacketize.Codec{depacketize.JPEG}
	}
	return target
}

// explain says what became of a conversation that gave no key frame.
func (r *RTSP) explain(v Visit, err error) *fault.Error {
	known := fault.From(err, fault.Local, "")
	if missing := r.decoder.Missing(); missing != nil && known.Class == fault.NoVideo {
		known = fault.New(fault.Local, known.Step, "%s sends no JPEG, and nothing else can be decoded: %w", v.Camera.Address, missing).
			WithHint(ffmpeg.HintInstall)
	}
	return v.explain(known)
}

// specialOf is what a key frame needs that others do not. Of H.264, ffmpeg itself shows no picture of a gradual refresh but the
// whole one.
func specialOf(frame depacketize.KeyFrame) ffmpeg.Special {
	special := ffmpeg.Special{Monochrome: frame.Monochrome}
	if frame.Codec == depacketize.H265 && frame.Pictures > 1 {
		special.Pictures = frame.Pictures
	}
	return special
}

// stillOf is a key frame as a still that is not yet a picture; began is when it was asked for.
func stillOf(frame depacketize.KeyFrame, began time.Time) Still {
	return Still{
		JPEG: frame.Bytes, CapturedAt: frame.CapturedAt, Waited: frame.CapturedAt.Sub(began), KeyFrame: frame.Arriving, Codec: spelling(frame.Codec),
	}
}

// limitsFor divides what a visit has left: the most for the key frame; then, should the camera keep us waiting until the
// last moment, a goodbye and a decode still fit in. The camera alone decides how long it takes for each step.
func limitsFor(left time.Duration) rtsp.Limits {
	rest := min(left/4, 1250*time.Millisecond)
	return rtsp.Limits{Step: left - rest, Whole: left - rest, Goodbye: min(rest*3/4, rtsp.DefaultGoodbye)}
}

// picture turns the key frame in still.JPEG into a JPEG, where it is none yet or too wide, and fills in the rest. An ffmpeg may
// be waiting for it.
func (r *RTSP) picture(ctx context.Context, v Visit, still *Still, special ffmpeg.Special, waiting *ffmpeg.Poised) *fault.Error {
	widest := r.decoder.Width()
	if still.Codec == string(depacketize.JPEG) {
		picture, err := jpeg.Validate(still.JPEG, v.Strict)
		if err != nil || widest <= 0 || picture.Width <= widest {
			still.Width, still.Height = picture.Width, picture.Height
			return err
		}
	}
	began := time.Now()
	var err *fault.Error
	switch {
	case special != (ffmpeg.Special{}):
		waiting.Dismiss()
		still.JPEG, err = r.decoder.DecodeSpecial(ctx, v.Camera.ID, still.Codec, still.JPEG, special)
	case waiting != nil:
		still.JPEG, err = waiting.Decode(still.JPEG)
	default:
		still.JPEG, err = r.decoder.Decode(ctx, v.Camera.ID, still.Codec, still.JPEG)
	}
	if err != nil {
		return err
	}
	still.Decode = time.Since(began)
	picture, err := jpeg.Validate(still.JPEG, v.Strict)
	still.Width, still.Height = picture.Width, picture.Height
	return err
}

// spelling is ffmpeg's name of a codec, which documents use.
func spelling(codec depacketize.Codec) string {
	if codec == depacketize.H265 {
		return "hevc"
	}
	return string(codec)
}
