package observe

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
)

// readServer asks the configured go2rtc for its version and its streams: two calls, which change nothing and dial nothing.
func (l *looker) readServer(ctx context.Context) {
	client := l.scope.Go2rtc
	if client == nil {
		return
	}
	l.Go2rtc = &Server{URL: client.Where(), Prefix: l.scope.Prefix, Streams: []go2rtc.Stream{}}
	info, err := client.Info(ctx)
	if err == nil {
		l.Go2rtc.Version = info.Version
		l.Go2rtc.Streams, err = client.List(ctx)
	}
	if err != nil {
		l.Go2rtc.Why = err.Error()
		l.Go2rtc.Streams = []go2rtc.Stream{}
		l.Blind = append(l.Blind, Blind{Where: "go2rtc", Why: err.Error()})
	}
	l.Go2rtc.Streams = slices.DeleteFunc(l.Go2rtc.Streams, func(stream go2rtc.Stream) bool { return !l.concerns(stream) })
}

// concerns reports whether a stream is within the limits: by its lease, or by where one of its sources leads.
func (l *looker) concerns(stream go2rtc.Stream) bool {
	limits := l.scope.Limits
	if limits.None() || slices.ContainsFunc(l.Leases, func(n Lease) bool { return n.Kind == ledger.Stream && n.Name == stream.Name }) {
		return true
	}
	return slices.ContainsFunc(stream.Producers, func(p go2rtc.Producer) bool {
		first, _, _ := strings.Cut(p.RemoteAddr, " ")
		if remote, err := netip.ParseAddrPort(first); err == nil && limits.Cover(remote) {
			return true
		}
		host, port, known := p.Leads()
		if !known {
			return false
		}
		to := cmdline.Target{Host: host, Port: port}
		if addr, err := netip.ParseAddr(host); err == nil {
			to.Address = netip.AddrPortFrom(addr, port)
		}
		address := l.resolve(to).Address
		return address.IsValid() && limits.Cover(address)
	})
}
