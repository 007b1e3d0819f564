package round

import (
	"time"

	"github.com/camwarden/camwarden/pkg/archive"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// The names of the documents; a changed meaning gets a new number.
const (
	RoundSchema    = "camwarden.round/1"
	SnapshotSchema = "camwarden.snapshot/1"
)

// Verdict is what the last look said of what is ours.
type Verdict string

// The verdicts of a round.
const (
	Clean      Verdict = "clean"      // looked, and nothing of ours is left
	Left       Verdict = "left"       // something of ours is still there
	Unverified Verdict = "unverified" // we could not look where it matters
)

// Report is the document of one round: camwarden.round/1, or camwarden.snapshot/1, which has no subnets.
// Durations are whole milliseconds, times RFC 3339 in UTC, lists never null.
type Report struct {
	Schema     string           `json:"schema"`
	Run        string           `json:"run"`
	Subnets    []string         `json:"subnets,omitempty"`
	StartedAt  time.Time        `json:"started_at"`
	DurationMS int64            `json:"duration_ms"`
	Phases     Phases           `json:"phases"`
	Summary    Summary          `json:"summary"`
	Visits     []Visit          `json:"visits"`
	Streams    Streams          `json:"streams"`
	Recovered  []sweep.Leftover `json:"recovered"`
	Leftovers  []sweep.Leftover `json:"leftovers"`
	Blind      []observe.Blind  `json:"blind"`
	Looked     Looked           `json:"looked"`
	Verdict    Verdict          `json:"verdict"`
	Pruned     *archive.Result  `json:"pruned,omitempty"`   // what "keep" had removed after the round; nil where it sets no bound
	NotKept    string           `json:"not_kept,omitempty"` // why the pictures of this round were not kept, though a folder was named
	Signal     string           `json:"signal,omitempty"`   // the signal that ended the visits early, "SIGTERM"

	before map[string]string // how the visits of the last round of these subnets ended, by camera

	PassedOver bool `json:"-"` // the plan said Skip, and another round was in the way: no visit was meant to be
}

// Phases is how long each part of the round took.
type Phases struct {
	ConstructMS int64 `json:"construct_ms"`
	VisitMS     int64 `json:"visit_ms"`
	DestructMS  int64 `json:"destruct_ms"`
	VerifyMS    int64 `json:"verify_ms"`
}

// Summary counts the visits by their ending.
type Summary struct {
	Cameras int `json:"cameras"`
	OK      int `json:"ok"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
}

// Visit is one camera's part of a round.
type Visit struct {
	Camera            string            `json:"camera"`
	Address           string            `json:"address"` // ip:port; the host as written while it is not resolved
	OK                bool              `json:"ok"`
	Skipped           bool              `json:"skipped"` // never dialled
	Source            string            `json:"source"`  // the source that gave the still
	File              string            `json:"file"`    // where the still was written; empty when it was not
	CapturedAt        *time.Time        `json:"captured_at"`
	WaitedMS          int64             `json:"waited_ms"`                     // from the dial to the key frame's first byte
	KeyFrameMS        int64             `json:"keyframe_ms"`                   // from there to its last; 0 when the source cannot tell
	KeyFrameRequested bool              `json:"key_frame_requested,omitempty"` // the camera was asked for a key frame, which its viewers got too
	DecodeMS          int64             `json:"decode_ms"`                     // from the key frame to the JPEG; 0 likewise, and when there was nothing to decode
	DurationMS        int64             `json:"duration_ms"`
	Width             int               `json:"width"`
	Height            int               `json:"height"`
	Bytes             int               `json:"bytes"`
	Codec             string            `json:"codec"`
	Repeated          bool              `json:"repeated"` // the camera sent the very bytes of its last still: a frozen picture, or a cache
	Attempts          []capture.Attempt `json:"attempts"`
	Error             *fault.Error      `json:"error"`
}

// Streams is what the round did with go2rtc's streams. Kept are those of ours that were not removed, and why.
type Streams struct {
	Registered int                `json:"registered"`
	Removed    int                `json:"removed"`
	Kept       []sweep.KeptStream `json:"kept"`
}

// Looked says what the verdict rests on: how much was read, and by which way.
type Looked struct {
	Processes   int    `json:"processes"`   // processes in the table that was read
	Connections int    `json:"connections"` // open connections of this host to the round's addresses, whoever holds them
	Leases      int    `json:"leases"`      // leases in the ledger
	By          string `json:"by"`          // netlink or procfs, for the connections
}
