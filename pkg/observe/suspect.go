package observe

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/proc"
)

// suspect notes one process, and whether it is within the limits.
func (s *surveyor) suspect(pid int, d proc.Detail) (Suspect, bool) {
	stat, known := s.process(pid)
	if !known || d.Gone || pid == s.Ours.Self.PID {
		return Suspect{}, false
	}
	line := s.lines[pid]
	suspect := Suspect{
		ID:   proc.Identity{BootID: s.Ours.Self.BootID, PIDNS: s.Ours.Self.PIDNS, PID: pid, Start: stat.Start},
		Name: printable(stat.Comm), Program: printable(d.Program), Configured: s.configured(stat),
		State: string(rune(stat.State)), Waits: printable(d.Waits),
		StartedAt: s.at(stat.Start), AgeMS: max(0, s.now-time.Duration(stat.Start)*tick).Milliseconds(),
		UID: d.UID, Container: d.Depth > 0, Parents: s.parents(stat),
		Memory: stat.RSSPages * int64(os.Getpagesize()), CPUMS: (time.Duration(stat.UTime+stat.STime) * tick).Milliseconds(),
		FDs: d.FDs, Datagrams: -1,
		Command: line.Text, Secret: line.Secret, Chooses: line.Waits, Targets: []Target{},
	}
	suspect.Disguised = suspect.Configured && d.Program != "" && !s.runs(d.Program)
	suspect.Go2rtc = line.Go2rtc || slices.ContainsFunc(suspect.Parents, func(p Parent) bool { return strings.HasPrefix(p.Name, "go2rtc") })
	for _, t := range line.Cameras {
		suspect.Targets = append(suspect.Targets, s.resolve(t))
	}
	connected := false
	for c := range s.Held(pid) {
		if s.pushes(pid, c.Remote) {
			continue
		}
		connected = true
		suspect.meets(c.Remote, line.Hidden || len(line.Cameras) == 0)
	}
	suspect.Shape = line.Shape(connected)
	suspect.Unseen = line.Hidden && d.FDs < 0 && !stat.Dead()
	if suspect.Unseen && suspect.Configured && line.Shape(true) == cmdline.OneFrame {
		s.HidesSince = max(s.HidesSince, suspect.AgeMS)
	}
	ours := s.mark(&suspect)
	return suspect, ours || connected || s.within(suspect)
}

// runs reports whether a file can be one of the programs: its name holds theirs, as "ffmpeg-7.1" and "ffmpeg.real" do.
func (s *surveyor) runs(file string) bool {
	return slices.ContainsFunc(s.terms.Programs, func(name string) bool { return strings.Contains(filepath.Base(file), name) })
}

// meets adds the camera of a connection to the targets. It may be the address of a target that was written as a name.
func (p *Suspect) meets(remote netip.AddrPort, unnamed bool) {
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
func (s *surveyor) pushes(pid int, remote netip.AddrPort) bool {
	line := s.lines[pid]
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
func (s *surveyor) within(p Suspect) bool {
	limits := s.terms.Limits
	return limits.None() || slices.ContainsFunc(p.Targets, func(t Target) bool { return t.Address.IsValid() && limits.Cover(t.Address) })
}

// mark notes whose the process is, if it is ours.
func (s *surveyor) mark(p *Suspect) bool {
	for _, l := range s.Ours.Leases {
		if l.Lease.Child == p.ID {
			p.Lease = l.ID
		}
	}
	i := slices.IndexFunc(s.Ours.Processes, func(o Process) bool { return o.ID == p.ID })
	if i < 0 {
		return p.Lease != ""
	}
	o := s.Ours.Processes[i]
	if p.Lease == "" {
		if l, ok := s.Ours.Leased(o.Mark.Lease); ok {
			p.Lease = l.ID
		}
	}
	p.Owner = &Owner{PID: o.Mark.Owner.PID, Presence: o.Owner}
	if address := o.Mark.Address; address.IsValid() {
		p.meets(address, true)
	}
	return true
}

// at is when a process started, by the wall clock of now.
func (s *surveyor) at(start uint64) time.Time {
	age := max(0, s.now-time.Duration(start)*tick)
	return s.TakenAt.Add(-age).Truncate(10 * time.Millisecond)
}

// parents follows the chain of ancestors, without the init process at its end unless it is the parent itself.
func (s *surveyor) parents(stat proc.Stat) []Parent {
	const deepest = 16
	chain := []Parent{}
	for len(chain) < deepest && stat.PPID > 0 {
		parent, known := s.process(stat.PPID)
		if !known {
			break
		}
		chain = append(chain, Parent{PID: parent.PID, Name: printable(parent.Comm), StartedAt: s.at(parent.Start)})
		stat = parent
	}
	return chain
}
