package observe

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/proc"
)

// process notes one process, and whether it is within the limits.
func (l *looker) process(pid int, d proc.Detail) (Process, bool) {
	stat, known := l.stat(pid)
	if !known || d.Gone || pid == l.Self.PID {
		return Process{}, false
	}
	line := l.lines[pid]
	p := Process{
		ID:   proc.Identity{BootID: l.Self.BootID, PIDNS: l.Self.PIDNS, PID: pid, Start: stat.Start},
		Name: printable(stat.Comm), Program: printable(d.Program), Configured: l.configured(stat),
		State: string(rune(stat.State)), Threads: stat.Threads, Waits: printable(d.Waits),
		StartedAt: l.at(stat.Start), AgeMS: max(0, l.now-time.Duration(stat.Start)*tick).Milliseconds(),
		UID: d.UID, Container: d.Depth > 0, Parents: l.parents(stat),
		Memory: stat.RSSPages * int64(os.Getpagesize()), CPUMS: (time.Duration(stat.UTime+stat.STime) * tick).Milliseconds(),
		FDs: d.FDs, Datagrams: -1,
		Command: line.Text, Secret: line.Secret, Chooses: line.Waits, Targets: []Target{},
	}
	p.Disguised = p.Configured && d.Program != "" && !l.runs(d.Program)
	p.Go2rtc = line.Go2rtc || slices.ContainsFunc(p.Parents, func(p Parent) bool { return strings.HasPrefix(p.Name, "go2rtc") })
	for _, t := range line.Cameras {
		p.Targets = append(p.Targets, l.resolve(t))
	}
	connected := false
	for c := range l.Held(pid) {
		if l.pushes(pid, c.Remote) {
			continue
		}
		connected = true
		p.meets(c.Remote, line.Hidden || len(line.Cameras) == 0)
	}
	p.Shape = line.Shape(connected)
	p.Unseen = line.Hidden && d.FDs < 0 && !stat.Dead()
	if p.Unseen && p.Configured && line.Shape(true) == cmdline.OneFrame {
		l.HidesSince = max(l.HidesSince, p.AgeMS)
	}
	ours := l.mark(&p)
	return p, ours || connected || l.within(p)
}

// configured reports whether a process calls itself by the name of a program that is looked at. The kernel keeps 15 bytes.
func (l *looker) configured(stat proc.Stat) bool {
	return slices.ContainsFunc(l.scope.Programs, func(name string) bool {
		return stat.Comm == name || len(name) > 15 && stat.Comm == name[:15]
	})
}

// runs reports whether a file can be one of the programs: its name holds theirs, as "ffmpeg-7.1" and "ffmpeg.real" do.
func (l *looker) runs(file string) bool {
	return slices.ContainsFunc(l.scope.Programs, func(name string) bool { return strings.Contains(filepath.Base(file), name) })
}

// meets adds the camera of a connection to the targets. It may be the address of a target that was written as a name.
func (p *Process) meets(remote netip.AddrPort, unnamed bool) {
	for _, t := range p.Targets {
		if t.Address == remote {
			return
		}
	}
	for i, t := range p.Targets {
		if _, port, ok := cutPort(t.Name); !t.Address.IsValid() && ok && port == remote.Port() {
			p.Targets[i].Address = remote
			return
		}
	}
	if unnamed {
		p.Targets = append(p.Targets, Target{Address: remote, Name: remote.String()})
	}
}

func cutPort(name string) (host string, port uint16, ok bool) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return "", 0, false
	}
	var n int
	for _, digit := range name[i+1:] {
		if digit < '0' || digit > '9' || n > 1<<16 {
			return "", 0, false
		}
		n = n*10 + int(digit-'0')
	}
	return name[:i], uint16(n), n < 1<<16
}

// pushes reports whether an output of the process leads to the address: that is no camera.
func (l *looker) pushes(pid int, remote netip.AddrPort) bool {
	line := l.lines[pid]
	for _, t := range line.Cameras {
		if t.Address == remote {
			return false
		}
	}
	for _, t := range line.Pushes {
		if t.Address == remote {
			return true
		}
	}
	// An output that is a name may lead anywhere, and a server that is given a stream says nothing: no camera is silent there.
	return slices.Contains(line.Named, remote.Port()) &&
		!slices.ContainsFunc(line.Cameras, func(t cmdline.Target) bool { return t.Port == remote.Port() })
}

// within reports whether a process without a connection is within the limits: one of its targets is, or there are none.
func (l *looker) within(p Process) bool {
	limits := l.scope.Limits
	return limits.None() || slices.ContainsFunc(p.Targets, func(t Target) bool { return t.Address.IsValid() && limits.Cover(t.Address) })
}

// at is when a process started, by the wall clock of now.
func (l *looker) at(start uint64) time.Time {
	age := max(0, l.now-time.Duration(start)*tick)
	return l.TakenAt.Add(-age).Truncate(10 * time.Millisecond)
}

// parents follows the chain of ancestors, without the init process at its end unless it is the parent itself.
func (l *looker) parents(stat proc.Stat) []Parent {
	const deepest = 16
	chain := []Parent{}
	for len(chain) < deepest && stat.PPID > 0 {
		parent, known := l.stat(stat.PPID)
		if !known {
			break
		}
		chain = append(chain, Parent{PID: parent.PID, Name: printable(parent.Comm), StartedAt: l.at(parent.Start)})
		stat = parent
	}
	return chain
}

// resolve gives a target its address, from its own text or from the inventory.
func (l *looker) resolve(t cmdline.Target) Target {
	target := Target{Address: t.Address, Name: t.String()}
	for _, c := range l.scope.Cameras {
		if !target.Address.IsValid() && strings.EqualFold(c.Host, t.Host) && c.Address.IsValid() {
			target.Address = netip.AddrPortFrom(c.Address.Addr(), t.Port)
		}
	}
	return target
}

// printable keeps a text that a process may choose freely from speaking to the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
