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
// It does not wait for a slot that our own leases hold for longer than the limit, and repeats no log-in that was refused.
func Ask(ctx context.Context, slots slot.Table, cam camera.Camera, password string, logIns *lockout.Memory, limit time.Duration) (info rtsp.Info, err *fault.Error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dialled, err := connection(ctx, slots, Visit{Camera: cam, Password: password, LogIns: logIns}, cam, func(ctx context.Context) (ending, *fault.Error) {
		var err error
		info, err = rtsp.Probe(ctx, targetOf(cam, password), rtsp.Limits{Step: limit, Whole: limit})
		return ending{local: info.Local}, fault.From(err, fault.Local, "")
	})
	if err != nil && dialled {
		err = clean(err, redact.New(password))
	}
	return info, err
}
