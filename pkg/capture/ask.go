package capture

import (
	"context"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/slot"
)

// Ask connects to a camera and asks OPTIONS and DESCRIBE, which opens no session, within the limit. It takes a slot for
// that long, so it never dials an address that is exhausted or cooling: those are the classes of its error then.
// It does not wait for a slot that our own leases hold for longer than the limit.
func Ask(ctx context.Context, slots slot.Table, cam camera.Camera, password string, limit time.Duration) (rtsp.Info, *fault.Error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	held, err := slots.Take(ctx, slot.Request{Camera: cam, Kind: ledger.Connection, Deadline: proc.BootTime() + limit + ffmpeg.Slack})
	if err != nil {
		return rtsp.Info{}, fault.From(err, fault.Local, "")
	}
	info, err := rtsp.Probe(ctx, rtsp.Target{
		Address: cam.Address, Scheme: cam.Scheme, Host: cam.Host, Path: cam.Path, Username: cam.Username, Password: password, Transport: cam.Transport,
	}, rtsp.Limits{Step: limit, Whole: limit})
	failure := fault.From(err, fault.Local, "")
	left := gone(slots.FS, cam, info.Local)
	if left == nil {
		left = held.Strike()
	}
	if failure == nil {
		failure = fault.From(left, fault.Local, "")
	}
	if failure != nil {
		return info, clean(failure, redact.New(password))
	}
	return info, nil
}
