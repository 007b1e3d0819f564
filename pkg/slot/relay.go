package slot

import (
	"fmt"
	"slices"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// relay is a server that connects to cameras because we ask it to, and for others too. Its sockets do not tell for whom
// they are, so of those that it has at the address as many as there are leases are taken for ours, and the rest for
// others'. A lease whose connection is not made yet stands beside those that were there before it.
type relay struct {
	ledger.Relay
	leases  []ledger.Lease
	sockets int
	program string
}

// relayed puts a lease on the account of whoever connects in our place.
func (b *book) relayed(lease ledger.Lease) {
	i := slices.IndexFunc(b.relays, func(r *relay) bool { return r.ID == lease.Relay.ID && r.UID == lease.Relay.UID })
	if i < 0 {
		i, b.relays = len(b.relays), append(b.relays, &relay{Relay: *lease.Relay})
	}
	r := b.relays[i]
	r.leases = append(r.leases, lease)
	r.Beside = max(r.Beside, lease.Relay.Beside)
}

// byRelay puts a connection on the account of a relay, if it is one of its.
func (b *book) byRelay(conn proc.Conn) bool {
	for _, r := range b.relays {
		if holds(r.Relay, conn) {
			r.sockets++
			r.program = conn.Program
			return true
		}
	}
	return false
}

// holds reports whether a connection is a relay's, as far as can be seen: where processes of other users are hidden, a
// socket shows its user and nothing more.
func holds(r ledger.Relay, conn proc.Conn) bool {
	if r.ID.PID == 0 {
		return conn.PID == 0 && conn.UID == r.UID
	}
	return conn.PID == r.ID.PID
}

func (b *book) sumRelays(result *tally) {
	for _, r := range b.relays {
		result.Own += len(r.leases)
		for _, lease := range r.leases {
			result.Holders = append(result.Holders, Holder{
				PID: r.ID.PID, Program: proc.Printable(r.program), Why: "run " + lease.Run + ", by go2rtc", Connections: 1, Ours: true,
			})
			if !slices.Contains(result.runs, lease.Run) {
				result.runs = append(result.runs, lease.Run)
			}
		}
		others := max(r.Beside, r.sockets-len(r.leases))
		if others <= 0 {
			continue
		}
		result.Foreign += others
		result.Holders = append(result.Holders, Holder{
			PID: r.ID.PID, Program: proc.Printable(r.program), Why: fmt.Sprintf("uid %d, not for us", r.UID), Connections: others,
		})
	}
}

// beside completes a relay with how many connections it has at the address besides those that leases stand for.
func (s tally) beside(wanted *ledger.Relay) *ledger.Relay {
	if wanted == nil {
		return nil
	}
	known := *wanted
	known.Beside = 0
	for _, conn := range s.conns {
		if holds(known, conn) {
			known.Beside++
		}
	}
	for _, r := range s.relays {
		if r.ID == known.ID && r.UID == known.UID {
			known.Beside = max(r.Beside, known.Beside-len(r.leases))
		}
	}
	return &known
}
