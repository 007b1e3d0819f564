package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// dial opens the TCP connection of a visit, until the deadline, and says how long the camera took to accept it.
func dial(ctx context.Context, target Target, deadline time.Time) (net.Conn, time.Duration, error) {
	dialer := net.Dialer{Deadline: deadline}
	began := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", target.Address.String())
	return conn, time.Since(began), err
}

// secure speaks TLS on conn. The deadline of conn bounds it.
func secure(conn net.Conn, target Target) (net.Conn, error) {
	config := &tls.Config{RootCAs: target.RootCAs, ServerName: target.Host}
	if config.ServerName == "" {
		config.ServerName = target.Address.Addr().WithZone("").String()
	}
	if target.RootCAs == nil {
		config.InsecureSkipVerify = true // see Target.RootCAs
	}
	client := tls.Client(conn, config)
	return client, client.Handshake() //nolint:noctx // the deadline of conn bounds it, and cancelling closes conn
}

// cause is why a conversation ended, where the socket or TLS says so.
type cause struct {
	class   fault.Class
	message string
	hint    string
}

// causeOf tells what an error of the network means. ok is false for an error that is not one.
func causeOf(err error) (cause, bool) {
	for _, row := range causes() {
		for _, target := range row.errors {
			if errors.Is(err, target) {
				return row.cause, true
			}
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return cause{class: fault.Timeout, message: "no answer in time"}, true
	}
	return causeOfTLS(err)
}

func causeOfTLS(err error) (cause, bool) {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &record):
		return cause{fault.Protocol, "it does not speak TLS", "try the same URL with rtsp://"}, true
	case errors.As(err, &certificate):
		return cause{fault.Protocol, "its certificate is not signed by a known authority", "name the camera's own certificate as authority, or none to trust any"}, true
	case errors.As(err, &alert):
		return cause{fault.Protocol, "it refused our TLS: " + alert.Error(), "an old camera may know TLS 1.0 only; try rtsp://"}, true
	}
	return cause{}, false
}

type causeRow struct {
	cause  cause
	errors []error
}

// causes is what the errors of sockets mean (connect(2), tcp(7)).
func causes() []causeRow {
	return []causeRow{
		{cause{fault.Protocol, "it sent more than the limit without a whole key frame", ""}, []error{errFlood}},
		{cause{fault.Timeout, "no answer in time", ""}, []error{os.ErrDeadlineExceeded, syscall.ETIMEDOUT}},
		{cause{fault.Refused, "connection refused", "is the port right, and RTSP switched on?"}, []error{syscall.ECONNREFUSED}},
		{
			cause{fault.Unreachable, "no route to it", "is it switched on, and in this network?"},
			[]error{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.ENONET},
		},
		{
			cause{fault.Local, "this host does not permit the connection", "look at the firewall rules for outgoing connections"},
			[]error{syscall.EPERM, syscall.EACCES},
		},
		{
			cause{fault.Local, "this host has no file descriptor left", fault.HintMoreFiles},
			[]error{syscall.EMFILE, syscall.ENFILE},
		},
		{
			cause{fault.Local, "this host has no port, address or memory left for a socket", ""},
			[]error{syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAFNOSUPPORT},
		},
		{cause{fault.Closed, "it reset the connection", ""}, []error{syscall.ECONNRESET, syscall.EPIPE}},
		{cause{fault.Closed, "the connection was destroyed on this host", ""}, []error{syscall.ECONNABORTED}},
		{cause{fault.Closed, "it closed the connection", ""}, []error{io.EOF, io.ErrUnexpectedEOF}},
	}
}
