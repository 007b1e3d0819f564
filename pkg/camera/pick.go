package camera

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/redact"
)

// Pick returns the cameras that CAMERA arguments name, each once, in the order of the arguments. An argument is the id
// of a camera, its address or host name, with or without a port, or an RTSP URL, or the http:// URL of its own picture. An address stands for every camera at
// it (the channels of a recorder), and for one made from the defaults where the inventory has none. A URL that the
// inventory has too takes over all that is configured there, save for a log-in of its own. A host that does not resolve
// leaves Address invalid. Names that nobody knows are usage faults.
func (inv Inventory) Pick(args []string, lookup Lookup) ([]Camera, error) {
	names := newResolver(lookup)
	var picked []Camera
	for _, arg := range args {
		found, err := inv.pickOne(arg, names)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			picked = include(picked, names.resolve(c), strings.Contains(arg, "://"))
		}
	}
	if err := CheckLimits(picked); err != nil {
		return nil, err
	}
	return picked, nil
}

// include adds c unless it is there already. What was typed in a URL counts more than what is configured.
func include(picked []Camera, c Camera, typed bool) []Camera {
	taken := false
	for i, other := range picked {
		taken = taken || other.ID == c.ID
		if sameStream(other, c) && (other.ID == c.ID || typed && strings.HasPrefix(other.ID, c.ID+"-")) {
			if typed {
				c.ID = other.ID
				picked[i] = c
			}
			return picked
		}
	}
	if taken { // two URLs whose ids are alike, since an id leaves out what looks secret
		c.ID = numbered(c.ID, picked)
	}
	return append(picked, c)
}

func numbered(id string, taken []Camera) string {
	for n := 2; ; n++ {
		suffix := "-" + strconv.Itoa(n)
		next := strings.ToValidUTF8(id[:min(len(id), maxID-len(suffix))], "") + suffix
		if !slices.ContainsFunc(taken, func(c Camera) bool { return c.ID == next }) {
			return next
		}
	}
}

func (inv Inventory) pickOne(arg string, names *resolver) ([]Camera, error) {
	if c, ok := inv.byID(arg); ok {
		return []Camera{c}, nil
	}
	if strings.Contains(arg, "://") {
		c, err := inv.fromURL(arg, names)
		return []Camera{c}, err
	}
	if addr, port, ok := parseAddress(arg); ok {
		return inv.at(addr, port, names), nil
	}
	if found := inv.named(arg); len(found) > 0 {
		return found, nil
	}
	return nil, inv.unknownCamera(arg)
}

// parseAddress reads IP, IP:port, [IP]:port and [IP]; port 0 stands for any.
func parseAddress(arg string) (netip.Addr, uint16, bool) {
	if both, err := netip.ParseAddrPort(arg); err == nil && both.Port() != 0 && zone.Get().MatchString(both.Addr().Zone()) {
		return both.Addr().Unmap(), both.Port(), true
	}
	if inner, ok := strings.CutPrefix(arg, "["); ok {
		arg = strings.TrimSuffix(inner, "]")
	}
	addr, ok := parseIP(arg)
	return addr.Unmap(), 0, ok
}

// at returns the cameras at an address, or one made from the defaults.
func (inv Inventory) at(addr netip.Addr, port uint16, names *resolver) []Camera {
	var found []Camera
	for _, c := range inv.Cameras {
		if c = names.resolve(c); c.Address.Addr() == addr && (port == 0 || c.Port == port) {
			found = append(found, c)
		}
	}
	if len(found) > 0 {
		return found
	}
	c := inv.Defaults
	c.Host = addr.String()
	if port != 0 {
		c.Port = port
	}
	c = inv.limited(c.At(addr), names)
	c.Password = c.Password.For(c.Username)
	c.ID = IDFor(c.Host, c.Port, c.Path)
	return []Camera{c}
}

// named returns the cameras that a host name, with or without a port, stands for.
func (inv Inventory) named(arg string) []Camera {
	host, port, hasPort := strings.Cut(arg, ":")
	var found []Camera
	for _, c := range inv.Cameras {
		if strings.EqualFold(c.Host, host) && (!hasPort || strconv.Itoa(int(c.Port)) == port) {
			found = append(found, c)
		}
	}
	return found
}

func (inv Inventory) fromURL(arg string, names *resolver) (Camera, error) {
	if IsHTTP(arg) {
		return inv.fromHTTP(arg, names)
	}
	c, err := ParseURL(arg, inv.Defaults)
	if err != nil {
		return Camera{}, err
	}
	c = names.resolve(c)
	for _, known := range inv.Cameras {
		if known = names.resolve(known); !sameStream(known, c) {
			continue
		}
		login, err := ParseURL(arg, Camera{}) // what of the log-in stands in the URL itself
		if err != nil {
			return Camera{}, err
		}
		if login.Username != "" && login.Username != known.Username || login.Password.Plain() {
			known.Username, known.Password = c.Username, c.Password
		}
		return known, nil
	}
	return inv.limited(c, names), nil
}

// fromHTTP returns the picture that a URL names. Where a camera of the inventory has its own picture at that address, the limit of
// the address is the one that is configured.
func (inv Inventory) fromHTTP(arg string, names *resolver) (Camera, error) {
	c, err := ParseHTTP(arg, inv.Defaults)
	if err != nil {
		return Camera{}, err
	}
	c = names.resolve(c)
	for _, known := range inv.Cameras {
		if web, ok := names.resolve(known).Web(); ok && c.Address.IsValid() && web.Address == c.Address {
			c.MaxConnections, c.HTTPConnections = known.HTTPConnections, known.HTTPConnections
			break
		}
	}
	return c, nil
}

// limited gives a camera that is not in the inventory the limits of the address when a camera of the inventory has it.
func (inv Inventory) limited(c Camera, names *resolver) Camera {
	for _, known := range inv.Cameras {
		if known = names.resolve(known); c.Address.IsValid() && known.Address == c.Address {
			c.MaxConnections, c.Reserve, c.LimitAssumed = known.MaxConnections, known.Reserve, known.LimitAssumed
			c.SessionTimeout = known.SessionTimeout
			return c
		}
	}
	c.LimitAssumed = true // what the defaults say was said of the inventory
	return c
}

func sameStream(a, b Camera) bool {
	sameHost := strings.EqualFold(a.Host, b.Host) || a.Address.IsValid() && a.Address.Addr() == b.Address.Addr()
	return sameHost && a.Scheme == b.Scheme && a.Port == b.Port && a.Path == b.Path
}

func (inv Inventory) unknownCamera(arg string) error {
	var known []string
	for _, c := range inv.Cameras {
		known = append(known, c.ID, c.Host)
	}
	var subnets []string
	for _, s := range inv.Subnets {
		subnets = append(subnets, s.Name)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	shown := redact.String(arg)
	host, port, hasPort := strings.Cut(arg, ":")
	_, ipv4 := parseIP(host)
	switch near := Nearest(arg, append([]string{All}, subnets...)); {
	case ipv4 && hasPort:
		return fault.New(fault.Usage, "", "the port of %q is not a number from 1 to 65535", shown).
			WithHint("write it like %s:554; %q is none", host, port)
	case arg == All || slices.Contains(subnets, arg):
		return fault.New(fault.Usage, "", "%q is a subnet, not a camera", shown).WithHint("use: camwarden round %s", shown)
	case len(near) > 0 && len(Nearest(arg, known)) == 0:
		return fault.New(fault.Usage, "", "there is no camera %q in %s", shown, inv.where()).
			WithHint("did you mean the subnet %s?", strings.Join(near, " or "))
	}
	if len(known) == 0 {
		return fault.New(fault.Usage, "", "there is no camera %q: no cameras are configured", shown).
			WithHint("give an address or an rtsp:// URL, or begin a configuration with: camwarden config init")
	}
	return fault.New(fault.Usage, "", "there is no camera %q in %s", shown, inv.where()).
		WithHint("%s", didYouMean(arg, known, "or give an address or an rtsp:// URL"))
}
