package ledger

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/proc"
)

// Mark is what a child carries in its environment under MarkVariable: enough to tell whose it is,
// and whether that owner still lives, when the ledger that knows it is lost or belongs to another state directory.
// It holds no URL and no secret: environments are read by doctor and may be pasted into a report.
type Mark struct {
	Lease   string         // the lease's id
	Owner   proc.Identity  // the camwarden that started the child; the pid namespace is the reader's own
	Address netip.AddrPort // the camera the child speaks to; invalid when it speaks to none
}

// Mark returns what the child of this lease must carry.
func (l Lease) Mark() Mark {
	return Mark{Lease: l.ID, Owner: l.Owner, Address: l.Address}
}

// String is the mark as it stands in the environment: lease, owner's pid, its start in clock ticks, boot id and address, between slashes.
func (m Mark) String() string {
	address := ""
	if m.Address.IsValid() {
		address = m.Address.String()
	}
	return fmt.Sprintf("%s/%d/%d/%s/%s", m.Lease, m.Owner.PID, m.Owner.Start, m.Owner.BootID, address)
}

// ParseMark reads what String wrote. A text that only begins with a lease id gives a mark with nothing else;
// anything less is not ours and gives false.
func ParseMark(text string) (Mark, bool) {
	fields := strings.Split(text, "/")
	m := Mark{Lease: fields[0]}
	if !validID(m.Lease) {
		return Mark{}, false
	}
	if len(fields) < 5 {
		return m, true
	}
	m.Owner.PID, _ = strconv.Atoi(fields[1])
	m.Owner.Start, _ = strconv.ParseUint(fields[2], 10, 64)
	m.Owner.BootID = fields[3]
	m.Address, _ = netip.ParseAddrPort(fields[4])
	return m, true
}
