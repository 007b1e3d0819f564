package capture

import (
	"context"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/slot"
)

// Ask connects to a camera and asks OPTIONS and DESCRIBE, which opens no session, within the limit. It takes a slot for
// that long, so it never dials an address that is exhausted or cooling: those are the classes of its error then.
// schemes are those of the log-in that may be answered (package login); none: all.
// It does not wait for a slot that our own leases hold for longer than the limit, and repeats no log-in that was refused.
func Ask(ctx context.Context, slots slot.Table, cam camera.Camera, password string, logIns *lockout.Memory, limit time.Duration, schemes ...string) (info rtsp.Info, err *fault.Error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dialled, err := connection(ctx, slots, Visit{Camera: cam, Password: password, LogIns: logIns}, cam, func(ctx context.Context) (ending, *fault.Error) {
		var err error
		target := targetOf(cam, password)
		target.Schemes = schemes
		info, err = rtsp.Probe(ctx, target, rtsp.Limits{Step: limit, Whole: limit})
		return ending{local: info.Local}, fault.From(err, fault.Local, "")
	})
	if err != nil && dialled {
		err = clean(err, redact.New(password))
	}
	return info, err
}
