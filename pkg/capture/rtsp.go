package capture

import (
	"context"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// RTSP is the source "rtsp": camwarden itself fetches one key frame and hangs up, so no other process ever holds the
// camera's connection or learns its password. Only then a supervised ffmpeg, which dials nobody, makes a JPEG of it;
// a camera that sends JPEG needs none.
type RTSP struct {
	slots   slot.Table
	decoder *decoder
	program string
	notices []string
}

// NewRTSP returns the source. The program decodes; it is an ffmpeg, named by path or to be found in PATH.
func NewRTSP(program string, picturing Picturing, supervisor *supervise.Supervisor, slots slot.Table) *RTSP {
	if program == "" {
		program = "ffmpeg"
	}
	return &RTSP{slots: slots, program: program, decoder: newDecoder(program, picturing, supervisor, slots.Ledger)}
}

// Name is "rtsp".
func (r *RTSP) Name() string { return "rtsp" }

// Check always passes: without an ffmpeg the source still serves cameras that send JPEG, and a notice says so.
func (r *RTSP) Check(context.Context) error {
	if _, err := supervise.Find(r.program); err != nil {
		r.notices = []string{"without ffmpeg the source rtsp gives stills only of cameras that send MJPEG: " + err.Error()}
	}
	return nil
}

// Notices says, after Check, what this host lacks.
func (r *RTSP) Notices() []string { return r.notices }

// Construct has nothing to prepare: every visit dials by itself.
func (r *RTSP) Construct(context.Context, []camera.Camera) error { return nil }

// Destruct has nothing to take down: no connection outlives its Capture.
func (r *RTSP) Destruct(context.Context) error { return nil }

// forDecoding is what a visit keeps back of its time for the decode and for hanging up.
func forDecoding(left time.Duration) time.Duration { return min(left/6, time.Second) }

// Capture fetches one key frame and decodes it. It waits for a slot first; the error is then of class exhausted, busy,
// cooling or cancelled. The slot is given back before the decode, because the camera has been hung up on by then.
func (r *RTSP) Capture(ctx context.Context, v Visit) (Still, Report) {
	if !v.Camera.Address.IsValid() {
		return Still{}, Report{Err: fault.New(fault.DNS, fault.Connect, "the address of %s is not known", v.Camera.ID).
			WithHint("check host of this camera in the configuration")}
	}
	deadline, bounded := ctx.Deadline()
	if !bounded {
		deadline = time.Now().Add(max(v.Timeout, v.Camera.Timeout))
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	held, err := r.slots.Take(ctx, slot.Request{
		Camera: v.Camera, Kind: ledger.Connection, Deadline: proc.BootTime() + time.Until(deadline) + slack,
	})
	if err != nil {
		return Still{}, Report{Err: fault.From(err, fault.Local, "")}
	}
	began := time.Now()
	frame, err := r.fetch(ctx, v, held, time.Until(deadline))
	report := Report{Dialled: true}
	if err != nil {
		report.Err = clean(fault.From(err, fault.Local, ""), redact.New(v.Password))
		return Still{}, report
	}
	still := Still{
		JPEG: frame.Bytes, CapturedAt: frame.CapturedAt, Waited: frame.CapturedAt.Sub(began), Codec: spelling(frame.Codec), KeyFrame: frame.Arriving,
	}
	decoding := time.Now()
	if frame.Codec != rtsp.JPEG || r.decoder.picturing.Width > 0 {
		if still.JPEG, report.Err = r.decoder.decode(ctx, still.Codec, frame.Bytes); report.Err != nil {
			return Still{}, report
		}
	}
	still.Decode = time.Since(decoding)
	picture, problem := Validate(still.JPEG, v.Strict)
	if report.Err = problem; problem != nil {
		return Still{}, report
	}
	still.Width, still.Height = picture.Width, picture.Height
	return still, report
}

// fetch holds the slot exactly as long as the camera may count a connection of ours.
func (r *RTSP) fetch(ctx context.Context, v Visit, held *ledger.Held, left time.Duration) (frame rtsp.KeyFrame, err error) {
	session := rtsp.Session{Opened: true} // what a panic would have to assume
	defer func() {
		if settled := settleSession(held, session, v.Camera.SessionTimeout); err == nil && settled != nil {
			err = settled
		}
	}()
	budget := left - forDecoding(left)
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	frame, session, err = rtsp.Fetch(ctx, rtsp.Target{
		Address: v.Camera.Address, Scheme: v.Camera.Scheme, Host: v.Camera.Host, Path: v.Camera.Path,
		Username: v.Camera.Username, Password: v.Password, Transport: rtsp.Transport(v.Camera.Transport),
	}, rtsp.Limits{Step: budget, Whole: budget, Goodbye: min(budget/4, rtsp.DefaultGoodbye)}, nil)
	return frame, err
}

// spelling is ffmpeg's name of a codec, which documents use.
func spelling(codec rtsp.Codec) string {
	if codec == rtsp.H265 {
		return "hevc"
	}
	return string(codec)
}

// settleSession gives the slot back, or lets it cool when the camera may still count the session.
func settleSession(held *ledger.Held, session rtsp.Session, timeout time.Duration) error {
	if session.Lingers() {
		return held.Cool(proc.BootTime() + timeout)
	}
	return held.Strike()
}
