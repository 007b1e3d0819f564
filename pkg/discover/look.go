package discover

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/socket"
)

// address looks at all ports of one address at once, and asks what answers. nil: nothing does.
func (r *run) address(ctx context.Context, addr netip.Addr) *Device {
	looks := make([]look, len(r.plan.Ports))
	busy := r.readBusy()
	var all sync.WaitGroup
	for i, port := range r.plan.Ports {
		all.Go(func() { looks[i] = r.look(ctx, netip.AddrPortFrom(addr, port), busy) })
	}
	all.Wait()
	var open []uint16
	mute := true
	var problem *fault.Error
	for i, one := range looks {
		if one.open {
			open = append(open, r.plan.Ports[i])
		}
		mute = mute && one.mute
		if problem == nil {
			problem = one.problem
		}
	}
	switch {
	case len(open) > 0:
		return r.device(ctx, addr, open)
	case problem != nil:
		r.blind(addr.String(), problem.Message)
	case mute:
		r.mu.Lock()
		r.report.Mute++
		r.mu.Unlock()
	}
	return nil
}

// look is what one connection attempt showed.
type look struct {
	open, mute bool
	problem    *fault.Error // why this host could not look
}

// look connects to a port and hangs up. Where this host has a connection or a lease, or the configuration names a limit, a slot is
// taken for that long (P3). What is busy was read just before, so that at any other address this one connection is the only one: who
// comes to it from now on counts it among the sockets of this host.
func (r *run) look(ctx context.Context, at netip.AddrPort, busy func(netip.AddrPort) bool) look {
	if busy(at) || len(r.known(at.Addr())) > 0 {
		var seen look
		ctx, cancel := context.WithTimeout(ctx, 2*r.plan.Timeout)
		defer cancel()
		err := capture.Hold(ctx, r.plan.Slots, r.camera(at), func(ctx context.Context, _ func(netip.AddrPort) error) netip.AddrPort {
			var local netip.AddrPort
			seen, local = r.knock(ctx, at)
			return local
		})
		if err != nil && seen == (look{}) {
			return look{problem: err}
		}
		return seen
	}
	seen, _ := r.knock(ctx, at)
	return seen
}

func (r *run) knock(ctx context.Context, at netip.AddrPort) (look, netip.AddrPort) {
	conn, _, err := socket.Dial(ctx, at, time.Now().Add(r.plan.Timeout))
	if err == nil {
		local := socket.Local(conn)
		leave(conn)
		return look{open: true}, local
	}
	why, known := socket.CauseOf(err, "tcp")
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return look{}, netip.AddrPort{}
	case known && why.Class == fault.Local, !known:
		return look{problem: fault.New(fault.Local, fault.Connect, "%s: %s", at, err).WithHint("%s", why.Hint)}, netip.AddrPort{}
	default:
		return look{mute: why.Class == fault.Timeout}, netip.AddrPort{}
	}
}

// leave hangs up so that the other side has noticed before the next connection: a camera that bears one would take that for a
// second one. It is told that nothing comes, and is waited for, for a moment, to hang up too.
func leave(conn net.Conn) {
	const patience = time.Second
	if tcp, ok := conn.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		_ = tcp.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, io.LimitReader(tcp, 4<<10)); err != nil {
			_ = tcp.SetLinger(0) // it does not hang up: it is told by a reset, which leaves nothing waiting on either side
		}
	}
	_ = conn.Close()
}

// camera is what slots are counted for at an address and port: what the configuration says of it, else the least that cameras are
// known to allow, and of web servers one.
func (r *run) camera(at netip.AddrPort) camera.Camera {
	cameras := r.known(at.Addr())
	if i := slices.IndexFunc(cameras, func(c camera.Camera) bool { return c.Port == at.Port() }); i >= 0 {
		return cameras[i]
	}
	c := camera.Defaults()
	c.ID, c.Host, c.Port = at.String(), at.Addr().String(), at.Port()
	if !isRTSPPort(at.Port()) {
		c.MaxConnections = 1
	}
	return c.At(at.Addr())
}

func isRTSPPort(port uint16) bool {
	return slices.Contains([]uint16{554, 7447, 8554, 10554}, port)
}

func isTLSPort(port uint16) bool { return port == 443 || port == 8443 }
