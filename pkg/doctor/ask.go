package doctor

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// The bounds of asking cameras.
const (
	probeLimit = 5 * time.Second
	probeJobs  = 16
)

// Asked is a camera to ask, and whether its log-in and path are meant to be right.
type Asked struct {
	camera.Camera

	Known bool
}

// ToAsk are the cameras to ask, one an address: those of the inventory that were looked at, those that were picked by the
// command line, and those that this host is connected to.
func ToAsk(seen observe.Observation, inventory camera.Inventory, picked []camera.Camera) []Asked {
	var list []Asked
	asked := map[netip.AddrPort]bool{}
	add := func(c camera.Camera, known bool) {
		if c.Address.IsValid() && !asked[c.Address] && !c.OverHTTP() {
			asked[c.Address] = true
			list = append(list, Asked{c, known})
		}
	}
	for _, c := range seen.Cameras {
		for _, full := range inventory.Cameras {
			if full.ID == c.ID && c.Address.IsValid() {
				add(full.At(c.Address.Addr()), true)
			}
		}
	}
	for _, c := range picked {
		if c.Address.IsValid() && seen.Limits.Cover(c.Address) {
			add(c, c.Username != "" || c.Password.Plain())
		}
	}
	for _, conn := range seen.Connections {
		c := inventory.Defaults
		c.ID, c.Host, c.Port = conn.Remote.String(), conn.Remote.Addr().String(), conn.Remote.Port()
		add(c.At(conn.Remote.Addr()), false)
	}
	return list
}

// Ask asks cameras for OPTIONS and DESCRIBE, several at a time, each within a slot of its address.
func Ask(ctx context.Context, slots slot.Table, logIns *lockout.Memory, cameras []Asked) []observe.Probe {
	probes := make([]observe.Probe, len(cameras))
	var all sync.WaitGroup
	places := make(chan struct{}, probeJobs)
	for i, cam := range cameras {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			probes[i] = ask(ctx, slots, logIns, cam)
		})
	}
	all.Wait()
	return probes
}

func ask(ctx context.Context, slots slot.Table, logIns *lockout.Memory, cam Asked) observe.Probe {
	p := observe.Probe{Camera: cam.ID, Address: cam.Address, Known: cam.Known}
	password, err := "", error(nil)
	if cam.Username != "" {
		password, err = cam.Password.Reveal()
	}
	if err != nil {
		known := fault.From(err, fault.Local, "")
		p.Error = fault.New(fault.Local, "", "%w", known).WithHint("%s", known.Hint)
		return p
	}
	info, failure := capture.Ask(ctx, slots, cam.Camera, password, logIns, min(probeLimit, cam.Timeout))
	p.Error, p.Server = failure, info.Server
	if info.RoundTrip > 0 {
		ms := info.RoundTrip.Milliseconds()
		p.RTTMS = &ms
	}
	return p
}

// ToolAt looks at the ffmpeg of a path or name, and runs it not; nil when there is none, or none that can be looked at.
func ToolAt(name string) *observe.Tool {
	const ffmpeg4 = 58 // the libavformat of version 4
	path, err := supervise.Find(name)
	if err != nil {
		return nil
	}
	file, err := supervise.Inspect(path)
	if err != nil {
		return nil
	}
	return &observe.Tool{
		Path: path, Wrapped: file.Wrapped, SetID: file.SetID, Caps: file.Caps, Old: file.Libavformat > 0 && file.Libavformat <= ffmpeg4,
	}
}
