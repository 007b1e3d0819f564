package capture

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// Picturing is how a JPEG is made. The zero value means the defaults.
type Picturing struct {
	Quality int // ffmpeg's -q:v: 2 is best, 31 smallest; 0 means DefaultQuality
	Width   int // pixels, the height follows; 0 keeps the camera's
}

// DefaultQuality is ffmpeg's -q:v of a JPEG, where the configuration names none.
const DefaultQuality = 3

func (p Picturing) args() []string {
	quality := p.Quality
	if quality <= 0 {
		quality = DefaultQuality
	}
	return []string{"-f", "image2", "-c:v", "mjpeg", "-q:v", fmt.Sprint(quality)}
}

// Bounds of a decode. A 4K key frame takes 0.3 s of one processor.
const (
	decodePixels = 64 << 20  // 8192 x 8192: what a hostile parameter set may ask ffmpeg to hold
	decodeAlloc  = 512 << 20 // bytes of one allocation in ffmpeg
)

// decoder turns a key frame into a JPEG with a supervised ffmpeg that opens nothing: the frame comes in by stdin, the
// picture goes out by stdout. Decodes are held to the number of processors: waiting for a camera is cheap, decoding is not,
// and the wait for a place must not hold a camera's connection.
type decoder struct {
	program    string
	picturing  Picturing
	supervisor *supervise.Supervisor
	ledger     *ledger.Ledger
	places     chan struct{}
}

func newDecoder(program string, picturing Picturing, supervisor *supervise.Supervisor, book *ledger.Ledger) *decoder {
	return &decoder{
		program: program, picturing: picturing, supervisor: supervisor, ledger: book,
		places: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
}

// decode returns the JPEG of a key frame of the codec, in ffmpeg's spelling. Its errors are of class timeout, decode, local or cancelled, at step decode.
func (d *decoder) decode(ctx context.Context, codec string, frame []byte) ([]byte, *fault.Error) {
	select {
	case d.places <- struct{}{}:
		defer func() { <-d.places }()
	case <-ctx.Done():
		return nil, d.late(ctx, "no processor was free to decode the picture in time")
	}
	left := time.Minute
	if deadline, bounded := ctx.Deadline(); bounded {
		left = time.Until(deadline)
	}
	if left <= 0 {
		return nil, d.late(ctx, "no time was left to decode the picture")
	}
	path, err := supervise.Find(d.program)
	if err != nil {
		return nil, fault.New(fault.Local, fault.Decoding, "the picture cannot be decoded: %w", err).WithHint("apt install ffmpeg, or set ffmpeg.path")
	}
	held, err := d.ledger.Write(ledger.Lease{Kind: ledger.Process, Deadline: proc.BootTime() + left + slack, Note: "decoding a key frame"})
	if err != nil {
		return nil, fault.From(err, fault.Local, fault.Decoding)
	}
	ending := d.supervisor.Run(ctx, supervise.Spec{
		Path: path, Args: d.args(codec), Stdin: frame, Env: []string{"LC_ALL=C"}, Lease: held,
		Limit: left, Grace: grace, MaxStdout: maxStdout, MaxStderr: 1 << 16,
	})
	return ending.Stdout, d.verdict(ctx, ending)
}

func (d *decoder) args(codec string) []string {
	args := []string{
		"-nostdin", "-hide_banner", "-nostats", "-loglevel", "warning", "-max_alloc", fmt.Sprint(decodeAlloc),
		"-protocol_whitelist", "pipe", "-threads", "1", "-max_pixels", fmt.Sprint(decodePixels),
		"-f", codec, "-i", "pipe:0", "-an", "-sn", "-dn",
	}
	if d.picturing.Width > 0 {
		// Height -2: in proportion, and even, which the subsampled colours need.
		args = append(args, "-vf", fmt.Sprintf("scale=%d:-2", d.picturing.Width))
	}
	args = append(args, "-frames:v", "1")
	return append(append(args, d.picturing.args()...), "pipe:1")
}

func (d *decoder) late(ctx context.Context, message string) *fault.Error {
	if ctx.Err() == context.Canceled { //nolint:errorlint // Err returns these two values themselves
		return fault.New(fault.Cancelled, fault.Decoding, "cancelled before the picture was decoded")
	}
	return fault.New(fault.Timeout, fault.Decoding, "%s", message).WithHint("visit fewer at once with -j, or raise the timeout")
}

func (d *decoder) verdict(ctx context.Context, ending supervise.Ending) *fault.Error {
	said := read(ending.Stderr).lastLine()
	switch ending.Kind {
	case supervise.Refused:
		return fault.From(ending.Err, fault.Local, fault.Decoding)
	case supervise.Stuck:
		return fault.New(fault.Local, fault.Decoding, "ffmpeg (pid %d) was killed and has not been seen gone: %w", ending.PID, ending.Err)
	case supervise.Cancelled:
		return fault.New(fault.Cancelled, fault.Decoding, "cancelled while the picture was decoded")
	case supervise.Expired:
		return d.late(ctx, "the picture was not decoded in time")
	case supervise.Overflowed:
		return fault.New(fault.NotJPEG, fault.Decoding, "ffmpeg wrote more than %d MiB and was stopped", maxStdout>>20).WithHint(hintFFmpeg)
	}
	switch {
	case ending.Signal != "":
		return fault.New(fault.Local, fault.Decoding, "ffmpeg was ended by signal %s, which camwarden did not send", ending.Signal).
			WithHint("out of memory? journalctl -k | grep -i oom")
	case ending.Code != 0 || len(ending.Stdout) == 0:
		return fault.New(fault.Decode, fault.Decoding, "the key frame could not be decoded: %s", said).WithHint(hintFlaky)
	case broken(said):
		return fault.New(fault.Decode, fault.Decoding, "the key frame was damaged: %s", said).WithHint(hintFlaky)
	}
	return nil
}

// broken tells a decoder's complaint about the picture from its complaints about timing: a single frame has no time stamps.
func broken(said string) bool {
	return strings.Contains(said, "corrupt decoded frame") || strings.Contains(said, "error while decoding MB") ||
		strings.Contains(said, "concealing")
}
