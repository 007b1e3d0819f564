package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The parts of linux/inet_diag.h that we speak.
const (
	diagInfo     = 2 // INET_DIAG_INFO: the extension, and the attribute that carries struct tcp_info
	diagBytecode = 1 // INET_DIAG_REQ_BYTECODE
	diagHeader   = 72
	diagRequest  = 56

	opJump = 1 // INET_DIAG_BC_JMP
	opDGE  = 4 // INET_DIAG_BC_D_GE
	opDLE  = 5 // INET_DIAG_BC_D_LE
)

// dumpLimit bounds one dump. It takes about 10 ms for 5,000 sockets; this is against a kernel that does not answer at all.
const dumpLimit = 5 * time.Second

// dumpConnections asks the kernel for the connections to the given, sorted ports. Only those are copied out of it:
// with 5,000 connections that takes a quarter of the time of looking at all of them in /proc.
func dumpConnections(ports []uint16) ([]Conn, error) {
	if len(ports) == 0 {
		return []Conn{}, nil
	}
	conns, err := dump(portFilter(ports), 0)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	// The filter may have been coarser than the question.
	return slices.DeleteFunc(conns, func(conn Conn) bool { return !hasPort(ports, conn.Remote.Port()) }), nil
}

// dump returns every TCP connection that the filter accepts, in the network namespace of an open file; 0: in our own.
func dump(filter []byte, namespace int) ([]Conn, error) {
	socket, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{NetNS: namespace})
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	if err := socket.SetDeadline(time.Now().Add(dumpLimit)); err != nil {
		return nil, err
	}
	conns, err := dumpBy(socket, tcpDiag, dumpRequestOfBoth(filter))
	if err == nil {
		return conns, nil
	}
	// IPv4-mapped connections of an IPv6 socket are in the dump of AF_INET6 only, so no connection is seen twice.
	conns = []Conn{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		more, err := dumpBy(socket, unix.SOCK_DIAG_BY_FAMILY, dumpRequest(family, filter))
		if err != nil {
			return nil, err
		}
		conns = append(conns, more...)
	}
	return conns, nil
}

// dumpBy sends one request for a dump and returns what it brings.
func dumpBy(socket *netlink.Conn, kind netlink.HeaderType, request []byte) ([]Conn, error) {
	asked, err := socket.Send(netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump}, Data: request})
	if err != nil {
		return nil, err
	}
	conns := []Conn{}
	err = receive(socket, asked.Header.Sequence, func(data []byte) error {
		conn, err := decodeDiag(data)
		if len(conns) == cap(conns) { // twice the room: append gives a quarter more, and with thousands copies most of its time
			conns = slices.Grow(conns, max(len(conns), 64))
		}
		conns = append(conns, conn)
		return err
	})
	return conns, err
}

// receive reads the answers to a dump, in place. Receiving them one by one in memory of their own, as the library does,
// takes more time than the kernel needs to make them.
func receive(socket *netlink.Conn, sequence uint32, each func(data []byte) error) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	buffer := make([]byte, 1<<16) // the kernel fills at most 32 KiB at a time (netlink_dump)
	for {
		var n int
		var failure error
		err := raw.Read(func(fd uintptr) bool {
			n, _, failure = unix.Recvfrom(int(fd), buffer, unix.MSG_TRUNC)
			return !errors.Is(failure, unix.EAGAIN)
		})
		switch {
		case errors.Is(failure, unix.EINTR):
			continue
		case err != nil || failure != nil:
			return errors.Join(err, failure)
		case n > len(buffer):
			return fmt.Errorf("an answer of %d bytes does not fit", n)
		}
		done, err := answers(buffer[:n], sequence, each)
		if done || err != nil {
			return err
		}
	}
}

// answers walks the messages of one answer (struct nlmsghdr, man 7 netlink), and reports whether the last one was there.
func answers(data []byte, sequence uint32, each func(data []byte) error) (done bool, err error) {
	for len(data) > 0 {
		if len(data) < unix.SizeofNlMsghdr {
			return false, errors.New("half a message")
		}
		length := int(binary.NativeEndian.Uint32(data))
		if length < unix.SizeofNlMsghdr || length > len(data) {
			return false, fmt.Errorf("a message of %d bytes in %d", length, len(data))
		}
		kind, content := binary.NativeEndian.Uint16(data[4:]), data[unix.SizeofNlMsghdr:length]
		if binary.NativeEndian.Uint32(data[8:]) == sequence {
			switch kind {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if len(content) >= 4 {
					if errno := int32(binary.NativeEndian.Uint32(content)); errno < 0 {
						return true, unix.Errno(-errno)
					}
				}
				return true, nil
			case unix.NLMSG_NOOP:
			default:
				if err := each(content); err != nil {
					return false, err
				}
			}
		}
		data = data[min(len(data), (length+3)&^3):]
	}
	return false, nil
}

// tcpDiag is TCPDIAG_GETSOCK of linux/inet_diag.h, the older way to ask, which knows no families and so brings both: the
// kernel walks its table of connections once, and on a host with few of them that walk is all the work.
const tcpDiag = 18

// dumpRequestOfBoth is struct inet_diag_req and the filter as its attribute.
func dumpRequestOfBoth(filter []byte) []byte {
	const size = 60
	request := make([]byte, size, size+4+len(filter))
	request[3] = 1 << (diagInfo - 1)
	binary.NativeEndian.PutUint32(request[52:], wantedStates)
	return appendFilter(request, filter)
}

// wantedStates are all but LISTEN, and those of a socket that is merely bound.
const wantedStates = ^uint32(1<<listen | 1<<13)

// dumpRequest is struct inet_diag_req_v2 and the filter as its attribute.
func dumpRequest(family uint8, filter []byte) []byte {
	request := make([]byte, diagRequest, diagRequest+4+len(filter))
	request[0], request[1], request[2] = family, unix.IPPROTO_TCP, 1<<(diagInfo-1)
	binary.NativeEndian.PutUint32(request[4:], wantedStates)
	return appendFilter(request, filter)
}

func appendFilter(request, filter []byte) []byte {
	request = binary.NativeEndian.AppendUint16(request, uint16(4+len(filter)))
	request = binary.NativeEndian.AppendUint16(request, diagBytecode)
	return append(request, filter...)
}

// maxRanges keeps the filter short: the kernel checks its jumps in quadratic time and runs it for each socket.
const maxRanges = 256

// portFilter is a program for the kernel's filter machine that accepts a remote port in any of the given, sorted ones.
//
// Each operation is 4 bytes: code, where to go on when it is true, where to go on when not, both as a distance in bytes.
// Reaching exactly the end accepts, 4 bytes beyond rejects. The kernel refuses (EINVAL) a program unless a walk along
// the "true" distances visits every operation with its argument, and every other jump lands on that walk.
// So a range is: "port >= low, port <= high, jump to the end", a failed comparison goes to the next range, and the
// jump, which the machine always takes by its "false" distance, keeps the walk whole with its "true" one.
// D_GE and D_LE rather than the later D_EQ, so that old kernels understand it.
func portFilter(ports []uint16) []byte {
	ranges := portRanges(ports)
	if len(ranges) > maxRanges {
		ranges = []portRange{{ranges[0].low, ranges[len(ranges)-1].high}}
	}
	const comparison, jump = 8, 4
	const block = 2*comparison + jump
	end := len(ranges)*block - jump // the last range needs no jump: it falls off the end
	program := make([]byte, 0, end)
	operation := func(code, yes uint8, no int) {
		program = append(program, code, yes)
		program = binary.NativeEndian.AppendUint16(program, uint16(no))
	}
	port := func(number uint16) { operation(0, 0, int(number)) }
	for i, r := range ranges {
		start, next := i*block, (i+1)*block // behind the last range, next is end+4: reject
		operation(opDGE, comparison, next-start)
		port(r.low)
		operation(opDLE, comparison, next-start-comparison)
		port(r.high)
		if i < len(ranges)-1 {
			operation(opJump, jump, end-start-2*comparison)
		}
	}
	return program
}

type portRange struct{ low, high uint16 }

func portRanges(sorted []uint16) []portRange {
	var ranges []portRange
	for _, port := range sorted {
		if n := len(ranges); n > 0 && int(ranges[n-1].high)+1 == int(port) {
			ranges[n-1].high = port
			continue
		}
		ranges = append(ranges, portRange{port, port})
	}
	return ranges
}

// decodeDiag reads struct inet_diag_msg and, where it comes with one, struct tcp_info.
func decodeDiag(data []byte) (Conn, error) {
	if len(data) < diagHeader {
		return Conn{}, fmt.Errorf("answer of %d bytes, at least %d expected", len(data), diagHeader)
	}
	family, state := data[0], data[1]
	address := func(raw []byte) (netip.Addr, error) {
		switch family {
		case unix.AF_INET:
			return netip.AddrFrom4([4]byte(raw)), nil
		case unix.AF_INET6:
			return netip.AddrFrom16([16]byte(raw)).Unmap(), nil
		}
		return netip.Addr{}, fmt.Errorf("address family %d", family)
	}
	local, err := address(data[8:24])
	if err != nil {
		return Conn{}, err
	}
	remote, err := address(data[24:40])
	if err != nil {
		return Conn{}, err
	}
	conn := Conn{
		Local:     netip.AddrPortFrom(local, binary.BigEndian.Uint16(data[4:])),
		Remote:    netip.AddrPortFrom(remote, binary.BigEndian.Uint16(data[6:])),
		State:     stateName(state),
		RecvQueue: int(binary.NativeEndian.Uint32(data[56:])),
		UID:       binary.NativeEndian.Uint32(data[64:]),
		Inode:     uint64(binary.NativeEndian.Uint32(data[68:])),
	}
	switch state {
	case synSent, synRecv, newSynRecv, timeWait:
		return conn, nil // before the connection is made the field counts from the boot
	}
	conn.Silent, conn.SilentKnown, err = silence(data[diagHeader:])
	return conn, err
}

// silence finds tcpi_last_data_recv, in milliseconds; the kernel's counter wraps after 49 days. The attributes (struct nlattr)
// are walked by hand: with thousands of connections a decoder for each is most of the work.
func silence(attributes []byte) (time.Duration, bool, error) {
	const offset = int(unsafe.Offsetof(unix.TCPInfo{}.Last_data_recv))
	for len(attributes) > 0 {
		if len(attributes) < unix.SizeofNlAttr {
			return 0, false, errors.New("half an attribute")
		}
		length := int(binary.NativeEndian.Uint16(attributes))
		if length < unix.SizeofNlAttr || length > len(attributes) {
			return 0, false, fmt.Errorf("an attribute of %d bytes in %d", length, len(attributes))
		}
		if binary.NativeEndian.Uint16(attributes[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == diagInfo {
			info := attributes[unix.SizeofNlAttr:length] // longer or shorter than ours, as old as the kernel
			if len(info) < offset+4 {
				return 0, false, errors.New("tcp_info is too short")
			}
			return time.Duration(binary.NativeEndian.Uint32(info[offset:])) * time.Millisecond, true, nil
		}
		attributes = attributes[min(len(attributes), (length+3)&^3):]
	}
	return 0, false, nil
}
