package sweep

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/observe"
)

// sameMoment is how far apart the last bytes of cameras may have come for one cause to explain it: a camera sends several
// times a second, and a report of its own every few seconds.
const sameMoment = 15 * time.Second

// brief is how long a stream must have been heard before its silence says something of the network: captures that began
// together and soon fell silent together are a leak.
const brief = time.Minute

// Outage is a subnet whose cameras fell silent at the same moment.
type Outage struct {
	Subnet  netip.Prefix
	Since   time.Time
	PIDs    []int            // the streaming processes that fell silent
	Cameras []netip.AddrPort // theirs
	Of      int              // long-lived streaming processes in the subnet
}

// Outages finds the subnets (/24, /64 for IPv6) where most of the streaming processes that have lived for as long as
// silence takes to count, and at least two with different cameras, fell silent at the same moment: there the network is
// the cause, and ending the streams would cure nothing.
func Outages(s observe.Observation, rules Rules) []Outage {
	subnets := map[netip.Prefix][]quiet{}
	for _, p := range s.Processes {
		if p.Shape != cmdline.Streaming || time.Duration(p.AgeMS)*time.Millisecond < rules.SilentFor {
			continue
		}
		ms := SilentMS(s, p)
		if ms == nil {
			continue
		}
		if lived := p.AgeMS - *ms; lived < min(rules.SilentFor.Milliseconds(), brief.Milliseconds()) {
			continue // it has hardly ever been heard: nothing broke off there that had been well
		}
		for _, t := range p.Targets {
			if prefix, ok := Subnet(t.Address.Addr()); ok {
				subnets[prefix] = append(subnets[prefix], quiet{p.ID.PID, t.Address, *ms})
				break
			}
		}
	}
	outages := []Outage{}
	for prefix, streams := range subnets {
		if o, ok := outage(s, prefix, streams, rules); ok {
			outages = append(outages, o)
		}
	}
	slices.SortFunc(outages, func(a, b Outage) int { return a.Subnet.Addr().Compare(b.Subnet.Addr()) })
	return outages
}

// quiet is a streaming process, its camera, and for how long that is silent.
type quiet struct {
	pid    int
	camera netip.AddrPort
	ms     int64
}

// outage takes the largest group of streams that fell silent within the same moment.
func outage(s observe.Observation, subnet netip.Prefix, streams []quiet, rules Rules) (Outage, bool) {
	slices.SortFunc(streams, func(a, b quiet) int { return cmp.Or(cmp.Compare(a.ms, b.ms), cmp.Compare(a.pid, b.pid)) })
	var best []quiet
	for i, first := range streams {
		if first.ms < rules.SilentFor.Milliseconds() {
			continue
		}
		end := i
		for end < len(streams) && streams[end].ms-first.ms <= sameMoment.Milliseconds() {
			end++
		}
		if group := streams[i:end]; len(group) > len(best) {
			best = group
		}
	}
	o := Outage{Subnet: subnet, Of: len(streams)}
	for _, q := range best {
		o.PIDs = append(o.PIDs, q.pid)
		if !slices.Contains(o.Cameras, q.camera) {
			o.Cameras = append(o.Cameras, q.camera)
		}
	}
	if len(o.Cameras) < 2 || 2*len(best) <= len(streams) {
		return Outage{}, false
	}
	o.Since = s.TakenAt.Add(-time.Duration(best[0].ms) * time.Millisecond)
	return o, true
}

// Subnet is what is taken for the subnet of an address: its /24, or /64 for IPv6; false where there is none.
func Subnet(addr netip.Addr) (netip.Prefix, bool) {
	bits := 24
	if addr.Is6() && !addr.Is4In6() {
		bits = 64
	}
	prefix, err := addr.Unmap().WithZone("").Prefix(bits)
	return prefix, err == nil
}
