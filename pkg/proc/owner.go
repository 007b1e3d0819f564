package proc

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Own returns the connections with PID and Program filled in where a process that holds the socket is found.
// Reading the descriptors of every process is the most expensive question of all, so the processes that first prefers are
// asked first (nil: none), and the others only while a socket is without an owner. Where several processes share a socket,
// a preferred one is named, else the one with the lowest pid.
//
// A connection that stays without owner belongs to another user's process that we may not ask, to another pid namespace,
// to a process hidden by hidepid, or to nobody any more (Inode 0). The error is that of All, which see.
func (f FS) Own(conns []Conn, first func(Stat) bool) ([]Conn, error) {
	owned := slices.Clone(conns)
	wanted := map[uint64]bool{}
	for _, conn := range owned {
		if conn.Inode != 0 {
			wanted[conn.Inode] = true
		}
	}
	if len(wanted) == 0 {
		return owned, nil
	}
	stats, err := f.All(context.Background())
	owners := map[uint64]Stat{}
	ask := func(preferred bool) {
		for _, stat := range stats {
			if len(wanted) == 0 {
				return
			}
			if stat.Kernel || stat.Dead() || preferred != (first != nil && first(stat)) {
				continue
			}
			for _, inode := range f.sockets(stat.PID) {
				if wanted[inode] {
					delete(wanted, inode)
					owners[inode] = stat
				}
			}
		}
	}
	ask(true)
	ask(false)
	for i := range owned {
		if stat, ok := owners[owned[i].Inode]; ok {
			owned[i].PID, owned[i].Program = stat.PID, stat.Comm
		}
	}
	return owned, err
}

// sockets lists the inodes of the sockets a process holds, as far as we may know: what is refused stays without owner.
func (f FS) sockets(pid int) []uint64 {
	dir, err := os.Open(f.path(pid, "fd"))
	if err != nil {
		return nil
	}
	defer dir.Close()
	descriptors, _ := dir.Readdirnames(-1) // a process that ends now loses its descriptors one by one
	var inodes []uint64
	buffer := make([]byte, 64) // "socket:[N]" fits; a longer target is not a socket
	for _, name := range descriptors {
		n, err := unix.Readlinkat(int(dir.Fd()), name, buffer)
		if err != nil {
			continue
		}
		if inode, ok := parseSocketLink(buffer[:n]); ok {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}

func parseSocketLink(target []byte) (uint64, bool) {
	inner, ok := bytes.CutPrefix(target, []byte("socket:["))
	if !ok {
		return 0, false
	}
	inner, ok = bytes.CutSuffix(inner, []byte("]"))
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(inner), 10, 64)
	return inode, err == nil
}
