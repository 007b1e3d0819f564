package camera

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/redact"
)

// All is the SUBNET argument that stands for every camera.
const All = "all"

// Selection is what SUBNET arguments name.
type Selection struct {
	Subnets []string // prefixes in their normal form and names, sorted
	Key     string   // one for all ways to write the same set of prefixes and ids; fit for a file name
	Cameras []Camera // in the order of the inventory
	Blind   []string // hosts that did not resolve, so that nobody knows whether they lie in the prefixes
}

// reach is what the arguments cover, before it is known which cameras that are.
type reach struct {
	all      bool
	prefixes []netip.Prefix
	ids      []string
}

// Select returns the cameras that SUBNET arguments cover: a CIDR prefix, the name of a subnet, or "all". Unknown names
// and a selection without any camera are usage faults; the latter is one of class dns while hosts that do not resolve
// could be the cameras looked for.
func (inv Inventory) Select(args []string, lookup Lookup) (Selection, error) {
	var selected Selection
	var covered reach
	for _, arg := range args {
		name, err := inv.cover(arg, &covered)
		if err != nil {
			return Selection{}, err
		}
		selected.Subnets = append(selected.Subnets, name)
	}
	slices.Sort(selected.Subnets)
	selected.Subnets = slices.Compact(selected.Subnets)
	selected.Key = covered.key()

	names := newResolver(lookup)
	for _, c := range inv.Cameras {
		c = names.resolve(c)
		switch {
		case covered.all || slices.Contains(covered.ids, c.ID) || contains(covered.prefixes, c.Address.Addr()):
			selected.Cameras = append(selected.Cameras, c)
		case len(covered.prefixes) > 0 && !c.Address.IsValid() && !slices.Contains(selected.Blind, c.Host):
			selected.Blind = append(selected.Blind, c.Host)
		}
	}
	if len(selected.Cameras) == 0 {
		return Selection{}, inv.nothing(selected, names)
	}
	if err := CheckLimits(selected.Cameras); err != nil {
		return Selection{}, err
	}
	return selected, nil
}

// cover adds an argument to what is covered, and returns its normal form.
func (inv Inventory) cover(arg string, covered *reach) (string, error) {
	if arg == All {
		covered.all = true
		return arg, nil
	}
	for _, s := range inv.Subnets {
		if s.Name == arg {
			covered.prefixes = append(covered.prefixes, s.Prefixes...)
			covered.ids = append(covered.ids, s.Cameras...)
			return arg, nil
		}
	}
	prefix, err := ParsePrefix(arg)
	if err == nil {
		covered.prefixes = append(covered.prefixes, prefix)
		return prefix.String(), nil
	}
	if strings.Contains(arg, "/") && !strings.Contains(arg, "://") {
		return "", fault.New(fault.Usage, "", "%q is no subnet: %w", arg, err).WithHint("write it like 192.168.125.0/24")
	}
	return "", inv.unknownSubnet(arg)
}

// ParsePrefix reads a CIDR prefix and returns it in its normal form: host bits zero, IPv4 in IPv6 as IPv4.
func ParsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("not an address and a length, like 192.168.125.0/24")
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, errors.New("an IPv4-mapped prefix is at least 96 bits long")
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	addr = addr.WithZone("") // a prefix never contains an address with a zone
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// longestKey leaves room in a file name for what the locks add to it.
const longestKey = 100

// key is the same for all arguments that cover the same: a prefix inside another adds nothing.
func (r reach) key() string {
	if r.all {
		return All
	}
	parts := []string{}
	for _, p := range r.prefixes {
		within := func(other netip.Prefix) bool { return other.Bits() < p.Bits() && other.Contains(p.Addr()) }
		if !slices.ContainsFunc(r.prefixes, within) {
			// None of the characters that replace the ones that file names cannot hold stands in a prefix or in an id.
			parts = append(parts, strings.NewReplacer("/", "+", ":", "-").Replace(p.String()))
		}
	}
	for _, id := range r.ids {
		parts = append(parts, "id="+id)
	}
	slices.Sort(parts)
	key := strings.Join(slices.Compact(parts), ",")
	if len(key) > longestKey {
		sum := sha256.Sum256([]byte(key))
		return "sum=" + hex.EncodeToString(sum[:16])
	}
	return key
}

func (inv Inventory) unknownSubnet(arg string) error {
	known := []string{All}
	for _, s := range inv.Subnets {
		known = append(known, s.Name)
	}
	shown := redact.String(arg)
	if addr, _, ok := parseAddress(arg); ok {
		return fault.New(fault.Usage, "", "%q is an address, not a subnet", shown).
			WithHint("write %s/%d for this address alone, or use: camwarden snapshot %s", addr.WithZone(""), addr.BitLen(), arg)
	}
	if _, ok := inv.byID(arg); ok || strings.Contains(arg, "://") {
		return fault.New(fault.Usage, "", "%q is a camera, not a subnet", shown).WithHint("use: camwarden snapshot %s", shown)
	}
	if inv.Source == "" && inv.Sought != "" {
		return fault.New(fault.Usage, "", "there is no subnet %q: no configuration was found (looked at %s)", shown, inv.Sought).
			WithHint("name it with -c FILE, begin one with: camwarden config init, or give a prefix like 192.168.125.0/24")
	}
	return fault.New(fault.Usage, "", "there is no subnet %q in %s", shown, inv.where()).
		WithHint("%s", didYouMean(arg, known, "or give a prefix like 192.168.125.0/24"))
}

// nothing says that no camera was selected, and where there are some.
func (inv Inventory) nothing(selected Selection, names *resolver) error {
	asked := strings.Join(selected.Subnets, ", ")
	switch {
	case len(inv.Cameras) == 0:
		return fault.New(fault.Usage, "", "there is no camera in %s: no cameras are configured", asked).
			WithHint("find them first: camwarden discover %s; or begin a configuration with: camwarden config init", strings.Join(selected.Subnets, " "))
	case len(selected.Blind) > 0:
		return fault.New(fault.DNS, "", "there is no camera in %s as far as can be known: %s did not resolve",
			asked, strings.Join(selected.Blind, ", ")).WithHint("write addresses as host in %s", inv.where())
	default:
		return fault.New(fault.Usage, "", "there is no camera in %s", asked).
			WithHint("the cameras of %s lie in %s", inv.where(), inv.prefixesInUse(names))
	}
}

// prefixesInUse lists the usual prefixes (/24, /64) that hold cameras, the fullest first.
func (inv Inventory) prefixesInUse(names *resolver) string {
	count := map[netip.Prefix]int{}
	for _, c := range inv.Cameras {
		bits := 24
		if c = names.resolve(c); !c.Address.IsValid() {
			continue
		} else if c.Address.Addr().Is6() {
			bits = 64
		}
		prefix, err := c.Address.Addr().WithZone("").Prefix(bits)
		if err == nil {
			count[prefix]++
		}
	}
	var found []netip.Prefix
	for prefix := range count {
		found = append(found, prefix)
	}
	slices.SortFunc(found, func(a, b netip.Prefix) int {
		return cmp.Or(count[b]-count[a], cmp.Compare(a.String(), b.String()))
	})
	var words []string
	for _, prefix := range found[:min(5, len(found))] {
		words = append(words, fmt.Sprintf("%s (%d)", prefix, count[prefix]))
	}
	if len(words) == 0 {
		return "no known prefix: no host of it resolved"
	}
	return strings.Join(words, ", ")
}
