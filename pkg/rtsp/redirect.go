package rtsp

import (
	"cmp"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
)

// ErrRedirected is wrapped by the error of a camera that sends its clients elsewhere: any other client would follow, or be
// refused, too.
var ErrRedirected = errors.New("it sends us on")

// RedirectError is an error of a camera that sends its clients to another port of its own. It wraps ErrRedirected. Whoever holds
// the slots may follow, once.
type RedirectError struct {
	Scheme  string // "rtsp" or "rtsps"
	Address netip.AddrPort
	Path    string // with leading slash and query, or empty
}

// Error is that of ErrRedirected.
func (e *RedirectError) Error() string { return ErrRedirected.Error() }

// Unwrap returns ErrRedirected.
func (e *RedirectError) Unwrap() error { return ErrRedirected }

func isRedirect(status int) bool { return status >= 300 && status < 400 }

// place is where a redirect leads. ok is false for what is no URL of RTSP.
func (t *talk) place(answer *answer) (place RedirectError, ok bool) {
	value := strings.TrimSpace(answer.header.first("location"))
	if strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "//") {
		return RedirectError{Scheme: t.scheme(), Address: t.target.Address, Path: value}, !unfit(value)
	}
	to, err := url.Parse(value)
	if err != nil || !absolute(value) || unfit(withoutUser(value)) {
		return place, false
	}
	place = RedirectError{Scheme: strings.ToLower(to.Scheme)}
	address, err := netip.ParseAddr(to.Hostname())
	if err != nil && strings.EqualFold(to.Hostname(), t.target.Host) {
		address, err = t.target.Address.Addr(), nil
	}
	port, perr := strconv.ParseUint(cmp.Or(to.Port(), map[string]string{"rtsp": "554", "rtsps": "322"}[place.Scheme]), 10, 16)
	if err != nil || perr != nil {
		return place, false
	}
	place.Address = netip.AddrPortFrom(address.Unmap(), uint16(port))
	_, rest, _ := strings.Cut(withoutUser(value), "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		place.Path = rest[i:]
	}
	return place, true
}

// follow goes on with another stream of the same address, once, on the same connection.
func (t *talk) follow(answer *answer) error {
	place, ok := t.place(answer)
	if !ok || t.followed || place.Scheme != t.scheme() || !same(place.Address, t.target.Address) {
		return t.elsewhere(answer)
	}
	t.followed = true
	t.url = t.scheme() + "://" + hostPort(t.target.Address) + place.Path
	t.base = t.url
	return nil
}

// elsewhere is the fault of a redirect that is not followed here.
func (t *talk) elsewhere(answer *answer) error {
	place, ok := t.place(answer)
	switch {
	case ok && same(place.Address, t.target.Address) && place.Scheme == t.scheme():
		return t.fault(fault.Protocol, "%w again (%d)", ErrRedirected, answer.status).WithHint("it sends its clients in a circle: check the path of the stream")
	case ok && place.Address.Addr() == t.target.Address.Addr().Unmap().WithZone("") && (place.Scheme == t.scheme() || place.Scheme == "rtsps"):
		whole := place.Scheme + "://" + hostPort(place.Address) + place.Path
		return t.fault(fault.Protocol, "%w to %s (%d)", &place, t.location(answer), answer.status).
			WithHint("use the URL that it names: %s", t.clean(whole))
	}
	return t.fault(fault.Protocol, "%w to %s (%d), where we do not follow", ErrRedirected, t.location(answer), answer.status).
		WithHint("if that is the camera's real address, use it")
}

func same(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Unmap().WithZone("") == b.Addr().Unmap().WithZone("")
}

// location is the host a redirect leads to, without the rest, which may hold anything.
func (t *talk) location(answer *answer) string {
	if to, err := url.Parse(answer.header.first("location")); err == nil && to.Host != "" {
		return t.clean(to.Host)
	}
	return "somewhere else"
}
