package capture

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"strconv"
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
	Width   int // pixels at most, the height follows; 0 keeps the camera's. Nothing is ever enlarged
}

// DefaultQuality is ffmpeg's -q:v of a JPEG, where the configuration names none.
const DefaultQuality = 3

// filter makes the colours those that a JPEG means: BT.601 in full range (ITU-T T.871 section 7). Left alone ffmpeg
// stretches the range and forgets the matrix: a still of a BT.709 camera was 27.7 dB from the camera's picture, and is 41.
// Pictures that are so already pass untouched.
func (p Picturing) filter() string {
	filter := "scale=out_color_matrix=bt601:out_range=pc"
	if p.Width > 0 {
		filter += fmt.Sprintf(":w='min(iw,%d)':h=-1", p.Width)
	}
	return filter
}

// output ends the arguments of every call that makes a still: one JPEG on stdout.
func (p Picturing) output() []string {
	return []string{"-frames:v", "1", "-f", "mjpeg", "-c:v", "mjpeg", "-q:v", strconv.Itoa(cmp.Or(p.Quality, DefaultQuality)), "pipe:1"}
}

// What a key frame may ask of ffmpeg. A parameter set of thirty bytes can announce any size. Measured with one picture of the
// largest size allowed: 300 MB, 450 MB where every pixel has its own colours; 16384 x 16384 is refused at 53 MB, which is what
// ffmpeg takes anyway. -max_alloc bounds what else a stream might make it allocate at once.
const (
	decodePixels = 40 << 20 // 8192 x 5120
	decodeAlloc  = 512 << 20
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

// decode returns the JPEG of a camera's key frame; the codec is in ffmpeg's spelling. Its errors are of class timeout, decode,
// not-jpeg, local or cancelled, at step decode.
func (d *decoder) decode(ctx context.Context, camera, codec string, frame []byte) ([]byte, *fault.Error) {
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
		return nil, fault.New(fault.Local, fault.Decoding, "the picture cannot be decoded: %w", err).WithHint(hintInstall)
	}
	held, err := d.ledger.Write(ledger.Lease{Kind: ledger.Process, Camera: camera, Deadline: proc.BootTime() + left + slack, Note: "decoding a key frame"})
	if err != nil {
		return nil, fault.From(err, fault.Local, fault.Decoding)
	}
	ending := d.supervisor.Run(ctx, supervise.Spec{
		Path: path, Args: d.args(codec), Stdin: frame, Env: []string{"LC_ALL=C"}, Lease: held,
		Limit: left, Grace: grace, MaxStdout: maxStdout, MaxStderr: 1 << 16,
	})
	return ending.Stdout, d.verdict(ctx, ending)
}

// args word the call. What costs: starting ffmpeg at all takes 70 ms of CPU, a 1080p key frame 45 more. It was 80 more before:
//   - nofind_stream_info: else the picture is decoded twice, once only to learn its size (25 ms); then ffmpeg finds no stream
//     worth mapping by itself, hence map;
//   - threads and filter_threads 1: threads for one picture cost more than they give (10 ms).
//
// The optimal Huffman tables stay: they cost 10 ms and save 20 % of every file.
func (d *decoder) args(codec string) []string {
	args := []string{
		"-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning", "-max_alloc", strconv.Itoa(decodeAlloc),
		"-protocol_whitelist", "pipe", "-threads", "1", "-max_pixels", strconv.Itoa(decodePixels),
		"-nofind_stream_info", "-f", codec, "-i", "pipe:0",
		"-map", "0:v", "-threads", "1", "-filter_threads", "1", "-vf", d.picturing.filter(),
	}
	return append(args, d.picturing.output()...)
}

func (d *decoder) late(ctx context.Context, message string) *fault.Error {
	if ctx.Err() == context.Canceled { // Err returns these two values themselves
		return fault.New(fault.Cancelled, fault.Decoding, "cancelled before the picture was decoded")
	}
	return fault.New(fault.Timeout, fault.Decoding, "%s", message).WithHint("visit fewer at once with -j, or raise the timeout")
}

func (d *decoder) verdict(ctx context.Context, ending supervise.Ending) *fault.Error {
	switch ending.Kind {
	case supervise.Refused:
		return fault.From(ending.Err, fault.Local, fault.Decoding)
	case supervise.Stuck:
		return fault.New(fault.Local, fault.Decoding, "ffmpeg (pid %d) was killed and has not been seen gone: %w", ending.PID, ending.Err).
			WithHint("its lease is kept, and the next run looks again")
	case supervise.Cancelled:
		return fault.New(fault.Cancelled, fault.Decoding, "cancelled while the picture was decoded")
	case supervise.Expired:
		return d.late(ctx, "the picture was not decoded in time")
	case supervise.Overflowed:
		return fault.New(fault.NotJPEG, fault.Decoding, "ffmpeg wrote more than %d MiB and was stopped", maxStdout>>20).WithHint(hintFFmpeg)
	}
	said := read(ending.Stderr)
	switch {
	case ending.Signal != "":
		return fault.New(fault.Local, fault.Decoding, "ffmpeg was ended by signal %s, which camwarden did not send", ending.Signal).
			WithHint("out of memory? journalctl -k | grep -i oom; a crash? %s", hintFFmpeg)
	case ending.Code != 0 || len(ending.Stdout) == 0:
		return fault.New(fault.Decode, fault.Decoding, "the key frame could not be decoded: %s", said.complaint()).WithHint(hintFlaky)
	case corrupt().MatchString(said.text): // at exit 0: ffmpeg paints over what is missing
		return fault.New(fault.Decode, fault.Decoding, "the key frame was damaged").WithHint(hintFlaky)
	}
	return nil
}

// complaint is the first error that ffmpeg told: the later ones are its consequences.
func (a account) complaint() string {
	for line := range strings.Lines(a.text) {
		if found := levelled().FindStringSubmatch(line); found != nil {
			return plain(strings.TrimSpace(found[1]), 200)
		}
	}
	return a.lastLine()
}

var levelled = re(`^(?:\[[^]]* @ 0x[0-9a-f]+\] )*\[(?:error|fatal)\] (.*)`)
