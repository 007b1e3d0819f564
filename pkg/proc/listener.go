package proc

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Listener is a socket at which a server of this host waits for connections.
type Listener struct {
	Local netip.AddrPort // where; an unspecified address stands for all of its network namespace. The zero AddrPort at a path
	Inode uint64         // of the socket: another life of the server has another one
	UID   uint32         // who made it
}

// Listening returns the socket that waits at a TCP address; found is false when none does in this network namespace. Where
// two wait, at the very address and at all of the host's, the kernel prefers the former, and so does this.
func (f FS) Listening(address netip.AddrPort) (listener Listener, found bool, err error) {
	listeners, err := readListeners(filepath.Join(f.root(), "net"))
	if err != nil {
		return Listener{}, false, err
	}
	listener, found = Waiting(listeners, Plain(address), ownAddress)
	return listener, found, nil
}

// Listeners returns the TCP sockets that wait in the network namespace of process pid. Its tables are open to every user.
func (f FS) Listeners(pid int) ([]Listener, error) {
	listeners, err := readListeners(f.path(pid, "net"))
	if err != nil {
		return nil, vanished(pid, err)
	}
	return listeners, nil
}

// Waiting returns the socket that waits at an address, of those of one network namespace. Own says which addresses are
// the namespace's.
func Waiting(listeners []Listener, address netip.AddrPort, own func(netip.Addr) bool) (listener Listener, found bool) {
	for _, l := range listeners {
		switch {
		case l.Local == address:
			return l, true
		case l.Local.Port() == address.Port() && l.Local.Addr().IsUnspecified() && own(address.Addr()):
			listener, found = l, true
		}
	}
	return listener, found
}

func readListeners(dir string) ([]Listener, error) {
	var listeners []Listener
	for _, name := range []string{"tcp", "tcp6"} {
		file, err := os.Open(filepath.Join(dir, name))
		if name == "tcp6" && errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		found, err := parseListeners(file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
		for _, l := range found {
			listeners = append(listeners, Listener{Local: l.Local, Inode: l.Inode, UID: l.UID})
		}
	}
	return listeners, nil
}

// Addresses returns the IP addresses of the network namespace of process pid (net/fib_trie, net/if_inet6), loopback ones
// left out. Its tables are open to every user.
func (f FS) Addresses(pid int) ([]netip.Addr, error) {
	trie, err := slurp(f.path(pid, "net", "fib_trie"))
	if err != nil {
		return nil, vanished(pid, err)
	}
	var found []netip.Addr
	add := func(addr netip.Addr, err error) {
		if err == nil && !addr.IsLoopback() && !slices.Contains(found, addr) {
			found = append(found, addr)
		}
	}
	last := ""
	for line := range strings.Lines(string(trie)) { // "|-- 172.17.0.2" and, below it, "/32 host LOCAL"
		line = strings.TrimSpace(line)
		if leaf, ok := strings.CutPrefix(line, "|-- "); ok {
			last = leaf
		} else if line == "/32 host LOCAL" {
			add(netip.ParseAddr(last))
		}
	}
	six, err := slurp(f.path(pid, "net", "if_inet6"))
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil // a kernel without IPv6, most likely
	}
	for line := range strings.Lines(string(six)) {
		raw, err := hex.DecodeString(strings.SplitN(line, " ", 2)[0])
		if addr, ok := netip.AddrFromSlice(raw); ok {
			add(addr, err)
		}
	}
	return found, err
}

// parseListeners reads the listening sockets, with which the table begins: the thousands of connections behind them are
// not looked at.
func parseListeners(table io.Reader) ([]Conn, error) {
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
		if state != listen {
			break
		}
		found = append(found, conn)
	}
	return found, lines.Err()
}

// ownAddress reports whether an address is one of this host.
func ownAddress(address netip.Addr) bool {
	if address.IsLoopback() {
		return true
	}
	interfaces, _ := net.InterfaceAddrs()
	for _, i := range interfaces {
		if prefix, err := netip.ParsePrefix(i.String()); err == nil && prefix.Addr().Unmap() == address {
			return true
		}
	}
	return false
}

// ListeningAt returns the socket that waits at a path (unix(7)), and who owns the path.
func (f FS) ListeningAt(path string) (listener Listener, found bool, err error) {
	file, err := os.Open(filepath.Join(f.root(), "net", "unix"))
	if err != nil {
		return Listener{}, false, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path; the flag is __SO_ACCEPTCON.
		fields := strings.SplitN(strings.Join(strings.Fields(lines.Text()), " "), " ", 8)
		if len(fields) < 8 || fields[3] != "00010000" || fields[7] != path {
			continue
		}
		if listener.Inode, err = strconv.ParseUint(fields[6], 10, 64); err != nil {
			return Listener{}, false, fmt.Errorf("%s: inode: %w", file.Name(), err)
		}
		if info, err := os.Stat(path); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				listener.UID = stat.Uid
			}
		}
		found = true // and on: the last of that name is the one that the path leads to
	}
	return listener, found, lines.Err()
}

// Holder returns the process that holds a listening socket; the zero Identity when it is hidden from this user, or gone.
func (f FS) Holder(l Listener) (Identity, error) {
	owned, err := f.Own([]Conn{{Inode: l.Inode}}, func(s Stat) bool { return strings.HasPrefix(s.Comm, "go2rtc") })
	if len(owned) != 1 || owned[0].PID == 0 {
		return Identity{}, err
	}
	id, err := f.Identify(owned[0].PID)
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, nil
	}
	return id, err
}
