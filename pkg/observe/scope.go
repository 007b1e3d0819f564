package observe

import (
	"net/netip"
	"slices"

	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// Scope says what a look is for.
type Scope struct {
	OnlyOurs bool     // what carries our mark or stands in this ledger, all of it, and the connections to the addresses of the limits
	Programs []string // names of the programs whose processes are looked at, whatever they do
	Cameras  []Camera // of the inventory
	Limits   Limits
	Go2rtc   *go2rtc.Client  // asked for its streams, with its own bounds; nil: none is configured
	Prefix   string          // of our streams in it
	Standing bool            // its streams may be meant to stay between rounds
	Keeper   *streams.Keeper // of our streams in it, for those who end what is left of them; nil: they are not asked for

	Blind  []Blind // what could not be read before the look began: the configuration, a host's address
	Ledger error   // why the ledger could not be opened; nil when it was, or when there is none
	Server error   // why the configured go2rtc cannot be asked; nil when it can, or when none is configured
}

// Camera is what an observation knows of a camera of the inventory.
type Camera struct {
	ID           string         `json:"id"`
	Host         string         `json:"host"`
	Address      netip.AddrPort `json:"address,omitzero"` // invalid while the host does not resolve
	Port         uint16         `json:"port"`
	Model        string         `json:"model,omitempty"`
	Limit        int            `json:"limit"`
	LimitAssumed bool           `json:"limit_assumed,omitempty"`
}

// Limits are the cameras that a look is about. The zero Limits are all there are.
type Limits struct {
	Prefixes  []netip.Prefix   `json:"prefixes,omitempty"`
	Addresses []netip.AddrPort `json:"addresses,omitempty"` // port 0 stands for any
}

// None reports whether there is no limit.
func (l Limits) None() bool { return len(l.Prefixes) == 0 && len(l.Addresses) == 0 }

// Cover reports whether an address is within the limits.
func (l Limits) Cover(a netip.AddrPort) bool {
	addr := a.Addr().Unmap().WithZone("")
	return l.None() ||
		slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(addr) }) ||
		slices.ContainsFunc(l.Addresses, func(b netip.AddrPort) bool {
			return b.Addr() == addr && (b.Port() == 0 || b.Port() == a.Port())
		})
}

// loopback reports whether all of the limits, of which there are some, are loopback addresses.
func (l Limits) loopback() bool {
	return !l.None() &&
		!slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() }) &&
		!slices.ContainsFunc(l.Addresses, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
}

// covers reports whether a process whose mark names the address is in question. What this ledger holds always is where only
// what is ours is looked for, because nobody else will finish it.
func (s Scope) covers(address netip.AddrPort) bool {
	return s.Limits.Cover(address) && (!s.OnlyOurs || !s.Limits.None())
}
