package sweep

import (
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
		return "", fmt.Sprintf("%s is none of the programs that are looked at", p.Name)
	case p.Disguised:
		return "", fmt.Sprintf("it is only named %s: the program it runs is %s", p.Name, p.Program)
	case p.Shape == cmdline.NoCamera && p.Unseen:
		return "", "an input of it does not say where it leads, and its sockets are closed to this user: whether it has a camera only root can see"
	case p.Shape == cmdline.NoCamera:
		return "", "it has no camera"
	case p.Container && !r.Containers:
		return "", "it lives in a container, whose own supervisor answers for it; --include container ends it too"
	}
	switch p.Shape {
	case cmdline.OneFrame:
		return r.capture(o, p)
	case cmdline.Streaming:
		return r.stream(o, p, outages)
	default:
		return "", "its command line does not say what it is there for"
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
		quiet, known := silence(o, p)
		switch {
		case p.Datagrams != 0:
			return "", "a capture that chooses its frame by a filter, and its media may come over UDP"
		case !known:
			return "", "a capture that chooses its frame by a filter, and whether its camera still sends cannot be told"
		case quiet < r.SilentFor:
			return "", fmt.Sprintf("a capture that chooses its frame by a filter, and its camera was heard, or dialled, %s ago", Span(quiet.Milliseconds()))
		}
	}
	return Overdue, fmt.Sprintf("a capture of one frame that should take seconds, for %s now, started by %s", Span(p.AgeMS), parent(p))
}

// stalled is how many bytes wait for a program that surely does not read: one that does may be a little behind.
const stalled = 16 << 10

// stream decides about a recorder, a time-lapse or a relay.
func (r Rules) stream(o observe.Observation, p observe.Process, outages []Outage) (Rule, string) {
	quiet, known := silence(o, p)
	silent := fmt.Sprintf("it streams, and its camera has sent nothing for %s", Span(quiet.Milliseconds()))
	holds := func(such func(observe.Connection) bool) bool { return o.Holds(p.ID.PID, such) }
	switch {
	case holds(func(c observe.Connection) bool { return c.State == proc.CloseWait }):
		return "", "it streams; the camera has hung up, and the program has not noticed"
	case holds(func(c observe.Connection) bool {
		return c.Takes() && c.ReceiveQueue > 0 && (c.ReceiveQueue >= stalled || !known || quiet >= r.SilentFor)
	}):
		return "", "it streams; its camera sends, but the program does not read (reader stalled)"
	case !holds(observe.Connection.Takes):
		return "", "it streams, and no connection of it to a camera can be seen"
	case !known:
		return "", "it streams, and whether its camera still sends cannot be told"
	case quiet < r.SilentFor:
		return "", fmt.Sprintf("it streams, and its camera was heard, or dialled, %s ago", Span(quiet.Milliseconds()))
	case p.Datagrams != 0:
		return "", "it streams, and its media may come over UDP"
	}
	for _, same := range outages {
		if slices.Contains(same.PIDs, p.ID.PID) {
			return "", fmt.Sprintf("%s, as those of %d others in %s since the same moment: the network is the cause", silent, len(same.PIDs)-1, same.Subnet)
		}
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
