package proc

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// sockDestroy is SOCK_DESTROY of linux/sock_diag.h (since 4.9, where the kernel was built with CONFIG_INET_DIAG_DESTROY).
const sockDestroy = 21

// Disconnect makes the kernel break one connection of this host, as ss -K does: its process finds it aborted
// (ECONNABORTED), and the other side hears RST. The connection must be the very one that was seen: its ends, its inode and
// the kernel's own cookie are compared. One that is gone matches fs.ErrNotExist; without CAP_NET_ADMIN the error matches
// fs.ErrPermission.
func (f FS) Disconnect(conn Conn) error {
	if !f.real() {
		return fmt.Errorf("connection %s -> %s: a picture of a process table cannot be changed", conn.Local, conn.Remote)
	}
	socket, err := openDiag(0)
	if err != nil {
		return err
	}
	defer socket.Close()
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		var request []byte
		list := dumpRequest(family, wantedStates, portFilter([]uint16{conn.Remote.Port()}))
		err := socket.ask(unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP, list, func(data []byte) error {
			found, err := decodeDiag(data)
			if err == nil && found.Local == conn.Local && found.Remote == conn.Remote && found.Inode == conn.Inode {
				request = make([]byte, diagRequest)
				request[0], request[1] = family, unix.IPPROTO_TCP
				copy(request[8:], data[4:4+48]) // struct inet_diag_sockid, cookie included
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("sock_diag: %w", err)
		}
		if request == nil {
			continue
		}
		none := func([]byte) error { return nil }
		if err := socket.ask(sockDestroy, unix.NLM_F_ACK, request, none); err != nil {
			return fmt.Errorf("the kernel does not break %s -> %s: %w", conn.Local, conn.Remote, err)
		}
		return nil
	}
	return fmt.Errorf("connection %s -> %s: %w", conn.Local, conn.Remote, fs.ErrNotExist)
}
