package capture

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/jpeg"
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
	ctx, deadline, cancel := v.bounded(ctx)
	defer cancel()
	held, err := r.slots.Take(ctx, slot.Request{
		Camera: v.Camera, Kind: ledger.Connection, Deadline: proc.BootTime() + time.Until(deadline) + ffmpeg.Slack,
	})
	if err != nil {
		return Still{}, Report{Err: fault.From(err, fault.Local, "")}
	}
	r.decoder.Enter()
	defer r.decoder.Leave()
	began := time.Now()
	var waiting *ffmpeg.Poised
	frame, report := r.fetch(ctx, v, held, time.Until(deadline), func(step fault.Step, codec depacketize.Codec) {
		if step == fault.Play && codec != depacketize.JPEG {
			waiting = r.decoder.Poise(ctx, v.Camera.ID, spelling(codec))
		}
	})
	if report.Err != nil {
		waiting.Dismiss()
		return Still{}, report
	}
	still := Still{
		JPEG: frame.Bytes, CapturedAt: frame.CapturedAt, Waited: frame.CapturedAt.Sub(began), KeyFrame: frame.Arriving, Codec: spelling(frame.Codec),
	}
	report.Err = r.picture(ctx, v, &still, waiting)
	return still, report
}

// fetch holds the slot exactly as long as the camera may count a connection of ours.
func (r *RTSP) fetch(
	ctx context.Context, v Visit, held *ledger.Held, left time.Duration, observe func(fault.Step, depacketize.Codec),
) (frame depacketize.KeyFrame, report Report) {
	if held.Expired() { // we were stopped for long: others may have the slot by now
		late := fault.New(fault.Deadline, fault.Connect, "too late to dial").WithHint("was this host asleep, or camwarden stopped?")
		return frame, Report{Err: withStrike(late, held)}
	}
	report.Dialled = true
	session := rtsp.Session{Opened: true} // what a panic would have to assume
	defer func() {
		if err := r.settle(held, session, v.Camera); err != nil && report.Err == nil {
			report.Err = fault.From(err, fault.Local, "")
		}
	}()
	target := rtsp.Target{
		Address: v.Camera.Address, Scheme: v.Camera.Scheme, Host: v.Camera.Host, Path: v.Camera.Path,
		Username: v.Camera.Username, Password: v.Password, Transport: v.Camera.Transport,
	}
	missing := r.decoder.Missing()
	if missing != nil {
		target.Codecs = []depacketize.Codec{depacketize.JPEG}
	}
	limits := limitsFor(left)
	var err error
	frame, session, err = rtsp.Fetch(ctx, target, limits, observe)
	if err == nil {
		return frame, report
	}
	report.Final = errors.Is(err, rtsp.ErrRedirected)
	report.Err = fault.From(err, fault.Local, "")
	switch {
	case missing != nil && report.Err.Class == fault.NoVideo:
		report.Err = fault.New(fault.Local, report.Err.Step, "%s sends no JPEG, and nothing else can be decoded: %w", v.Camera.Address, missing).
			WithHint(ffmpeg.HintInstall)
	case v.Cut != nil && report.Err.Class == fault.Timeout:
		report.Err = fault.New(fault.Deadline, report.Err.Step, "ended%s: %w", report.Err.Step.At(), v.Cut)
	}
	report.Err = clean(report.Err, redact.New(v.Password))
	return frame, report
}

// limitsFor divides what a visit has left: the most for the key frame; then, should the camera keep us waiting until the
// last moment, a goodbye and a decode still fit in. The camera alone decides how long it takes for each step.
func limitsFor(left time.Duration) rtsp.Limits {
	rest := min(left/4, 1250*time.Millisecond)
	return rtsp.Limits{Step: left - rest, Whole: left - rest, Goodbye: min(rest*3/4, rtsp.DefaultGoodbye)}
}

// picture turns the key frame in still.JPEG into a JPEG, where it is none yet or too wide, and fills in the rest. An ffmpeg may
// be waiting for it.
func (r *RTSP) picture(ctx context.Context, v Visit, still *Still, waiting *ffmpeg.Poised) *fault.Error {
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
	if waiting != nil {
		still.JPEG, err = waiting.Decode(still.JPEG)
	} else {
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

// settle gives the slot back once the connection has been seen gone, or lets it cool when the camera may still count it.
func (r *RTSP) settle(held *ledger.Held, session rtsp.Session, cam camera.Camera) error {
	err := gone(r.slots.FS, cam, session.Local)
	if err != nil || session.Lingers() {
		return errors.Join(err, held.Cool(proc.BootTime()+cam.SessionTimeout))
	}
	return held.Strike()
}

// gone looks in the kernel's table for the connection that was just closed. It has left it by then, unless another process
// holds it too: a child that was forked and has not yet become its program, which one on a file system that hangs never does.
func gone(table proc.FS, cam camera.Camera, local netip.AddrPort) error {
	if !local.IsValid() {
		return nil // there was none
	}
	const looks = 7 // 0.6 s in all
	for look := 1; ; look++ {
		conn, err := table.Connection(local, cam.Address)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !proc.Takes(conn.State):
			return nil
		case err != nil:
			return fault.New(fault.Local, "", "cannot see whether the connection to %s is gone: %w", cam.Address, err)
		}
		if look == looks {
			return fault.New(fault.Local, "", "the connection to %s was closed and is still there: another process holds %s", cam.Address, local).
				WithHint("see who: ss -tnp src %s", local)
		}
		time.Sleep(10 * time.Millisecond << (look - 1))
	}
}
