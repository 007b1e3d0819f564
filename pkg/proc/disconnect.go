package proc

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/mdlayher/netlink"
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
	socket, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := socket.SetDeadline(time.Now().Add(dumpLimit)); err != nil {
		return err
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		messages, err := socket.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump},
			Data:   dumpRequest(family, portFilter([]uint16{conn.Remote.Port()})),
		})
		if err != nil {
			return fmt.Errorf("sock_diag: %w", err)
		}
		for _, message := range messages {
			found, err := decodeDiag(message.Data)
			if err != nil {
				return fmt.Errorf("sock_diag: %w", err)
			}
			if found.Local != conn.Local || found.Remote != conn.Remote || found.Inode != conn.Inode {
				continue
			}
			request := make([]byte, diagRequest)
			request[0], request[1] = family, unix.IPPROTO_TCP
			copy(request[8:], message.Data[4:4+48]) // struct inet_diag_sockid, cookie included
			_, err = socket.Execute(netlink.Message{
				Header: netlink.Header{Type: sockDestroy, Flags: netlink.Request | netlink.Acknowledge},
				Data:   request,
			})
			if err != nil {
				return fmt.Errorf("the kernel does not break %s -> %s: %w", conn.Local, conn.Remote, err)
			}
			return nil
		}
	}
	return fmt.Errorf("connection %s -> %s: %w", conn.Local, conn.Remote, fs.ErrNotExist)
}
