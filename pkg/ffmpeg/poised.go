package ffmpeg

import (
	"context"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// Poised is an ffmpeg that is started while the camera's key frame is awaited, and reads nothing before the camera has been
// hung up on: a visit then does not wait for its start, which takes longer than the decode of a 1080p picture.
type Poised struct {
	decoder *Decoder
	visit   context.Context
	give    context.CancelFunc
	later   chan []byte
	ended   chan struct{} // closed when the rest is filled in
	ending  supervise.Ending
	err     *fault.Error
}

// Poise starts an ffmpeg for a visit that is the only one under way; else it returns nil. Where many visits wait, one ffmpeg
// for several frames is better than one for each that waits along with it.
func (d *Decoder) Poise(ctx context.Context, camera, codec string) *Poised {
	d.mu.Lock()
	lonely := d.visits == 1
	d.mu.Unlock()
	left := (&pending{ctx: ctx}).left()
	if !lonely || left <= 0 {
		return nil
	}
	e := &Poised{decoder: d, visit: ctx, later: make(chan []byte, 1), ended: make(chan struct{})}
	ctx, e.give = context.WithCancel(ctx)
	go func() {
		defer close(e.ended)
		e.ending, e.err = d.run(ctx, camera, left, supervise.Spec{Args: d.args(codec, ""), Later: e.later})
	}()
	return e
}

// Decode gives it what it was started for.
func (e *Poised) Decode(picture []byte) ([]byte, *fault.Error) {
	defer e.give()
	e.later <- picture // nobody else sends, so there is room
	<-e.ended
	if e.err != nil {
		return nil, e.err
	}
	return e.ending.Stdout, e.decoder.verdict(e.visit, e.ending)
}

// Dismiss ends one that was started in vain. Its end of file is what it hears at once, a signal perhaps not: it is reading.
func (e *Poised) Dismiss() {
	if e == nil {
		return
	}
	close(e.later)
	e.give()
	<-e.ended
}

// Enter counts a visit that is under way, until it leaves.
func (d *Decoder) Enter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.visits++
}

// Leave ends what Enter began.
func (d *Decoder) Leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.visits--
}
