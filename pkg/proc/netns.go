package proc

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

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
