package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstPIDNS is the number of the pid namespace that a kernel starts with (PROC_PID_INIT_INO of linux/proc_ns.h).
const firstPIDNS = 0xEFFFFFFC

// NetworkOf returns a number that tells the network namespace of process pid from others: that of its table of connections,
// which each namespace has one of. Unlike the link in /proc/PID/ns, which is closed to other users, it needs no permission.
func (f FS) NetworkOf(pid int) (uint64, error) {
	if !f.real() {
		return f.Namespace(pid, "net")
	}
	var stat unix.Stat_t
	path := f.path(pid, "net", "tcp")
	if err := unix.Stat(path, &stat); err != nil {
		return 0, vanished(pid, &fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return stat.Ino, nil
}

// Confined says why connections, or processes, of the host cannot all be seen from here; nil where nothing says so.
type Confined struct {
	Network error // a network namespace of our own
	PIDs    error // a pid namespace of our own
	Alone   bool  // with no interface but the loopback
}

// Confinement finds out whether we are in namespaces of our own: a container, or a unit with PrivateNetwork.
func (f FS) Confinement() Confined {
	var c Confined
	if !f.real() {
		return c
	}
	self, err := f.Self()
	if err != nil {
		return c
	}
	ours, err := f.NetworkOf(self.PID)
	if first, err2 := f.NetworkOf(1); err == nil && err2 == nil && first != ours {
		c.Network = errors.New("this camwarden is in a network namespace of its own, and not in that of process 1")
	}
	interfaces, err := net.Interfaces()
	c.Alone = err == nil && !slices.ContainsFunc(interfaces, func(i net.Interface) bool { return i.Flags&net.FlagLoopback == 0 })
	if self.PIDNS != firstPIDNS {
		c.PIDs = errors.New("this camwarden is in a pid namespace of its own, a container most likely")
		if c.Network == nil && (c.Alone || slices.ContainsFunc(interfaces, paired)) {
			c.Network = errors.New("this camwarden is in a container with a network of its own")
		}
	}
	return c
}

// paired reports whether an interface is one end of a pair, whose other end is in another namespace (sysfs-class-net: iflink).
func paired(i net.Interface) bool {
	text, err := os.ReadFile(filepath.Join("/sys/class/net", i.Name, "iflink"))
	other, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
	return err == nil && err2 == nil && other != i.Index
}

// ConnectionsIn is Connections for the network namespace that process pid is in. Where we may enter it, the kernel is
// asked there, and tells silent times; else it is ConnectionsOf.
func (f FS) ConnectionsIn(pid int, ports []uint16) (Sockets, error) {
	if !f.real() {
		return f.ConnectionsOf(pid, ports)
	}
	conns, refused := dumpConnectionsIn(f.path(pid, "ns/net"), sortedPorts(ports))
	if refused == nil {
		return Sockets{Conns: elsewhere(conns), Method: Netlink}, nil
	}
	sockets, err := f.ConnectionsOf(pid, ports)
	if err != nil {
		return Sockets{}, err
	}
	sockets.Why = refused
	return sockets, nil
}

func elsewhere(conns []Conn) []Conn {
	for i := range conns {
		conns[i].Elsewhere = true
	}
	return conns
}

func dumpConnectionsIn(namespace string, ports []uint16) ([]Conn, error) {
	if len(ports) == 0 {
		return []Conn{}, nil
	}
	fd, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", namespace, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if fd == 0 {
		return nil, errors.New("no number for the namespace") // 0 would mean our own
	}
	conns, err := dump(portFilter(ports), wantedStates, fd)
	if err != nil {
		return nil, fmt.Errorf("sock_diag in %s: %w", namespace, err)
	}
	return slices.DeleteFunc(conns, func(conn Conn) bool { return !hasPort(ports, conn.Remote.Port()) }), nil
}
