package capture

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/streams"
)

// answerFor and a little is how long go2rtc waits for any answer of a camera, 5 s.
const (
	answerSlack = 300 * time.Millisecond
	answerFor   = 5*time.Second - answerSlack
)

// relayedVisit is one visit by way of go2rtc.
type relayedVisit struct {
	*Go2rtc
	v     Visit
	entry *entry
}

// Capture takes one still by way of go2rtc. What go2rtc's API does not do within its own bound is of class go2rtc; the
// camera's faults have the class and step that our own look at it, or go2rtc, tells.
func (g *Go2rtc) Capture(ctx context.Context, v Visit) (Still, Report) {
	if err := v.addressed(); err != nil {
		return Still{}, Report{Err: err}
	}
	r := relayedVisit{Go2rtc: g, v: v, entry: g.entry(v.Camera.ID)}
	r.entry.mu.Lock()
	defer r.entry.mu.Unlock()
	still, report := r.capture(ctx)
	if report.Err != nil {
		report.Err = v.explain(report.Err)
	}
	return still, report
}

func (r *relayedVisit) capture(ctx context.Context) (Still, Report) {
	if !r.entry.asked {
		r.note(r.entry, r.keeper.Register(ctx, streams.Wish{Camera: r.v.Camera, Password: r.v.Password})[0])
	}
	watched, err := r.watched(ctx)
	switch {
	case err != nil:
		return Still{}, Report{Err: fault.From(err, fault.Go2rtc, "")}
	case watched != nil:
		still, err := r.fromWatched(ctx, *watched)
		// Final: whatever went wrong, a camera that somebody watches is not dialled beside him.
		return still, Report{Dialled: true, Relayed: true, Final: true, Err: err}
	case r.entry.registered.Err != nil:
		return Still{}, Report{Err: fault.From(r.entry.registered.Err, fault.Go2rtc, "")}
	}
	codec, report := r.look(ctx)
	if report.Err != nil {
		return Still{}, report
	}
	report.Relayed = true
	held, err := r.slots.Take(ctx, slot.Request{
		Camera: r.v.Camera, Kind: ledger.Connection, Deadline: proc.BootTime() + left(ctx) + ffmpeg.Slack, Relay: r.relay(),
	})
	if err != nil {
		report.Err = fault.From(err, fault.Local, "")
		return Still{}, report
	}
	still, problem := r.still(ctx, r.entry.registered.Name, codec)
	report.Err = problem
	if err := r.release(held, problem); err != nil && report.Err == nil {
		report.Err = fault.From(err, fault.Local, "")
	}
	return still, report
}

// relay is go2rtc as somebody who connects in our place; never nil, so that the lease says that it is not we who do.
func (r *relayedVisit) relay() *ledger.Relay {
	if known := r.keeper.Relay(); known != nil {
		return known
	}
	return &ledger.Relay{UID: ^uint32(0)} // nobody's sockets: it cannot be seen from here
}

// look connects to the camera before go2rtc does, asks OPTIONS and DESCRIBE, and hangs up. A camera that refuses, is mute or
// does not let us in is thus told with its exact reason, and go2rtc, which would leave a socket open or try again for ever,
// is not sent there.
func (r *relayedVisit) look(ctx context.Context) (codec string, report Report) {
	var info rtsp.Info
	report.Dialled, report.Err = connection(ctx, r.slots, r.v, r.v.Camera, func(ctx context.Context) (ending, *fault.Error) {
		var err error
		target := targetOf(r.v.Camera, r.v.Password)
		target.Transport = "" // go2rtc has its own way
		info, err = rtsp.Probe(ctx, target, limitsFor(left(ctx)))
		report.Final = errors.Is(err, rtsp.ErrRedirected)
		return ending{local: info.Local}, fault.From(err, fault.Local, "")
	})
	if report.Err != nil {
		return "", report
	}
	for _, track := range info.Tracks {
		if codec := codecOf(track.Encoding); track.Usable && codec != "" {
			return codec, report
		}
	}
	report.Err = fault.New(fault.NoVideo, fault.Describe, "%s offers no H.264, H.265 or JPEG video, and of others go2rtc makes no still", r.v.Camera.Address).
		WithHint("the source rtsp reads VP8, VP9, AV1, MPEG-4 and MPEG-2, the source ffmpeg perhaps others")
	return "", report
}

// codecOf is ffmpeg's name of an encoding as SDP spells it (RFC 3551 for the static payload type 26); "" where go2rtc makes no still
// of it.
func codecOf(encoding string) string {
	switch strings.ToUpper(encoding) {
	case "H264":
		return "h264"
	case "H265", "HEVC":
		return "hevc"
	case "JPEG", "26":
		return "mjpeg"
	}
	return ""
}

// release gives the slot of go2rtc's connection back once it is seen gone from the kernel's table, or at once where it
// cannot be seen; a socket that stays counts by itself. Where a picture did not come in time go2rtc may hold the camera,
// or dial it again, until it has been flushed: the slot is kept until then.
func (r *relayedVisit) release(held *ledger.Held, problem *fault.Error) error {
	if problem != nil && (problem.Class == fault.Timeout || problem.Class == fault.Cancelled) {
		r.mu.Lock()
		r.occupied = append(r.occupied, occupied{held, r.v.Camera.SessionTimeout})
		r.mu.Unlock()
		return nil
	}
	lease := held.Lease()
	const looks = 7 // 0.6 s in all; it takes 20 ms
	for look := 1; lease.Relay.ID.PID != 0 && look < looks && r.connections(*lease.Relay) > lease.Relay.Beside; look++ {
		time.Sleep(10 * time.Millisecond << (look - 1))
	}
	return held.Strike()
}

// connections counts those that go2rtc has to the camera. What cannot be seen is none here: this only waits for the end.
func (r *relayedVisit) connections(relay ledger.Relay) int {
	address := proc.Plain(r.v.Camera.Address)
	sockets, err := r.slots.FS.Standing([]uint16{address.Port()})
	if err != nil {
		return 0
	}
	conns := slices.DeleteFunc(sockets.Conns, func(c proc.Conn) bool { return c.Remote != address })
	if len(conns) == 0 {
		return 0
	}
	owned, _ := r.slots.FS.Own(conns, func(s proc.Stat) bool { return s.PID == relay.ID.PID })
	n := 0
	for _, c := range owned {
		if c.PID == relay.ID.PID {
			n++
		}
	}
	return n
}

// still takes the picture of a stream, registers it again if the server has lost it, and finds out why there is none.
func (r *relayedVisit) still(ctx context.Context, name, codec string) (Still, *fault.Error) {
	began := time.Now()
	still, err := r.take(ctx, name, codec)
	if errors.Is(err, go2rtc.ErrEmpty) && time.Since(began) > answerFor {
		// The camera answered OPTIONS and DESCRIBE a moment ago, so this was SETUP; to ask for the reason takes as long again.
		return Still{}, fault.New(fault.Timeout, fault.Setup, "%v, after it had waited %s for the camera to answer SETUP", err, answerFor+answerSlack).
			WithHint(ffmpeg.HintMute)
	}
	if errors.Is(err, go2rtc.ErrUnknown) && name == r.keeper.Name(r.v.Camera.ID) {
		again := r.keeper.Register(ctx, streams.Wish{Camera: r.v.Camera, Password: r.v.Password})[0]
		if r.note(r.entry, again); again.Err != nil {
			return Still{}, fault.From(again.Err, fault.Go2rtc, "")
		}
		still, err = r.take(ctx, name, codec)
	}
	if errors.Is(err, go2rtc.ErrEmpty) && !r.entry.registered.Created {
		// It has been there for longer than this run, and go2rtc does not show with which password.
		if r.keeper.Renew(ctx, streams.Wish{Camera: r.v.Camera, Password: r.v.Password}) == nil {
			still, err = r.take(ctx, name, codec)
		}
	}
	if errors.Is(err, go2rtc.ErrEmpty) {
		err = r.reason(ctx, name, err)
	}
	return still, fault.From(err, fault.Go2rtc, "")
}

// reason asks go2rtc why it has no picture. The camera was well a moment ago, so it is in what only a session shows.
func (r *relayedVisit) reason(ctx context.Context, name string, empty error) error {
	if left(ctx) < 100*time.Millisecond {
		f := fault.New(fault.Timeout, "", "%v, and no time is left to ask why", empty)
		return f.WithHint("allow more time with --timeout")
	}
	why := r.keeper.Client.Probe(ctx, name)
	if why == nil {
		return fault.New(fault.Go2rtc, "", "%v, and now it says that the camera is well", empty).WithHint("look at its log: curl %s/api/log", r.keeper.Server())
	}
	return why
}

// take takes the picture of a stream, a few times if it is damaged: to a stream that runs go2rtc may join us in the middle
// of a key frame, and then hands out its end alone, or the ends of two (seen with 1.9.14).
func (r *relayedVisit) take(ctx context.Context, name, codec string) (Still, error) {
	const tries = 3
	for try := 1; ; try++ {
		still, err := r.takeOnce(ctx, name, codec)
		class := fault.ClassOf(err)
		if class != fault.NotJPEG && class != fault.Decode || try == tries || ctx.Err() != nil {
			return still, err
		}
	}
}

// takeOnce takes the picture of a stream by the configured way.
func (r *relayedVisit) takeOnce(ctx context.Context, name, codec string) (Still, error) {
	if r.restream {
		return r.read(ctx, name)
	}
	began := time.Now()
	picture, err := r.frame(ctx, name)
	if err != nil {
		return Still{}, r.late(ctx, name, err)
	}
	still := Still{JPEG: picture.JPEG, CapturedAt: picture.At, Waited: picture.At.Sub(began), Codec: string(depacketize.JPEG)}
	problem := r.own.picture(ctx, r.v, &still, ffmpeg.Special{}, nil)
	still.Codec = codec
	if problem != nil {
		return Still{}, problem
	}
	return still, nil
}

// frame asks for frame.jpeg. It waits for the camera's next key frame, so it has no bound but the visit's; that go2rtc itself
// lives is asked when it takes longer than any other call may.
func (r *relayedVisit) frame(ctx context.Context, name string) (go2rtc.Picture, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type answer struct {
		picture go2rtc.Picture
		err     error
	}
	came := make(chan answer, 1)
	go func() {
		picture, err := r.keeper.Client.Frame(ctx, name)
		came <- answer{picture, err}
	}()
	select {
	case a := <-came:
		return a.picture, a.err
	case <-time.After(go2rtc.CallTimeout):
	}
	_, _, err := r.keeper.Client.Get(ctx, name)
	if err != nil && ctx.Err() == nil {
		stop()
		<-came
		r.hangs(name)
		return go2rtc.Picture{}, err
	}
	a := <-came
	return a.picture, a.err
}

// late says what the time-out of a picture was spent on, as far as go2rtc shows it.
func (r *relayedVisit) late(ctx context.Context, name string, err error) error {
	known := fault.From(err, fault.Go2rtc, "")
	if known.Class != fault.Timeout && known.Class != fault.Cancelled {
		return err
	}
	r.hangs(name)
	if known.Class == fault.Cancelled {
		return err
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), go2rtc.CallTimeout)
	defer cancel()
	s, exists, problem := r.keeper.Client.Get(limited, name)
	switch {
	case problem != nil:
		return problem // it is go2rtc that does not answer
	case !exists:
		return err
	}
	known.Step = fault.Media
	for _, p := range s.Producers {
		if p.Connected() && p.BytesRecv > 4096 { // more than descriptions and reports
			known.Step = fault.KeyFrame
		}
	}
	return known.WithHint("is its key-frame interval longer than the time-out, or the camera overloaded? see camwarden streams")
}

// hangs notes that a picture of ours may wait in go2rtc for ever.
func (r *relayedVisit) hangs(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.hanging, name) {
		r.hanging = append(r.hanging, name)
	}
}

// read takes a key frame from go2rtc's RTSP port. Hanging up frees our place there, and the camera when nobody else
// watches, at once.
func (r *relayedVisit) read(ctx context.Context, name string) (Still, error) {
	where, err := r.keeper.Client.RestreamURL(ctx, name)
	if err != nil {
		return Still{}, err
	}
	target, err := r.target(where)
	if err != nil {
		return Still{}, err
	}
	began := time.Now()
	frame, _, err := rtsp.Fetch(ctx, target, limitsFor(left(ctx)), nil)
	if err != nil {
		return Still{}, r.restreamed(err)
	}
	still := stillOf(frame, began)
	if problem := r.own.picture(ctx, r.v, &still, specialOf(frame), nil); problem != nil {
		return Still{}, problem
	}
	return still, nil
}

func (r *relayedVisit) target(where string) (rtsp.Target, error) {
	u, err := url.Parse(where)
	if err != nil {
		return rtsp.Target{}, fault.New(fault.Go2rtc, "", "where go2rtc serves RTSP is no URL: %s", redact.String(where))
	}
	address, err := netip.ParseAddrPort(u.Host)
	if err != nil {
		address = r.keeper.Resolve(u.Hostname(), u.Port())
	}
	return rtsp.Target{
		Address: address, Scheme: "rtsp", Host: u.Hostname(), Path: u.RequestURI(), Transport: camera.TCP, KeyFrameRequest: camera.NoRequest, Agent: r.agent,
	}, nil
}

// restreamed says whose fault it is that go2rtc's RTSP port gave no picture. It has no answer for a camera that it cannot
// reach: it hangs up, or says 404.
func (r *relayedVisit) restreamed(err error) error {
	known := fault.From(err, fault.Go2rtc, "")
	switch known.Class {
	case fault.NotFound, fault.Closed, fault.Protocol:
		return fault.New(fault.Go2rtc, "", "go2rtc's RTSP server: %s: %w", known.Message, go2rtc.ErrEmpty)
	case fault.Refused, fault.Unreachable, fault.Auth, fault.Exhausted:
		return fault.New(fault.Go2rtc, "", "go2rtc's RTSP server: %s", known.Message).
			WithHint("does rtsp.listen in go2rtc.yaml lead there, and without a log-in? snapshot: frame needs neither")
	}
	known.Message = "by way of go2rtc's RTSP server: " + known.Message
	return known
}
