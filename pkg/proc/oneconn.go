package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Connection returns the TCP connection of this network namespace with these two ends, in whatever state; when there is none
// the error matches fs.ErrNotExist. It asks sock_diag for this one, which the kernel finds without walking its table; where
// that is refused it looks for it among all.
func (f FS) Connection(local, remote netip.AddrPort) (Conn, error) {
	local, remote = plain(local), plain(remote)
	if f.real() && !remote.Addr().IsLinkLocalUnicast() { // there the interface is a part of the address
		conn, err := findConnection(local, remote)
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

// plain is an end as decodeDiag writes it.
func plain(end netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(end.Addr().Unmap().WithZone(""), end.Port())
}

func absent(local, remote netip.AddrPort) error {
	return fmt.Errorf("connection %s -> %s: %w", local, remote, fs.ErrNotExist)
}

func findConnection(local, remote netip.AddrPort) (Conn, error) {
	socket, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return Conn{}, err
	}
	defer socket.Close()
	if err := socket.SetDeadline(time.Now().Add(dumpLimit)); err != nil {
		return Conn{}, err
	}
	messages, err := socket.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request}, Data: findRequest(local, remote),
	})
	if errors.Is(err, unix.ENOENT) {
		return Conn{}, absent(local, remote)
	}
	if err != nil {
		return Conn{}, fmt.Errorf("sock_diag: %w", err)
	}
	for _, message := range messages {
		conn, err := decodeDiag(message.Data)
		if err != nil {
			return Conn{}, fmt.Errorf("sock_diag: %w", err)
		}
		if conn.Local == local && conn.Remote == remote { // where there is no such connection, a listener of that port may answer
			return conn, nil
		}
	}
	return Conn{}, absent(local, remote)
}

// findRequest is struct inet_diag_req_v2 with the ends of one connection, whatever its cookie.
func findRequest(local, remote netip.AddrPort) []byte {
	request := make([]byte, diagRequest)
	request[1], request[2] = unix.IPPROTO_TCP, 1<<(diagInfo-1)
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0))
	binary.BigEndian.PutUint16(request[8:], local.Port())
	binary.BigEndian.PutUint16(request[10:], remote.Port())
	request[0] = unix.AF_INET6
	if remote.Addr().Unmap().Is4() {
		request[0] = unix.AF_INET
	}
	copy(request[12:28], local.Addr().Unmap().AsSlice())
	copy(request[28:44], remote.Addr().Unmap().AsSlice())
	const anyCookie = ^uint64(0) // INET_DIAG_NOCOOKIE, twice
	binary.NativeEndian.PutUint64(request[48:], anyCookie)
	return request
}
