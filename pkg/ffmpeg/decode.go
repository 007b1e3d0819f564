package ffmpeg

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lazyre"
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

// output words where one JPEG goes: "pipe:1" for stdout.
func (p Picturing) output(to string) []string {
	return []string{"-frames:v", "1", "-f", "mjpeg", "-c:v", "mjpeg", "-q:v", strconv.Itoa(cmp.Or(p.Quality, DefaultQuality)), to}
}

// What a key frame may ask of ffmpeg. A parameter set of thirty bytes can announce any size. Measured with one picture of the
// largest size allowed: 300 MB, 450 MB where every pixel has its own colours; 16384 x 16384 is refused at 53 MB, which is what
// ffmpeg takes anyway. -max_alloc bounds what else a stream might make it allocate at once.
const (
	decodePixels = 40 << 20 // 8192 x 5120
	decodeAlloc  = 512 << 20
)

// Decoder turns key frames into JPEGs with supervised ffmpegs that open nothing: a frame comes in and a picture goes out by
// files that are open already. Decodes are held to the number of processors: waiting for a camera is cheap, decoding is
// not, and the wait for a place must not hold a camera's connection. Frames that have to wait are decoded several at a time.
type Decoder struct {
	program    string
	picturing  Picturing
	supervisor *supervise.Supervisor
	ledger     *ledger.Ledger

	found atomic.Pointer[string] // where the program is

	mu       sync.Mutex
	free     int        // places
	starting int        // places taken by who has not yet taken a frame
	queue    []*pending // that wait for a place
	visits   int        // under way, whether or not they have a frame yet
}

// NewDecoder returns one for an ffmpeg, named by path or to be found in PATH.
func NewDecoder(program string, picturing Picturing, supervisor *supervise.Supervisor, book *ledger.Ledger) *Decoder {
	return &Decoder{program: program, picturing: picturing, supervisor: supervisor, ledger: book, free: runtime.GOMAXPROCS(0)}
}

// pending is a key frame on its way to become a JPEG.
type pending struct {
	ctx    context.Context // of the visit
	camera string
	codec  string // in ffmpeg's spelling
	bytes  []byte
	before string // filters that it needs before those that all do, with a comma behind them
	alone  bool   // it must not be decoded together with others

	done chan struct{} // closed when the rest is filled in
	jpeg []byte
	err  *fault.Error
}

// left is what the visit may still take.
func (f *pending) left() time.Duration {
	if deadline, bounded := f.ctx.Deadline(); bounded {
		return time.Until(deadline)
	}
	return time.Minute
}

// Decode returns the JPEG of a camera's key frame; the codec is in ffmpeg's spelling. Its errors are of class timeout, decode,
// not-jpeg, local or cancelled, at step decode.
func (d *Decoder) Decode(ctx context.Context, camera, codec string, picture []byte) ([]byte, *fault.Error) {
	return d.await(&pending{ctx: ctx, camera: camera, codec: codec, bytes: picture, done: make(chan struct{})})
}

// Special is what few key frames need.
type Special struct {
	Pictures   int  // that are in it, of which the last one shown is meant; 0 and 1: one
	Monochrome bool // it has no colours: ffmpeg takes such for full range, whatever they say
}

func (s Special) filter() string {
	filter := ""
	if s.Pictures > 1 {
		filter = fmt.Sprintf(`select=eq(n\,%d),`, s.Pictures-1)
	}
	if s.Monochrome {
		filter += "format=yuv420p,"
	}
	return filter
}

// DecodeSpecial is Decode for such a key frame.
func (d *Decoder) DecodeSpecial(ctx context.Context, camera, codec string, picture []byte, special Special) ([]byte, *fault.Error) {
	return d.await(&pending{
		ctx: ctx, camera: camera, codec: codec, bytes: picture, before: special.filter(), alone: true, done: make(chan struct{}),
	})
}

func (d *Decoder) await(f *pending) ([]byte, *fault.Error) {
	ctx := f.ctx
	d.enqueue(f)
	select {
	case <-f.done:
	case <-ctx.Done():
		if d.withdraw(f) {
			return nil, d.late(ctx, "no processor was free to decode the picture in time")
		}
		<-f.done // it is being decoded, or rather ended: nothing of it is left behind
	}
	return f.jpeg, f.err
}

func (d *Decoder) enqueue(f *pending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = append(d.queue, f)
	d.begin()
}

// begin takes a place, if one is free. The caller holds the lock.
func (d *Decoder) begin() {
	if d.free == 0 {
		return
	}
	d.free--
	d.starting++
	go d.work()
}

// withdraw takes a frame back that nobody has begun to decode.
func (d *Decoder) withdraw(f *pending) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.queue, f)
	if i >= 0 {
		d.queue = slices.Delete(d.queue, i, i+1)
	}
	return i >= 0
}

// work holds a place as long as frames wait.
func (d *Decoder) work() {
	for fresh := true; ; fresh = false {
		frames := d.take(fresh)
		switch len(frames) {
		case 0:
			return
		case 1:
			frames[0].jpeg, frames[0].err = d.single(frames[0])
			close(frames[0].done)
		default:
			d.together(frames)
		}
	}
}

// take takes the frame that has waited longest, and those behind it that may be decoded with it. Those who begin at the
// same moment share what there is. With nothing to take it gives the place back.
func (d *Decoder) take(fresh bool) []*pending {
	d.mu.Lock()
	defer d.mu.Unlock()
	most := batchMost
	if fresh {
		most = min(most, (len(d.queue)+d.starting-1)/d.starting)
		d.starting--
	}
	if len(d.queue) == 0 {
		d.free++
		return nil
	}
	first := d.queue[0]
	frames, rest := []*pending{first}, []*pending{}
	for _, f := range d.queue[1:] {
		if len(frames) < most && first.sociable() && f.sociable() {
			frames = append(frames, f)
		} else {
			rest = append(rest, f)
		}
	}
	d.queue = rest
	return frames
}

// single decodes one frame in a process of its own.
func (d *Decoder) single(f *pending) ([]byte, *fault.Error) {
	left := f.left()
	if left <= 0 {
		return nil, d.late(f.ctx, "no time was left to decode the picture")
	}
	ending, err := d.run(f.ctx, f.camera, left, supervise.Spec{Args: d.args(f.codec, f.before), Stdin: f.bytes})
	if err != nil {
		return nil, err
	}
	return ending.Stdout, d.verdict(f.ctx, ending)
}

// environment is that of every ffmpeg that makes a picture: messages in English, which the rules read, and large pages in
// one piece for its memory. That is half as many page faults, which are slow on some hosts (glibc manual, "Memory
// Allocation Tunables"); other C libraries do not know the name.
func environment() []string {
	return []string{"LC_ALL=C", "GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.top_pad=67108864"}
}

// find returns the path of the program. It is looked for until it has been found; later, starting it says whether it is there.
func (d *Decoder) find() (string, error) {
	if path := d.found.Load(); path != nil {
		return *path, nil
	}
	path, err := supervise.Find(d.program)
	if err == nil {
		d.found.Store(&path)
	}
	return path, err
}

// Look says what about the program weakens our promises, without running it. The error is of class no-source: it is not there.
func (d *Decoder) Look() (notices []string, err *fault.Error) {
	found, err := find(d.program)
	return found.notices, err
}

// Missing is an error where there is no program, and no key frame can become a JPEG.
func (d *Decoder) Missing() error {
	_, err := d.find()
	return err
}

// Width is the most that a picture may have, in pixels; 0: any.
func (d *Decoder) Width() int { return d.picturing.Width }

// run runs an ffmpeg that dials nobody; the spec lacks all that is the same for each.
func (d *Decoder) run(ctx context.Context, camera string, limit time.Duration, spec supervise.Spec) (supervise.Ending, *fault.Error) {
	path, err := d.find()
	if err != nil {
		return supervise.Ending{}, fault.New(fault.Local, fault.Decoding, "the picture cannot be decoded: %w", err).WithHint(HintInstall)
	}
	spec.Lease, err = d.ledger.Write(ledger.Lease{Kind: ledger.Process, Camera: camera, Deadline: proc.BootTime() + limit + Slack, Note: "decoding"})
	if err != nil {
		return supervise.Ending{}, fault.From(err, fault.Local, fault.Decoding)
	}
	spec.Path, spec.Limit, spec.Grace, spec.MaxStdout, spec.MaxStderr = path, limit, grace, maxStdout, 1<<16
	spec.Env = environment()
	return d.supervisor.Run(ctx, spec), nil
}

// args word the call. What costs: starting ffmpeg at all takes 70 ms of CPU, a 1080p key frame 45 more. It was 80 more before:
//   - nofind_stream_info: else the picture is decoded twice, once only to learn its size (25 ms); then ffmpeg finds no stream
//     worth mapping by itself, hence map;
//   - threads and filter_threads 1: threads for one picture cost more than they give (10 ms).
//
// The optimal Huffman tables stay: they cost 10 ms and save 20 % of every file.
func (d *Decoder) args(codec, before string) []string {
	args := append(d.common(), d.input(codec, decodePixels, "pipe:0")...)
	return append(args, d.output(0, before, "pipe:1")...)
}

func (d *Decoder) common() []string {
	return []string{"-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning", "-max_alloc", strconv.Itoa(decodeAlloc), "-filter_threads", "1"}
}

func (d *Decoder) input(codec string, pixels int, from string) []string {
	return []string{
		"-protocol_whitelist", "pipe", "-threads", "1", "-max_pixels", strconv.Itoa(pixels), "-nofind_stream_info", "-f", demuxer(codec), "-i", from,
	}
}

func (d *Decoder) output(input int, before, to string) []string {
	args := []string{"-map", strconv.Itoa(input) + ":v", "-threads", "1", "-vf", before + d.picturing.filter()}
	return append(args, d.picturing.output(to)...)
}

func (d *Decoder) late(ctx context.Context, message string) *fault.Error {
	if ctx.Err() == context.Canceled { // Err returns these two values themselves
		return fault.New(fault.Cancelled, fault.Decoding, "cancelled before the picture was decoded")
	}
	return fault.New(fault.Timeout, fault.Decoding, "%s", message).WithHint("visit fewer at once with -j, or raise the timeout")
}

func (d *Decoder) verdict(ctx context.Context, ending supervise.Ending) *fault.Error {
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
	case corrupt.Get().MatchString(said.text): // at exit 0: ffmpeg paints over what is missing
		return fault.New(fault.Decode, fault.Decoding, "the key frame was damaged").WithHint(hintFlaky)
	}
	return nil
}

// complaint is the first error that ffmpeg told: the later ones are its consequences.
func (a account) complaint() string {
	for line := range strings.Lines(a.text) {
		if found := levelled.Get().FindStringSubmatch(line); found != nil {
			return plain(strings.TrimSpace(found[1]), 200)
		}
	}
	return a.lastLine()
}

var levelled = lazyre.New(`^(?:\[[^]]* @ 0x[0-9a-f]+\] )*\[(?:error|fatal)\] (.*)`)
