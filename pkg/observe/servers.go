package observe

import (
	"context"
	"net/netip"
	"slices"

	"github.com/camwarden/camwarden/pkg/proc"
)

// home is a network namespace that was looked into.
type home struct {
	pid       int // of a process in it
	listeners []proc.Listener
	addresses []netip.Addr
}

// own reports whether an address is one of the namespace.
func (h home) own(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.Contains(h.addresses, addr)
}

// readServers finds the addresses that are no cameras: where a process of this host listens, in whatever namespace was looked
// into, and none that only forwards. Nothing limits how many connect to it. It fails silently: an address that is not found
// to be a server is treated as a camera.
func (l *looker) readServers(ctx context.Context) {
	if l.scope.OnlyOurs || l.Self.PID == 0 {
		return
	}
	homes := map[int]home{}
	var order []int
	into := func(pid int) {
		h := home{pid: pid}
		var err error
		if h.listeners, err = l.fs.Listeners(pid); err != nil || len(h.listeners) == 0 {
			return
		}
		h.addresses, _ = l.fs.Addresses(pid)
		homes[pid] = h
		order = append(order, pid)
	}
	into(l.Self.PID)
	for _, pid := range l.others {
		into(pid)
	}
	var forwarders *proc.Forwarders
	forwarded := func(listener proc.Listener) bool {
		if forwarders == nil {
			found, _ := l.fs.Forwarders(ctx, slices.Collect(l.newest()))
			forwarders = &found
		}
		return forwarders.Hold(listener)
	}
	type question struct {
		address netip.AddrPort
		from    int
	}
	tried := map[question]bool{}
	try := func(address netip.AddrPort, from int) {
		q := question{address, from}
		if tried[q] || !address.IsValid() || l.IsServer(address) {
			return
		}
		tried[q] = true
		for _, pid := range order {
			h := homes[pid]
			if pid != from && address.Addr().IsLoopback() {
				continue // which is each namespace's own
			}
			if listener, found := proc.Waiting(h.listeners, address, h.own); found && h.own(address.Addr()) && !forwarded(listener) {
				l.Servers = append(l.Servers, address)
				return
			}
		}
	}
	for _, c := range l.conns {
		from, elsewhere := l.from[c.Inode]
		if !elsewhere {
			from = l.Self.PID
		}
		try(c.Remote, from)
	}
	for _, c := range l.scope.Cameras {
		try(c.Address, l.Self.PID)
	}
	for _, line := range l.lines {
		for _, t := range line.Cameras {
			try(l.resolve(t).Address, l.Self.PID)
		}
	}
	slices.SortFunc(l.Servers, netip.AddrPort.Compare)
}

// IsServer reports whether an address is no camera, but one where a process of this host listens.
func (o Observation) IsServer(address netip.AddrPort) bool {
	return slices.Contains(o.Servers, address)
}
