package proc

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

// Conn is one TCP connection as the kernel sees it from this side.
type Conn struct {
	Local, Remote netip.AddrPort // IPv4-mapped addresses are shown as IPv4; no zone
	State         string         // of the constants below
	Inode         uint64         // of the socket; 0 when no process holds it any more (TIME_WAIT, or closed and lingering)
	UID           uint32         // the user who made the socket
	RecvQueue     int            // bytes that have arrived and were not read; in CLOSE_WAIT the end of the stream counts as one
	Silent        time.Duration  // since data last arrived, or since the connection was made if none ever did
	SilentKnown   bool           // false: the kernel does not tell (fallback, SYN_SENT, TIME_WAIT)
	Received      uint64         // bytes of data that have come over it
	ReceivedKnown bool           // false: the kernel does not tell
	PID           int            // a process that holds the socket, filled in by Own; 0: unknown
	Program       string         // its name; "": unknown
	Elsewhere     bool           // of another network namespace: told by ConnectionsIn and ConnectionsOf
}

// The states of a TCP connection, under the kernel's names (include/net/tcp_states.h).
const (
	Established = "ESTABLISHED"
	SynSent     = "SYN_SENT"
	SynRecv     = "SYN_RECV"
	FinWait1    = "FIN_WAIT1"
	FinWait2    = "FIN_WAIT2"
	TimeWait    = "TIME_WAIT"
	Close       = "CLOSE"
	CloseWait   = "CLOSE_WAIT"
	LastAck     = "LAST_ACK"
	Listen      = "LISTEN"
	Closing     = "CLOSING"
	NewSynRecv  = "NEW_SYN_RECV"
	BoundIdle   = "BOUND_INACTIVE"
)

// Unsettled reports whether a connection only seems to have no owner: nothing of this user's is hidden from him, so the process
// that holds it is exiting, or has it from another since the table was read, and a second look will tell.
func (c Conn) Unsettled(uid int) bool {
	return c.PID == 0 && c.Inode != 0 && (uid == 0 || int(c.UID) == uid) && !c.Elsewhere
}

// Takes reports whether the camera counts a connection in this state: one on its way down no longer takes a slot, and one that
// only the camera has ended (CLOSE_WAIT) is evidence of a process that does not notice.
func Takes(state string) bool { return state == Established || state == SynSent }

// The numbers of the states that we ask for or compare with.
const (
	established = 1
	synSent     = 2
	synRecv     = 3
	timeWait    = 6
	listen      = 10
	newSynRecv  = 12
)

// stateName names a state; one that the kernel invented later gets its number for a name, and is not mistaken for another.
func stateName(state uint8) string {
	switch state {
	case established:
		return Established
	case synSent:
		return SynSent
	case synRecv:
		return SynRecv
	case 4:
		return FinWait1
	case 5:
		return FinWait2
	case timeWait:
		return TimeWait
	case 7:
		return Close
	case 8:
		return CloseWait
	case 9:
		return LastAck
	case listen:
		return Listen
	case 11:
		return Closing
	case newSynRecv:
		return NewSynRecv
	case 13:
		return BoundIdle
	}
	return fmt.Sprintf("STATE_%d", state)
}

// How Connections came to its answer.
const (
	Netlink = "netlink" // sock_diag: the kernel filtered, silent times are known
	Procfs  = "procfs"  // /proc/net/tcp and tcp6: silent times are not known
)

// Sockets is an answer of Connections, and how it was obtained.
type Sockets struct {
	Conns  []Conn
	Method string // Netlink or Procfs
	Why    error  // with Procfs on a running system: why not Netlink
}

// Connections returns the TCP connections of this network namespace, of every user, whose remote port is one of ports,
// in every state but LISTEN. It asks sock_diag (man 7 sock_diag), and where that is refused it reads /proc/net/tcp and tcp6.
// An error means that neither could be read. Connections of other network namespaces do not show here: see ConnectionsOf.
// The kernel gives no snapshot: a connection that opens or closes meanwhile may be missing.
func (f FS) Connections(ports []uint16) (Sockets, error) { return f.connections(ports, wantedStates) }

// Standing is Connections for those that take a slot, see Takes. After many visits the kernel keeps many that it waits out
// (TIME_WAIT).
func (f FS) Standing(ports []uint16) (Sockets, error) { return f.connections(ports, standingStates) }

func (f FS) connections(ports []uint16, states uint32) (Sockets, error) {
	ports = sortedPorts(ports)
	var refused error
	if f.real() {
		var conns []Conn
		if conns, refused = dumpConnections(ports, states); refused == nil {
			if f.learnt != nil && len(ports) > 0 {
				f.learnt.tells.Store(true)
			}
			return Sockets{Conns: conns, Method: Netlink}, nil
		}
	}
	conns, err := readNetTCP(filepath.Join(f.root(), "net"), ports)
	switch {
	case err != nil && refused != nil:
		return Sockets{}, fmt.Errorf("TCP connections: %w (and sock_diag: %w)", err, refused)
	case states == standingStates:
		conns = slices.DeleteFunc(conns, func(c Conn) bool { return !Takes(c.State) })
	}
	return Sockets{Conns: conns, Method: Procfs, Why: refused}, err
}

// ConnectionsOf is Connections for the network namespace that process pid is in, a container's for example.
// It reads /proc/PID/net/tcp and tcp6, which are open to every user.
func (f FS) ConnectionsOf(pid int, ports []uint16) (Sockets, error) {
	conns, err := readNetTCP(f.path(pid, "net"), sortedPorts(ports))
	if err != nil {
		return Sockets{}, fmt.Errorf("TCP connections of process %d: %w", pid, vanished(pid, err))
	}
	return Sockets{Conns: elsewhere(conns), Method: Procfs}, nil
}

func sortedPorts(ports []uint16) []uint16 {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	return slices.Compact(ports)
}

func hasPort(sorted []uint16, port uint16) bool {
	_, found := slices.BinarySearch(sorted, port)
	return found
}
