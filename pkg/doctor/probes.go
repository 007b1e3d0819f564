package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// stateOf says how a camera that was asked stands. Of one that is not in the inventory nobody knows log-in and path, so
// any answer of RTSP is a good one.
func stateOf(p observe.Probe) string {
	if p.Error == nil {
		return "ok"
	}
	switch p.Error.Class {
	case fault.Refused:
		return "refused"
	case fault.Unreachable:
		return "unreachable"
	case fault.Timeout:
		if p.Error.Step == fault.Connect {
			return "unreachable"
		}
		return "mute"
	case fault.Auth:
		if !p.Known {
			return "ok"
		}
		return "auth"
	case fault.NotFound, fault.Protocol, fault.NoVideo:
		if !p.Known && p.RTTMS != nil {
			return "ok"
		}
	case fault.Exhausted:
		return "exhausted"
	case fault.Cooling:
		return "cooling"
	}
	return "unknown"
}

// noteOf says what an answer proves, and no more: OPTIONS and DESCRIBE take no slot, so a camera can answer both and refuse to
// play.
func noteOf(p observe.Probe) string {
	switch {
	case p.Error == nil && p.Known:
		return "log-in and path are right"
	case p.Error == nil:
		return "it answers"
	case !p.Known && stateOf(p) == "ok":
		return "it speaks RTSP; log-in and path are not known here"
	default:
		return ""
	}
}

// findProbes tells what the cameras answered, and what that does not prove.
func (e *examination) findProbes() {
	for _, p := range e.seen.Facts.Probes {
		if p.Error == nil {
			continue
		}
		state := stateOf(p)
		f := Finding{
			Code: "camera-" + state, Severity: Warning, Subject: p.Address.String(), at: p.Address,
			Summary: strings.TrimPrefix(p.Error.Message, p.Address.String()+": "), Evidence: trip(p),
		}
		switch state {
		case "unreachable":
			f.Remedy = fmt.Sprintf("ping -c 3 %s", p.Address.Addr())
		case "refused":
			f.Remedy = fmt.Sprintf("nc -zv %s %d    # is RTSP switched on, and is this its port?", p.Address.Addr(), p.Address.Port())
		case "mute":
			f.Evidence += "; it accepts connections and does not answer, which a hung camera does, and one without a free slot"
			f.Remedy = "camwarden doctor" + argument(p.Address) + " --probe    # after restarting the camera"
		case "auth":
			f.Evidence += "; this is no proof of a wrong password: a Tapo answers 401 as well while it is locked after wrong log-ins, " +
				"and when its camera account was not made in the app"
			f.Remedy = "camwarden config check    # then log in with the camera's app, and wait before the next try"
		case "exhausted":
			if p.RTTMS == nil || e.found(f.Code, p.Address) {
				continue // it was not dialled, and it is said already why
			}
			f.Severity = Critical
			f.Evidence += fmt.Sprintf("; this host has %s to it, so it counts those of other hosts, or sessions that it has not forgotten", sweep.Count(e.open(p.Address), "connection"))
			f.Remedy = fmt.Sprintf("ss -tnp dst %s    # those of this host; the others: recorders, apps and other servers that watch it", p.Address)
		case "unknown":
			if !answered(&f, p) {
				continue
			}
		default:
			continue
		}
		e.find(f)
	}
}

// answered completes the finding about a camera that can be reached and gives no video all the same; false when that is not
// what the probe met. The code is the error's class: no state of a camera says as much.
func answered(f *Finding, p observe.Probe) bool {
	f.Code = "camera-" + string(p.Error.Class)
	switch p.Error.Class {
	case fault.NotFound, fault.NoVideo:
		f.Evidence += "; the camera itself is well, so the path is that of another stream or of another model"
		f.Remedy = "camwarden config show    # then correct path of this camera: its manual or app names the stream"
	case fault.Protocol:
		f.Remedy = fmt.Sprintf("nc -v %s %d    # is this its RTSP port, and what listens there?", p.Address.Addr(), p.Address.Port())
	case fault.Closed:
		f.Evidence += "; a camera without a free slot may do so, and what is no RTSP server"
		f.Remedy = "camwarden doctor" + argument(p.Address) + " --probe    # once other viewers have ended; is this its RTSP port?"
	case fault.Local: // this host's own trouble: a secret that cannot be read, most often
		f.Evidence, f.Remedy = "it could not be asked, and may be well", "camwarden config check    # "+p.Error.Hint
	default:
		return false
	}
	return true
}

// found reports whether there is such a finding about a camera.
func (e *examination) found(code string, at netip.AddrPort) bool {
	return slices.ContainsFunc(e.report.Findings, func(f Finding) bool { return f.Code == code && f.at == at })
}

// open counts the connections of this host that a camera counts.
func (e *examination) open(at netip.AddrPort) int {
	n := 0
	for _, c := range e.seen.Connections {
		if c.Remote == at && c.Takes() {
			n++
		}
	}
	return n
}

func trip(p observe.Probe) string {
	if p.RTTMS == nil {
		return "asked by connect, OPTIONS, DESCRIBE"
	}
	return fmt.Sprintf("asked by connect (%d ms), OPTIONS, DESCRIBE", *p.RTTMS)
}
