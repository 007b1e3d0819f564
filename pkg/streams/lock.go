package streams

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// lockFor is how long one call may hold the lock of the server: its own bound and a margin.
const lockFor = go2rtc.CallTimeout + 2*time.Second

// place is where the server listens: at a path, or at a host and port.
type place struct {
	socket, host string
	port         uint16
}

// placeOf reads the URL of the server. What is wrong with it is for the client to say.
func placeOf(raw string) (place, error) {
	if escaped, ok := strings.CutPrefix(raw, "http+unix://"); ok {
		escaped, _, _ = strings.Cut(escaped, "/")
		socket, _ := url.PathUnescape(escaped)
		return place{socket: socket}, nil
	}
	u, err := url.Parse(raw)
	if err != nil { // whose text quotes the URL
		return place{}, fault.New(fault.Usage, "", "the URL of go2rtc cannot be read").WithHint("write it like http://127.0.0.1:1984")
	}
	if u.Scheme == "unix" {
		return place{socket: u.Path}, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		port = 80
		if u.Scheme == "https" {
			port = 443
		}
	}
	return place{host: u.Hostname(), port: uint16(port)}, nil
}

// lock keeps every other run of this host from calling the server. It is keyed by the listening socket where that can be
// seen, so that two names for one server are one lock; else by address and port.
func (k *Keeper) lock(ctx context.Context) (unlock func(), err error) {
	limited, cancel := context.WithTimeout(ctx, go2rtc.CallTimeout)
	defer cancel()
	lock, holder, err := k.book.LockHost(limited, k.lockName(), lockFor)
	switch {
	case err != nil:
		return nil, err
	case lock == nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case lock == nil:
		return nil, fault.New(fault.Go2rtc, "", "go2rtc at %s: %s has been speaking to it for %s, and only one may at a time", k.Server(), holder, go2rtc.CallTimeout).
			WithHint("is that run stopped, or go2rtc slow? ps -fp %d", holder.Identity.PID)
	}
	return func() { _ = lock.Unlock() }, nil // closing the file lets go, whatever else may fail
}

func (k *Keeper) lockName() string {
	if l, found := k.listening(); found {
		return fmt.Sprint("go2rtc-inode-", l.Inode)
	}
	if addresses := k.addresses(); len(addresses) > 0 {
		return "go2rtc-" + addresses[0].String()
	}
	return "go2rtc-" + k.Server()
}

// listening finds the listening socket, if the server is in our network namespace.
func (k *Keeper) listening() (proc.Listener, bool) {
	if k.place.socket != "" {
		l, found, err := k.fs.ListeningAt(k.place.socket)
		return l, found && err == nil
	}
	for _, address := range k.addresses() {
		if l, found, err := k.fs.Listening(address); found && err == nil {
			return l, true
		}
	}
	return proc.Listener{}, false
}

// addresses are those of the server's host, resolved once.
func (k *Keeper) addresses() []netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.resolved != nil || k.place.host == "" {
		return k.resolved
	}
	if ip, err := netip.ParseAddr(k.place.host); err == nil {
		k.resolved = []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), k.place.port)}
		return k.resolved
	}
	k.resolved = []netip.AddrPort{}
	if k.place.host == "localhost" {
		k.resolved = append(k.resolved,
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), k.place.port), netip.AddrPortFrom(netip.IPv6Loopback(), k.place.port))
	} else if k.lookup != nil {
		if ip, err := k.lookup(k.place.host); err == nil {
			k.resolved = append(k.resolved, netip.AddrPortFrom(ip.Unmap(), k.place.port))
		}
	}
	return k.resolved
}

// Resolve is where a host and port of the server lead; invalid when that is not known.
func (k *Keeper) Resolve(host, port string) netip.AddrPort {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}
	}
	if host == k.place.host {
		if addresses := k.addresses(); len(addresses) > 0 {
			return netip.AddrPortFrom(addresses[0].Addr(), uint16(number))
		}
	}
	if k.lookup != nil {
		if ip, err := k.lookup(host); err == nil {
			return netip.AddrPortFrom(ip.Unmap(), uint16(number))
		}
	}
	return netip.AddrPort{}
}

// Relay is the server as a process of this host, for counting its connections; nil when it is elsewhere, in another network
// namespace, or behind a proxy. Where it is another user's, only its user is known.
func (k *Keeper) Relay() *ledger.Relay {
	l, found := k.listening()
	if !found {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.listener == l {
		return k.relay
	}
	id, err := k.fs.Holder(l)
	if err != nil && id.IsZero() {
		return nil
	}
	k.listener, k.relay = l, &ledger.Relay{ID: id, UID: l.UID}
	if stat, err := k.fs.Stat(id.PID); id.PID != 0 && (err != nil || proc.Forwards(stat.Comm)) {
		k.relay = nil
	}
	return k.relay
}
