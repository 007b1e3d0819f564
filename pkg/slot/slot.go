// Package slot counts the connections to an address, and takes one of those it can bear.
package slot

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// Table is where slots are counted: the leases of a ledger, and the sockets of this host.
type Table struct {
	Ledger *ledger.Ledger
	FS     proc.FS

	lockFor time.Duration // how long the slot lock may be held; 0 is lockFor below
}

// lockFor is far more than counting takes (some ten milliseconds), and bounds, with ledger.Margin,
// how long a holder that was stopped in the middle of it keeps others from the address.
const lockFor = 10 * time.Second

// Request asks for one slot of the camera's address. Deadline, on the boot-time clock, is when the connection must be over:
// ledger.Margin after it others stop counting the slot.
type Request struct {
	Camera   camera.Camera
	Kind     ledger.Kind // Process or Connection
	Deadline time.Duration
	Relay    *ledger.Relay // who will connect in our place; nil: we do. Take fills in Beside
}

// Holder is a process that has slots of an address.
type Holder struct {
	PID         int    // 0: not known
	Program     string // as the process calls itself; empty: not known
	Why         string // it counts, in words
	Connections int    // slots it has, living leases included
	Ours        bool   // a living lease of this ledger answers for it
}

// String names the holder: "pid 123 ffmpeg", and how many slots it has if more than one.
func (h Holder) String() string {
	name := h.Why
	if h.PID > 0 {
		name = strings.TrimSpace(fmt.Sprintf("pid %d %s", h.PID, h.Program))
	}
	if h.Connections > 1 {
		name += fmt.Sprintf(" (%d connections)", h.Connections)
	}
	return name
}

// Count is what is known of the slots of one address.
type Count struct {
	Limit   int // connections the camera can bear
	Reserve int // of these, not for us
	Own     int // living leases of this ledger, and what their processes hold beyond
	Cooling int // sessions that a camera may still keep after they ended without a word
	Foreign int // sockets of this host that no living lease answers for
	Holders []Holder
}

// Used is how many slots are not free.
func (c Count) Used() int { return c.Own + c.Cooling + c.Foreign }

// Free is how many connections we may still make.
func (c Count) Free() int { return max(0, c.usable()-c.Own-c.Cooling) }

// usable is how many of the connections may be ours. What is reserved for others is theirs to use: it takes nothing from us.
func (c Count) usable() int { return min(c.Limit-c.Reserve, c.Limit-c.Foreign) }

// Count counts the slots of an address. It takes no lock, so the next moment may know better; Take counts under the lock.
// An error means that something could not be looked at, never that nothing is there.
func (t Table) Count(address netip.AddrPort, limit, reserve int) (Count, error) {
	tally, err := t.count(proc.Plain(address), limit, reserve)
	return tally.Count, err
}
