package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// group is the decisions about one camera, oldest first.
type group struct {
	at     netip.AddrPort
	target string
	of     []sweep.Decision
}

// groups sorts decisions by the camera they are about.
func groups(decisions []sweep.Decision, wanted func(sweep.Decision) bool) []group {
	var found []group
	for _, d := range decisions {
		if !wanted(d) {
			continue
		}
		target, at := d.Target(), netip.AddrPort{}
		if i := slices.IndexFunc(d.Targets, func(t observe.Target) bool { return t.Address.IsValid() }); i >= 0 {
			at = d.Targets[i].Address
		}
		i := slices.IndexFunc(found, func(g group) bool { return g.target == target })
		if i < 0 {
			i, found = len(found), append(found, group{at: at, target: target})
		}
		found[i].of = append(found[i].of, d)
	}
	for _, g := range found {
		slices.SortStableFunc(g.of, func(a, b sweep.Decision) int { return cmp.Compare(b.AgeMS, a.AgeMS) })
	}
	return found
}

func (g group) subject() string { return cmp.Or(g.target, "this host") }

func subjectOf(d sweep.Decision) string { return group{target: d.Target()}.subject() }

// argument is how the camera of a group is named on a command line.
func (g group) argument() string { return argument(g.at) }

func argument(at netip.AddrPort) string {
	switch {
	case !at.IsValid():
		return ""
	case at.Port() == 554:
		return " " + at.Addr().String()
	default:
		return " " + at.String()
	}
}

func (e *examination) findLeaks() {
	overdue := groups(e.wide, func(d sweep.Decision) bool { return d.Rule == sweep.Overdue })
	slices.SortStableFunc(overdue, func(a, b group) int { return cmp.Compare(len(b.of), len(a.of)) })
	for _, g := range overdue {
		e.find(Finding{
			Code: "process-overdue", Severity: Critical, Subject: g.subject(), at: g.at, weight: len(g.of),
			Summary:  fmt.Sprintf("%s of one frame should have been gone within seconds, the oldest for %s", sweep.Count(len(g.of), "capture"), sweep.Span(g.of[0].AgeMS)),
			Evidence: pids(g.of), Remedy: e.sudo(g.of) + "camwarden reap" + g.argument() + contained(g.of),
		})
	}
	for _, g := range groups(e.decisions, func(d sweep.Decision) bool { return d.Rule == sweep.Unleased }) {
		e.find(Finding{
			Code: "process-unleased", Severity: Critical, Subject: g.subject(), at: g.at, weight: len(g.of),
			Summary:  fmt.Sprintf("%s of camwarden's own, for which nobody answers any more", sweep.Processes(len(g.of))),
			Evidence: pids(g.of) + ": " + g.of[0].Why, Remedy: e.sudo(g.of) + "camwarden reap" + g.argument(),
		})
	}
	e.findMany()
}

// findMany finds that many processes hold cameras that should be gone soon. Those that stream are there to stay: a recorder has
// one for each of its cameras, and whether their cameras are silent is another finding. So are those that somebody answers for.
func (e *examination) findMany() {
	total, leaked := 0, 0
	for _, d := range e.decisions {
		if d.Leaked {
			leaked++
		}
		if d.Leaked || !d.Go2rtc && d.Lease == "" && d.Owner == nil && (d.Shape == cmdline.OneFrame || d.Shape == cmdline.Unknown && d.Configured) {
			total++
		}
	}
	f := Finding{
		Code: "processes-many", Severity: Warning, Subject: e.host(),
		Summary:  fmt.Sprintf("%s that should end soon hold cameras on this host", sweep.Processes(total)),
		Evidence: fmt.Sprintf("%d of them are leaked; the thresholds are %d and %d", leaked, e.terms.ProcessesWarning, e.terms.ProcessesCritical),
		Remedy:   "camwarden doctor -o json | jq '.processes.list[] | {pid, program, parent, camera, why}'",
	}
	switch {
	case e.terms.ProcessesCritical > 0 && total >= e.terms.ProcessesCritical:
		f.Severity = Critical
	case e.terms.ProcessesWarning <= 0 || total < e.terms.ProcessesWarning:
		return
	}
	// A leak is the cause of many processes: without it, are they still many?
	if leaked > 0 && total-leaked < e.terms.ProcessesWarning {
		f.cause = "a leak"
	}
	e.find(f)
}

// contained is the flag that a remedy needs when one of the processes lives in a container.
func contained(of []sweep.Decision) string {
	if slices.ContainsFunc(of, func(d sweep.Decision) bool { return d.Container }) {
		return " --include container"
	}
	return ""
}

func (e *examination) findSilent() {
	for _, o := range e.outages {
		e.find(Finding{
			Code: "subnet-silent", Severity: Critical, Subject: o.Subnet.String(),
			Summary: fmt.Sprintf("%d of %s to %s fell silent at the same moment, %s: the network is the cause",
				len(o.PIDs), sweep.Count(o.Of, "stream"), sweep.Count(len(o.Cameras), "camera"), o.Since.UTC().Format("15:04:05")),
			Evidence: addresses(o.Cameras),
			Remedy:   fmt.Sprintf("ping -c 3 %s", o.Cameras[0].Addr()),
		})
	}
	for _, g := range groups(e.wide, func(d sweep.Decision) bool { return d.Rule == sweep.Mute }) {
		e.find(Finding{
			Code: "process-silent", Severity: Warning, Subject: g.subject(), at: g.at,
			Summary:  fmt.Sprintf("%s, and the camera has sent nothing for %s", streaming(len(g.of)), sweep.Span(*sweep.SilentMS(e.seen, g.of[0].Process))),
			Evidence: pids(g.of), Remedy: e.sudo(g.of) + "camwarden reap" + g.argument() + contained(g.of) + " --include silent",
		})
	}
}

func (e *examination) findZombies() {
	var parents []observe.Parent
	byParent := map[int][]sweep.Decision{}
	for _, d := range e.decisions {
		if !d.Dead() {
			continue
		}
		var parent observe.Parent
		if len(d.Parents) > 0 {
			parent = d.Parents[0]
		}
		if byParent[parent.PID] == nil {
			parents = append(parents, parent)
		}
		byParent[parent.PID] = append(byParent[parent.PID], d)
	}
	for _, parent := range parents {
		of := byParent[parent.PID]
		e.find(Finding{
			Code: "process-zombie", Severity: Warning, Subject: fmt.Sprintf("%s (pid %d)", parent.Name, parent.PID),
			Summary:  fmt.Sprintf("%s not collected by %s (pid %d); they hold no camera", zombies(len(of)), parent.Name, parent.PID),
			Evidence: pids(of),
			Remedy:   fmt.Sprintf("ps -o pid,stat,etime,args --ppid %d    # then restart %s, which forgets its children", parent.PID, parent.Name),
		})
	}
}

// findSlots judges the slots of every address, once each.
func (e *examination) findSlots() {
	seen := map[netip.AddrPort]bool{}
	for _, c := range e.report.Cameras {
		if !c.at.IsValid() || seen[c.at] {
			continue
		}
		seen[c.at] = true
		name := "it"
		if c.Camera != c.Address {
			name = c.Camera
		}
		limit := fmt.Sprint(c.Limit)
		if c.LimitAssumed {
			limit += " (assumed)"
		}
		switch used := c.Connections; {
		case e.exhausted(c):
			f := Finding{
				Code: "camera-exhausted", Severity: Critical, Subject: c.Address, at: c.at, weight: used - c.Limit,
				Summary:  fmt.Sprintf("%s has no free connection: %d are open, the limit is %s; whoever dials it now is refused (ffmpeg says \"Operation not permitted\")", name, used, limit),
				Evidence: e.whoHolds(c.at), Remedy: e.freeing(c.at),
			}
			if slices.ContainsFunc(e.holders(c.at), func(d sweep.Decision) bool { return d.Leaked }) {
				f.Remedy = e.sudo(e.holders(c.at)) + "camwarden reap" + argument(c.at)
			}
			e.find(f)
		case used >= 2 && c.Limit-used == 1:
			e.find(Finding{
				Code: "camera-near-limit", Severity: Warning, Subject: c.Address, at: c.at,
				Summary:  fmt.Sprintf("%s has one free connection left: %d are open, the limit is %s", name, used, limit),
				Evidence: e.whoHolds(c.at), Remedy: e.freeing(c.at),
			})
		}
		if n := e.cooling(c.at); n > 0 {
			e.find(Finding{
				Code: "camera-cooling", Severity: Info, Subject: c.Address, at: c.at,
				Summary:  fmt.Sprintf("%s may still count %s that ended without a word", name, sweep.Count(n, "session")),
				Evidence: fmt.Sprintf("%s of this ledger", sweep.Count(n, "cooling lease")), Remedy: "camwarden doctor" + argument(c.at) + "    # in a minute; if it forgets sooner, lower session_timeout of this camera",
			})
		}
		e.findHidden(c)
	}
}

func (e *examination) findHidden(c Camera) {
	if c.Server && c.Limit == 0 {
		return // nothing of it can be short
	}
	hidden, uids := 0, []string{}
	for _, conn := range e.seen.Connections {
		if conn.Remote != c.at || !conn.HiddenOwner() {
			continue
		}
		hidden++
		if uid := fmt.Sprint(conn.UID); !slices.Contains(uids, uid) {
			uids = append(uids, uid)
		}
	}
	if hidden == 0 {
		return
	}
	e.find(Finding{
		Code: "connection-hidden-owner", Severity: Warning, Subject: c.Address, at: c.at,
		Summary:  fmt.Sprintf("%s to it, and who holds them cannot be seen", sweep.Count(hidden, "connection")),
		Evidence: fmt.Sprintf("the sockets belong to user %s; this is user %d", strings.Join(uids, ", "), e.seen.UID),
		Remedy:   e.asRoot("camwarden doctor" + argument(c.at)),
	})
}

// whoHolds names the holders of an address by program and parent: "22 ffmpeg of camserver (pid 7)".
func (e *examination) whoHolds(at netip.AddrPort) string {
	counts := map[string]int{}
	var order []string
	for _, c := range e.seen.Connections {
		if c.Remote != at || !c.Takes() {
			continue
		}
		who := "of a hidden owner"
		if c.PID > 0 {
			who = c.Program
			for _, d := range e.decisions {
				if d.ID.PID == c.PID && len(d.Parents) > 0 {
					who = fmt.Sprintf("%s of %s (pid %d)", c.Program, d.Parents[0].Name, d.Parents[0].PID)
				}
			}
		}
		if c.State == proc.SynSent {
			who += ", dialling"
		}
		if counts[who] == 0 {
			order = append(order, who)
		}
		counts[who]++
	}
	var words []string
	for _, who := range order {
		words = append(words, fmt.Sprintf("%d %s", counts[who], who))
	}
	return strings.Join(words, "; ")
}

func (e *examination) host() string { return cmp.Or(e.seen.Host, "this host") }

// freeing is what to type about connections that nothing here may end: which programs hold them that nobody named, who started
// these, and what would make them camwarden's business.
func (e *examination) freeing(at netip.AddrPort) string {
	const most = 3
	var pids, who []string
	for _, d := range e.holders(at) {
		if d.Configured || d.Owner != nil || d.Go2rtc {
			continue
		}
		parent := "nobody that can be seen"
		if len(d.Parents) > 0 {
			parent = fmt.Sprintf("%s (pid %d)", d.Parents[0].Name, d.Parents[0].PID)
		}
		pids = append(pids, strconv.Itoa(d.ID.PID))
		who = append(who, fmt.Sprintf("%s, started by %s", d.Name, parent))
	}
	if len(pids) == 0 {
		return fmt.Sprintf("ss -tnp dst %s", at)
	}
	more := ""
	if n := len(pids) - most; n > 0 {
		more = fmt.Sprintf("; and %d more", n)
		pids, who = pids[:most], who[:most]
	}
	return fmt.Sprintf("ps -o pid,ppid,etime,args -p %s    # %s%s: the connection is freed when it ends; camwarden ends it only where reap: programs names it",
		strings.Join(pids, ","), strings.Join(who, "; "), more)
}
