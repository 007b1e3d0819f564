package capture

import (
	"context"
	"crypto/rand"
	"errors"
	imagejpeg "image/jpeg"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/jpeg"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/snapshot"
)

// thin is how many pixels a byte of a picture stands for at most, before it is doubted. Cameras of 1080p send 150 to 400 KB,
// which is 5 to 14.
const thin = 12

// HTTP is the source "http": the JPEG that the camera itself gives. It waits for no key frame, needs no decode, and takes a slot of
// the camera's HTTP address and none of its RTSP address. It is for cameras that have a snapshot.
type HTTP struct {
	slots  slot.Table
	own    *RTSP // makes pictures smaller
	lookup camera.Lookup
	last   lastStills

	decoding chan struct{}

	mu      sync.Mutex
	notices []string
}

// NewHTTP returns the source. Pictures that are wider than wanted are made smaller by own, so that both hold to one measure; lookup
// resolves the host of a snapshot that is not the camera's.
func NewHTTP(own *RTSP, lookup camera.Lookup) *HTTP {
	return &HTTP{slots: own.slots, own: own, lookup: lookup, last: lastStills{ledger: own.slots.Ledger}, decoding: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// Name is "http".
func (h *HTTP) Name() string { return "http" }

// Check always passes: nothing of this host is needed.
func (h *HTTP) Check(context.Context) error { return nil }

// StandBy likewise.
func (h *HTTP) StandBy() error { return nil }

// Notices says which cameras have sent what they had sent before.
func (h *HTTP) Notices() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.notices...)
}

// Construct reads what the cameras sent last.
func (h *HTTP) Construct(context.Context, []camera.Camera) error { return h.last.load() }

// Destruct writes down what they sent now. No connection outlives its Capture.
func (h *HTTP) Destruct(context.Context) error { return h.last.save() }

func (h *HTTP) serves(cam camera.Camera) bool {
	_, ok := cam.Web()
	return ok
}

// Capture fetches the picture. It waits for a slot of the HTTP address first.
func (h *HTTP) Capture(ctx context.Context, v Visit) (Still, Report) {
	web, ok := v.Camera.Web()
	if !ok {
		return Still{}, Report{Err: fault.New(fault.NoSource, "", "%s has no snapshot", v.Camera.ID).WithHint("set snapshot for this camera")}
	}
	var report Report
	cam := v.Camera // as it is at its HTTP address
	cam.MaxConnections, cam.Reserve = max(cam.HTTPConnections, 1), 0
	if cam.Address, report.Err = h.resolve(ctx, web); report.Err != nil {
		return Still{}, report
	}
	var still Still
	report.Dialled, report.Err = connection(ctx, h.slots, v, cam, func(ctx context.Context) (ending, *fault.Error) {
		began := time.Now()
		picture, local, err := snapshot.Fetch(ctx, snapshot.Target{
			Address: cam.Address, TLS: web.TLS, Host: web.Host, Path: web.Target(v.Camera, v.Password, rand.Text()),
			Username: cam.Username, Password: v.Password, Auth: snapshot.Auth(cam.SnapshotAuth),
			Gone: func(local netip.AddrPort) error { return gone(h.slots.FS, cam.Address, local) },
		}, snapshot.Limits{Whole: h.share(left(ctx))})
		still = Still{
			JPEG: picture.JPEG, CapturedAt: picture.CapturedAt, Waited: picture.CapturedAt.Sub(began), KeyFrame: picture.Arriving,
			Codec: string(depacketize.JPEG),
		}
		return ending{local: local}, fault.From(err, fault.Local, "")
	})
	if report.Err != nil {
		report.Err = v.explain(report.Err)
		return Still{}, report
	}
	if report.Err = h.doubt(still.JPEG, v.Strict); report.Err != nil {
		return Still{}, report
	}
	still.Repeated = h.last.repeats(v.Camera.ID, still.JPEG)
	if report.Err = h.own.picture(ctx, v, &still, ffmpeg.Special{}, nil); report.Err == nil && still.Repeated {
		h.notice("camera " + v.Camera.ID + " sent the very bytes of its last still: it is frozen, or a cache stands before it")
	}
	return still, report
}

// doubt decodes a picture that has very few bytes for its size: one that was cut, and closed with an end of its own, looks whole.
func (h *HTTP) doubt(picture []byte, strict bool) *fault.Error {
	size, err := jpeg.Validate(picture, false)
	if err != nil || strict || len(picture)*thin > size.Width*size.Height {
		return err
	}
	h.decoding <- struct{}{} // one for each processor: a large one needs much memory
	defer func() { <-h.decoding }()
	var unsupported imagejpeg.UnsupportedError
	if _, err = jpeg.Validate(picture, true); err != nil && !errors.As(err, &unsupported) {
		return err
	}
	return nil
}

func (h *HTTP) notice(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notices = append(h.notices, text)
}

// share is how much of what is left the camera gets: something must be left to judge the picture, and more to make it smaller.
func (h *HTTP) share(left time.Duration) time.Duration {
	if h.own.decoder.Width() > 0 {
		return limitsFor(left).Whole
	}
	return left - min(left/8, 250*time.Millisecond)
}

// resolve finds the address of a snapshot whose host is not the camera's.
func (h *HTTP) resolve(ctx context.Context, web camera.Web) (netip.AddrPort, *fault.Error) {
	if web.Address.IsValid() {
		return web.Address, nil
	}
	unknown := func(why error) *fault.Error {
		return fault.New(fault.DNS, fault.Connect, "%s does not resolve: %w", web.Host, why).WithHint("try: getent hosts %s", web.Host)
	}
	type answer struct {
		ip  netip.Addr
		err error
	}
	answers := make(chan answer, 1) // buffered: a resolver that comes too late must not leak its goroutine
	go func() {
		ip, err := h.lookup(web.Host)
		answers <- answer{ip, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return netip.AddrPort{}, unknown(a.err)
		}
		return netip.AddrPortFrom(a.ip.Unmap(), web.Port), nil
	case <-ctx.Done():
		return netip.AddrPort{}, unknown(ctx.Err())
	}
}
