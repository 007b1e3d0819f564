package observe

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// Relayed is what can be seen of a go2rtc: its streams, asked of it only where something of ours may be among them, and
// its connections to the scope's addresses.
type Relayed struct {
	Asked bool
	View  streams.View
	Err   error // it was asked, and did not answer

	// Doubtful are leases of streams that somebody must answer for and nobody does any more, or those of this very run.
	// Where go2rtc did not answer, what they stand for may be there.
	Doubtful []Lease

	Sighted bool        // its connections can be seen
	Conns   []proc.Conn // those it has to the scope's addresses
	Excess  []proc.Conn // those beyond what its connected producers explain; filled in only when it was asked
}

// How often, and in what time, connections that nothing explains are looked at again: a dial that is being made for a
// viewer shows as a connection before it shows as a producer, and a picture's takes 20 ms to go.
const (
	excessLooks = 4
	excessPause = 250 * time.Millisecond
)

// lookAtStreams reads what there is of go2rtc. It comes after the leases and the connections.
func (l *looker) lookAtStreams(ctx context.Context) {
	keeper := l.scope.Keeper
	if keeper == nil {
		return
	}
	r := &Relayed{}
	l.Relayed = r
	for _, n := range l.Leases {
		if n.Kind == ledger.Stream && n.Record.Server == keeper.Server() && !keeper.Stays(n.Record) && (n.Standing != ledger.Live || n.Run == keeper.Run()) {
			r.Doubtful = append(r.Doubtful, n)
		}
	}
	l.readRelay(r)
	if len(r.Doubtful) == 0 && len(r.Conns) == 0 {
		return // nothing of ours can be in question
	}
	for look := 1; ; look++ {
		r.Asked = true
		if r.View, r.Err = keeper.Look(ctx); r.Err != nil {
			// That something of ours is left is possible only where a lease says so.
			l.blind("go2rtc", r.Err, len(r.Doubtful) > 0)
			return
		}
		r.Excess = unexplained(r.Conns, r.View)
		if len(r.Excess) == 0 || look == excessLooks || !rest(ctx, excessPause) {
			return
		}
		l.readRelay(r)
	}
}

// readRelay reads go2rtc's own connections. Where they cannot be seen its API decides, and blind says so.
func (l *looker) readRelay(r *Relayed) {
	r.Conns, r.Sighted = nil, false
	if !l.scope.OnlyOurs || l.scope.Limits.None() {
		return // who looks at everybody sees them anyway
	}
	relay := l.scope.Keeper.Relay()
	switch {
	case relay == nil:
		l.blindOnce("connections of go2rtc", "it is not in this network namespace, or a proxy stands before it: its own word counts")
		return
	case relay.ID.PID == 0:
		l.blindOnce("connections of go2rtc", fmt.Sprintf("it belongs to another user (uid %d), which hides whose they are: its own word counts; root can see", relay.UID))
		return
	}
	sockets, err := l.fs.Connections(l.ports)
	if err != nil {
		l.blindOnce("connections of go2rtc", err.Error())
		return
	}
	conns := slices.DeleteFunc(sockets.Conns, func(c proc.Conn) bool {
		return !l.scope.Limits.Cover(c.Remote) || c.State != proc.Established && c.State != proc.SynSent && c.State != proc.CloseWait
	})
	if len(conns) > 0 {
		conns, _ = l.fs.Own(conns, func(s proc.Stat) bool { return s.PID == relay.ID.PID })
	}
	r.Sighted = true
	r.Conns = slices.DeleteFunc(conns, func(c proc.Conn) bool { return c.PID != relay.ID.PID || c.PID == l.Self.PID })
}

func (l *looker) blindOnce(where, why string) {
	if !slices.ContainsFunc(l.Blind, func(b Blind) bool { return b.Where == where }) {
		l.Blind = append(l.Blind, Blind{Where: where, Why: why})
	}
}

// unexplained are the connections to each address beyond the number of connected producers there. Which of several is the
// one too many nothing tells; the oldest producers are taken to have the first.
func unexplained(conns []proc.Conn, view streams.View) []proc.Conn {
	all := make([]go2rtc.Stream, len(view.States))
	for i, s := range view.States {
		all[i] = s.Stream
	}
	explained := go2rtc.Explained(all)
	var excess []proc.Conn
	for _, c := range conns {
		if explained[c.Remote] > 0 {
			explained[c.Remote]--
			continue
		}
		excess = append(excess, c)
	}
	return excess
}

func rest(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
