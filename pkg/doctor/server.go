package doctor

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// server fills in what was seen of go2rtc; nil stays when none is configured.
func (e *examination) server() {
	seen := e.seen.Go2rtc
	if seen == nil {
		return
	}
	g := &Go2rtc{URL: seen.URL, Reachable: seen.Why == "", Version: seen.Version, Streams: len(seen.Streams)}
	if stills := e.seen.Facts.Stills; stills != nil {
		g.StillsBy = *stills
	}
	for _, stream := range seen.Streams {
		judged := go2rtc.Judge(stream, e.runs(), e.seen.TakenAt)
		if judged.Watched() {
			g.Watched++
		}
		if connected(stream) {
			g.Connected++
		}
		switch {
		case e.leased(stream.Name):
			g.Ours++
		case e.prefixed(stream.Name):
			g.Stray++
		}
		g.Stuck += len(judged.Stuck)
	}
	e.report.Go2rtc = g
}

// runs are those that leases of this ledger name, by whether their owners live.
func (e *examination) runs() go2rtc.Runs {
	var runs go2rtc.Runs
	for _, n := range e.seen.Leases {
		switch n.Standing {
		case ledger.Live:
			runs.Living = append(runs.Living, n.Run)
		case ledger.DeadOwner:
			runs.Dead = append(runs.Dead, n.Run)
		}
	}
	return runs
}

func (e *examination) leased(stream string) bool {
	for _, n := range e.seen.Leases {
		if n.Kind == ledger.Stream && n.Name == stream && !n.Borrowed {
			return true
		}
	}
	return false
}

func (e *examination) prefixed(stream string) bool {
	prefix := e.seen.Go2rtc.Prefix
	return prefix != "" && strings.HasPrefix(stream, prefix)
}

func connected(stream go2rtc.Stream) bool {
	for _, p := range stream.Producers {
		if p.Connected() {
			return true
		}
	}
	return false
}

func (e *examination) findServer() {
	seen := e.seen.Go2rtc
	if seen == nil {
		return
	}
	if seen.Why != "" {
		remedy := "camwarden streams list" // which reaches sockets too
		if strings.HasPrefix(seen.URL, "http://") || strings.HasPrefix(seen.URL, "https://") {
			remedy = "curl -sS " + Word(seen.URL+"/api")
		}
		e.find(Finding{
			Code: "go2rtc-unreachable", Severity: Warning, Subject: seen.URL, Summary: "the configured go2rtc does not answer",
			Evidence: seen.Why, Remedy: remedy,
		})
		return
	}
	for _, stream := range seen.Streams {
		judged := go2rtc.Judge(stream, e.runs(), e.seen.TakenAt)
		if n := len(judged.Stuck); n > 0 {
			remedy := "camwarden streams flush " + Word(stream.Name)
			if !e.leased(stream.Name) {
				remedy = "camwarden streams list    # this one is not ours to flush: the camera's next key frame ends it, or a restart of go2rtc"
			}
			e.find(Finding{
				Code: "go2rtc-stuck-consumer", Severity: Warning, Subject: stream.Name,
				Summary:  fmt.Sprintf("%s of it that nobody waits for: go2rtc holds the camera, or dials it again and again", sweep.Count(n, "picture")),
				Evidence: judged.Words(), Remedy: remedy,
			})
		}
		if e.prefixed(stream.Name) && !e.leased(stream.Name) {
			e.find(Finding{
				Code: "stream-stray", Severity: Info, Subject: stream.Name, Summary: "a stream with our prefix that is not in this ledger",
				Evidence: "go2rtc lists it", Remedy: "camwarden streams purge " + Word(stream.Name) + " --force",
			})
		}
	}
	for _, n := range e.seen.Leases {
		if n.Kind == ledger.Stream && n.Standing == ledger.DeadOwner && !n.Borrowed && !n.Stays && e.forgotten(n.Name) {
			e.find(Finding{
				Code: "stream-orphaned", Severity: Warning, Subject: n.Name, Summary: "a stream of ours whose run is over",
				Evidence: fmt.Sprintf("run %s, camwarden pid %d is dead", n.Run, n.Owner), Remedy: "camwarden streams purge",
			})
		}
	}
	e.findLeakedSockets(seen)
	if s := e.seen.Facts.Stills; s != nil && s.FFmpeg > 0 && s.Go2rtc == 0 {
		e.find(Finding{
			Code: "go2rtc-bypassed", Severity: Info, Subject: seen.URL,
			Summary:  fmt.Sprintf("go2rtc is there, and all %s of the last round were taken by ffmpeg or directly", sweep.Count(s.FFmpeg+s.RTSP, "still")),
			Evidence: fmt.Sprintf("by go2rtc %d, by rtsp %d, by ffmpeg %d", s.Go2rtc, s.RTSP, s.FFmpeg),
			Remedy:   "camwarden config show | grep sources    # then put go2rtc first in it",
		})
	}
}

// findLeakedSockets finds connections of go2rtc's beyond those that its producers explain: after a failed DESCRIBE it
// closes nothing until its garbage collector does.
func (e *examination) findLeakedSockets(seen *observe.Server) {
	explained := go2rtc.Explained(seen.Streams)
	held := map[netip.AddrPort]int{}
	var order []netip.AddrPort
	for _, c := range e.seen.Connections {
		if strings.HasPrefix(c.Program, "go2rtc") && c.Takes() {
			if held[c.Remote] == 0 {
				order = append(order, c.Remote)
			}
			held[c.Remote]++
		}
	}
	for _, remote := range order {
		if more := held[remote] - explained[remote]; more > 0 {
			e.find(Finding{
				Code: "go2rtc-orphan-connection", Severity: Warning, Subject: remote.String(), at: remote,
				Summary:  fmt.Sprintf("go2rtc holds %s to it that none of its producers explains", sweep.Count(more, "connection")),
				Evidence: fmt.Sprintf("%d open, %d explained; it closes them within some minutes", held[remote], explained[remote]),
				Remedy:   fmt.Sprintf("ss -tnp dst %s    # if they stay: restart go2rtc", remote),
			})
		}
	}
}

// forgotten reports whether go2rtc has the stream and nobody watches it: one that is watched is left alone on purpose, and a
// later round removes it.
func (e *examination) forgotten(name string) bool {
	for _, s := range e.seen.Go2rtc.Streams {
		if s.Name == name {
			return !go2rtc.Judge(s, e.runs(), e.seen.TakenAt).Watched()
		}
	}
	return false
}
