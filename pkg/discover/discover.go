// Package discover finds the cameras of a network, asks each what it is, and sends a password to none that it was not meant for.
package discover

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/slot"
)

// Plan says where to look, and what may be done there.
type Plan struct {
	Addresses []netip.Addr // each is looked at once
	Multicast bool         // ask the network who is there (WS-Discovery), and look at whoever answers
	Ports     []uint16     // to look at; DefaultPorts when empty
	Jobs      int          // how many addresses at once; all their ports are looked at together
	Timeout   time.Duration
	Known     []camera.Camera // of the configuration, with their addresses resolved: their log-ins go to their addresses
	Slots     slot.Table
	LogIns    *lockout.Memory // of refused log-ins: rounds do not repeat those of this one

	// LogIn is the log-in for every address that the configuration does not name; nil: none is sent there.
	LogIn *LogIn
	// Ask, if not nil, is called when an address has been asked; progress is drawn from it.
	Ask func(done, all int)
}

// LogIn is a user name with its password.
type LogIn struct{ Username, Password string }

// DefaultPorts are those that cameras, recorders and their web pages are known to have: RTSP, HTTP, HTTPS and ONVIF.
func DefaultPorts() []uint16 {
	return []uint16{80, 88, 443, 554, 2020, 7447, 8000, 8080, 8443, 8554, 8899, 10554}
}

// Report is what was found.
type Report struct {
	Addresses int // that were looked at
	Mute      int // of these, how many let every look pass without an answer
	Devices   []Device
	Blind     []Blind // what could not be looked at
}

// Blind is something that could not be looked at, and why.
type Blind struct {
	Where string `json:"where"`
	Why   string `json:"why"`
}

// Device is one address where something answers. Its texts hold no password.
type Device struct {
	Camera  string       `json:"camera"` // the id that is proposed, or that the configuration has; "" where it is no camera
	Known   bool         `json:"known"`  // the configuration names the address
	Address string       `json:"address"`
	Ports   []Port       `json:"ports"`
	Brand   string       `json:"brand"` // the id of a brand, "" where it is not known
	Maker   string       `json:"maker"` // in its own words
	Model   string       `json:"model"` // in its own words
	KnownBy string       `json:"known_by"`
	ONVIF   *Service     `json:"onvif"` // null where there is none
	Streams []Stream     `json:"streams"`
	Snap    string       `json:"snapshot"` // the URL of its JPEG, "" where none is known
	LogIn   string       `json:"log_in"`   // none, accepted, refused, not-tried
	Error   *fault.Error `json:"error"`

	login LogIn
	from  string // what says the log-in: an id of the configuration, or ""
}

// Port is an open port.
type Port struct {
	Port    uint16 `json:"port"`
	Service string `json:"service"` // rtsp, onvif, http, https, silent, other
}

// Service is an ONVIF device service.
type Service struct {
	Port       uint16 `json:"port"`
	ClockOffMS int64  `json:"clock_off_ms"` // how far its clock is ahead of ours
}

// Stream is one stream of a device.
type Stream struct {
	Path   string `json:"path"` // "" where the device names none; redacted
	Port   uint16 `json:"port"`
	Scheme string `json:"scheme"` // rtsp or rtsps
	Codec  string `json:"codec"`  // in the device's own words
	Width  int    `json:"width"`  // 0: not known
	Height int    `json:"height"`
	Source string `json:"source"` // of the picture: streams that share it show the same scene
	By     string `json:"by"`     // onvif, describe, or brand where it is only what such cameras have

	hidden bool // the path holds a log-in, and is not whole here
}

// Run looks at all addresses, and asks what answers. It returns when nothing of it is left. Only the end of ctx cuts it short, and
// what was not looked at is blind then.
func Run(ctx context.Context, plan Plan) Report {
	plan.Timeout = cmp.Or(plan.Timeout, 2*time.Second)
	plan.Jobs = max(1, plan.Jobs)
	if len(plan.Ports) == 0 {
		plan.Ports = DefaultPorts()
	}
	r := &run{plan: plan, found: map[netip.Addr]match{}}
	r.heard = make(chan struct{})
	if plan.Multicast {
		r.listen(ctx, nil)
		close(r.heard)
	} else {
		go func() { defer close(r.heard); r.listen(ctx, plan.Addresses) }()
	}
	addresses := r.addresses()
	r.report.Addresses = len(addresses)
	devices := make([]*Device, len(addresses))
	work := make(chan int)
	var all sync.WaitGroup
	done := 0
	for range min(plan.Jobs, len(addresses)) {
		all.Go(func() {
			for i := range work {
				devices[i] = r.address(ctx, addresses[i])
				r.mu.Lock()
				if done++; plan.Ask != nil {
					plan.Ask(done, len(addresses))
				}
				r.mu.Unlock()
			}
		})
	}
	for i := range addresses {
		if ctx.Err() != nil {
			r.blind(addresses[i].String()+" and what follows it", "interrupted")
			break
		}
		work <- i
	}
	close(work)
	all.Wait()
	<-r.heard
	for _, d := range devices {
		if d != nil {
			r.report.Devices = append(r.report.Devices, *d)
		}
	}
	r.name()
	return r.report
}

// run is one discovery.
type run struct {
	plan   Plan
	report Report
	unseen sync.Once // that busy addresses could not be read is said once

	heard chan struct{} // closed when no more announcements are waited for

	mu    sync.Mutex
	found map[netip.Addr]match
}

func (r *run) blind(where, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Blind = append(r.report.Blind, Blind{where, why})
}

// addresses are those of the plan and those that answered the network's call, each once, in order.
func (r *run) addresses() []netip.Addr {
	all := slices.Clone(r.plan.Addresses)
	if r.plan.Multicast {
		r.mu.Lock()
		for addr := range r.found {
			all = append(all, addr)
		}
		r.mu.Unlock()
	}
	for i := range all {
		all[i] = all[i].Unmap()
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// readBusy reads where this host has connections, and where a camwarden of this host has a slot and may be about to connect: a look
// there needs a slot. Both change while a discovery runs, so they are read for each address anew.
func (r *run) readBusy() func(netip.AddrPort) bool {
	leases, _, err := r.plan.Slots.Ledger.Read() // before the sockets: who connects in between is in one of them
	sockets, unseen := r.plan.Slots.FS.Standing(r.plan.Ports)
	if err = errors.Join(err, unseen); err != nil {
		r.unseen.Do(func() { r.blind("connections of this host", err.Error()) })
		return func(netip.AddrPort) bool { return true } // then every look takes a slot
	}
	busy := map[netip.AddrPort]bool{}
	for _, lease := range leases {
		busy[proc.Plain(lease.Address)] = true
	}
	for _, conn := range sockets.Conns {
		busy[proc.Plain(conn.Remote)] = true
	}
	return func(at netip.AddrPort) bool { return busy[at] }
}

// known returns the cameras that the configuration has at an address.
func (r *run) known(addr netip.Addr) []camera.Camera {
	var at []camera.Camera
	for _, c := range r.plan.Known {
		if c.Address.Addr().Unmap() == addr {
			at = append(at, c)
		}
	}
	return at
}
