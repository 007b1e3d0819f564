package capture

import (
	"context"
	"runtime"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/jpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// FFmpeg is the source "ffmpeg": ffmpeg dials the camera, under supervision.
type FFmpeg struct {
	streamed
	dialler *ffmpeg.Dialler
	slots   slot.Table
	loading rooms // two for each processor
}

// NewFFmpeg returns the source for an ffmpeg, named by path or to be found in PATH. Each connection takes its slot from the table.
func NewFFmpeg(program string, picturing ffmpeg.Picturing, supervisor *supervise.Supervisor, slots slot.Table) *FFmpeg {
	return &FFmpeg{
		dialler: ffmpeg.NewDialler(program, picturing, supervisor, slots.Ledger), slots: slots,
		loading: make(rooms, 2*runtime.GOMAXPROCS(0)),
	}
}

// Name is "ffmpeg".
func (f *FFmpeg) Name() string { return "ffmpeg" }

// Check finds ffmpeg and asks it what it can, once; this takes about 0.1 s.
func (f *FFmpeg) Check(ctx context.Context) error {
	if _, err := f.dialler.Ready(ctx); err != nil {
		return err
	}
	return nil
}

// StandBy only finds ffmpeg. The first Capture asks it what it can.
func (f *FFmpeg) StandBy() error { return f.dialler.StandBy() }

// Notices says, after Check, what this ffmpeg cannot do, or weakens.
func (f *FFmpeg) Notices() []string { return f.dialler.Notices() }

// Construct has nothing to prepare: ffmpeg is started camera by camera.
func (f *FFmpeg) Construct(context.Context, []camera.Camera) error { return nil }

// Destruct has nothing to take down: no child outlives its Capture.
func (f *FFmpeg) Destruct(context.Context) error { return nil }

// Capture lets ffmpeg take one frame. It waits for a slot first; the error is then of class exhausted, busy, cooling or
// cancelled. The deadline of ctx ends ffmpeg, also one that is kept busy by a camera which drips bytes: its own time-out
// starts anew with each of them. Passwords go in by stdin and come out nowhere.
func (f *FFmpeg) Capture(ctx context.Context, v Visit) (Still, Report) {
	tool, problem := f.dialler.Ready(ctx)
	if problem != nil {
		return Still{}, Report{Err: problem}
	}
	if err := v.addressed(); err != nil {
		return Still{}, Report{Err: err}
	}
	if err := v.LogIns.Check(v.logIn(v.Camera)); err != nil {
		return Still{}, Report{Err: err}
	}
	held, room, problem := f.admit(ctx, v)
	if problem != nil {
		return Still{}, Report{Err: problem}
	}
	defer room.Leave()
	began := time.Now()
	shot := f.dialler.Take(ctx, tool, ffmpeg.Call{Camera: v.Camera, Password: v.Password, Until: time.Now().Add(left(ctx)), Lease: held, Spoke: room.Leave})
	report := Report{Dialled: shot.Dialled, Err: v.noteLogIn(v.Camera, shot.Err)}
	if report.Err == nil {
		var picture jpeg.Picture
		picture, report.Err = jpeg.Validate(shot.JPEG, v.Strict)
		if report.Err == nil {
			return Still{
				JPEG: shot.JPEG, CapturedAt: time.Now(), Waited: time.Since(began),
				Width: picture.Width, Height: picture.Height, Codec: shot.Codec,
			}, report
		}
	}
	report.Final = shot.LedAway // another client would follow, or be refused, too
	report.Err = clean(report.Err, redact.New(v.Password))
	return Still{}, report
}

// admit takes a slot of the camera and a place to be loaded in: the one that the visit came with, unless another source was
// tried first, or it was given back meanwhile.
func (f *FFmpeg) admit(ctx context.Context, v Visit) (*ledger.Held, Room, *fault.Error) {
	held, err := f.slots.Take(ctx, slot.Request{
		Camera: v.Camera, Kind: ledger.Process, Deadline: proc.BootTime() + left(ctx) + ffmpeg.Slack,
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
