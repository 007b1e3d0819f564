// Package doctor judges an observation: findings, each with its evidence and what to type. Nothing in it ends or changes anything;
// Ask alone touches cameras.
package doctor

import (
	"net/netip"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// Schema names the document of doctor; a changed meaning gets a new number.
const Schema = "camwarden.doctor/1"

// Terms are by what doctor judges.
type Terms struct {
	Rules                               sweep.Rules
	DefaultLimit                        int // connections that a camera of which nothing is known is assumed to allow
	ProcessesWarning, ProcessesCritical int

	Ignore  []Ignored // findings that are known
	Subnets []Named   // of the configuration
}

// Ignored is a finding that somebody knows of.
type Ignored struct {
	Code    string
	Subject string // empty: any
}

// Severity is how bad a finding is.
type Severity string

// The severities, as documents name them.
const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
	Info     Severity = "info"
)

// Status is the sum of all findings.
type Status string

// The states of a host. Info raises none of them.
const (
	OK         Status = "ok"
	Warned     Status = "warning"
	InDanger   Status = "critical"
	CannotTell Status = "unknown" // nothing bad was seen, and not everything could be seen
)

// Finding is one judgement, with what it rests on and what to type next.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"`
	Summary  string   `json:"summary"`
	Evidence string   `json:"evidence"`
	Remedy   string   `json:"remedy"`

	Acknowledged bool `json:"acknowledged"` // somebody has said that it is known: it counts for nothing

	at     netip.AddrPort // the camera it is about, for what silences what
	weight int            // how bad it is among its like
	cause  string         // another thing that was found and explains this; empty: none
}

// Report is the document camwarden.doctor/1. Durations are whole milliseconds, times RFC 3339 in UTC, lists never null.
type Report struct {
	Schema      string          `json:"schema"`
	Host        string          `json:"host"`
	TakenAt     time.Time       `json:"taken_at"`
	Status      Status          `json:"status"`
	Processes   Processes       `json:"processes"`
	Connections Connections     `json:"connections"`
	Go2rtc      *Go2rtc         `json:"go2rtc"`
	Cameras     []Camera        `json:"cameras"`
	Timeline    []Event         `json:"timeline"`
	Leases      Leases          `json:"leases"`
	Blind       []observe.Blind `json:"blind"`
	Findings    []Finding       `json:"findings"`
	Summary     string          `json:"summary"`  // how the host stands, in one sentence
	Commands    []string        `json:"commands"` // what to type first
}

// Processes are those that were looked at. Total counts those with a camera.
type Processes struct {
	Total   int       `json:"total"`
	Overdue int       `json:"overdue"`
	Zombies int       `json:"zombies"`
	List    []Process `json:"list"`
}

// Process is one process, and what the rules of reap say of it.
type Process struct {
	PID         int       `json:"pid"`
	PIDNS       string    `json:"pidns"` // host or other
	StartedAt   time.Time `json:"started_at"`
	AgeMS       int64     `json:"age_ms"`
	State       string    `json:"state"`
	Program     string    `json:"program"`
	Parent      Parent    `json:"parent"`
	Parents     []string  `json:"parents"`
	Camera      string    `json:"camera"`
	Target      string    `json:"target"`
	Shape       string    `json:"shape"`
	Owner       string    `json:"owner"` // camwarden, go2rtc, foreign or hidden
	Connections int       `json:"connections"`
	SilentMS    *int64    `json:"silent_ms"`
	RSSBytes    int64     `json:"rss_bytes"`
	CPUMS       int64     `json:"cpu_ms"`
	FDs         int       `json:"fds"` // -1: closed to us
	Command     string    `json:"command"`
	Verdict     string    `json:"verdict"` // leaked or kept
	Why         string    `json:"why"`
}

// Parent is the parent of a process.
type Parent struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// Connections are those of this host to cameras.
type Connections struct {
	Total int          `json:"total"`
	List  []Connection `json:"list"`
}

// Connection is one of them.
type Connection struct {
	Local    string `json:"local"`
	Remote   string `json:"remote"`
	State    string `json:"state"`
	SilentMS *int64 `json:"silent_ms"`
	PID      int    `json:"pid"`
	Program  string `json:"program"`
}

// Go2rtc is what was seen of the configured go2rtc.
type Go2rtc struct {
	URL       string         `json:"url"`
	Reachable bool           `json:"reachable"`
	Version   string         `json:"version"`
	Streams   int            `json:"streams"`
	Watched   int            `json:"watched"`
	Connected int            `json:"connected"`
	Ours      int            `json:"ours"`
	Stray     int            `json:"stray"`
	Stuck     int            `json:"stuck"`
	StillsBy  observe.Stills `json:"stills_by"`
}

// Camera is one camera with what is known of its slots.
type Camera struct {
	Camera       string       `json:"camera"`
	Address      string       `json:"address"`
	Model        string       `json:"model"`
	Connections  int          `json:"connections"`
	Limit        int          `json:"limit"`
	LimitAssumed bool         `json:"limit_assumed"`
	Server       bool         `json:"server"` // no camera: a process of this host listens there; its limit is 0 unless somebody named one
	Processes    int          `json:"processes"`
	OldestAgeMS  int64        `json:"oldest_age_ms"`
	State        string       `json:"state"`
	RTTMS        *int64       `json:"rtt_ms"`
	Error        *fault.Error `json:"error"`
	Note         string       `json:"note"` // what the state proves, and what not; empty: nothing to add

	Leaked int `json:"leaked"` // of its processes, those that a reap would end

	at netip.AddrPort
}

// Event is one moment of the timeline.
type Event struct {
	At     time.Time `json:"at"`
	Event  string    `json:"event"`
	Camera string    `json:"camera"`
	PID    int       `json:"pid"`
}

// Leases count what this ledger holds.
type Leases struct {
	Live     int `json:"live"`
	Orphaned int `json:"orphaned"`
}

// Examine judges an observation. It is pure: the same observation and terms give the same report.
func Examine(s observe.Observation, terms Terms) Report {
	e := &examination{seen: s, terms: terms, decisions: sweep.Decide(s, terms.Rules), outages: sweep.Outages(s, terms.Rules)}
	wide := terms.Rules
	wide.Silent, wide.Containers = true, true
	e.wide = sweep.Decide(s, wide)
	e.report = Report{
		Schema: Schema, Host: s.Host, TakenAt: s.TakenAt, Timeline: []Event{}, Blind: s.Blind, Findings: []Finding{},
	}
	if e.report.Blind == nil {
		e.report.Blind = []observe.Blind{}
	}
	e.processes()
	e.connections()
	e.leases()
	e.cameras()
	e.server()
	e.timeline()

	e.findLeaks()
	e.findSilent()
	e.findZombies()
	e.findSlots()
	e.findProbes()
	e.findLeases()
	e.findServer()
	e.findHygiene()
	e.findBlind()
	e.silence()
	e.nameServers()
	e.acknowledge()
	e.judge()
	e.conclude()
	return e.report
}

// examination is one report on its way.
type examination struct {
	seen      observe.Observation
	terms     Terms
	decisions []sweep.Decision // by the rules as they stand: what a plain reap would do
	wide      []sweep.Decision // by those with everything included: what there is to be told of
	outages   []sweep.Outage
	report    Report
}

func (e *examination) find(f Finding) { e.report.Findings = append(e.report.Findings, f) }
