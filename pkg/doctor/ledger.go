package doctor

import (
	"fmt"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

func (e *examination) findLeases() {
	for _, n := range e.seen.Leases {
		subject := "lease " + n.ID
		where := ""
		if n.Address.IsValid() {
			where = " of " + e.seen.CameraAt(n.Address)
		}
		switch {
		case n.Kind == ledger.Stream:
		case n.Standing == ledger.WedgedOwner:
			e.find(Finding{
				Code: "lease-wedged", Severity: Warning, Subject: subject,
				Summary:  fmt.Sprintf("camwarden pid %d lives, but a lease%s ended %s ago: it is stopped, or stuck", n.Owner, where, sweep.Span(n.LateMS)),
				Evidence: fmt.Sprintf("run %s", n.Run), Remedy: fmt.Sprintf("ps -o pid,stat,wchan:20,args -p %d; camwarden reap%s", n.Owner, argument(n.Address)),
			})
		case n.Standing == ledger.DeadOwner && n.Presence != proc.Running:
			e.find(Finding{
				Code: "lease-orphaned", Severity: Warning, Subject: subject,
				Summary:  fmt.Sprintf("a lease%s whose camwarden (pid %d) is dead, and whose process is gone", where, n.Owner),
				Evidence: fmt.Sprintf("run %s ended without cleaning up", n.Run), Remedy: "camwarden reap" + argument(n.Address),
			})
		}
	}
	split := map[int]bool{}
	for _, d := range e.decisions {
		if d.Owner == nil || d.Owner.Presence != proc.Running || d.Lease != "" || split[d.Owner.PID] {
			continue
		}
		split[d.Owner.PID] = true
		e.find(Finding{
			Code: "ledger-split", Severity: Warning, Subject: fmt.Sprintf("camwarden (pid %d)", d.Owner.PID),
			Summary:  "another camwarden runs here with another ledger: the two do not see each other's leases, only each other's sockets",
			Evidence: fmt.Sprintf("pid %d carries its mark, and no lease of this ledger", d.ID.PID),
			Remedy:   "camwarden config show | grep state_dir    # then give both the same state_dir",
		})
	}
}
