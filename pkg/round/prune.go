package round

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/archive"
)

// pruneBound is how long a round waits for a pruning; what is left is for the next one.
const pruneBound = 5 * time.Second

// prune removes the stills that need not be kept. It comes after the verdict, which it cannot change.
func (r *runner) prune(ctx context.Context) {
	kept, ok := r.plan.Keeper.(Archive)
	if !ok || r.plan.Keep.Off() || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pruneBound)
	defer cancel()
	result, err := archive.Prune(ctx, archive.Pruning{Dir: kept.Dir, Template: kept.name(), Policy: r.plan.Keep, Now: time.Now()})
	if err != nil {
		r.deps.Log.Warn("old stills were not removed", "error", err)
		return
	}
	for _, text := range result.Errors {
		r.deps.Log.Warn("an old still was not removed: " + text)
	}
	r.report.Pruned = &result
}

// makeRoom sees whether the disk has room for the round's stills. One that is nearly full is pruned before the round; if that
// does not help, this round keeps no pictures and still gives its verdict: a disk that runs full harms more than the pictures.
func (r *runner) makeRoom(ctx context.Context) {
	kept, ok := r.plan.Keeper.(Archive)
	if !ok || !nearlyFull(kept.Dir) {
		return
	}
	r.prune(ctx)
	if !nearlyFull(kept.Dir) {
		return
	}
	r.plan.Keeper = nil
	r.report.NotKept = "the disk of " + kept.Dir + " is nearly full"
	r.deps.Log.Warn("the pictures of this round are not kept: "+r.report.NotKept,
		"hint", "see df -h "+kept.Dir+"; keep in the configuration says which stills may go")
}

// nearlyFull reports whether a file system has less room for ordinary users than a hundredth of it, at least 64 MiB and at most
// 1 GiB, or than a twentieth of a small one. One that cannot be asked has room.
func nearlyFull(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Blocks == 0 {
		return false
	}
	block := uint64(st.Bsize)
	total, free := st.Blocks*block, st.Bavail*block
	return free < min(max(64<<20, total/100), 1<<30, total/20)
}
