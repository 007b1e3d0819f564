package snapshot

import (
	"context"
	"encoding/base64"
	"errors"
	"html"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/httpwire"
	"github.com/camwarden/camwarden/pkg/login"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/socket"
)

// fault returns an error of this visit, at its present step, with nothing secret in it.
func (t *talk) fault(class fault.Class, format string, args ...any) *fault.Error {
	err := fault.New(class, t.step, t.target.Address.String()+": "+format, args...)
	err.Message = t.secrets().String(err.Message)
	return err
}

// secrets knows what must not be said: a camera can say anything, our own log-in included.
func (t *talk) secrets() *redact.Redactor {
	both := t.target.Username + ":" + t.target.Password
	return redact.New(t.target.Password, base64.StdEncoding.EncodeToString([]byte(both)))
}

// enough is how many bytes of what a camera says are looked at.
const enough = 4 << 10

// redact hides what must not be said in text of the camera's, also where it changed the letters: all of them, to lower or upper case.
func (t *talk) redact(text string) string { return t.wary().String(text) }

// redactCut is redact for what may have been cut off.
func (t *talk) redactCut(text string) string { return t.wary().Cut(text) }

func (t *talk) wary() *redact.Redactor {
	known := t.secrets()
	known.Add(strings.ToLower(t.target.Password))
	known.Add(strings.ToUpper(t.target.Password))
	return known
}

// tells reports whether the password can still be read in a text, by eye: letters of either case, split by blanks, tags or signs.
func (t *talk) tells(text string) bool {
	const shortest = 4
	password := squeeze(t.target.Password)
	return len(password) >= shortest && strings.Contains(squeeze(html.UnescapeString(text)), password)
}

// squeeze leaves the letters and digits of a text, in lower case.
func squeeze(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// clean makes text of the camera's fit for a message. Secrets go first: cut or in other letters they would not be known.
func (t *talk) clean(text string) string {
	const longest = 100
	if len(text) > enough {
		text = t.redactCut(text[:enough])
	} else {
		text = t.redact(text)
	}
	if t.tells(text) {
		return redact.Mask
	}
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text))
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return text
}

// explain turns what ended the visit into a fault. nil stays nil.
func (t *talk) explain(err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		if known.Class == fault.Auth && !t.sent() {
			return known.Because(ErrUnspent)
		}
		return known
	}
	why, ok := socket.CauseOf(err, "http")
	var alien *httpwire.Alien
	switch {
	case errors.Is(err, context.Canceled) || t.ctx.Err() != nil && !errors.Is(t.ctx.Err(), context.DeadlineExceeded) && why.Class == fault.Timeout:
		return t.fault(fault.Cancelled, "cancelled")
	case errors.Is(err, errFlood):
		return t.fault(fault.NotJPEG, "it sent %d MiB without a whole picture", t.limits.Bytes>>20)
	case errors.As(err, &alien):
		return t.fault(fault.Protocol, "what answers there is not HTTP: %s", t.clean(t.redactCut(alien.Said[:min(len(alien.Said), enough)]))).WithHint("%s", hintOf(alien))
	case errors.Is(err, httpwire.ErrHeader), errors.Is(err, httpwire.ErrChunks), !ok:
		return t.fault(fault.Protocol, "what it sends is not HTTP: %s", t.clean(err.Error())).WithHint("is this the camera's HTTP port?")
	case why.Class == fault.Timeout:
		return t.timeout()
	}
	f := t.fault(why.Class, "%s%s", t.clean(why.Message), t.step.At())
	if why.Hint != "" {
		f = f.WithHint("%s", why.Hint)
	}
	return f
}

// timeout says what did not come in time.
func (t *talk) timeout() error {
	switch t.step {
	case fault.Connect:
		return t.fault(fault.Timeout, "no answer in time").WithHint("is it on, and is this its address? ping %s", t.target.Address.Addr())
	case fault.Body:
		return t.fault(fault.Timeout, "its picture was not whole in time").WithHint("is the camera overloaded, or the network slow? allow more time with --timeout")
	}
	return t.fault(fault.Timeout, "it did not answer the request in time").WithHint("restart the camera if it stays silent; a slow one needs a longer timeout")
}

// unread is the error of a body that could not be read to its end: a coding that does not hold is no failure of the connection.
func (t *talk) unread(err error) error {
	if _, known := socket.CauseOf(err, "http"); known || errors.Is(err, errFlood) || errors.Is(err, httpwire.ErrChunks) {
		return err
	}
	return t.fault(fault.NotJPEG, "what it sends cannot be unpacked: %s", t.clean(err.Error()))
}

// refusal turns an answer that is neither a picture nor a challenge into a fault.
func (t *talk) refusal(a *httpwire.Answer) error {
	said := strings.TrimSpace("it answered " + strconv.Itoa(a.Status) + " " + t.clean(a.Reason))
	switch a.Status {
	case http.StatusForbidden:
		if t.sent() { // what cannot be told from an account that is locked or may not do this is not repeated
			return t.fault(fault.Auth, "%s to the log-in", said).Because(login.ErrRefused).WithHint("may this user take snapshots, and is the account not locked?")
		}
		return t.fault(fault.Auth, "%s", said).WithHint("may this user take snapshots, and is the account not locked?")
	case http.StatusNotFound, http.StatusGone:
		return t.fault(fault.NotFound, "%s", said).WithHint("check the snapshot path in the camera's manual")
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return t.fault(fault.Exhausted, "%s", said).WithHint("it is busy, or somebody else takes pictures; on this host: ss -tnp dst %s", t.target.Address)
	case http.StatusNoContent, http.StatusNotModified:
		return t.fault(fault.NotJPEG, "%s, without a picture", said)
	}
	return t.fault(fault.Protocol, "%s", said).WithHint("is this the snapshot path? see the camera's manual")
}

// hintOf says what else may answer there.
func hintOf(e *httpwire.Alien) string {
	if e.TLS {
		return "it speaks TLS: try the same URL with https://"
	}
	return "is this the camera's HTTP port?"
}

// unfit reports whether text cannot stand in a request: a blank or a line end would begin something else.
func unfit(text string) bool {
	const longest = 4000
	return len(text) > longest || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
