package capture

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/snapshot"
)

// Chain is the sources that work here, in the order in which they are tried.
type Chain struct {
	sources []Source
	wrong   []string // why which sources were left out
	remedy  string   // for the first of them
}

// standby is a source that can put off what is costly to check until it is needed.
type standby interface {
	// StandBy is Check as far as it costs next to nothing.
	StandBy() error
}

// StandBy says whether any of the sources may work here, as far as that can be told without starting anything: a round asks
// this before it waits for another one, and NewChain when its turn has come. The error is of class no-source when none can.
func StandBy(sources []Source) error {
	var chain Chain
	for _, source := range sources {
		late, ok := source.(standby)
		if !ok {
			return nil
		}
		err := fault.From(late.StandBy(), fault.Local, "")
		if err == nil {
			return nil
		}
		chain.leaveOut(source, err)
	}
	return chain.none()
}

// NewChain checks the sources and keeps those that can work, in the given order; behind one that works, another one is
// checked when its turn comes. The error is of class no-source when none can work, and cancelled when ctx ended before that
// was known; nothing has been dialled.
func NewChain(ctx context.Context, sources []Source) (Chain, error) {
	var chain Chain
	for _, source := range sources {
		err := chain.check(ctx, source)
		switch {
		case err == nil:
			chain.sources = append(chain.sources, source)
		case err.Class == fault.Cancelled:
			return Chain{}, err
		default:
			chain.leaveOut(source, err)
		}
	}
	if len(chain.sources) > 0 {
		return chain, nil
	}
	return Chain{}, chain.none()
}

func (c *Chain) leaveOut(source Source, why *fault.Error) {
	c.wrong = append(c.wrong, "source "+source.Name()+" cannot work here: "+why.Message)
	c.remedy = cmp.Or(c.remedy, why.Hint)
}

// none is the error of a chain in which no source was left.
func (c *Chain) none() error {
	if len(c.wrong) == 0 {
		return fault.New(fault.NoSource, "", "no source is listed").WithHint("set sources, or leave it out for the default")
	}
	return fault.New(fault.NoSource, "", "%s", strings.Join(c.wrong, "; ")).WithHint("%s", c.remedy)
}

func (c Chain) check(ctx context.Context, source Source) *fault.Error {
	if late, ok := source.(standby); ok && len(c.sources) > 0 {
		return fault.From(late.StandBy(), fault.Local, "")
	}
	return fault.From(source.Check(ctx), fault.Local, "")
}

// Sources returns the sources that can work here.
func (c Chain) Sources() []Source { return c.sources }

// Notices returns what the operator should know, each thing once: what weakens a promise, and which sources were left out.
// Visits may add to them.
func (c Chain) Notices() []string {
	var notices []string
	for _, source := range c.sources {
		for _, notice := range source.Notices() {
			if !slices.Contains(notices, notice) {
				notices = append(notices, notice)
			}
		}
	}
	return append(notices, c.wrong...)
}

// Attempt is one source's try, as documents show it.
type Attempt struct {
	Source     string       `json:"source" yaml:"source"`
	OK         bool         `json:"ok" yaml:"ok"`
	DurationMS int64        `json:"duration_ms" yaml:"duration_ms"`
	Error      *fault.Error `json:"error" yaml:"error"`
}

// Result is what a visit gave. The still counts only when Err is nil.
type Result struct {
	Still             Still
	Source            string    // that gave the still
	Attempts          []Attempt // in order; never nil
	Dialled           bool      // the camera was dialled; when not, the visit was skipped
	KeyFrameRequested bool      // by any of them
	Err               *fault.Error
}

// Visit tries the sources in order until one gives a valid still, the time of the visit is used up, or an error says
// that another source would only repeat it (see mayTryNext). A source that dials takes its slot by itself.
func (c Chain) Visit(ctx context.Context, v Visit) Result {
	result := Result{Attempts: []Attempt{}}
	ctx, cancel := v.budget(ctx)
	defer cancel()
	if v.Password == "" {
		var err error
		if v.Password, err = v.Camera.Password.Reveal(); err != nil {
			result.Err = fault.From(err, fault.Usage, "")
			return result
		}
	}
	shut := map[bool]bool{} // by whether a source goes another way to the camera than over RTSP: that way is not tried any more
	for _, source := range c.sources {
		if chooser, ok := source.(chooser); ok && !chooser.serves(v.Camera) || shut[aside(source)] {
			continue
		}
		if ctx.Err() != nil {
			result.Err = outOfTime(ctx, result.Err)
			return result
		}
		began := time.Now()
		still, report := source.Capture(ctx, v)
		report.Err = byBrand(v.Camera, report.Err)
		result.Dialled = result.Dialled || report.Dialled
		result.KeyFrameRequested = result.KeyFrameRequested || report.KeyFrameRequested
		result.Attempts = append(result.Attempts, Attempt{
			Source: source.Name(), OK: report.Err == nil, DurationMS: time.Since(began).Milliseconds(), Error: report.Err,
		})
		result.Err = report.Err
		if report.Err == nil {
			result.Still, result.Source = still, source.Name()
			return result
		}
		if report.Final || !mayTryNext(report) && !mayTryAside(report.Err) {
			return result
		}
		shut[aside(source)] = shut[aside(source)] || !mayTryNext(report)
	}
	switch {
	case result.Err != nil:
	case v.Camera.OverHTTP():
		result.Err = fault.New(fault.Usage, "", "the camera is an HTTP picture, and the source http is not listed").WithHint("leave out --source, or list http")
	default:
		result.Err = fault.New(fault.Usage, "", "no source is left to try: of those listed none is for this camera").
			WithHint("the source http needs snapshot: and its path in the configuration of this camera")
	}
	return result
}

// chooser is a source that is not for every camera; for the others it is as if it were not listed.
type chooser interface {
	serves(cam camera.Camera) bool
}

// streamed are the cameras of the sources that take a stream.
type streamed struct{}

func (streamed) serves(cam camera.Camera) bool { return !cam.OverHTTP() }

// outOfTime is the error of a visit whose time ended between two sources: what the last one said, if there was one.
func outOfTime(ctx context.Context, last *fault.Error) *fault.Error {
	switch {
	case last != nil:
		return last
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded): // the visit's own, which has no cause of its own
		return fault.New(fault.Deadline, "", "not tried: its time-out had passed before it could be dialled").WithHint("allow more time with --timeout, or visit fewer at once with -j")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(fault.Deadline, "", "not tried: %w", context.Cause(ctx))
	}
	return fault.New(fault.Cancelled, "", "not tried: %w", context.Cause(ctx))
}

// next says when another source may be tried after an error.
type next int

const (
	never   next = iota // the camera has answered, or must be left alone
	relayed             // only when it was not we who dialled: our own dial may fare better
	always              // this source's own trouble
)

// afterwards is the rule of the chain. A camera that has timed out, has no slot left or has refused a log-in is not
// dialled and not logged in to again in the same visit: the second try would cost a slot, or lock the account.
//
//	refused, unreachable, dns, closed   another server's view of the network need not be ours
//	protocol, no-video, decode, not-jpeg   what one client cannot read, another may
//	local                               a source that had not dialled yet failed at home
func afterwards(class fault.Class) next {
	switch class {
	case fault.Go2rtc, fault.NoSource, fault.Protocol, fault.NoVideo, fault.Decode, fault.NotJPEG:
		return always
	case fault.Refused, fault.Unreachable, fault.DNS, fault.Closed, fault.Local:
		return relayed
	case fault.Timeout, fault.Exhausted, fault.Auth, fault.NotFound,
		fault.Busy, fault.Cooling, fault.Brake, fault.Deadline, fault.Cancelled, fault.Usage:
		return never
	}
	return never
}

func mayTryNext(report Report) bool {
	if errors.Is(report.Err, rtsp.ErrHTTP) {
		return report.Relayed // to another program an HTTP server says the same, in words that mislead
	}
	switch afterwards(report.Err.Class) {
	case always:
		return true
	case relayed:
		return !report.Dialled || report.Relayed
	}
	return false
}

// aside reports whether a source dials another address of the camera than the others, over another protocol.
func aside(source Source) bool {
	_, http := source.(*HTTP)
	return http
}

// mayTryAside reports whether an error says nothing about the camera's other address: a port that is closed, a path that is not
// there, connections that are all taken. That was the incident: RTSP was exhausted, and the camera still gave its picture.
func mayTryAside(err *fault.Error) bool {
	if errors.Is(err, rtsp.ErrHTTP) {
		return true
	}
	switch err.Class {
	case fault.Refused, fault.Closed, fault.NotFound, fault.Exhausted, fault.Cooling:
		return true
	case fault.Auth: // it may want another log-in there, and none has been refused yet
		return errors.Is(err, snapshot.ErrUnspent)
	}
	return false
}
