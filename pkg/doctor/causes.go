package doctor

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// silence drops the findings that another one explains: whoever removes the cause need not read about its consequences.
//
//	cause                 consequence
//	a leak                processes-many, where without the leak they would be few
//	process-overdue       process-silent and camera-mute of the same camera
//	process-unleased      lease-orphaned and lease-wedged of the same process; see leaseOf
//	camera-exhausted      camera-near-limit, and what a probe of the same camera met
//	subnet-silent         process-silent, camera-unreachable and camera-mute in that subnet
//	go2rtc-unreachable    blind-go2rtc
func (e *examination) silence() {
	all := e.report.Findings
	has := func(code string, at netip.AddrPort) bool {
		return slices.ContainsFunc(all, func(f Finding) bool { return f.Code == code && f.at == at && at.IsValid() })
	}
	inOutage := func(at netip.AddrPort) bool {
		for _, o := range e.outages {
			if at.IsValid() && o.Subnet.Contains(at.Addr().Unmap()) {
				return true
			}
		}
		return false
	}
	kept := []Finding{}
	for _, f := range all {
		silenced := false
		switch f.Code {
		case "processes-many":
			silenced = f.cause != ""
		case "process-silent":
			silenced = has("process-overdue", f.at) || inOutage(f.at)
		case "camera-mute", "camera-unreachable":
			silenced = has("camera-exhausted", f.at) || has("process-overdue", f.at) || inOutage(f.at)
		case "camera-auth", "camera-refused", "camera-not-found", "camera-no-video", "camera-protocol", "camera-closed", "camera-near-limit":
			silenced = has("camera-exhausted", f.at)
		case "lease-orphaned", "lease-wedged":
			silenced = e.unleased(strings.TrimPrefix(f.Subject, "lease "))
		case "blind-go2rtc":
			silenced = e.seen.Go2rtc != nil && e.seen.Go2rtc.Why != ""
		}
		if !silenced {
			kept = append(kept, f)
		}
	}
	slices.SortStableFunc(kept, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(weight(a), weight(b)), cmp.Compare(order(a.Code), order(b.Code)))
	})
	e.report.Findings = kept
}

// unleased reports whether a process of that lease is called leaked.
func (e *examination) unleased(lease string) bool {
	for _, d := range e.decisions {
		if d.Lease == lease && d.Leaked {
			return true
		}
	}
	return false
}

func weight(f Finding) int {
	return slices.Index([]Severity{Critical, Warning, Info}, f.Severity)
}

// order puts causes before what they bring about, and what could not be seen last.
func order(code string) int {
	codes := []string{"subnet-silent", "process-unleased", "process-overdue", "processes-many", "camera-exhausted"}
	if i := slices.Index(codes, code); i >= 0 {
		return i
	}
	if strings.HasPrefix(code, "blind-") {
		return len(codes) + 1
	}
	return len(codes)
}

// nameServers gives what a probe met at a server a code of its own: server-auth in place of camera-auth. What is about slots keeps
// its code, for it is told only where the configuration gives the server a limit.
func (e *examination) nameServers() {
	for i := range e.report.Findings {
		f := &e.report.Findings[i]
		what, ofCamera := strings.CutPrefix(f.Code, "camera-")
		if ofCamera && f.at.IsValid() && e.seen.IsServer(f.at) && !slices.Contains([]string{"exhausted", "near-limit", "cooling"}, what) {
			f.Code = "server-" + what
		}
	}
}

// acknowledge marks the findings that are known. They come last.
func (e *examination) acknowledge() {
	for i := range e.report.Findings {
		f := &e.report.Findings[i]
		f.Acknowledged = slices.ContainsFunc(e.terms.Ignore, func(known Ignored) bool {
			return known.Code == f.Code && (known.Subject == "" || known.Subject == f.Subject)
		})
	}
	slices.SortStableFunc(e.report.Findings, func(a, b Finding) int {
		switch {
		case a.Acknowledged == b.Acknowledged:
			return 0
		case a.Acknowledged:
			return 1
		}
		return -1
	})
}

// judge reads the status from the findings: the worst of critical and warning. When nothing worse was seen than that
// something could not be seen, nobody knows.
func (e *examination) judge() {
	e.report.Status = OK
	for _, f := range e.report.Findings {
		switch {
		case f.Acknowledged:
		case f.Severity == Critical:
			e.report.Status = InDanger
			return
		case f.Severity != Warning:
		case strings.HasPrefix(f.Code, "blind-"):
			if e.report.Status == OK {
				e.report.Status = CannotTell
			}
		default:
			e.report.Status = Warned
		}
	}
}

// Reaches reports whether some finding is at least as bad as that.
func (r Report) Reaches(least Severity) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return !f.Acknowledged && (f.Severity == Critical || least == Warning && f.Severity == Warning)
	})
}
