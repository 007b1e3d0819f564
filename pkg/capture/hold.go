package capture

import (
	"context"
	"net/netip"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/slot"
)

// Hold takes a slot of the camera's address for a conversation that is no still, over one connection at a time: the talk dials,
// hangs up, and returns its end of the last connection. Between two it calls gone, which waits until the kernel has forgotten
// the one that was just closed. The context must have a deadline. The error is that of the slot, and then nothing was dialled,
// or says that a connection could not be seen gone.
func Hold(ctx context.Context, slots slot.Table, cam camera.Camera, talk func(ctx context.Context, gone func(local netip.AddrPort) error) netip.AddrPort) *fault.Error {
	_, err := connection(ctx, slots, Visit{Camera: cam}, cam, func(ctx context.Context) (ending, *fault.Error) {
		local := talk(ctx, func(local netip.AddrPort) error { return gone(slots.FS, cam.Address, local) })
		return ending{local: local}, nil
	})
	return err
}
