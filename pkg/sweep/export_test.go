package sweep

import (
	"context"

	"github.com/camwarden/camwarden/pkg/proc"
)

// EndOne ends what an earlier look has found leaked.
func EndOne(ctx context.Context, b Broom, id proc.Identity) Outcome {
	o := Outcome{Kind: Process, PID: id.PID, Action: WouldKill}
	o.of.ID = id
	b.endProcess(ctx, &o, manyBound)
	return o
}
