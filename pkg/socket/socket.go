// Package socket connects to a camera, plainly or by TLS, and says what the errors of its socket mean.
package socket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Dial opens a TCP connection, until the deadline, and says how long the camera took to accept it.
func Dial(ctx context.Context, address netip.AddrPort, deadline time.Time) (net.Conn, time.Duration, error) {
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1} // nothing here outlives its deadline, so nothing has to be kept alive
	began := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", address.String())
	return conn, time.Since(began), err
}

// Local is our end of a connection, by which the kernel knows it.
func Local(conn net.Conn) netip.AddrPort {
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(local.Addr().Unmap().WithZone(""), local.Port())
}

// Secure speaks TLS on conn, whose deadline bounds it. The certificate must be signed by roots, for the host; without roots it is
// not verified: cameras sign their own, with a name that is not theirs, so the system's list of authorities would refuse
// nearly all of them.
func Secure(conn net.Conn, host string, roots *x509.CertPool) (net.Conn, error) {
	config := &tls.Config{RootCAs: roots, ServerName: host, CipherSuites: suites()}
	if roots == nil {
		config.InsecureSkipVerify = true
	}
	client := tls.Client(conn, config)
	return client, client.Handshake() //nolint:noctx // the deadline of conn bounds it, and cancelling closes conn
}

// suites are those that Go offers by itself, and behind them those by which cameras of before 2015 exchange keys.
func suites() []uint16 {
	var all []uint16
	for _, suite := range tls.CipherSuites() {
		all = append(all, suite.ID)
	}
	return append(all, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA)
}

// Cause is why a conversation ended, where the socket or TLS says so.
type Cause struct {
	Class   fault.Class
	Message string
	Hint    string // may be empty
}

// CauseOf tells what an error of the network means to a client of the protocol ("rtsp", "http"). ok is false for an error that
// is not one.
func CauseOf(err error, protocol string) (cause Cause, ok bool) {
	for _, row := range causes(protocol) {
		for _, target := range row.errors {
			if errors.Is(err, target) {
				return row.cause, true
			}
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return Cause{Class: fault.Timeout, Message: "no answer in time"}, true
	}
	return causeOfTLS(err, protocol)
}

func causeOfTLS(err error, protocol string) (Cause, bool) {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &record):
		return Cause{fault.Protocol, "it does not speak TLS", "try the same URL with " + protocol + "://"}, true
	case errors.As(err, &certificate):
		return Cause{fault.Protocol, "its certificate is not signed by a known authority", "name the camera's own certificate as authority, or none to trust any"}, true
	case errors.As(err, &alert):
		return Cause{fault.Protocol, "it refused our TLS: " + alert.Error(), "an old camera may know TLS 1.0 only; try " + protocol + "://"}, true
	case strings.Contains(err.Error(), "tls: "): // the rest have no types
		return Cause{fault.Protocol, "its TLS cannot be used: " + err.Error(), "an old camera may know TLS 1.0 only; try " + protocol + "://"}, true
	}
	return Cause{}, false
}

type causeRow struct {
	cause  Cause
	errors []error
}

// causes is what the errors of sockets mean (connect(2), tcp(7)).
func causes(protocol string) []causeRow {
	return []causeRow{
		{Cause{fault.Timeout, "no answer in time", ""}, []error{os.ErrDeadlineExceeded, syscall.ETIMEDOUT}},
		{Cause{fault.Refused, "connection refused", "is the port right, and " + strings.ToUpper(protocol) + " switched on?"}, []error{syscall.ECONNREFUSED}},
		{
			Cause{fault.Unreachable, "no route to it", "is it switched on, and in this network?"},
			[]error{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.ENONET},
		},
		{
			Cause{fault.Local, "this host does not permit the connection", "look at the firewall rules for outgoing connections"},
			[]error{syscall.EPERM, syscall.EACCES},
		},
		{
			Cause{fault.Local, "this host has no file descriptor left", fault.HintMoreFiles},
			[]error{syscall.EMFILE, syscall.ENFILE},
		},
		{
			Cause{fault.Local, "this host has no port, address or memory left for a socket", ""},
			[]error{syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAFNOSUPPORT},
		},
		{Cause{fault.Closed, "it reset the connection", ""}, []error{syscall.ECONNRESET, syscall.EPIPE}},
		{Cause{fault.Closed, "the connection was destroyed on this host", ""}, []error{syscall.ECONNABORTED}},
		{Cause{fault.Closed, "it closed the connection", ""}, []error{io.EOF, io.ErrUnexpectedEOF}},
	}
}
