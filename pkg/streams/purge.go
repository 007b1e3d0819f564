package streams

import (
	"context"
	"slices"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
)

// Add registers the streams of cameras. They stay until a round or a purge finds that nobody watches them.
func (k *Keeper) Add(ctx context.Context, cameras []camera.Camera, wishes ...Wish) (Report, error) {
	registered := k.Register(ctx, wishes...)
	report, err := k.List(ctx, cameras)
	if err != nil {
		return report, err
	}
	var rows []Row
	for i, r := range registered {
		at := slices.IndexFunc(report.Streams, func(row Row) bool { return row.Name == r.Name })
		row := Row{Name: r.Name, State: Idle}
		if at >= 0 {
			row = report.Streams[at]
		}
		row.Camera, row.Action = wishes[i].Camera.ID, Keep
		switch {
		case r.Err != nil:
			row.Why = r.Err.Error()
			err = fault.From(r.Err, fault.Go2rtc, "")
		case r.Created:
			row.Action, row.Why = Added, ""
		default:
			row.Why = "it was there already"
		}
		rows = append(rows, row)
	}
	report.Streams = rows
	return report, err
}

// Choice is what is to be purged.
type Choice struct {
	Names  []string // none: every one of ours that nobody watches and no run uses
	Force  bool     // also those named that are not ours
	DryRun bool
}

// Purge removes streams that nobody watches. Of those named none is removed while it is watched, and none that this ledger
// does not hold unless it is forced: usage faults say so before anything is touched. left reports that something of ours
// that should be gone is not.
func (k *Keeper) Purge(ctx context.Context, cameras []camera.Camera, choice Choice) (report Report, left bool, err error) {
	view, err := k.Look(ctx)
	if err != nil {
		return k.report(Summary{}), false, err
	}
	if report, err = k.describe(ctx, view, cameras); err != nil {
		return report, false, err
	}
	if err := k.allowed(view, choice); err != nil {
		return report, false, err
	}
	var rows []Row
	for _, row := range report.Streams {
		named := slices.Contains(choice.Names, row.Name)
		if s, _ := view.State(row.Name); named && !s.Seen.Watched() && k.user(s) == "" {
			row.Action = Purge
		}
		if named || len(choice.Names) == 0 && row.Ours {
			rows = append(rows, row)
		}
	}
	report.Streams = append([]Row{}, rows...)
	if choice.DryRun {
		return report, false, nil
	}
	left = k.purge(ctx, view, report.Streams)
	if len(choice.Names) == 0 { // tidied on the way: leases of streams that a restart of go2rtc has taken
		k.End(ctx, nil, slices.DeleteFunc(view.Missing, k.book.Live)...)
	}
	return report, left, nil
}

// allowed says what of the choice may not be purged.
func (k *Keeper) allowed(view View, choice Choice) error {
	for _, name := range choice.Names {
		s, exists := view.State(name)
		switch {
		case !exists:
			return fault.New(fault.Usage, "", "go2rtc at %s has no stream %s", k.Server(), name).WithHint("the streams there are: camwarden streams")
		case s.Ours() || choice.Force:
		case k.Carries(name):
			return fault.New(fault.Usage, "", "the stream %s has our prefix, and this ledger does not hold it: another host or user may", name).
				WithHint("remove it all the same: camwarden streams purge %s --force", name)
		default:
			return fault.New(fault.Usage, "", "the stream %s is not ours, and go2rtc would take it out of its configuration file too", name).
				WithHint("remove it all the same: camwarden streams purge %s --force", name)
		}
	}
	return nil
}

func (k *Keeper) purge(ctx context.Context, view View, rows []Row) (left bool) {
	var leases []ledger.Lease
	var foreign, stuck []string
	for _, row := range rows {
		s, _ := view.State(row.Name)
		switch {
		case row.Action != Purge:
		case s.Ours():
			leases = append(leases, s.Leases...)
			if row.State == Stuck {
				stuck = append(stuck, row.Name)
			}
		default:
			foreign = append(foreign, row.Name)
		}
	}
	for _, e := range k.End(ctx, stuck, leases...) {
		for i := range rows {
			row := &rows[i]
			switch {
			case row.Name != e.Name:
				continue
			case e.Gone && e.Err == nil:
				row.Action, row.Why, row.State = Removed, "", Idle
			case e.Err != nil:
				row.Action, row.Why, left = Keep, e.Err.Error(), true
			default:
				row.Action, row.Why = Keep, e.Why
				left = left || !e.Kept
			}
		}
	}
	if len(foreign) == 0 {
		return left
	}
	removals, err := k.Client.Remove(ctx, view.Runs, foreign...)
	for i := range rows {
		row := &rows[i]
		at := slices.IndexFunc(removals, func(r go2rtc.Removal) bool { return r.Name == row.Name })
		switch {
		case !slices.Contains(foreign, row.Name):
		case err != nil:
			row.Action, row.Why = Keep, err.Error()
		case at >= 0 && removals[at].Gone:
			row.Action, row.Why, row.State = Removed, removals[at].Note, Idle
		case at >= 0 && removals[at].Err != nil:
			row.Action, row.Why = Keep, removals[at].Err.Error()
		case at >= 0:
			row.Action, row.Why = Keep, removals[at].Why
		}
	}
	return left
}

// Free flushes the pictures that hang on a stream of ours and gives it its source back. left reports that they still hang.
func (k *Keeper) Free(ctx context.Context, cameras []camera.Camera, name string, password func(camera.Camera) (string, error)) (report Report, left bool, err error) {
	view, err := k.Look(ctx)
	if err != nil {
		return k.report(Summary{}), false, err
	}
	s, exists := view.State(name)
	switch {
	case !exists:
		return report, false, fault.New(fault.Usage, "", "go2rtc at %s has no stream %s", k.Server(), name).WithHint("the streams there are: camwarden streams")
	case !s.Ours():
		return report, false, fault.New(fault.Usage, "", "the stream %s is not ours: to flush it would give its viewers a test picture", name).
			WithHint("restart go2rtc, or remove the stream: camwarden streams purge %s --force", name)
	case k.user(s) != "":
		return report, false, fault.New(fault.Busy, "", "run %s uses the stream %s", k.user(s), name).WithHint("wait until that run has ended")
	}
	at := slices.IndexFunc(cameras, func(c camera.Camera) bool { return c.ID == s.Leases[0].Camera })
	if at < 0 {
		return report, false, fault.New(fault.Usage, "", "the camera %s of the stream %s is not configured, so its source cannot be given back", s.Leases[0].Camera, name).
			WithHint("flush and remove it: camwarden streams purge %s", name)
	}
	wish := Wish{Camera: cameras[at]}
	if wish.Password, err = password(wish.Camera); err != nil {
		return report, false, err
	}
	source := k.source(wish)
	source.Testing = func() { k.breakOff(ctx, s.Leases) }
	flushed, err := k.Client.Flush(ctx, view.Runs, source)
	if err != nil {
		return k.report(Summary{}), false, err
	}
	if report, err = k.List(ctx, cameras); err != nil {
		return report, false, err
	}
	report.Streams = slices.DeleteFunc(report.Streams, func(row Row) bool { return row.Name != name })
	for i := range report.Streams {
		row, f := &report.Streams[i], flushed[0]
		row.Action, row.Why = Flushed, ""
		switch {
		case f.Err != nil:
			row.Action, row.Why, left = Keep, f.Err.Error(), true
		case !f.Done || !f.Restored:
			row.Action, row.Why, left = Keep, f.Why, true
		case len(s.Seen.Stuck) == 0:
			row.Action, row.Why = Keep, "nothing hung on it"
		}
	}
	return report, left, nil
}
