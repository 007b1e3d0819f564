// Package rtsp fetches one key frame from a camera over RTSP, and leaves nothing behind.
//
// It holds the conversation itself, down to the messages. gortsplib's parsers take what the standard allows, and cameras send bare
// line feeds, junk between frames, lengths that are wrong and a CSeq of their own; and its Client, made for streams that last,
// cannot keep what a still promises:
//   - it follows redirects, to any host, and takes the credentials along;
//   - it sends TEARDOWN without waiting for the answer, so nobody knows whether the camera freed its slot;
//   - it reads in a goroutine of its own with a deadline per read, which a trickle of bytes renews for ever, and
//     counts no bytes;
//   - its description of the stream is all or nothing: one odd audio line loses the video;
//   - its log-in neither returns "opaque" nor knows "qop" (RFC 7616), and its tokens are case-sensitive;
//   - its RTP decoders see a lost packet only within one fragmented NAL unit, so a picture may come without a slice.
//
// Here everything runs on the caller's goroutine, against absolute deadlines, with every byte counted.
package rtsp

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/fault"
)

// Target is the stream to fetch from.
type Target struct {
	Address            netip.AddrPort // dialled, and named in requests; must be valid: nothing is resolved here
	Scheme             string         // "rtsp" (also when empty) or "rtsps"
	Host               string         // as the user wrote it: the name in the certificate of rtsps
	Path               string         // with leading slash and query, without user-info
	Username, Password string
	Schemes            []string               // of challenges that may be answered, as of package login; nil: Digest and Basic
	Transport          camera.Transport       // TCP when empty; Auto is TCP, and UDP where the camera refuses that (461)
	Codecs             []depacketize.Codec    // of use to the caller; none named: all. A camera without any of them is left before SETUP
	KeyFrameRequest    camera.KeyFrameRequest // whether a key frame is asked for; AutoRequest when empty
	Agent              string                 // what we call ourselves there; "camwarden" when empty

	// RootCAs are whom to trust with rtsps. Without them the certificate is not verified: cameras sign their own,
	// with a name that is not theirs, so the system's list of authorities would refuse nearly all of them.
	RootCAs *x509.CertPool
}

// Limits bound one visit. A zero field means its default.
type Limits struct {
	Step    time.Duration // for connecting, for each answer, and for the first packet of video; default 10 s
	Whole   time.Duration // from connecting to the whole key frame; default 30 s. An earlier deadline of the context wins
	Goodbye time.Duration // for TEARDOWN and its answer, beyond Whole; default 750 ms
	Bytes   int64         // read from the camera in all; default 64 MiB
	Picture int           // one key frame, in bytes; default 8 MiB
}

// The defaults of Limits. A key frame of a 4K camera has 1 to 2 MiB; 64 MiB are 25 s of 20 Mbit/s.
const (
	DefaultStep    = 10 * time.Second
	DefaultWhole   = 30 * time.Second
	DefaultGoodbye = 750 * time.Millisecond
	DefaultBytes   = 64 << 20
	DefaultPicture = 8 << 20
)

func (l Limits) complete() Limits {
	if l.Step <= 0 {
		l.Step = DefaultStep
	}
	if l.Whole <= 0 {
		l.Whole = DefaultWhole
	}
	if l.Goodbye <= 0 {
		l.Goodbye = DefaultGoodbye
	}
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	if l.Picture <= 0 {
		l.Picture = DefaultPicture
	}
	return l
}

// Session says what is left of the session at the camera.
type Session struct {
	Opened   bool // SETUP was granted, or was sent and never answered: a session may have stood
	TornDown bool // the camera confirmed its end: it answered TEARDOWN, or hung up in order when it had read it
	Told     bool // it gave a picture, and its kernel acknowledged TEARDOWN, which it then did not answer; the connection was closed

	Requested bool // a key frame was asked for

	Local netip.AddrPort // our end of the connection, by which the kernel knows it; the zero AddrPort when there was none
}

// Lingers reports whether the camera may still count the session against its limit.
func (s Session) Lingers() bool { return s.Opened && !s.TornDown && !s.Told }

// Fetch connects, logs in at most once, sets up the video track, plays until one clean key frame is whole, tears the
// session down and closes the connection. When it returns, no goroutine and no socket is left.
//
// A key frame is clean when it came from its first slice to its last with no packet missing in between; damaged ones
// are skipped. observe, if not nil, is called at the beginning of each step; the codec is known from SETUP on.
//
// Every error is a *fault.Error with class and step: unreachable, refused, local, dns, timeout, auth, not-found,
// exhausted, closed, protocol, no-video, usage or cancelled. None holds the password.
func Fetch(ctx context.Context, target Target, limits Limits, observe func(fault.Step, depacketize.Codec)) (depacketize.KeyFrame, Session, error) {
	t, err := begin(ctx, target, limits, observe)
	if err != nil {
		return depacketize.KeyFrame{}, t.session, err
	}
	defer t.end() // for a panic; else it has been done by then
	frame, err := t.fetch()
	err = t.explain(err)
	t.end()
	return frame, t.session, err
}

// Info is what a camera says of itself without a session.
type Info struct {
	RoundTrip time.Duration // of the TCP connection
	Server    string        // its "Server" header, cleaned; may be empty
	Realm     string        // of its challenge, cleaned; empty where it asked for no log-in
	Session   string        // the name of the session in its description, cleaned, as "s=..."
	Tracks    []Track
	Local     netip.AddrPort // our end of the connection, by which the kernel knows it; also with an error, if there was one
}

// Track is one line of what the camera offers.
type Track struct {
	Media    string // "video", "audio", "application"
	Encoding string // as the camera names it, upper case: "H264"; for static payload types their number
	Usable   bool   // a key frame can be fetched of it
}

// Probe connects and asks OPTIONS and DESCRIBE, logging in where it must. It opens no session, so it takes a
// connection of the camera, but no slot beyond its own duration. Its errors are those of Fetch.
func Probe(ctx context.Context, target Target, limits Limits) (Info, error) {
	t, err := begin(ctx, target, limits, nil)
	if err != nil {
		return Info{Local: t.session.Local}, err
	}
	defer t.end()
	info, err := t.probe()
	info.Local = t.session.Local
	return info, t.explain(err)
}
