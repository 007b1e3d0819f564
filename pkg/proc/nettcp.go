package proc

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// readNetTCP reads tcp and tcp6 in a net directory of a process table (kernel: Documentation/networking/proc_net_tcp).
func readNetTCP(dir string, ports []uint16) ([]Conn, error) {
	found := []Conn{}
	for _, name := range []string{"tcp", "tcp6"} {
		conns, err := readNetTCPFile(filepath.Join(dir, name), ports)
		if name == "tcp6" && errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		found = append(found, conns...)
	}
	return found, nil
}

func readNetTCPFile(path string, ports []uint16) ([]Conn, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	conns, err := parseNetTCP(file, ports)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return conns, nil
}

// parseNetTCP refuses a table with a line it does not understand: half a table would look like few connections.
func parseNetTCP(table io.Reader, ports []uint16) ([]Conn, error) {
	var found []Conn
	lines := bufio.NewScanner(table)
	for number := 1; lines.Scan(); number++ {
		if number == 1 {
			continue // the names of the columns
		}
		conn, state, err := parseNetTCPLine(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if state != listen && hasPort(ports, conn.Remote.Port()) {
			found = append(found, conn)
		}
	}
	return found, lines.Err()
}

func parseNetTCPLine(line string) (Conn, uint8, error) {
	// sl local remote st tx:rx tr:tm->when retrnsmt uid timeout inode ...
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return Conn{}, 0, fmt.Errorf("%d columns, at least 10 expected", len(fields))
	}
	local, err := parseHexAddress(fields[1])
	if err != nil {
		return Conn{}, 0, err
	}
	remote, err := parseHexAddress(fields[2])
	if err != nil {
		return Conn{}, 0, err
	}
	state, err := strconv.ParseUint(fields[3], 16, 8)
	if err != nil {
		return Conn{}, 0, fmt.Errorf("state: %w", err)
	}
	_, received, ok := strings.Cut(fields[4], ":")
	queue, err := strconv.ParseUint(received, 16, 32)
	if !ok || err != nil {
		return Conn{}, 0, fmt.Errorf("queues %q", fields[4])
	}
	uid, err := strconv.ParseUint(fields[7], 10, 32)
	if err != nil {
		return Conn{}, 0, fmt.Errorf("user: %w", err)
	}
	inode, err := strconv.ParseUint(fields[9], 10, 64)
	if err != nil {
		return Conn{}, 0, fmt.Errorf("inode: %w", err)
	}
	return Conn{
		Local: local, Remote: remote, State: stateName(uint8(state)),
		Inode: inode, UID: uint32(uid), RecvQueue: int(queue),
	}, uint8(state), nil
}

// parseHexAddress reads "0100007F:022A". The address is printed as 32-bit words in the byte order of the machine,
// of memory that holds it in the order of the network; the port is a plain number.
func parseHexAddress(text string) (netip.AddrPort, error) {
	host, port, ok := strings.Cut(text, ":")
	number, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q", text)
	}
	raw, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q", text)
	}
	for word := raw; len(word) >= 4; word = word[4:] {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	address, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q", text)
	}
	return netip.AddrPortFrom(address.Unmap(), uint16(number)), nil
}
