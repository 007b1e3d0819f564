package doctor

import (
	"fmt"
	"strings"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// findHygiene tells what is not the trouble of today, and may be that of tomorrow.
func (e *examination) findHygiene() {
	var exposed []sweep.Decision
	severity := Info // of a recorder it is how its maker calls ffmpeg, which nobody here can change
	for _, d := range e.decisions {
		if d.Secret && d.Shape != cmdline.NoCamera {
			exposed = append(exposed, d)
			if d.Shape == cmdline.OneFrame {
				severity = Warning
			}
		}
	}
	if n := len(exposed); n > 0 {
		verb := "show"
		if n == 1 {
			verb = "shows"
		}
		e.find(Finding{
			Code: "password-in-arguments", Severity: severity, Subject: sweep.Processes(n),
			Summary:  fmt.Sprintf("%s %s a password in the argument list, which every user of this host can read", sweep.Processes(n), verb),
			Evidence: pids(exposed),
			Remedy:   "camwarden snapshot CAMERA    # gives URLs to ffmpeg on standard input; then change the password",
		})
	}
	for _, secret := range e.seen.Facts.Secrets {
		e.find(Finding{
			Code: "secrets-readable", Severity: Warning, Subject: e.host(), Summary: secret,
			Evidence: "found by reading file modes, not secrets", Remedy: "camwarden config check    # and chmod 600 the file that it names",
		})
	}
	tool := e.seen.Facts.Tool
	if tool == nil {
		return
	}
	if tool.Old {
		e.find(Finding{
			Code: "ffmpeg-old", Severity: Warning, Subject: tool.Path,
			Summary:  "this ffmpeg is of version 4 or before: it takes URLs, and their passwords, by its argument list only",
			Evidence: "the libavformat that it is linked with", Remedy: Word(tool.Path) + " -version    # then install version 5 or later",
		})
	}
	var why []string
	for _, w := range []struct {
		is   bool
		text string
	}{{tool.Wrapped, "is a script"}, {tool.SetID, "is set-uid or set-gid"}, {tool.Caps, "carries file capabilities"}} {
		if w.is {
			why = append(why, w.text)
		}
	}
	if len(why) > 0 {
		e.find(Finding{
			Code: "ffmpeg-wrapped", Severity: Warning, Subject: tool.Path,
			Summary:  "this ffmpeg, or what it starts, may outlive a SIGKILL of camwarden until the next run finds it",
			Evidence: "it " + strings.Join(why, ", and "), Remedy: "camwarden config show | grep -A1 ffmpeg    # then point ffmpeg.path at the real program",
		})
	}
}

// findBlind makes a finding of everything that could not be looked at.
func (e *examination) findBlind() {
	for _, b := range e.seen.Blind {
		f := Finding{
			Code: "blind-" + slug(b.Where), Severity: Warning, Subject: b.Where,
			Summary: "could not look: " + b.Where, Evidence: b.Why, Remedy: e.sight(slug(b.Where)),
		}
		switch b.Where {
		case "connections of the host":
			f.Remedy = "sudo nsenter -t 1 -n camwarden doctor    # where process 1 is the host's; else on the host itself"
		case "processes of the host":
			f.Remedy = "camwarden doctor    # on the host itself, or in a container with its pids and network (--pid=host --network=host)"
		}
		e.find(f)
	}
}

// sight is how to see what was not seen. Root sees most, and where root did not, another place or another question does.
func (e *examination) sight(kind string) string {
	switch kind {
	case "camera":
		return "camwarden config show | grep -B1 'host: '    # name the address, or one that resolves here"
	case "configuration":
		return "camwarden config check"
	case "go2rtc":
		return "camwarden streams list    # asks it alone, and says what is wrong"
	}
	return e.asRoot("camwarden doctor")
}

// slug is the kind of place that was not seen: the part of its name that does not change from one to the next.
func slug(where string) string {
	for _, kind := range [][2]string{
		{"process table", "processes"}, {"processes of other users", "processes"}, {"environments", "processes"}, {"command lines", "processes"},
		{"process ", "processes"}, {"processes of the host", "processes"}, {"own process", "processes"}, {"ledger", "ledger"}, {"go2rtc", "go2rtc"}, {"configuration", "configuration"},
		{"connections", "connections"}, {"owners of connections", "connections"}, {"how long", "silence"}, {"camera ", "camera"}, {"probe", "probe"},
	} {
		if strings.HasPrefix(where, kind[0]) {
			return kind[1]
		}
	}
	return "host"
}
