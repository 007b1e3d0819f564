package sweep

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
)

// Rules say what must end.
type Rules struct {
	Over       string        // the run that counts as finished though its owner lives; empty: none
	OlderThan  time.Duration // a capture of one frame that is older
	SilentFor  time.Duration // a stream whose camera has sent nothing for as long; with Silent
	Silent     bool          // silent streams count too
	Containers bool          // processes in other pid namespaces count too
}

// Rule is what a decision rests on.
type Rule string

// The rules by which a process is leaked.
const (
	Unleased Rule = "unleased" // ours, and no living lease answers for it
	Overdue  Rule = "overdue"  // a capture of one frame, too old
	Mute     Rule = "mute"     // a stream whose camera is silent
)

// ruling is a rule with its reason. Plain is the reason among things that are all ours; empty: it is the same.
type ruling struct {
	rule       Rule
	why, plain string
}

// decide goes from what must never be ended to what may be.
func (r Rules) decide(o observe.Observation, p observe.Process, outages []Outage) ruling {
	if p.Dead() {
		return ruling{why: fmt.Sprintf("it is dead already and holds nothing; only its parent, %s, can collect it", parent(p))}
	}
	if own, ours := r.own(o, p); ours {
		return own
	}
	rule, why := r.foreign(o, p, outages)
	return ruling{rule: rule, why: why}
}

// foreign decides about a process of somebody else.
func (r Rules) foreign(o observe.Observation, p observe.Process, outages []Outage) (Rule, string) {
	switch {
	case p.Go2rtc:
		return "", "it belongs to go2rtc, which ends it by itself"
	case !p.Configured:
		return "", stranger(o, p)
	case p.Disguised:
		return "", fmt.Sprintf("it is only named %s: the program it runs is %s", p.Name, p.Program)
	case p.Shape == cmdline.NoCamera && p.Pushes != "":
		return "", fmt.Sprintf("it sends a stream to %s, and reads no camera", p.Pushes)
	case p.Shape == cmdline.NoCamera && p.Unseen:
		return "", "an input of it does not say where it leads, and its sockets are closed to this user: whether it has a camera only root can see"
	case p.Shape == cmdline.NoCamera:
		return "", "it has no camera"
	case p.Feeder != nil:
		return "", fmt.Sprintf("it reads what %s (pid %d) gives it: that one holds the camera, and frees it when it ends", p.Feeder.Name, p.Feeder.PID)
	case p.Container && !r.Containers:
		return "", "it lives in a container, whose own supervisor answers for it; --include container ends it too"
	}
	switch {
	case p.Shape == cmdline.OneFrame:
		return r.capture(o, p)
	case p.Idle:
		return r.probe(o, p)
	case p.Shape == cmdline.Streaming:
		return r.stream(o, p, outages, "it streams")
	case p.Foreign:
		return r.stream(o, p, outages, "what it does with its camera is not known")
	default:
		return "", "its command line does not say what it is there for"
	}
}

// stranger says why a program that nobody named is kept, and what would free what it holds.
func stranger(o observe.Observation, p observe.Process) string {
	why := fmt.Sprintf("%s is none of the programs that are looked at (reap: programs)", p.Name)
	held := 0
	for c := range o.Held(p.ID.PID) {
		if c.Takes() {
			held++
		}
	}
	switch held {
	case 0:
		return why
	case 1:
		return fmt.Sprintf("%s; its connection is freed when pid %d ends, which was started by %s", why, p.ID.PID, parent(p))
	default:
		return fmt.Sprintf("%s; its %d connections are freed when pid %d ends, which was started by %s", why, held, p.ID.PID, parent(p))
	}
}

// own decides about a process of ours; false: it is not.
func (r Rules) own(o observe.Observation, p observe.Process) (ruling, bool) {
	if n, ok := o.Lease(p.Lease); ok {
		if why := r.expired(n); why != "" && n.Kind != ledger.Cooling && n.Kind != ledger.Stream {
			return ruling{Unleased, "ours, and " + why, why}, true
		}
		return ruling{why: fmt.Sprintf("camwarden pid %d answers for it (run %s)", n.Owner, n.Run)}, true
	}
	if p.Owner == nil {
		return ruling{}, false
	}
	switch {
	case p.Owner.Presence == proc.Gone || p.Owner.Presence == proc.Zombie:
		why := fmt.Sprintf("its lease is lost, and the camwarden that started it (pid %d) is dead", p.Owner.PID)
		return ruling{Unleased, "ours, " + why, "carries our mark, " + why}, true
	case r.Over != "" && p.Owner.Self:
		return ruling{rule: Unleased, why: "was started by this run, which is over, and its lease is struck off"}, true
	case p.Owner.Presence == proc.Running:
		return ruling{why: fmt.Sprintf("camwarden pid %d, which keeps another ledger, answers for it", p.Owner.PID)}, true
	default:
		return ruling{why: "it carries our mark, and whether its camwarden lives cannot be seen"}, true
	}
}

// capture decides about somebody's capture of one frame.
func (r Rules) capture(o observe.Observation, p observe.Process) (Rule, string) {
	age := time.Duration(p.AgeMS) * time.Millisecond
	if age < r.OlderThan {
		return "", fmt.Sprintf("a capture of one frame, for %s: it may still be at work (leaked from %s on)", Span(p.AgeMS), r.OlderThan)
	}
	if p.Chooses {
		if why := r.hears(o, p); why != "" {
			return "", "a capture of one frame, and " + cmp.Or(p.Why, "it chooses its frame by a filter") + "; " + why
		}
	}
	return Overdue, fmt.Sprintf("a capture of one frame that should take seconds, for %s now, started by %s", Span(p.AgeMS), parent(p))
}

// hears says why the camera of a process cannot be called silent; empty when it can.
func (r Rules) hears(o observe.Observation, p observe.Process) string {
	quiet, known := silence(o, p)
	switch {
	case p.Datagrams != 0:
		return "its media may come over UDP"
	case !known:
		return "whether its camera still sends cannot be told"
	case quiet < r.SilentFor && !onlyReports(o, p):
		return fmt.Sprintf("its camera was heard, or dialled, %s ago", Span(quiet.Milliseconds()))
	}
	return ""
}

// reportRate is how many bytes a second a camera sends at most that sends no media: a sender report for each of a few tracks
// every few seconds (RFC 3550, 6.2), and answers to what keeps the session alive. The thinnest video is ten times that.
const reportRate = 100

// onlyReports tells whether so little has come from the cameras of a process, over all of its time, that no media can have been
// among it.
func onlyReports(o observe.Observation, p observe.Process) bool {
	const conversation = 16 << 10 // the session's own beginning
	var received int64
	for c := range o.Held(p.ID.PID) {
		if !c.Takes() {
			continue
		}
		if c.Received == nil {
			return false
		}
		received += *c.Received
	}
	return received < conversation+reportRate*p.AgeMS/1000
}

// probe decides about what looks at a stream and keeps nothing of it. Monitors do so for days, so its age says nothing.
func (r Rules) probe(o observe.Observation, p observe.Process) (Rule, string) {
	const what = "it only looks at a stream, and keeps nothing"
	if time.Duration(p.AgeMS)*time.Millisecond < r.OlderThan {
		return "", fmt.Sprintf("%s, for %s: it may still be at work", what, Span(p.AgeMS))
	}
	if why := r.hears(o, p); why != "" {
		return "", what + "; " + why
	}
	quiet, _ := silence(o, p)
	return Overdue, fmt.Sprintf("%s, and its camera has sent nothing for %s, started by %s", what, Span(quiet.Milliseconds()), parent(p))
}

// stalled is how many bytes wait for a program that surely does not read: one that does may be a little behind.
const stalled = 16 << 10

// stream decides about a recorder, a time-lapse or a relay, and about what nothing is known of but its connections. What says
// how long it takes, and has had that time and silence beside, is a recorder no more.
func (r Rules) stream(o observe.Observation, p observe.Process, outages []Outage, what string) (Rule, string) {
	quiet, known := silence(o, p)
	silent := fmt.Sprintf("%s, and its camera has sent nothing for %s", what, Span(quiet.Milliseconds()))
	holds := func(such func(observe.Connection) bool) bool { return o.Holds(p.ID.PID, such) }
	switch {
	case holds(func(c observe.Connection) bool { return c.State == proc.CloseWait }):
		return "", what + "; the camera has hung up, and the program has not noticed"
	case holds(func(c observe.Connection) bool {
		return c.Takes() && c.ReceiveQueue > 0 && (c.ReceiveQueue >= stalled || !known || quiet >= r.SilentFor)
	}):
		return "", what + "; its camera sends, but the program does not read (reader stalled)"
	case !holds(observe.Connection.Takes):
		return "", what + ", and no connection of it to a camera can be seen"
	case !known:
		return "", what + ", and whether its camera still sends cannot be told"
	case quiet < r.SilentFor:
		return "", fmt.Sprintf("%s, and its camera was heard, or dialled, %s ago", what, Span(quiet.Milliseconds()))
	case p.Datagrams != 0:
		return "", what + ", and its media may come over UDP"
	}
	for _, same := range outages {
		if slices.Contains(same.PIDs, p.ID.PID) {
			return "", fmt.Sprintf("%s, as those of %d others in %s since the same moment: the network is the cause", silent, len(same.PIDs)-1, same.Subnet)
		}
	}
	if done := time.Duration(p.ForMS) * time.Millisecond; done > 0 && time.Duration(p.AgeMS)*time.Millisecond >= max(done+r.SilentFor, r.OlderThan) {
		return Overdue, fmt.Sprintf("it was to take %s of its camera, which has sent nothing for %s, started by %s", Span(p.ForMS), Span(quiet.Milliseconds()), parent(p))
	}
	if !r.Silent {
		return "", silent + "; --include silent ends it"
	}
	return Mute, fmt.Sprintf("%s, started by %s", silent, parent(p))
}

// silence is how long the cameras of a process have sent nothing; false when the kernel does not tell it of every
// connection that it has.
func silence(o observe.Observation, p observe.Process) (time.Duration, bool) {
	least, known := int64(0), false
	for c := range o.Held(p.ID.PID) {
		if !c.Takes() {
			continue
		}
		if c.SilentMS == nil {
			return 0, false
		}
		if !known || *c.SilentMS < least {
			least, known = *c.SilentMS, true
		}
	}
	return time.Duration(least) * time.Millisecond, known
}

// SilentMS is how long the cameras of a process have sent nothing, in milliseconds; nil when the kernel does not tell.
func SilentMS(o observe.Observation, p observe.Process) *int64 {
	quiet, known := silence(o, p)
	if !known {
		return nil
	}
	ms := quiet.Milliseconds()
	return &ms
}

func parent(p observe.Process) string {
	if len(p.Parents) == 0 {
		return "nobody that can be seen"
	}
	return fmt.Sprintf("%s (pid %d)", p.Parents[0].Name, p.Parents[0].PID)
}

// Span is a time in milliseconds as a person says it.
func Span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return d.String()
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}
