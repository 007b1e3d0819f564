package camera

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Subnet is a named list of prefixes and camera ids.
type Subnet struct {
	Name     string
	Prefixes []netip.Prefix
	Cameras  []string
}

// Inventory is every camera and subnet that is configured.
type Inventory struct {
	Cameras  []Camera
	Subnets  []Subnet
	Defaults Camera
	Source   string // the file it was read from, for hints; "" when there is none
	Sought   string // where a file was looked for, in words, when there is none
}

// Lookup resolves the host name of a camera. It bounds its own time.
type Lookup func(host string) (netip.Addr, error)

// resolver asks a Lookup once for each name.
type resolver struct {
	lookup Lookup
	known  map[string]netip.Addr
}

func newResolver(lookup Lookup) *resolver {
	return &resolver{lookup: lookup, known: map[string]netip.Addr{}}
}

// resolve returns the camera with its address, when that can be known.
func (r *resolver) resolve(c Camera) Camera {
	if c.Address.IsValid() {
		return c
	}
	name := strings.ToLower(c.Host)
	addr, ok := r.known[name]
	if !ok {
		addr = r.ask(c.Host)
		r.known[name] = addr
	}
	if !addr.IsValid() {
		return c
	}
	return c.At(addr)
}

func (r *resolver) ask(host string) netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr
	}
	if r.lookup == nil {
		return netip.Addr{}
	}
	addr, err := r.lookup(host)
	if err != nil {
		return netip.Addr{} // the visit says why, with class dns
	}
	return addr
}

func (inv Inventory) byID(id string) (Camera, bool) {
	i := slices.IndexFunc(inv.Cameras, func(c Camera) bool { return c.ID == id })
	if i < 0 {
		return Camera{}, false
	}
	return inv.Cameras[i], true
}

// where names the place of the inventory, for messages.
func (inv Inventory) where() string {
	if inv.Source == "" {
		return "the configuration"
	}
	return inv.Source
}

// CheckLimits reports, as a usage fault, two cameras that share an address and differ in the limits of that address.
func CheckLimits(cameras []Camera) error {
	first := map[netip.AddrPort]Camera{}
	for _, c := range cameras {
		if !c.Address.IsValid() {
			continue
		}
		other, shared := first[c.Address]
		if !shared {
			first[c.Address] = c
			continue
		}
		if other.MaxConnections != c.MaxConnections || other.Reserve != c.Reserve {
			return fault.New(fault.Usage, "", "the cameras %s and %s share the address %s but not its limits: "+
				"max_connections %d and %d, reserve %d and %d", other.ID, c.ID, c.Address,
				other.MaxConnections, c.MaxConnections, other.Reserve, c.Reserve).
				WithHint("give both the same max_connections and reserve")
		}
	}
	return nil
}

// didYouMean is the hint that names near words, or else all of them when they are few.
func didYouMean(word string, known []string, otherwise string) string {
	if near := Nearest(word, known); len(near) > 0 {
		return fmt.Sprintf("did you mean %s?", strings.Join(near, " or "))
	}
	if len(known) > 0 && len(known) <= 12 {
		return fmt.Sprintf("known are %s; %s", strings.Join(known, ", "), otherwise)
	}
	return otherwise
}
