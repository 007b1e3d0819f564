package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Connection returns the TCP connection of this network namespace with these two ends, in whatever state; when there is none
// the error matches fs.ErrNotExist. It asks sock_diag for this one, which the kernel finds without walking its table; where
// that is refused it looks for it among all.
func (f FS) Connection(local, remote netip.AddrPort) (Conn, error) {
	local, remote = Plain(local), Plain(remote)
	if f.real() && !remote.Addr().IsLinkLocalUnicast() { // there the interface is a part of the address
		conn, err := findConnection(local, remote, f.learnt != nil && f.learnt.tells.Load())
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return conn, err
		}
	}
	sockets, err := f.Connections([]uint16{remote.Port()})
	if err != nil {
		return Conn{}, err
	}
	for _, c := range sockets.Conns {
		if c.Local == local && c.Remote == remote {
			return c, nil
		}
	}
	return Conn{}, absent(local, remote)
}

// Plain returns an end of a connection as the answers of this package write it: IPv4 as IPv4, and without a zone.
func Plain(end netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(end.Addr().Unmap().WithZone(""), end.Port())
}

func absent(local, remote netip.AddrPort) error {
	return fmt.Errorf("connection %s -> %s: %w", local, remote, fs.ErrNotExist)
}

func findConnection(local, remote netip.AddrPort, tells bool) (Conn, error) {
	socket, err := openDiag(0)
	if err != nil {
		return Conn{}, err
	}
	defer socket.Close()
	return findBy(socket, unix.IPPROTO_TCP, local, remote, tells)
}

// findBy asks for one connection of a protocol. A kernel that cannot tell of the protocol at all, for a module is missing, says
// the same ENOENT as one that has no such connection; so unless it is known to tell, it is then asked for a list that is empty
// whatever there is.
func findBy(socket *diag, protocol uint8, local, remote netip.AddrPort, tells bool) (Conn, error) {
	var found *Conn
	err := socket.ask(unix.SOCK_DIAG_BY_FAMILY, 0, findRequest(protocol, local, remote), func(data []byte) error {
		conn, err := decodeDiag(data)
		if conn.Local == local && conn.Remote == remote { // where there is no such connection, a listener of that port may answer
			found = &conn
		}
		return err
	})
	switch {
	case err == nil && found != nil:
		return *found, nil
	case err == nil, errors.Is(err, unix.ENOENT) && tells:
		return Conn{}, absent(local, remote)
	case !errors.Is(err, unix.ENOENT):
		return Conn{}, fmt.Errorf("sock_diag: %w", err)
	}
	nothing := func([]byte) error { return nil }
	if err := socket.ask(unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP, nothingRequest(protocol, family(remote)), nothing); err != nil {
		return Conn{}, errors.New("sock_diag cannot tell of this protocol: " + err.Error()) // no ENOENT to be taken for an absence
	}
	return Conn{}, absent(local, remote)
}

func family(end netip.AddrPort) uint8 {
	if end.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// nothingRequest is struct inet_diag_req_v2 for the connections in no state: the kernel answers without a walk.
func nothingRequest(protocol, family uint8) []byte {
	request := make([]byte, diagRequest)
	request[0], request[1] = family, protocol
	return request
}

// findRequest is struct inet_diag_req_v2 with the two plain ends of a connection, whatever its cookie.
func findRequest(protocol uint8, local, remote netip.AddrPort) []byte {
	request := make([]byte, diagRequest)
	request[0], request[1], request[2] = family(remote), protocol, 1<<(diagInfo-1)
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0))
	binary.BigEndian.PutUint16(request[8:], local.Port())
	binary.BigEndian.PutUint16(request[10:], remote.Port())
	copy(request[12:28], local.Addr().AsSlice())
	copy(request[28:44], remote.Addr().AsSlice())
	const anyCookie = ^uint64(0) // INET_DIAG_NOCOOKIE, twice
	binary.NativeEndian.PutUint64(request[48:], anyCookie)
	return request
}
