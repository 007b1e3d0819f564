package round

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
)

// visitAll visits the cameras, as many at once as jobs says, and returns when the last visit has ended.
func (r *runner) visitAll(ctx context.Context) {
	began := time.Now()
	defer func() { r.report.Phases.VisitMS = time.Since(began).Milliseconds() }()

	r.report.Visits = make([]Visit, len(r.cams))
	for i, c := range r.cams {
		r.report.Visits[i] = skipped(c, nil) // so that the document is whole whatever happens
	}
	visits := ctx
	if r.plan.Deadline > 0 {
		var cancel context.CancelFunc
		visits, cancel = context.WithTimeoutCause(ctx, r.plan.Deadline, errDeadline)
		defer cancel()
	}
	var (
		group errgroup.Group
		stop  brake
		count sync.Mutex
		done  int
	)
	group.SetLimit(r.jobs())
	for i := range r.cams {
		group.Go(func() error {
			v := r.turn(visits, &stop, i)
			count.Lock()
			defer count.Unlock()
			r.report.Visits[i] = v
			done++
			r.tell(Event{Phase: Visited, Camera: v.Camera, Visit: &v, Done: done, Total: len(r.cams)})
			return nil
		})
	}
	_ = group.Wait() // the visits tell their own errors
}

// errDeadline is the cause of a visit's end when the round's own deadline passed.
var errDeadline = errors.New("the round's deadline has passed")

// turn decides whether the camera is dialled at all, and visits it.
func (r *runner) turn(ctx context.Context, stop *brake, i int) Visit {
	cam := r.cams[i]
	if err := r.notNow(ctx, cam); err != nil {
		return skipped(cam, err)
	}
	password, err := reveal(cam)
	if err != nil {
		return failed(cam, err)
	}
	pass, done := stop.enter()
	if !pass {
		return skipped(cam, fault.New(fault.Brake, "", "not tried: the last %d cameras could not be reached, so every %dth is tried until one answers", brakeAfter, brakeAfter).
			WithHint("is the network up? ip route get %s", cam.Host))
	}
	defer done()
	room := r.chain.Room(ctx)
	defer room.Leave()
	if err := r.notNow(ctx, cam); err != nil {
		return skipped(cam, err) // it passed while another camera was probing the network, or this host was busy with others
	}
	v := r.visit(ctx, i, room, password)
	if !v.Skipped {
		stop.saw(v.Error)
	}
	return v
}

// reveal reads the password of a camera. One that cannot be read is that camera's failure: the others do not need it.
func reveal(cam camera.Camera) (string, *fault.Error) {
	password, err := cam.Password.Reveal()
	if err == nil {
		return password, nil
	}
	known := fault.From(err, fault.Local, "")
	return "", fault.New(fault.Local, "", "%w", known).WithHint("%s", known.Hint)
}

// notNow says why a visit must not begin any more, or nil. One that the round's deadline would soon cut short does not
// begin: it would cost the camera a connection and give no picture.
func (r *runner) notNow(ctx context.Context, cam camera.Camera) *fault.Error {
	deadline, limited := ctx.Deadline()
	switch {
	case errors.Is(context.Cause(ctx), errDeadline) || limited && time.Until(deadline) < min(r.timeout(cam)/4, time.Second):
		return fault.New(fault.Deadline, "", "not tried: the round's deadline of %s passed before its turn", r.plan.Deadline).
			WithHint("raise --deadline, or visit more at once with -j; the next round begins with this camera")
	case ctx.Err() != nil:
		return fault.New(fault.Cancelled, "", "not tried: the round was cancelled before its turn")
	default:
		return nil
	}
}

// timeout is the budget of one visit of the camera.
func (r *runner) timeout(cam camera.Camera) time.Duration {
	if r.plan.Timeout > 0 {
		return r.plan.Timeout
	}
	return cam.Timeout
}

// visit takes one still within the camera's time-out. It never panics: a panic is this camera's failure, not the round's.
func (r *runner) visit(ctx context.Context, i int, room capture.Room, password string) (v Visit) {
	cam := r.cams[i]
	began := time.Now()
	r.tell(Event{Phase: Visiting, Camera: cam.ID, Total: len(r.cams)})
	defer func() {
		if p := recover(); p != nil {
			r.deps.Log.Error("panic in a visit", "camera", cam.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			v = failed(cam, fault.New(fault.Local, "", "internal error during the visit: %v", p).
				WithHint("this is a defect of camwarden: report it with the log of --log-level debug"))
		}
		v.DurationMS = time.Since(began).Milliseconds()
	}()
	var cut error
	if ends, limited := ctx.Deadline(); limited && time.Until(ends) < r.timeout(cam) {
		cut = errDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout(cam))
	defer cancel()

	cam, err := r.resolve(ctx, cam)
	if err != nil {
		return failed(cam, err)
	}
	r.cams[i] = cam // for the scope of the last look
	result := r.chain.Visit(ctx, capture.Visit{Camera: cam, LogIns: r.deps.LogIns, Password: password, Strict: r.plan.Strict, Timeout: r.timeout(cam), Room: room, Cut: cut})
	return r.keep(cam, result)
}

// resolve finds the address of a camera that is named by host name.
func (r *runner) resolve(ctx context.Context, cam camera.Camera) (camera.Camera, *fault.Error) {
	if cam.Address.IsValid() {
		return cam, nil
	}
	if ip, err := netip.ParseAddr(cam.Host); err == nil {
		cam.Address = netip.AddrPortFrom(ip.Unmap(), cam.Port)
		return cam, nil
	}
	type answer struct {
		ip  netip.Addr
		err error
	}
	answers := make(chan answer, 1) // buffered: a resolver that comes too late must not leak its goroutine
	go func() {
		ip, err := r.deps.Lookup(cam.Host)
		answers <- answer{ip, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return cam, fault.New(fault.DNS, fault.Connect, "%s does not resolve: %w", cam.Host, a.err).
				WithHint("try: getent hosts %s", cam.Host)
		}
		cam.Address = netip.AddrPortFrom(a.ip.Unmap(), cam.Port)
		return cam, nil
	case <-ctx.Done():
		return cam, fault.New(fault.DNS, fault.Connect, "%s did not resolve within the time-out", cam.Host).
			WithHint("try: getent hosts %s", cam.Host)
	}
}

// keep turns the result of the sources into a visit, and stores the still.
func (r *runner) keep(cam camera.Camera, result capture.Result) Visit {
	v := Visit{Camera: cam.ID, Address: addressOf(cam), Attempts: result.Attempts, KeyFrameRequested: result.KeyFrameRequested, Error: result.Err, Skipped: !result.Dialled && result.Err != nil}
	if v.Attempts == nil {
		v.Attempts = []capture.Attempt{}
	}
	if result.Err != nil {
		return v
	}
	still := result.Still
	at := still.CapturedAt.UTC().Truncate(time.Millisecond)
	v.OK, v.Source, v.CapturedAt, v.Repeated = true, result.Source, &at, still.Repeated
	v.WaitedMS, v.KeyFrameMS, v.DecodeMS = still.Waited.Milliseconds(), still.KeyFrame.Milliseconds(), still.Decode.Milliseconds()
	v.Width, v.Height, v.Bytes, v.Codec = still.Width, still.Height, len(still.JPEG), still.Codec
	if r.plan.Keeper == nil {
		return v
	}
	path, err := r.plan.Keeper.Keep(cam, still)
	v.File = path
	if err != nil {
		v.OK, v.Error = false, fault.From(err, fault.Local, "")
	}
	return v
}

// skipped is the visit of a camera that was not dialled. A nil error stands for a visit that has not begun.
func skipped(cam camera.Camera, err *fault.Error) Visit {
	if err == nil {
		err = fault.New(fault.Cancelled, "", "not tried: the round ended before its turn")
	}
	return Visit{Camera: cam.ID, Address: addressOf(cam), Skipped: true, Attempts: []capture.Attempt{}, Error: err}
}

// failed is the visit of a camera that gave no still.
func failed(cam camera.Camera, err *fault.Error) Visit {
	return Visit{Camera: cam.ID, Address: addressOf(cam), Attempts: []capture.Attempt{}, Error: err}
}

// serial makes a function of events safe to call from every visit at once.
func serial(tell func(Event)) func(Event) {
	if tell == nil {
		return func(Event) {}
	}
	var one sync.Mutex
	return func(e Event) {
		one.Lock()
		defer one.Unlock()
		tell(e)
	}
}
