package observe

import (
	"net/netip"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Facts are what the command line found out beside an observation, so that they are judged and saved with it.
type Facts struct {
	Tool    *Tool    `json:"tool,omitempty"` // the configured ffmpeg; nil: there is none
	Secrets []string `json:"secrets,omitempty"`
	Probes  []Probe  `json:"probes,omitempty"`
	Stills  *Stills  `json:"stills,omitempty"` // of the last round; nil: none is known
	Given   []Given  `json:"given,omitempty"`  // what cameras gave to rounds of this ledger, the last of each
}

// Tool is the ffmpeg that camwarden would run, looked at and not run.
type Tool struct {
	Path    string `json:"path"`
	Wrapped bool   `json:"wrapped,omitempty"` // a script
	SetID   bool   `json:"set_id,omitempty"`  // set-uid or set-gid
	Caps    bool   `json:"caps,omitempty"`    // carries file capabilities
	Old     bool   `json:"old,omitempty"`     // version 4 or before, by the libraries it is linked with
}

// Probe is what a camera answered to OPTIONS and DESCRIBE.
type Probe struct {
	Camera  string         `json:"camera"`
	Address netip.AddrPort `json:"address"`
	RTTMS   *int64         `json:"rtt_ms"` // of the TCP connection; null: there was none
	Server  string         `json:"server,omitempty"`
	Known   bool           `json:"known"` // in the inventory, so that log-in and path are meant to be right
	Error   *fault.Error   `json:"error"`
}

// Stills counts the stills of a round by the source that took them.
type Stills struct {
	Go2rtc int `json:"go2rtc"`
	RTSP   int `json:"rtsp"`
	FFmpeg int `json:"ffmpeg"`
}

// Given is a still that a camera gave.
type Given struct {
	Camera  string    `json:"camera"`
	Address string    `json:"address"` // ip:port
	At      time.Time `json:"at"`
}
