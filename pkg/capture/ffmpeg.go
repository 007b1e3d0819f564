package capture

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/jpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/supervise"
)

const (
	grace = 500 * time.Millisecond // from our TERM to our KILL
	// slack is how long after its limit a child may still be on its way out: grace, and the wait for the kernel.
	slack     = 3 * time.Second
	maxStdout = 32 << 20  // bytes of one JPEG
	maxStderr = 256 << 10 // bytes; a visit says 3 KB, one that decodes garbage says 60
)

// FFmpeg is the source "ffmpeg": ffmpeg dials the camera, under supervision.
type FFmpeg struct {
	program    string
	picturing  Picturing
	supervisor *supervise.Supervisor
	slots      slot.Table
	loading    rooms // two for each processor

	mu     sync.Mutex
	probed bool
	tool   tool
	err    *fault.Error
}

// NewFFmpeg returns the source for an ffmpeg, named by path or to be found in PATH. Each connection takes its slot from the table.
func NewFFmpeg(program string, picturing Picturing, supervisor *supervise.Supervisor, slots slot.Table) *FFmpeg {
	if program == "" {
		program = "ffmpeg"
	}
	return &FFmpeg{
		program: program, picturing: picturing, supervisor: supervisor, slots: slots,
		loading: make(rooms, 2*runtime.GOMAXPROCS(0)),
	}
}

// Name is "ffmpeg".
func (f *FFmpeg) Name() string { return "ffmpeg" }

// Check finds ffmpeg and asks it what it can, once; this takes about 0.1 s.
func (f *FFmpeg) Check(ctx context.Context) error {
	if _, err := f.ready(ctx); err != nil {
		return err
	}
	return nil
}

// StandBy only finds ffmpeg. The first Capture asks it what it can.
func (f *FFmpeg) StandBy() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.probed { // by an earlier round: more is known than a look at the file tells
		if f.err != nil {
			return f.err
		}
		return nil
	}
	found, err := find(f.program)
	if err != nil {
		return err
	}
	f.tool = found
	return nil
}

// Notices says, after Check, what this ffmpeg cannot do, or weakens.
func (f *FFmpeg) Notices() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tool.notices
}

// Construct has nothing to prepare: ffmpeg is started camera by camera.
func (f *FFmpeg) Construct(context.Context, []camera.Camera) error { return nil }

// Destruct has nothing to take down: no child outlives its Capture.
func (f *FFmpeg) Destruct(context.Context) error { return nil }

// ready returns what is known about the program. A probe that was cut short is made again by the next call.
func (f *FFmpeg) ready(ctx context.Context) (tool, *fault.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.probed {
		f.tool, f.err = f.probe(ctx)
		f.probed = ctx.Err() == nil
	}
	return f.tool, f.err
}

// Capture lets ffmpeg take one frame. It waits for a slot first; the error is then of class exhausted, busy, cooling or
// cancelled. The deadline of ctx ends ffmpeg, also one that is kept busy by a camera which drips bytes: its own time-out
// starts anew with each of them. Passwords go in by stdin and come out nowhere.
func (f *FFmpeg) Capture(ctx context.Context, v Visit) (Still, Report) {
	tool, problem := f.ready(ctx)
	if problem != nil {
		return Still{}, Report{Err: problem}
	}
	if err := v.addressed(); err != nil {
		return Still{}, Report{Err: err}
	}
	deadline, bounded := ctx.Deadline()
	if !bounded {
		deadline = time.Now().Add(max(v.Timeout, v.Camera.Timeout))
	}
	held, room, problem := f.admit(ctx, v, deadline)
	if problem != nil {
		return Still{}, Report{Err: problem}
	}
	defer room.Leave()
	order, problem := tool.order(v, f.picturing, time.Until(deadline))
	if problem != nil {
		return Still{}, Report{Err: withStrike(problem, held)}
	}
	secrets := redact.New(v.Password)
	began := time.Now()
	ending := f.supervisor.Run(ctx, supervise.Spec{
		Path: tool.path, Args: order.args, Stdin: order.stdin, Env: environment(),
		Lease: held, Limit: time.Until(deadline), Grace: grace, MaxStdout: maxStdout, MaxStderr: maxStderr, Redact: secrets,
		Spoke: room.Leave,
		Settle: func(held *ledger.Held, ending supervise.Ending) error {
			if !mayLinger(order.evidence(ending), ending) {
				return held.Strike()
			}
			return held.Cool(proc.BootTime() + v.Camera.SessionTimeout)
		},
	})
	report := Report{Dialled: ending.PID != 0}
	e := order.evidence(ending)
	if report.Err = verdict(ctx, e, ending); report.Err == nil {
		var picture jpeg.Picture
		picture, report.Err = jpeg.Validate(ending.Stdout, v.Strict)
		if report.Err == nil {
			return Still{
				JPEG: ending.Stdout, CapturedAt: time.Now(), Waited: time.Since(began),
				Width: picture.Width, Height: picture.Height, Codec: e.codec,
			}, report
		}
	}
	report.Final = e.ledAway() != nil // another client would follow, or be refused, too
	report.Err = clean(report.Err, secrets)
	return Still{}, report
}

// admit takes a slot of the camera and a place to be loaded in: the one that the visit came with, unless another source was
// tried first, or it was given back meanwhile.
func (f *FFmpeg) admit(ctx context.Context, v Visit, deadline time.Time) (*ledger.Held, Room, *fault.Error) {
	held, err := f.slots.Take(ctx, slot.Request{
		Camera: v.Camera, Kind: ledger.Process, Deadline: proc.BootTime() + time.Until(deadline) + slack,
	})
	if err != nil {
		return nil, Room{}, fault.From(err, fault.Local, "")
	}
	if v.Room.use() {
		return held, v.Room, nil
	}
	room, entered := f.enter(ctx)
	if !entered {
		return nil, Room{}, withStrike(outOfTime(ctx, nil), held)
	}
	return held, room, nil
}

func (f *FFmpeg) enter(ctx context.Context) (Room, bool) { return f.loading.enter(ctx) }

// withStrike gives a slot back that was never used.
func withStrike(problem *fault.Error, held *ledger.Held) *fault.Error {
	if err := held.Strike(); err != nil {
		return fault.From(err, fault.Local, "")
	}
	return problem
}

// clean redacts once more what people will read: a camera may have sent the password back in words of its own.
func clean(err *fault.Error, secrets *redact.Redactor) *fault.Error {
	cleaned := *err // visits may share what a server said to all of them
	cleaned.Message, cleaned.Hint = secrets.String(err.Message), secrets.String(err.Hint)
	return &cleaned
}

// verdict turns an ending into an error, or into nil when ffmpeg claims success. The claim is not believed here:
// 5.1 also exits 0 when a camera falls silent in mid-stream, and 7.1 after decoding garbage.
func verdict(ctx context.Context, e evidence, ending supervise.Ending) *fault.Error {
	switch ending.Kind {
	case supervise.Refused:
		return fault.From(ending.Err, fault.Local, "")
	case supervise.Stuck:
		return fault.New(fault.Local, e.furthest(), "ffmpeg (pid %d) was killed and has not been seen gone: %w", ending.PID, ending.Err).
			WithHint("look at its state: cat /proc/%d/stack; its lease is kept, and the next run looks again", ending.PID)
	case supervise.Cancelled:
		return fault.New(fault.Cancelled, e.furthest(), "cancelled%s", at(e.furthest()))
	case supervise.Overflowed:
		return fault.New(fault.NotJPEG, "", "ffmpeg wrote more than %d MiB and was stopped", maxStdout>>20).WithHint(hintFFmpeg)
	case supervise.Expired:
		return expired(ctx, e, ending)
	}
	switch {
	case ending.Signal != "":
		return fault.New(fault.Local, e.furthest(), "ffmpeg was ended by signal %s, which camwarden did not send", ending.Signal).
			WithHint("out of memory? journalctl -k | grep -i oom; a crash? %s", hintFFmpeg)
	case ending.Code != 0:
		return classify(e)
	}
	if err := e.ledAway(); err != nil {
		return err
	}
	switch {
	case len(ending.Stdout) == 0 && e.late():
		return fault.New(fault.Timeout, e.furthest(), "the camera fell silent before a key frame came").WithHint(hintMute)
	case len(ending.Stdout) == 0 && e.opened:
		return fault.New(fault.Closed, e.furthest(), "the camera ended the stream before a key frame came").WithHint(hintSlots)
	case corrupt.Get().MatchString(e.text):
		return fault.New(fault.Decode, fault.Decoding, "the key frame was damaged").WithHint(hintFlaky)
	}
	return nil
}

// expired is the error when our own limit ended ffmpeg.
func expired(ctx context.Context, e evidence, ending supervise.Ending) *fault.Error {
	if err := e.ledAway(); err != nil {
		return err
	}
	step := e.furthest()
	// A limit above us with a reason of its own, the round's deadline, cut the visit short: not the camera's fault.
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return fault.New(fault.Deadline, step, "ended%s: %w", at(step), cause)
	}
	if ending.PID == 0 {
		return fault.New(fault.Local, "", "ffmpeg was not started in time").WithHint("is this host overloaded? visit fewer at once: -j")
	}
	switch step {
	case fault.Connect:
		return fault.New(fault.Timeout, step, "the camera did not accept the connection in time").WithHint(hintAlive, e.host())
	case fault.KeyFrame:
		return fault.New(fault.Timeout, step, "no key frame came in time").
			WithHint("set a shorter key-frame interval in the camera, or a longer timeout here")
	case fault.Media:
		return fault.New(fault.Timeout, step, "the camera sent no video in time").WithHint(hintMute)
	case "":
		return fault.New(fault.Timeout, step, "the camera did not answer in time").WithHint(hintMute)
	}
	return fault.New(fault.Timeout, step, "the camera did not answer %s in time", strings.ToUpper(string(step))).WithHint(hintMute)
}
