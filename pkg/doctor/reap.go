package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/sweep"
)

// Named is a subnet of the configuration, as it may be typed.
type Named struct {
	Name      string
	Prefixes  []netip.Prefix
	Addresses []netip.AddrPort // of its cameras that are listed by id
}

// mostCommands bounds how many commands are proposed; every one is in the remedies of the findings.
const mostCommands = 3

// reaps are the commands that end a leak: as few as can be, each no wider than a /24 or /64, and none wider than what was
// looked at.
func (e *examination) reaps(leaks []sweep.Decision) []string {
	var order []netip.Prefix
	areas := map[netip.Prefix][]sweep.Decision{}
	var nowhere []sweep.Decision
	for _, d := range leaks {
		area, ok := sweep.Subnet(targetOf(d).Addr())
		if !ok {
			nowhere = append(nowhere, d)
			continue
		}
		if areas[area] == nil {
			order = append(order, area)
		}
		areas[area] = append(areas[area], d)
	}
	slices.SortStableFunc(order, func(a, b netip.Prefix) int { return cmp.Compare(len(areas[b]), len(areas[a])) })
	commands := []string{}
	for _, area := range order {
		commands = append(commands, e.reap(e.widened(area, areas[area]), areas[area]))
	}
	if len(nowhere) > 0 { // nobody knows where their cameras are, so nothing narrower names them
		commands = append(commands, e.reap("", nowhere))
	}
	if more := len(commands) - mostCommands; more > 0 {
		commands = append(commands[:mostCommands], fmt.Sprintf("camwarden doctor -o json | jq -r '.findings[].remedy'    # %d more areas", more))
	}
	return commands
}

func (e *examination) reap(where string, of []sweep.Decision) string {
	if where != "" {
		where = " " + where
	}
	return e.sudo(of) + "camwarden reap" + where + contained(of) + " --dry-run"
}

func targetOf(d sweep.Decision) netip.AddrPort {
	for _, t := range d.Targets {
		if t.Address.IsValid() {
			return t.Address
		}
	}
	return netip.AddrPort{}
}

// widened is what names all the cameras of a leak in one area: the one camera that it is, or the smallest name of the
// configuration, prefix that was looked at, or the area itself, that covers them and lies within what was looked at.
func (e *examination) widened(area netip.Prefix, of []sweep.Decision) string {
	var at []netip.AddrPort
	for _, d := range of {
		if a := targetOf(d); !slices.Contains(at, a) {
			at = append(at, a)
		}
	}
	if len(at) == 1 {
		return strings.TrimSpace(argument(at[0]))
	}
	var best Named
	smallest := 1 << 9
	consider := func(n Named) {
		size := widest(n, area)
		if size >= smallest || !e.within(n) || slices.ContainsFunc(at, func(a netip.AddrPort) bool { return !n.covers(a) }) {
			return
		}
		best, smallest = n, size
	}
	for _, n := range e.terms.Subnets {
		consider(n)
	}
	for _, p := range e.seen.Limits.Prefixes {
		consider(Named{Name: p.String(), Prefixes: []netip.Prefix{p}})
	}
	consider(Named{Name: area.String(), Prefixes: []netip.Prefix{area}})
	if best.Name != "" {
		return Word(best.Name)
	}
	var words []string // only single cameras were looked at
	for _, a := range at {
		words = append(words, strings.TrimSpace(argument(a)))
	}
	return strings.Join(words, " ")
}

func (n Named) covers(a netip.AddrPort) bool {
	return slices.Contains(n.Addresses, a) || slices.ContainsFunc(n.Prefixes, func(p netip.Prefix) bool { return p.Contains(a.Addr().Unmap()) })
}

// widest is how many bits of an address a name leaves open, at most, as far as it is not too wide; 0 for one of single cameras.
func widest(n Named, area netip.Prefix) int {
	const tooWide = 1 << 10
	open := 0
	for _, p := range n.Prefixes {
		if p.Addr().Is4() != area.Addr().Is4() || p.Bits() < area.Bits() {
			return tooWide
		}
		open = max(open, p.Addr().BitLen()-p.Bits())
	}
	if len(n.Prefixes) > 1 { // two of them are wider than the one
		open += len(n.Prefixes)
		if open > area.Addr().BitLen()-area.Bits() {
			return tooWide
		}
	}
	return open
}

// within reports whether nothing is named that was not looked at.
func (e *examination) within(n Named) bool {
	limits := e.seen.Limits
	if limits.None() {
		return true
	}
	for _, p := range n.Prefixes {
		if !slices.ContainsFunc(limits.Prefixes, func(wide netip.Prefix) bool { return wide.Bits() <= p.Bits() && wide.Contains(p.Addr()) }) {
			return false
		}
	}
	return !slices.ContainsFunc(n.Addresses, func(a netip.AddrPort) bool { return !limits.Cover(a) })
}
