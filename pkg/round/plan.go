package round

import (
	"log/slog"
	"time"

	"github.com/camwarden/camwarden/pkg/archive"
	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// IfBusy is what to do when another run holds the round lock, or the cool-down has not passed.
type IfBusy string

// The answers to a busy subnet.
const (
	Fail IfBusy = "fail" // end with an error of class busy or cooling
	Skip IfBusy = "skip" // report every visit as skipped
	Wait IfBusy = "wait" // wait, at most as long as the round's deadline
)

// Plan is what one round shall do. It comes checked from the command line; Run checks only what needs a look at the world.
type Plan struct {
	Schema    string           // RoundSchema or SnapshotSchema
	Selection camera.Selection // the cameras, and the key of the round lock
	Exclusive bool             // round lock, cool-down and rotation apply: true for a round, false for a snapshot
	Keeper    Keeper           // nil keeps no pictures
	Keep      archive.Policy   // which stills of an Archive stay when the round is over
	Jobs      int              // visits at once; less than 1: as many as there are cameras, at most 64 and what the open files allow
	Timeout   time.Duration    // of one visit; 0 means each camera's own
	Deadline  time.Duration    // of all visits together; 0 means none
	Cooldown  time.Duration    // between two rounds of this selection
	IfBusy    IfBusy
	Strict    bool // decode the whole picture, not only its headers
}

// Deps is what a round works with.
type Deps struct {
	Ledger  *ledger.Ledger
	FS      proc.FS
	Run     string           // id of this run, the one the ledger writes into its leases
	Sources []capture.Source // in the order they are tried
	Lookup  camera.Lookup    // resolves host names of cameras; bounded
	Streams *streams.Keeper  // of the go2rtc that a source uses, for the looks; nil: none does
	LogIns  *lockout.Memory  // of refused log-ins; nil: none is remembered
	Log     *slog.Logger     // conversation for the operator; nil is silent
}

// Event is what happened, for whoever shows progress. Events come from several goroutines, one at a time.
type Event struct {
	Phase   Phase
	Camera  string // of a visit
	Visit   *Visit // when it ended
	Done    int    // visits ended
	Total   int    // visits in all
	Message string // for people
}

// Phase is where a round stands.
type Phase string

// The phases in which events come.
const (
	Waiting      Phase = "waiting" // for the round lock or the cool-down
	Recovering   Phase = "recovering"
	Constructing Phase = "constructing"
	Visiting     Phase = "visiting"
	Visited      Phase = "visited"
	Destructing  Phase = "destructing"
	Verifying    Phase = "verifying"
	Done         Phase = "done"
)
