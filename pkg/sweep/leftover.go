// Package sweep finds what camwarden left behind, ends it by proven identity, and looks again.
package sweep

// Kind is what sort of thing was left.
type Kind string

// The kinds of a leftover, as documents name them.
const (
	Process    Kind = "process"
	Stream     Kind = "stream"
	Connection Kind = "connection"
)

// Outcome is what looking again showed of a leftover.
type Outcome string

// The outcomes of a leftover, as documents name them.
const (
	Gone       Outcome = "gone"       // seen gone
	Survived   Outcome = "survived"   // seen alive after we tried to end it
	Unverified Outcome = "unverified" // we could not look
)

// Leftover is one thing of ours that outlived its purpose, as documents show it.
type Leftover struct {
	Kind    Kind    `json:"kind"`
	Subject string  `json:"subject"` // "pid 4711", "lease 01J...", "127.0.0.1:40112 -> 127.0.0.2:554"
	Camera  string  `json:"camera"`
	Why     string  `json:"why"` // in words the operator reads
	Outcome Outcome `json:"outcome"`
}
