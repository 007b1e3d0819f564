// Package snapshot fetches the JPEG that a camera gives over HTTP, and leaves nothing behind.
//
// It reads the answer by itself, because net/http, made for servers of the web, cannot do what a still needs:
//   - it sends Basic for every URL that holds a user, before anybody has asked for a log-in;
//   - it refuses, or ends in the wrong place, headers that cameras send: lines without a colon, a length that is no number,
//     the status line twice, "ICY";
//   - it follows redirects, to any host;
//   - it keeps connections, and opens a second one beside the first; which one is gone when, nobody knows;
//   - it waits for the length that was announced, though the picture has ended long before.
//
// Everything runs on the caller's goroutine, against one absolute deadline, with every byte counted. There is one connection at a
// time, and at most one log-in that fails.
package snapshot

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"time"
)

// Auth is how the camera is logged in to.
type Auth string

// The ways to log in. Nothing is sent before the camera asks.
const (
	Auto   Auth = "auto"   // Digest; Basic where the connection is encrypted
	Digest Auth = "digest" // Digest and nothing else
	Basic  Auth = "basic"  // Basic where it is offered, in the clear if need be; else Digest
	Query  Auth = "query"  // the log-in is part of the path
	None   Auth = "none"   // never
)

// Target is the picture to fetch.
type Target struct {
	Address            netip.AddrPort // dialled; must be valid: nothing is resolved here
	TLS                bool
	Host               string // as the URL names it, without port: of the header and the certificate; the address when empty
	Path               string // the request target as it goes out: with leading slash and query
	Username, Password string
	Auth               Auth // Auto when empty

	// RootCAs are whom to trust with TLS; without them the certificate is not verified, as for rtsps.
	RootCAs *x509.CertPool

	// Gone, if not nil, sees to it that a connection of ours, which was just closed, is gone before another one is dialled.
	Gone func(local netip.AddrPort) error
}

// Limits bound one visit. A zero field means its default.
type Limits struct {
	Whole   time.Duration // from connecting to the whole picture; default 10 s. An earlier deadline of the context wins
	Picture int           // bytes of the picture; default 16 MiB
	Bytes   int64         // read from the camera in all; default 32 MiB
}

// The defaults of Limits. A picture of 33 megapixels has about 12 MB.
const (
	DefaultWhole   = 10 * time.Second
	DefaultPicture = 16 << 20
	DefaultBytes   = 32 << 20
)

// Picture is one JPEG from its SOI to its own EOI, as the camera sent it. Whether it is a picture is for the caller to judge.
type Picture struct {
	JPEG       []byte
	CapturedAt time.Time     // when its first byte arrived
	Arriving   time.Duration // from then to its last
}

// ErrUnspent is wrapped by an error of class auth before which no log-in of ours was sent: none can have been refused.
var ErrUnspent = errors.New("no log-in was sent")

// Fetch asks for the picture, logs in if the camera wants that, and closes the connection, whose local end it returns in any case
// (the zero AddrPort: there was none). When it returns, no goroutine and no socket is left.
//
// Every error is a *fault.Error with class and step: unreachable, refused, local, timeout, auth, not-found, exhausted, closed,
// protocol, not-jpeg, no-video, usage or cancelled. One that a refused log-in caused wraps login.ErrRefused. None holds the
// password.
func Fetch(ctx context.Context, target Target, limits Limits) (Picture, netip.AddrPort, error) {
	t := newTalk(ctx, target, limits)
	if err := t.check(); err != nil {
		return Picture{}, t.local, err
	}
	defer t.end()
	picture, err := t.fetch()
	err = t.explain(err)
	t.end()
	return picture, t.local, err
}
