package capture

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/login"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/slot"
)

// ending is what a conversation with a camera leaves.
type ending struct {
	local   netip.AddrPort // our end of its connection, which is closed; the zero AddrPort when there was none
	lingers bool           // the camera may count a session that nobody has ended
}

// talk is one conversation with a camera, from dialling to hanging up.
type talk func(ctx context.Context) (ending, *fault.Error)

// connection takes a slot of the camera's address, lets talk dial and hang up, sees that the connection is gone from the
// kernel's table, and gives the slot back; what the camera may still count cools. Whatever of ours dials a camera by itself
// goes this way. It waits for a slot until ctx ends, which must have a deadline; the error is then of class exhausted, busy,
// cooling, deadline or cancelled, and dialled is false; it is of class auth where the log-in was refused not long ago. Else the
// error is talk's own, or the first that came after it. cam is the camera of the visit, or the same at another address of it.
func connection(ctx context.Context, slots slot.Table, v Visit, cam camera.Camera, talk talk) (dialled bool, err *fault.Error) {
	if err := v.LogIns.Check(v.logIn(cam)); err != nil {
		return false, err
	}
	held, problem := slots.Take(ctx, slot.Request{
		Camera: cam, Kind: ledger.Connection, Deadline: proc.BootTime() + left(ctx) + ffmpeg.Slack,
	})
	if problem != nil {
		return false, fault.From(problem, fault.Local, "")
	}
	if err := v.LogIns.Check(v.logIn(cam)); err != nil { // a neighbour at this address has just been refused
		return false, withStrike(err, held)
	}
	if dialled, err = converse(ctx, slots.FS, held, cam, talk); dialled {
		err = v.noteLogIn(cam, err)
	}
	return dialled, err
}

// converse is connection from when there is a slot.
func converse(ctx context.Context, table proc.FS, held *ledger.Held, cam camera.Camera, talk talk) (dialled bool, err *fault.Error) {
	if held.Expired() { // we were stopped for long: others may have the slot by now
		late := fault.New(fault.Deadline, fault.Connect, "too late to dial").WithHint("was this host asleep, or camwarden stopped?")
		return false, withStrike(late, held)
	}
	end := ending{lingers: true} // what a panic has to assume
	defer func() {
		if left := settle(table, held, end, cam); left != nil && err == nil {
			err = fault.From(left, fault.Local, "")
		}
	}()
	end, err = talk(ctx)
	return true, err
}

// left is how long ctx may still take.
func left(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline)
}

// settle gives the slot back once the connection has been seen gone, or lets it cool when the camera may still count it.
func settle(table proc.FS, held *ledger.Held, end ending, cam camera.Camera) error {
	err := gone(table, cam.Address, end.local)
	if err != nil || end.lingers {
		return errors.Join(err, held.Cool(proc.BootTime()+cam.SessionTimeout))
	}
	return held.Strike()
}

// gone looks in the kernel's table for the connection that was just closed. It has left it by then, unless another process
// holds it too: a child that was forked and has not yet become its program, which one on a file system that hangs never does.
func gone(table proc.FS, remote, local netip.AddrPort) error {
	if !local.IsValid() {
		return nil // there was none
	}
	const looks = 7 // 0.6 s in all
	for look := 1; ; look++ {
		conn, err := table.Connection(local, remote)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !proc.Takes(conn.State):
			return nil
		case err != nil:
			return fault.New(fault.Local, "", "cannot see whether the connection to %s is gone: %w", remote, err)
		}
		if look == looks {
			return fault.New(fault.Local, "", "the connection to %s was closed and is still there: another process holds %s", remote, local).
				WithHint("see who: ss -tnp src %s", local)
		}
		time.Sleep(10 * time.Millisecond << (look - 1))
	}
}

// withStrike gives a slot back that was never used.
func withStrike(problem *fault.Error, held *ledger.Held) *fault.Error {
	if err := held.Strike(); err != nil {
		return fault.From(err, fault.Local, "")
	}
	return problem
}

// targetOf is the camera as the RTSP client dials it.
func targetOf(cam camera.Camera, password string) rtsp.Target {
	var schemes []string // any
	if cam.DigestOnly {
		schemes = []string{login.Digest}
	}
	return rtsp.Target{
		Schemes: schemes,
		Address: cam.Address, Scheme: cam.Scheme, Host: cam.Host, Path: cam.Path,
		Username: cam.Username, Password: password, Transport: cam.Transport, KeyFrameRequest: cam.KeyFrameRequest,
	}
}
