package ffmpeg

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/jpeg"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// Frames that wait for a processor are decoded by one ffmpeg, each with an input, a decoder and an output of its own:
// to start ffmpeg costs more than to decode 1080p. Eight together took less than half of what they take one by one.
//
// No frame may spoil another's picture. What was made together counts only when ffmpeg is content with all of it, and
// took no more than half of the time that the most urgent has left; else each is decoded again, alone, and says for itself what is
// wrong with it.
const (
	batchMost   = 8
	batchPixels = 4096 * 2304 // of each; a larger one costs the others their memory, and is decoded alone
	batchLeft   = time.Second // a visit with less left has no time for a second try
)

// sociable says whether the frame may be decoded with others.
func (f *pending) sociable() bool { return !f.alone && f.left() >= batchLeft }

// together decodes the frames with one ffmpeg, or sees to it that each is decoded alone.
func (d *Decoder) together(frames []*pending) {
	if d.batch(frames) {
		for _, f := range frames {
			close(f.done)
		}
		return
	}
	for _, f := range frames {
		f.alone = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = append(frames, d.queue...)
	for range frames[1:] { // the first is our own next
		d.begin()
	}
}

// batch fills in the JPEGs and reports whether they count.
func (d *Decoder) batch(frames []*pending) bool {
	in, err := memories(len(frames))
	defer in.close()
	if err != nil {
		return false
	}
	out, err := memories(len(frames))
	defer out.close()
	if err != nil {
		return false
	}
	least := time.Minute
	spec := supervise.Spec{Args: d.common(), Files: append(append([]*os.File{}, in...), out...)}
	for i, f := range frames {
		if _, err := in[i].Write(f.bytes); err != nil {
			return false
		}
		if _, err := in[i].Seek(0, io.SeekStart); err != nil { // the child reads from where we stand: it gets our offset with the file
			return false
		}
		spec.Args = append(spec.Args, d.input(f.codec, batchPixels, pipe(i))...)
		least = min(least, f.left())
	}
	for i := range frames {
		spec.Args = append(spec.Args, d.output(i, "", pipe(len(frames)+i))...)
	}
	ctx, cancel := whileAnyWaits(frames)
	defer cancel()
	ending, problem := d.run(ctx, "", least/2, spec)
	if problem != nil || d.verdictOfBatch(ending) != nil {
		return false
	}
	for i, f := range frames {
		picture, err := written(out[i])
		if err != nil {
			return false
		}
		if _, problem := jpeg.Validate(picture, false); problem != nil {
			return false
		}
		f.jpeg = picture
	}
	return true
}

// verdictOfBatch is an error when ffmpeg was not content with all of the frames. Its words do not tell with which.
func (d *Decoder) verdictOfBatch(ending supervise.Ending) *fault.Error {
	ending.Stdout = []byte("elsewhere")
	return d.verdict(context.Background(), ending)
}

// whileAnyWaits returns a context that is over when the visits of all frames are.
func whileAnyWaits(frames []*pending) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	var waiting atomic.Int64
	waiting.Store(int64(len(frames)))
	var stops []func() bool
	for _, f := range frames {
		stops = append(stops, context.AfterFunc(f.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// pipe names the i-th of a child's files for ffmpeg.
func pipe(i int) string { return "pipe:" + strconv.Itoa(3+i) }

// files are files in memory. They have no name anywhere, and are gone with the last process that has them open (man 2 memfd_create).
type files []*os.File

func memories(count int) (files, error) {
	var all files
	for i := range count {
		fd, err := unix.MemfdCreate("camwarden", unix.MFD_CLOEXEC)
		if err != nil {
			return all, fmt.Errorf("file in memory %d: %w", i, err)
		}
		all = append(all, os.NewFile(uintptr(fd), "memory"))
	}
	return all, nil
}

func (all files) close() {
	for _, file := range all {
		_ = file.Close()
	}
}

// written returns what a child wrote.
func written(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxStdout {
		return nil, fmt.Errorf("%d bytes are no still", info.Size())
	}
	content := make([]byte, info.Size())
	_, err = file.ReadAt(content, 0)
	return content, err
}
