package slot

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// tally is a count with what is needed to decide on waiting.
type tally struct {
	Count
	cools []time.Duration // when the cooling leases will have cooled down, soonest first
	runs  []string        // the runs behind Own, each once

	conns  []proc.Conn // that take a slot, with their owners
	relays []*relay
}

// claim is somebody living who answers for sockets: a lease with its child, or an owner with the connections it dials itself.
// Its leases and its sockets are two views of the same slots, so the larger number counts. A socket shows up after its lease,
// and a redirect, say, may give a child a socket at an address that its lease does not name.
type claim struct {
	lease   ledger.Lease // the first one
	leases  int
	sockets int
}

func (c claim) slots() int { return max(c.leases, c.sockets) }

// book is the ledger, seen from one address.
type book struct {
	table   Table
	living  map[string]ledger.Lease // by id, of any address
	lapsed  map[string]ledger.Lease // nobody answers for these any more
	claims  map[string]*claim
	order   []string // of claims
	foreign []Holder
	relays  []*relay
}

// count reads the leases first and the sockets after: a lease stands longer than its socket, so no socket of ours is ever
// without its lease. The other way round, one that ended in between would pass for a foreign one. So would a process of ours
// that dies while we ask whose it is, so what seems to belong to a dying process is counted again.
func (t Table) count(address netip.AddrPort, limit, reserve int) (tally, error) {
	const counts = 5
	for n := 1; ; n++ {
		result, steady, err := t.countOnce(address, limit, reserve)
		if err != nil || steady || n == counts {
			return result, err
		}
		pause(n)
	}
}

// countOnce also reports whether every process that was taken for a foreign one lives.
func (t Table) countOnce(address netip.AddrPort, limit, reserve int) (result tally, steady bool, err error) {
	result = tally{Count: Count{Limit: limit, Reserve: reserve, Holders: []Holder{}}}
	leases, _, err := t.Ledger.Read()
	if err != nil {
		return result, false, err
	}
	b := book{table: t, living: map[string]ledger.Lease{}, lapsed: map[string]ledger.Lease{}, claims: map[string]*claim{}}
	for _, lease := range leases {
		here := proc.Plain(lease.Address) == address
		switch {
		case lease.Kind == ledger.Stream: // its connections are those of the server that holds the stream
		case !t.Ledger.Live(lease):
			b.lapsed[lease.ID] = lease
		case lease.Kind == ledger.Cooling:
			if here {
				result.Cooling++
				result.cools = append(result.cools, lease.Deadline)
			}
		default:
			b.living[lease.ID] = lease
			switch {
			case here && lease.Relay != nil:
				b.relayed(lease)
			case here:
				b.claim(lease).leases++
			}
		}
	}
	slices.Sort(result.cools)
	conns, err := t.connections(address, b.knows)
	if err != nil {
		return result, false, fault.New(fault.Local, "", "cannot see who is connected to %s: %w", address, err).
			WithHint("without it the camera's limit cannot be kept; try as root, or outside the sandbox")
	}
	result.conns, result.relays = conns, b.relays
	for _, conn := range conns {
		if !b.byRelay(conn) {
			b.add(conn)
		}
	}
	b.sum(&result)
	b.sumRelays(&result)
	dying := slices.ContainsFunc(b.foreign, func(h Holder) bool { return h.PID > 0 && t.dying(h.PID) })
	return result, !dying, nil
}

// dying reports whether a process is gone, or on its way: an exiting process loses its memory, and with it the environment
// that bears our mark, before its files. One whose first thread has left while others work shows no memory either, and lives.
func (t Table) dying(pid int) bool {
	args, err := t.FS.Cmdline(pid)
	if err != nil || len(args) > 0 {
		return errors.Is(err, fs.ErrNotExist)
	}
	stat, err := t.FS.Stat(pid)
	return err != nil || stat.State != 'Z' || stat.Dead()
}

// pause waits longer each time, 0.3 s in all for five times.
func pause(n int) { time.Sleep(10 * time.Millisecond << (n - 1)) }

// key of the claim that a lease belongs to. An owner's own connections cannot be told apart: any of its sockets may be any lease's.
func key(lease ledger.Lease) string {
	if lease.Kind == ledger.Connection {
		return fmt.Sprint("owner ", lease.Owner.PID)
	}
	return lease.ID
}

func (b *book) claim(lease ledger.Lease) *claim {
	k := key(lease)
	if b.claims[k] == nil {
		b.claims[k] = &claim{lease: lease}
		b.order = append(b.order, k)
	}
	return b.claims[k]
}

// knows reports whether a process is likely to hold sockets of ours: whose descriptors are read first.
func (b *book) knows(stat proc.Stat) bool {
	for _, lease := range b.living {
		if stat.PID == lease.Child.PID || stat.PID == lease.Owner.PID {
			return true
		}
	}
	return false
}

// add puts a connection on the account of whoever answers for it.
func (b *book) add(conn proc.Conn) {
	mark := b.mark(conn.PID)
	if lease, ours := b.answers(conn.PID, mark); ours {
		b.claim(lease).sockets++
		return
	}
	h := Holder{PID: conn.PID, Program: proc.Printable(conn.Program), Why: b.why(conn.PID, mark)}
	i := slices.IndexFunc(b.foreign, func(known Holder) bool { return known.PID == h.PID && known.Why == h.Why })
	if i < 0 {
		i, b.foreign = len(b.foreign), append(b.foreign, h)
	}
	b.foreign[i].Connections++
}

// answers finds the living lease behind a process: it is the child, or carries the mark, or is the owner.
func (b *book) answers(pid int, mark ledger.Mark) (ledger.Lease, bool) {
	if pid == 0 {
		return ledger.Lease{}, false
	}
	for _, lease := range b.living {
		if lease.Child.PID == pid && b.runs(lease.Child) {
			return lease, true
		}
	}
	if lease, ok := b.living[mark.Lease]; ok {
		return lease, true
	}
	for _, lease := range b.living {
		if lease.Owner.PID == pid && b.runs(lease.Owner) {
			// Whatever it holds leases for, what it dials itself is its own account.
			lease.Kind = ledger.Connection
			return lease, true
		}
	}
	return ledger.Lease{}, false
}

func (b *book) runs(id proc.Identity) bool {
	presence, _ := b.table.FS.Look(id)
	return presence == proc.Running
}

// mark reads the mark in a process's environment; the zero Mark when it has none, or when it may not be read.
func (b *book) mark(pid int) ledger.Mark {
	if pid == 0 {
		return ledger.Mark{}
	}
	text, _, _ := b.table.FS.Environ(pid, ledger.MarkVariable)
	mark, _ := ledger.ParseMark(text)
	return mark
}

// why says why a socket is not on the account of a living lease.
func (b *book) why(pid int, mark ledger.Mark) string {
	if pid == 0 {
		return "owner hidden"
	}
	for _, lease := range b.lapsed {
		if lease.ID == mark.Lease || lease.Child.PID == pid && b.runs(lease.Child) || lease.Owner.PID == pid && b.runs(lease.Owner) {
			return fmt.Sprintf("left by run %s (camwarden pid %d, %s)", lease.Run, lease.Owner.PID, b.table.Ledger.Standing(lease))
		}
	}
	if mark.Lease != "" {
		return fmt.Sprintf("made by camwarden pid %d, with another ledger or without a lease", mark.Owner.PID)
	}
	return "not ours"
}

func (b *book) sum(result *tally) {
	for _, k := range b.order {
		c := b.claims[k]
		pid := c.lease.Owner.PID
		if key(c.lease) == c.lease.ID && c.lease.Child.PID > 0 {
			pid = c.lease.Child.PID
		}
		program := ""
		if stat, err := b.table.FS.Stat(pid); err == nil {
			program = proc.Printable(stat.Comm)
		}
		result.Own += c.slots()
		result.Holders = append(result.Holders, Holder{PID: pid, Program: program, Why: "run " + c.lease.Run, Connections: c.slots(), Ours: true})
		if !slices.Contains(result.runs, c.lease.Run) {
			result.runs = append(result.runs, c.lease.Run)
		}
	}
	for _, h := range b.foreign {
		result.Foreign += h.Connections
		result.Holders = append(result.Holders, h)
	}
}

// connections returns those of this host that take a slot of the address, with their owners.
//
// A socket has no owner for a moment while its process exits, or when it is closed between the list of sockets and the search
// for the owner. It must not pass for one whose owner is hidden, so what has no owner is looked up again; for a while where
// nothing should be hidden from us, and once where it is another user's.
func (t Table) connections(address netip.AddrPort, first func(proc.Stat) bool) ([]proc.Conn, error) {
	const looks = 6
	uid := os.Geteuid()
	for look := 1; ; look++ {
		sockets, err := t.FS.Standing([]uint16{address.Port()})
		if err != nil {
			return nil, err
		}
		conns := slices.DeleteFunc(sockets.Conns, func(c proc.Conn) bool { return c.Remote != address })
		// An error here means that some processes could not be read. Their sockets stay without owner, and count.
		owned, _ := t.FS.Own(conns, first)
		unsettled := func(c proc.Conn) bool { return c.Unsettled(uid) || look == 1 && c.PID == 0 }
		if look == looks || !slices.ContainsFunc(owned, unsettled) {
			return owned, nil
		}
		pause(look)
	}
}
