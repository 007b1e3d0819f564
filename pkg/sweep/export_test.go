package sweep

import (
	"context"

	"github.com/camwarden/camwarden/pkg/proc"
)

// EndOne ends what an earlier look has found leaked.
func EndOne(ctx context.Context, b Broom, id proc.Identity) Done {
	d := Done{Kind: Process, PID: id.PID, Action: WouldKill, id: id}
	b.endOne(ctx, &d)
	return d
}
