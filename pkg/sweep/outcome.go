// Package sweep judges what was seen, ends what must not be there by proven identity, and looks again.
package sweep

import (
	"cmp"

	"github.com/camwarden/camwarden/pkg/observe"
)

// Kind is what sort of thing was judged.
type Kind string

// The kinds, as documents name them.
const (
	Process    Kind = "process"
	Stream     Kind = "stream"
	Connection Kind = "connection"
)

// Action is what was done about one thing.
type Action string

// The actions, as documents name them.
const (
	Killed       Action = "killed"        // signalled, and seen gone
	WouldKill    Action = "would-kill"    // a dry run
	Kept         Action = "kept"          // by the rules
	Outlived     Action = "survived"      // it is still there
	NotPermitted Action = "not-permitted" // it belongs to another user
	GoneAlready  Action = "gone"          // there was nothing left to signal
	Removed      Action = "removed"       // a stream, seen gone
	WouldRemove  Action = "would-remove"  // a dry run
)

// Outcome is what became of one thing that was judged: a process, a lease, a connection or a stream of go2rtc.
type Outcome struct {
	Kind   Kind   `json:"kind"`
	PID    int    `json:"pid"` // 0: no process, but a lease whose process is gone
	Name   string `json:"name"`
	Camera string `json:"camera"`
	Target string `json:"target"`
	AgeMS  int64  `json:"age_ms"`
	Why    string `json:"why"`
	Action Action `json:"action"`
	Signal string `json:"signal"` // the last one sent, without SIG; empty: none
	TookMS int64  `json:"took_ms"`

	of   Decision
	more string // what is said behind Why, of what was done
}

// outcomeOf is a decision before anything was done.
func outcomeOf(o observe.Observation, d Decision) Outcome {
	out := Outcome{Kind: d.Kind, Name: d.Subject, Camera: d.Camera, Target: d.address, Why: d.Why, Action: Kept, of: d}
	switch {
	case d.ID.PID > 0:
		out.PID, out.Name, out.AgeMS, out.Camera = d.ID.PID, d.Name, d.AgeMS, o.CameraOf(d.Process)
	case d.stream != "":
		out.Name = d.stream
	default:
		out.Kind = Process // that held a lease
	}
	switch {
	case d.Leaked && d.stream != "":
		out.Action = WouldRemove
	case d.Leaked:
		out.Action = WouldKill
	}
	return out
}

// say adds what was done to the reason.
func (o *Outcome) say(text string) {
	o.Why += "; " + text
	o.more += "; " + text
}

// Ending is what the last look showed of a leftover.
type Ending string

// The endings of a leftover, as documents name them.
const (
	Gone       Ending = "gone"       // seen gone
	Survived   Ending = "survived"   // seen alive after we tried to end it
	Unverified Ending = "unverified" // we could not look
)

// Leftover is an outcome among things that are all ours, as the document of a round shows it.
type Leftover struct {
	Kind    Kind   `json:"kind"`
	Subject string `json:"subject"` // "pid 4711", "lease 01J...", "127.0.0.1:40112 -> 127.0.0.2:554"
	Camera  string `json:"camera"`
	Why     string `json:"why"` // in words the operator reads
	Outcome Ending `json:"outcome"`
}

// leftover says how it ended, by the last look.
func (o *Outcome) leftover(ending Ending) Leftover {
	return Leftover{Kind: o.of.Kind, Subject: o.of.Subject, Camera: o.of.Camera, Why: cmp.Or(o.of.plain, o.of.Why) + o.more, Outcome: ending}
}
