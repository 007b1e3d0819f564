package discover

import (
	"net"

	"golang.org/x/sys/unix"
)

// leaveBy makes multicast leave by one interface (IP_MULTICAST_IF, man 7 ip).
func leaveBy(conn *net.UDPConn, index int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(index)})
	}); err != nil {
		return err
	}
	return failed
}
