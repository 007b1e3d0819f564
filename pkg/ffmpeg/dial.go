package ffmpeg

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lazyre"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/login"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/supervise"
)

const (
	grace = 500 * time.Millisecond // from our TERM to our KILL
	// Slack is how long after its limit a child may still be on its way out: grace, and the wait for the kernel.
	Slack     = 3 * time.Second
	maxStdout = 32 << 20  // bytes of one JPEG
	maxStderr = 256 << 10 // bytes; a visit says 3 KB, one that decodes garbage says 60
)

// Dialler lets an ffmpeg dial cameras, under supervision.
type Dialler struct {
	program    string
	picturing  Picturing
	supervisor *supervise.Supervisor
	ledger     *ledger.Ledger

	mu     sync.Mutex
	probed bool
	tool   Tool
	err    *fault.Error
}

// NewDialler returns one for an ffmpeg, named by path or to be found in PATH.
func NewDialler(program string, picturing Picturing, supervisor *supervise.Supervisor, book *ledger.Ledger) *Dialler {
	if program == "" {
		program = "ffmpeg"
	}
	return &Dialler{program: program, picturing: picturing, supervisor: supervisor, ledger: book}
}

// StandBy only finds ffmpeg. The first Ready asks it what it can. The error is of class no-source.
func (f *Dialler) StandBy() error {
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

// Notices says, after StandBy or Ready, what this ffmpeg cannot do, or weakens.
func (f *Dialler) Notices() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tool.notices
}

// Ready finds ffmpeg and asks it what it can, once; this takes about 0.1 s. A probe that was cut short is made again by the
// next call. The error is of class no-source, local or cancelled.
func (f *Dialler) Ready(ctx context.Context) (Tool, *fault.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.probed {
		f.tool, f.err = f.probe(ctx)
		f.probed = ctx.Err() == nil
	}
	return f.tool, f.err
}

// Call is the wish that ffmpeg take one frame of a camera.
type Call struct {
	Camera   camera.Camera
	Password string
	Until    time.Time    // when ffmpeg is ended, also one that is kept busy by a camera which drips bytes: its own time-out starts anew with each of them
	Lease    *ledger.Held // of the slot that ffmpeg's connection takes; Take gives it back, or lets it cool
	Spoke    func()       // called once when ffmpeg has said its first word, or has ended
}

// Shot is what became of a call. The picture counts only when Err is nil, and is not looked at here.
type Shot struct {
	JPEG    []byte
	Codec   string // of the camera's stream, in ffmpeg's spelling; "" when not known
	Dialled bool   // ffmpeg was started
	LedAway bool   // the camera redirected elsewhere
	Err     *fault.Error
}

// Take lets ffmpeg take one frame. Passwords go in by stdin and come out nowhere.
func (f *Dialler) Take(ctx context.Context, tool Tool, call Call) Shot {
	order, problem := tool.order(call, f.picturing, time.Until(call.Until))
	if problem != nil {
		if err := call.Lease.Strike(); err != nil {
			problem = fault.From(err, fault.Local, "")
		}
		return Shot{Err: problem}
	}
	ending := f.supervisor.Run(ctx, supervise.Spec{
		Path: tool.path, Args: order.args, Stdin: order.stdin, Env: environment(),
		Lease: call.Lease, Limit: time.Until(call.Until), Grace: grace, MaxStdout: maxStdout, MaxStderr: maxStderr,
		Redact: redact.New(call.Password), Spoke: call.Spoke,
		Settle: func(held *ledger.Held, ending supervise.Ending) error {
			if !mayLinger(order.evidence(ending), ending) {
				return held.Strike()
			}
			return held.Cool(proc.BootTime() + call.Camera.SessionTimeout)
		},
	})
	e := order.evidence(ending)
	err := verdict(ctx, e, ending)
	if err != nil && err.Class == fault.Auth && strings.Contains(err.Message, "401") && (call.Camera.Username != "" || call.Password != "") {
		err = err.Because(login.ErrRefused)
	}
	return Shot{JPEG: ending.Stdout, Codec: e.codec, Dialled: ending.PID != 0, LedAway: e.ledAway() != nil, Err: err}
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
		return fault.New(fault.Cancelled, e.furthest(), "cancelled%s", e.furthest().At())
	case supervise.Overflowed:
		return fault.New(fault.NotJPEG, "", "ffmpeg wrote more than %d MiB and was stopped", maxStdout>>20).WithHint(hintFFmpeg)
	case supervise.Expired:
		return expired(ctx, e, ending)
	}
	switch {
	case ending.Signal != "":
		return fault.New(fault.Local, e.furthest(), "ffmpeg was ended by signal %s, which camwarden did not send", ending.Signal).
			WithHint("out of memory? journalctl -k | grep -i oom; a crash? %s", hintFFmpeg)
	case ending.Code != 0 && !e.waitedForVP9(ending):
		return classify(e)
	}
	if err := e.ledAway(); err != nil {
		return err
	}
	switch {
	case len(ending.Stdout) == 0 && e.late():
		return fault.New(fault.Timeout, e.furthest(), "the camera fell silent before a key frame came").WithHint(HintMute)
	case len(ending.Stdout) == 0 && e.opened:
		return fault.New(fault.Closed, e.furthest(), "the camera ended the stream before a key frame came").WithHint(hintSlots)
	case corrupt.Get().MatchString(e.text):
		return fault.New(fault.Decode, fault.Decoding, "the key frame was damaged").WithHint(hintFlaky)
	}
	return nil
}

// waitedForVP9 says whether ffmpeg has a picture, and ends in 69 only because it met more errors than pictures before it. Joined in
// mid-stream its decoder of VP9, which does not heed -skip_frame, calls every picture before the first key frame an error.
func (e evidence) waitedForVP9(ending supervise.Ending) bool {
	const tooManyErrors = 69
	return ending.Code == tooManyErrors && e.codec == "vp9" && len(ending.Stdout) > 0
}

const unknownCodecText = `Video: none[^)]*\): unknown codec`

var (
	unknownCodec = lazyre.New(unknownCodecText)
	stuck        = lazyre.New(`Error while decoding stream \S+: Resource temporarily unavailable`)
)

// lacksCodec is the error of an ffmpeg that goes on receiving what it will never decode; nil where it is another one. Measured with 5.1:
// it has no receiver for AV1. And a packet of VP9 that holds two frames, of which the first lacks its references, blocks its decoder
// for ever, where the stream was joined between two key frames.
func (e evidence) lacksCodec() *fault.Error {
	switch {
	case unknownCodec.Get().MatchString(e.text):
		return fault.New(fault.NoVideo, fault.Setup, "this ffmpeg cannot receive the codec of the camera's video").WithHint("%s", hintRTSP)
	case e.codec == "vp9" && stuck.Get().MatchString(e.text):
		return fault.New(fault.Decode, fault.Decoding, "ffmpeg's decoder of VP9 got stuck before the first key frame").WithHint("%s", hintRTSP)
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
		return fault.New(fault.Deadline, step, "ended%s: %w", step.At(), cause)
	}
	if ending.PID == 0 {
		return fault.New(fault.Local, "", "ffmpeg was not started in time").WithHint("is this host overloaded? visit fewer at once: -j")
	}
	if err := e.lacksCodec(); err != nil {
		return err
	}
	switch step {
	case fault.Connect:
		return fault.New(fault.Timeout, step, "the camera did not accept the connection in time").WithHint(hintAlive, e.host())
	case fault.KeyFrame:
		return fault.New(fault.Timeout, step, "no key frame came in time").
			WithHint("%s", hintInterval)
	case fault.Media:
		return fault.New(fault.Timeout, step, "the camera sent no video in time").WithHint(HintMute)
	case "":
		return fault.New(fault.Timeout, step, "the camera did not answer in time").WithHint(HintMute)
	}
	return fault.New(fault.Timeout, step, "the camera did not answer %s in time", strings.ToUpper(string(step))).WithHint(HintMute)
}
