package go2rtc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// tooBigError is the limit in bytes that an answer passed.
type tooBigError int64

func (e tooBigError) Error() string {
	return fmt.Sprintf("it answered with more than %d MiB", int64(e)>>20)
}

// elsewhereError is another host that the server sends us to.
type elsewhereError string

func (e elsewhereError) Error() string { return "it sends us on to another host, " + string(e) }

var errLost = errors.New("it sends us from one path to the next")

const isItRunning = "is go2rtc running? systemctl status go2rtc, or docker ps"

// fault returns an error of this server, with nothing secret in it.
func (c *Client) fault(format string, args ...any) *fault.Error {
	err := fault.New(fault.Go2rtc, "", "go2rtc at "+strings.ReplaceAll(c.where, "%", "%%")+": "+format, args...)
	err.Message = c.secrets.String(err.Message)
	return err
}

// explain turns what ended a call into a fault. nil stays nil.
func (c *Client) explain(ctx context.Context, err error) error {
	var known *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.Is(ctx.Err(), context.Canceled):
		f := c.fault("cancelled")
		f.Class = fault.Cancelled
		return f
	case ctx.Err() != nil:
		return c.fault("no answer before the deadline").WithHint(isItRunning)
	case timedOut(err):
		return c.fault("no answer within %s", CallTimeout).
			WithHint("is it stopped or overloaded? systemctl status go2rtc, or docker stats")
	}
	why, hint := c.cause(err)
	f := c.fault("%s", why)
	if hint != "" {
		return f.WithHint("%s", hint)
	}
	return f
}

func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout()
}

// cause says what an error of sockets, TLS and HTTP means, and what to do about it.
func (c *Client) cause(err error) (why, hint string) {
	for _, row := range []struct {
		target    error
		why, hint string
	}{
		{syscall.ECONNREFUSED, "connection refused", isItRunning + "; its port is api.listen in go2rtc.yaml"},
		{fs.ErrNotExist, "no such socket", isItRunning + "; its socket is api.unix_listen in go2rtc.yaml"},
		{fs.ErrPermission, "permission denied", "its socket follows go2rtc's umask: see ls -l, and run as a user who may write to it"},
		{syscall.EHOSTUNREACH, "no route to its host", "is the host up? ping it"},
		{syscall.ENETUNREACH, "no route to its network", "check this host's network: ip route"},
		{syscall.EMFILE, "too many open files here", fault.HintMoreFiles},
		{syscall.ECONNRESET, "it closed the connection without a whole answer", crashed},
		{syscall.EPIPE, "it closed the connection without a whole answer", crashed},
		{io.EOF, "it closed the connection without an answer", crashed},
		{io.ErrUnexpectedEOF, "it closed the connection in the midst of its answer", crashed},
		{errLost, errLost.Error(), "check its base path: api.base_path in go2rtc.yaml"},
	} {
		if errors.Is(err, row.target) {
			return row.why, row.hint
		}
	}
	return c.causeOfTLS(err)
}

const crashed = "did it crash? journalctl -u go2rtc -n 50, or docker logs"

func (c *Client) causeOfTLS(err error) (why, hint string) {
	var (
		tooBig      tooBigError
		elsewhere   elsewhereError
		noHost      *net.DNSError
		authority   x509.UnknownAuthorityError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		quoting     *url.Error
	)
	switch {
	case errors.As(err, &tooBig):
		return tooBig.Error(), "is this the API of go2rtc?"
	case errors.As(err, &elsewhere):
		return c.clean(elsewhere.Error()), "give the URL it really has; the log-in is not sent to another host"
	case errors.As(err, &noHost):
		return "its host name does not resolve", "check the name, or give an address: getent hosts " + c.base.Hostname()
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that is not known here", "set ca_file in the go2rtc section"
	case errors.As(err, &certificate):
		return "its certificate is not valid: " + c.clean(certificate.Err.Error()), "set the url to a name in the certificate, and ca_file to who signed it"
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return "it does not speak TLS there", "try the same URL with http://"
	case errors.As(err, &alert):
		return "it refused our TLS: " + c.clean(alert.Error()), ""
	case errors.As(err, &quoting):
		err = quoting.Err // the URL it quotes may hold a camera's password
	}
	return "what it sends is not HTTP as we know it: " + c.clean(err.Error()), "is this the API of go2rtc?"
}

// refusal is the fault of an answer that has a status we did not expect.
func (c *Client) refusal(got answer) *fault.Error {
	said := strings.TrimSpace(string(got.body[:min(len(got.body), 4<<10)]))
	switch {
	case got.status == http.StatusUnauthorized:
		if c.username == "" {
			return c.fault("it asks for a log-in").WithHint("set username and password_file in the go2rtc section")
		}
		return c.fault("it does not accept our log-in").WithHint("check username and password_file in the go2rtc section against api.username in go2rtc.yaml")
	case got.status == http.StatusNotFound:
		return c.fault("it has no such path").
			WithHint("add its base path to the url (api.base_path in go2rtc.yaml), or allow /api, /api/streams and /api/frame.jpeg in api.allow_paths")
	case strings.Contains(said, "HTTP request to an HTTPS server"):
		return c.fault("it speaks TLS there").WithHint("try the same URL with https://")
	case said == "":
		return c.fault("it answered %d %s", got.status, http.StatusText(got.status))
	}
	return c.fault("it answered %d: %s", got.status, c.clean(said))
}

// clean makes text of the server's fit for a message. Secrets go first: cut or in other letters they would not be known.
func (c *Client) clean(text string) string {
	const longest = 160
	text = strings.TrimSpace(c.secrets.String(text[:min(len(text), 4<<10)]))
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return text
}

// wait is a pause that ends with the context, which it then reports by false.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
