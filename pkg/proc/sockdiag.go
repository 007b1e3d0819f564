package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unsafe"

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

// dumpConnections asks the kernel for the connections to the given, sorted ports. Only those are copied out of it:
// with 5,000 connections that takes a quarter of the time of looking at all of them in /proc.
func dumpConnections(ports []uint16, states uint32) ([]Conn, error) {
	if len(ports) == 0 {
		return []Conn{}, nil
	}
	conns, err := dump(portFilter(ports), states, 0)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	// The filter may have been coarser than the question.
	return slices.DeleteFunc(conns, func(conn Conn) bool { return !hasPort(ports, conn.Remote.Port()) }), nil
}

// dump returns every TCP connection in one of the states that the filter accepts, in the network namespace of an open file;
// 0: in our own.
func dump(filter []byte, states uint32, namespace int) ([]Conn, error) {
	socket, err := openDiag(namespace)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	conns, err := dumpBy(socket, tcpDiag, dumpRequestOfBoth(states, filter))
	if err == nil {
		return conns, nil
	}
	// IPv4-mapped connections of an IPv6 socket are in the dump of AF_INET6 only, so no connection is seen twice.
	conns = []Conn{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		more, err := dumpBy(socket, unix.SOCK_DIAG_BY_FAMILY, dumpRequest(family, states, filter))
		if err != nil {
			return nil, err
		}
		conns = append(conns, more...)
	}
	return conns, nil
}

// dumpBy sends one request for a dump and returns what it brings.
func dumpBy(socket *diag, kind uint16, request []byte) ([]Conn, error) {
	conns := []Conn{}
	err := socket.ask(kind, unix.NLM_F_DUMP, request, func(data []byte) error {
		conn, err := decodeDiag(data)
		if len(conns) == cap(conns) { // twice the room: append gives a quarter more, and with thousands copies most of its time
			conns = slices.Grow(conns, max(len(conns), 8))
		}
		conns = append(conns, conn)
		return err
	})
	return conns, err
}

// tcpDiag is TCPDIAG_GETSOCK of linux/inet_diag.h, the older way to ask, which knows no families and so brings both: the
// kernel walks its table of connections once, and on a host with few of them that walk is all the work.
const tcpDiag = 18

// dumpRequestOfBoth is struct inet_diag_req and the filter as its attribute.
func dumpRequestOfBoth(states uint32, filter []byte) []byte {
	const size = 60
	request := make([]byte, size, size+4+len(filter))
	request[3] = 1 << (diagInfo - 1)
	binary.NativeEndian.PutUint32(request[52:], states)
	return appendFilter(request, filter)
}

// Sets of states: all but LISTEN, and those of a socket that is merely bound; and those in which a connection takes a slot.
const (
	wantedStates   = ^uint32(1<<listen | 1<<13)
	standingStates = uint32(1<<established | 1<<synSent)
)

// dumpRequest is struct inet_diag_req_v2 and the filter as its attribute.
func dumpRequest(family uint8, states uint32, filter []byte) []byte {
	request := make([]byte, diagRequest, diagRequest+4+len(filter))
	request[0], request[1], request[2] = family, unix.IPPROTO_TCP, 1<<(diagInfo-1)
	binary.NativeEndian.PutUint32(request[4:], states)
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
	info, err := tcpInfo(data[diagHeader:])
	if info == nil {
		return conn, err
	}
	const since, received = int(unsafe.Offsetof(unix.TCPInfo{}.Last_data_recv)), int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_received))
	if len(info) < since+4 {
		return conn, errors.New("tcp_info is too short")
	}
	// In milliseconds; the kernel's counter wraps after 49 days.
	conn.Silent, conn.SilentKnown = time.Duration(binary.NativeEndian.Uint32(info[since:]))*time.Millisecond, true
	if len(info) >= received+8 { // since Linux 4.2
		conn.Received, conn.ReceivedKnown = binary.NativeEndian.Uint64(info[received:]), true
	}
	return conn, nil
}

// tcpInfo finds struct tcp_info among the attributes of an answer; nil: there is none. The attributes (struct nlattr)
// are walked by hand: with thousands of connections a decoder for each is most of the work.
func tcpInfo(attributes []byte) ([]byte, error) {
	for len(attributes) > 0 {
		if len(attributes) < unix.SizeofNlAttr {
			return nil, errors.New("half an attribute")
		}
		length := int(binary.NativeEndian.Uint16(attributes))
		if length < unix.SizeofNlAttr || length > len(attributes) {
			return nil, fmt.Errorf("an attribute of %d bytes in %d", length, len(attributes))
		}
		if binary.NativeEndian.Uint16(attributes[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == diagInfo {
			return attributes[unix.SizeofNlAttr:length], nil // longer or shorter than ours, as old as the kernel
		}
		attributes = attributes[min(len(attributes), (length+3)&^3):]
	}
	return nil, nil
}
