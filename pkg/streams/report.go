package streams

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/proc"
)

// Schema is the name of the document that Report is.
const Schema = "camwarden.streams/1"

// Report is what a go2rtc holds, and what was done about it: the document camwarden.streams/1.
type Report struct {
	Schema  string  `json:"schema"`
	Run     string  `json:"run"`
	Go2rtc  Summary `json:"go2rtc"`
	Streams []Row   `json:"streams"`
}

// Summary is a go2rtc in numbers.
type Summary struct {
	URL       string `json:"url"`
	Reachable bool   `json:"reachable"`
	Version   string `json:"version"`
	Streams   int    `json:"streams"`
	Watched   int    `json:"watched"`
	Connected int    `json:"connected"`
	Ours      int    `json:"ours"`
	Stray     int    `json:"stray"` // with our prefix, and not in this ledger
	Stuck     int    `json:"stuck"`
}

// Row is one stream.
type Row struct {
	Name    string    `json:"name"`
	Camera  string    `json:"camera"`
	Source  string    `json:"source"` // redacted
	State   Condition `json:"state"`
	Viewers int       `json:"viewers"`
	Ours    bool      `json:"ours"`
	Action  Action    `json:"action"`
	Why     string    `json:"why"`
}

// Condition is the state of a stream.
type Condition string

// The states of a stream. Reconnecting is one that go2rtc shows as connected, and for which the kernel has no connection;
// where go2rtc's connections cannot be seen it passes for connected.
const (
	Idle         Condition = "idle"
	Connected    Condition = "connected"
	Reconnecting Condition = "reconnecting"
	Stuck        Condition = "stuck" // a picture that nobody waits for hangs on it
)

// Action is what was done with a stream, or what a purge without names would do.
type Action string

// The actions.
const (
	Keep    Action = "keep"
	Purge   Action = "purge" // nobody watches it and it is ours: a purge removes it
	Removed Action = "removed"
	Added   Action = "added"
	Flushed Action = "flushed"
)

// List says what the server holds. The cameras give user's streams the name of their camera.
func (k *Keeper) List(ctx context.Context, cameras []camera.Camera) (Report, error) {
	view, err := k.Look(ctx)
	if err != nil {
		return k.report(Summary{}), err
	}
	return k.describe(ctx, view, cameras)
}

func (k *Keeper) report(s Summary) Report {
	s.URL = k.Server()
	return Report{Schema: Schema, Run: k.run, Go2rtc: s, Streams: []Row{}}
}

func (k *Keeper) describe(ctx context.Context, view View, cameras []camera.Camera) (Report, error) {
	info, err := k.Client.Info(ctx)
	if err != nil {
		return k.report(Summary{}), err
	}
	report := k.report(Summary{Reachable: true, Version: info.Version})
	remotes := k.remotes(view)
	for _, s := range view.States {
		row := k.row(s, cameras, remotes)
		sum := &report.Go2rtc
		sum.Streams++
		for _, counted := range []struct {
			is   bool
			into *int
		}{
			{s.Seen.Watched(), &sum.Watched}, {row.State != Idle, &sum.Connected}, {s.Ours(), &sum.Ours},
			{!s.Ours() && k.Carries(s.Stream.Name), &sum.Stray}, {row.State == Stuck, &sum.Stuck},
		} {
			if counted.is {
				*counted.into++
			}
		}
		report.Streams = append(report.Streams, row)
	}
	return report, nil
}

// row describes one stream and what a purge would do with it.
func (k *Keeper) row(s State, cameras []camera.Camera, remotes map[netip.AddrPort]bool) Row {
	row := Row{Name: s.Stream.Name, State: condition(s, remotes), Viewers: len(s.Seen.Viewers), Ours: s.Ours(), Action: Keep}
	if len(s.Stream.Producers) > 0 {
		row.Source, _, _ = strings.Cut(s.Stream.Producers[0].Source, "#")
	}
	for _, c := range cameras {
		if row.Camera == "" && s.Stream.Serves(TargetOf(c)) {
			row.Camera = c.ID
		}
	}
	if s.Ours() {
		row.Camera = s.Leases[0].Camera
	}
	user := k.user(s)
	switch {
	case !s.Ours() && k.Carries(row.Name):
		row.Why = "stray: our prefix, and not in this ledger"
	case !s.Ours():
		row.Why = "not ours"
	case s.Seen.Watched():
		row.Why = s.Seen.Words()
	case user != "":
		row.Why = "run " + user + " uses it"
	default:
		row.Action, row.Why = Purge, "nobody watches it"
		if words := s.Seen.Words(); words != "" {
			row.Why = words
		}
		if slices.ContainsFunc(s.Leases, k.Stays) {
			row.Why += "; stays between rounds (lifecycle: standing)"
		}
	}
	if words := s.Seen.Words(); words != "" && !s.Ours() {
		row.Why += "; " + words
	}
	return row
}

// user is the living run that uses a stream; empty when none does.
func (k *Keeper) user(s State) string {
	for _, l := range s.Leases {
		if l.Run != k.run && k.book.Live(l) {
			return l.Run
		}
	}
	return ""
}

// TargetOf is a camera as go2rtc's lists are compared with it.
func TargetOf(c camera.Camera) go2rtc.Target {
	return go2rtc.Target{Scheme: c.Scheme, Host: c.Host, Address: c.Address, Port: c.Port, Path: c.Path}
}

func condition(s State, remotes map[netip.AddrPort]bool) Condition {
	if len(s.Seen.Stuck) > 0 {
		return Stuck
	}
	state := Idle
	for _, p := range s.Stream.Producers {
		if !p.Connected() {
			continue
		}
		state = Connected
		address, _, _ := strings.Cut(p.RemoteAddr, " ")
		if remote, err := netip.ParseAddrPort(address); remotes != nil && err == nil && !remotes[remote] {
			return Reconnecting
		}
	}
	return state
}

// remotes are the addresses to which the server has a connection; nil where that cannot be seen.
func (k *Keeper) remotes(view View) map[netip.AddrPort]bool {
	relay := k.Relay()
	if relay == nil || relay.ID.PID == 0 {
		return nil
	}
	var ports []uint16
	for _, s := range view.States {
		for _, p := range s.Stream.Producers {
			address, _, _ := strings.Cut(p.RemoteAddr, " ")
			if remote, err := netip.ParseAddrPort(address); err == nil {
				ports = append(ports, remote.Port())
			}
		}
	}
	if len(ports) == 0 {
		return nil
	}
	sockets, err := k.fs.Connections(ports)
	if err != nil {
		return nil
	}
	owned, _ := k.fs.Own(sockets.Conns, func(s proc.Stat) bool { return s.PID == relay.ID.PID })
	found := map[netip.AddrPort]bool{}
	for _, c := range owned {
		if c.PID == relay.ID.PID && c.State == proc.Established {
			found[c.Remote] = true
		}
	}
	return found
}
