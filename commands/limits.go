package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
)

// loadToLook is load for a command that only looks: a configuration that this user may not read is something to report,
// and no reason to stay away.
func (c *cli) loadToLook() (settings, []observe.Blind, error) {
	set, err := c.load()
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return set, nil, err
	}
	blind := []observe.Blind{{Where: "configuration", Why: err.Error()}}
	return settings{config: config.Default(), c: c}, blind, nil
}

// scope says what a look is for: the programs and cameras of the configuration, within what the arguments name.
func (s settings) scope(args []string, blind []observe.Blind) (observe.Scope, error) {
	t := observe.Scope{Programs: s.config.Reap.Programs, Blind: blind}
	addresses := s.addresses()
	for _, c := range s.config.Inventory.Cameras {
		known := observe.Camera{ID: c.ID, Host: c.Host, Port: c.Port, Model: c.Model, Limit: c.MaxConnections, LimitAssumed: c.LimitAssumed}
		if addr, ok := addresses[strings.ToLower(c.Host)]; ok {
			known.Address = netip.AddrPortFrom(addr, c.Port)
		} else {
			t.Blind = append(t.Blind, observe.Blind{Where: "camera " + c.ID, Why: fmt.Sprintf("its host %s does not resolve", c.Host)})
		}
		t.Cameras = append(t.Cameras, known)
	}
	limits, err := s.limits(args, addresses)
	if err != nil {
		return t, err
	}
	t.Limits = limits
	if !limits.None() { // what the arguments leave out is nobody's concern here
		kept := t.Cameras[:0]
		for _, c := range t.Cameras {
			if c.Address.IsValid() && limits.Cover(c.Address) {
				kept = append(kept, c)
			}
		}
		t.Cameras = kept
		t.Blind = slices.DeleteFunc(t.Blind, func(b observe.Blind) bool {
			id, ofCamera := strings.CutPrefix(b.Where, "camera ")
			return ofCamera && len(limits.Prefixes) == 0 && !s.listed(id, args)
		})
	}
	return t, nil
}

// listed reports whether a camera is in one of the named subnets by its id. Any other one whose address is not known may be
// within a prefix, and is nobody's concern where only cameras are named.
func (s settings) listed(id string, args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		subnet, ok := s.subnet(arg)
		return ok && slices.Contains(subnet.Cameras, id)
	})
}

// addresses resolves the hosts of the inventory, all at once: together they take as long as the slowest, and that is bounded.
func (s settings) addresses() map[string]netip.Addr {
	known := map[string]netip.Addr{}
	var names []string
	for _, c := range s.config.Inventory.Cameras {
		host := strings.ToLower(c.Host)
		if _, asked := known[host]; asked {
			continue
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			names = append(names, host)
		}
		known[host] = addr.Unmap()
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, host := range names {
		all.Go(func() {
			addr, err := lookup(host)
			mu.Lock()
			defer mu.Unlock()
			if known[host] = addr; err != nil {
				delete(known, host)
			}
		})
	}
	all.Wait()
	return known
}

// limits reads CAMERA and SUBNET arguments: an id, an address, a URL, a prefix, the name of a subnet, or "all". An address
// without a port stands for all of its ports.
func (s settings) limits(args []string, addresses map[string]netip.Addr) (observe.Limits, error) {
	var l observe.Limits
	for _, arg := range args {
		if arg == camera.All {
			return observe.Limits{}, nil
		}
		if subnet, ok := s.subnet(arg); ok {
			l.Prefixes = append(l.Prefixes, subnet.Prefixes...)
			for _, id := range subnet.Cameras {
				for _, c := range s.config.Inventory.Cameras {
					if addr, known := addresses[strings.ToLower(c.Host)]; known && c.ID == id {
						l.Addresses = append(l.Addresses, netip.AddrPortFrom(addr, c.Port))
					}
				}
			}
			continue
		}
		if prefix, err := camera.ParsePrefix(arg); err == nil {
			l.Prefixes = append(l.Prefixes, prefix)
			continue
		}
		if addr, err := netip.ParseAddr(strings.Trim(arg, "[]")); err == nil {
			l.Addresses = append(l.Addresses, netip.AddrPortFrom(addr.Unmap().WithZone(""), 0))
			continue
		}
		if strings.Contains(arg, "/") && !strings.Contains(arg, "://") {
			return l, fault.New(fault.Usage, "", "%q is neither a camera nor a subnet", arg).WithHint("write a subnet like 192.168.125.0/24")
		}
		cameras, err := s.config.Inventory.Pick([]string{arg}, lookup)
		if err != nil {
			return l, err
		}
		for _, c := range cameras {
			if !c.Address.IsValid() {
				return l, fault.New(fault.DNS, "", "the host %s does not resolve, so nobody knows what to look at", c.Host).
					WithHint("give its address")
			}
			l.Addresses = append(l.Addresses, netip.AddrPortFrom(c.Address.Addr().WithZone(""), c.Address.Port()))
		}
	}
	if len(args) > 0 && l.None() {
		return l, fault.New(fault.Usage, "", "there is no camera in %s whose address is known", strings.Join(args, ", ")).
			WithHint("give a prefix like 192.168.125.0/24, or an address")
	}
	return l, nil
}

// named are the subnets of the configuration, for the commands that doctor proposes.
func (s settings) named() []doctor.Named {
	var all []doctor.Named
	for _, subnet := range s.config.Inventory.Subnets {
		n := doctor.Named{Name: subnet.Name, Prefixes: subnet.Prefixes}
		for _, c := range s.config.Inventory.Cameras {
			if slices.Contains(subnet.Cameras, c.ID) {
				n.Addresses = append(n.Addresses, c.Address)
			}
		}
		all = append(all, n)
	}
	return all
}

func (s settings) subnet(name string) (camera.Subnet, bool) {
	for _, subnet := range s.config.Inventory.Subnets {
		if subnet.Name == name {
			return subnet, true
		}
	}
	return camera.Subnet{}, false
}

// peekLedger opens the ledger to be read only. There may be none, and that is no trouble.
func (s settings) peekLedger() (*ledger.Ledger, error) {
	dirs, err := s.ledgerDirs()
	if err != nil {
		return nil, err
	}
	book, err := ledger.Peek(dirs, proc.Default())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no ledger, and no trouble
	}
	return book, err
}

func (s settings) ledgerDirs() (ledger.Dirs, error) {
	dir := s.c.flags.stateDir
	if dir == "" {
		dir = s.config.StateDir
	}
	return ledger.DirsFor(dir, s.c.env, os.Geteuid())
}

// watchLook is watch for a command that looks: a signal ends the looking, and what has been signalled is seen to its end.
func (c *cli) watchLook(ctx context.Context) *interrupts {
	return watch(ctx, c.world.Signals, func(string) {
		c.log.Warn("interrupted: nothing more is begun, and what is under way is seen to its end")
	})
}
