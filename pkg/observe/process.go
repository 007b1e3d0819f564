package observe

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/lazyre"
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
		Name: proc.Printable(stat.Comm), Program: proc.Printable(d.Program),
		State: string(rune(stat.State)), Threads: stat.Threads, Waits: proc.Printable(d.Waits),
		StartedAt: l.at(stat.Start), AgeMS: max(0, l.now-time.Duration(stat.Start)*tick).Milliseconds(),
		UID: d.UID, Container: d.Depth > 0, Parents: l.parents(stat),
		Memory: stat.RSSPages * int64(os.Getpagesize()), CPUMS: (time.Duration(stat.UTime+stat.STime) * tick).Milliseconds(),
		FDs: d.FDs, Datagrams: -1,
		Command: line.Text, Secret: line.Secret, Targets: []Target{},
		Foreign: line.Grammar == cmdline.Foreign && len(d.Args) > 0, Idle: line.Idle(), ForMS: line.For.Milliseconds(),
		Chooses: line.Waits != "", Why: line.Waits,
	}
	p.Configured = l.configures(stat, d, line)
	p.Disguised = p.Configured && d.Program != "" && !l.runs(d.Program)
	p.Go2rtc = l.ofGo2rtc(p.Parents, line)
	for _, t := range line.Cameras {
		p.Targets = append(p.Targets, l.resolve(t))
	}
	connected := false
	for c := range l.Held(pid) {
		if l.pushes(pid, c.Remote) {
			p.Pushes = c.Remote.String()
			continue
		}
		connected = true
		p.meets(c.Remote, line.Hidden || len(line.Cameras) == 0)
	}
	if !connected && line.Fed {
		connected = l.fed(&p)
	}
	p.Shape = line.Shape(connected)
	p.Unseen = line.Hidden && d.FDs < 0 && !stat.Dead()
	if p.Unseen && p.Configured && line.Shape(true) == cmdline.OneFrame {
		l.HidesSince = max(l.HidesSince, p.AgeMS)
	}
	ours := l.mark(&p)
	return p, ours || connected || p.Pushes != "" || l.within(p)
}

// configured reports whether a process calls itself by the name of a program that is looked at, or by one that builds of
// it have. The kernel keeps 15 bytes.
func (l *looker) configured(stat proc.Stat) bool {
	return slices.ContainsFunc(l.scope.Programs, func(name string) bool {
		return stat.Comm == name || len(name) > 15 && stat.Comm == name[:15]
	}) || l.kin(stat.Comm)
}

// kin reports whether a name is one that builds and packagers give to a program that is looked at.
func (l *looker) kin(name string) bool {
	grammar := cmdline.GrammarOf(name)
	return grammar != cmdline.Foreign && slices.Contains(l.scope.Programs, string(grammar))
}

// configures is configured for a process that was asked: the file it runs counts too, and a name that is only like that of
// the program is believed where the command line can be read by the program's grammar.
func (l *looker) configures(stat proc.Stat, d proc.Detail, line cmdline.Line) bool {
	file := ""
	if d.Program != "" {
		file = filepath.Base(d.Program)
	}
	exactly := slices.ContainsFunc(l.scope.Programs, func(name string) bool {
		return stat.Comm == name || len(name) > 15 && stat.Comm == name[:15] || file == name
	})
	return exactly || (l.kin(stat.Comm) || l.kin(file)) && (line.Understood() || len(d.Args) == 0)
}

// ofGo2rtc reports whether go2rtc answers for a process: one is among its ancestors. Its words on the command line alone say
// so only where the ancestors cannot be seen, since an ffmpeg that lost its go2rtc carries them on.
func (l *looker) ofGo2rtc(parents []Parent, line cmdline.Line) bool {
	return slices.ContainsFunc(parents, func(p Parent) bool { return go2rtcName.Get().MatchString(p.Name) }) || line.Go2rtc && len(parents) == 0
}

// go2rtcName is what go2rtc's releases are called ("go2rtc_linux_amd64", of which the kernel keeps 15 bytes), and not what
// watches over one.
var go2rtcName = lazyre.New(`^go2rtc(?:[_-](?:linux|freebsd|v?\d).*)?$`)

// fed finds who fills the pipe that a process reads: another that holds a camera's connection, by the pipe itself, or else an
// ancestor, since what joins parent and child need not be a pipe. It reports whether there is one.
func (l *looker) fed(p *Process) bool {
	var holders []int
	for _, c := range l.conns {
		if c.PID > 0 && c.PID != p.ID.PID && proc.Takes(c.State) && (l.toCamera(c.Remote) || l.readsFrom(c)) && !slices.Contains(holders, c.PID) {
			holders = append(holders, c.PID)
		}
	}
	feeder := l.fs.Feeder(p.ID.PID, holders)
	for _, parent := range p.Parents {
		if feeder == 0 && slices.Contains(holders, parent.PID) {
			feeder = parent.PID
		}
	}
	stat, known := l.stat(feeder)
	if feeder == 0 || !known {
		return false
	}
	p.Feeder = &Parent{PID: feeder, Name: proc.Printable(stat.Comm), StartedAt: l.at(stat.Start)}
	for c := range l.Held(feeder) {
		p.meets(c.Remote, true)
	}
	return true
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
		!slices.ContainsFunc(line.Cameras, func(t cmdline.Target) bool { return t.Port == remote.Port() && !t.Address.IsValid() })
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
		chain = append(chain, Parent{PID: parent.PID, Name: proc.Printable(parent.Comm), StartedAt: l.at(parent.Start)})
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
