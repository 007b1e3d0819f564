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
	if !slices.ContainsFunc(conns, func(c Conn) bool { return c.Inode != 0 }) {
		return slices.Clone(conns), nil
	}
	stats, err := f.All(context.Background())
	owned, _ := f.OwnAmong(stats, conns, first)
	return owned, err
}

// Held is what a process was seen to hold while owners were looked for.
type Held struct {
	FDs     int      // open descriptors
	Sockets []uint64 // inodes of its sockets of every kind
}

// OwnAmong is Own for a process table that has been read already. It also tells what the owners hold, by pid, so that they
// need not be asked again.
func (f FS) OwnAmong(stats []Stat, conns []Conn, first func(Stat) bool) ([]Conn, map[int]Held) {
	owned := slices.Clone(conns)
	wanted := map[uint64]bool{}
	for _, conn := range owned {
		if conn.Inode != 0 {
			wanted[conn.Inode] = true
		}
	}
	owners, all := map[uint64]Stat{}, map[int]Held{}
	for _, preferred := range []bool{true, false} {
		if len(wanted) == 0 {
			break
		}
		var asked []Stat
		for _, stat := range stats {
			if !stat.Kernel && !stat.Dead() && preferred == (first != nil && first(stat)) {
				asked = append(asked, stat)
			}
		}
		for inode, stat := range f.holders(asked, wanted, all) {
			delete(wanted, inode)
			owners[inode] = stat
		}
	}
	for i := range owned {
		if stat, ok := owners[owned[i].Inode]; ok {
			owned[i].PID, owned[i].Program = stat.PID, stat.Comm
		}
	}
	return owned, all
}

// holders finds who of the processes holds which of the wanted sockets; of several the one that stands first. All gets what
// those hold that hold one.
func (f FS) holders(stats []Stat, wanted map[uint64]bool, all map[int]Held) map[uint64]Stat {
	held := make([]Held, len(stats))
	_ = f.share(context.Background(), len(stats), each, func(r *reader, i int) {
		held[i].FDs = r.sockets(stats[i].PID, func(inode uint64) { held[i].Sockets = append(held[i].Sockets, inode) })
	})
	holders := map[uint64]Stat{}
	for i, h := range held {
		for _, inode := range h.Sockets {
			if !wanted[inode] {
				continue
			}
			all[stats[i].PID] = h
			if _, taken := holders[inode]; !taken {
				holders[inode] = stats[i]
			}
		}
	}
	return holders
}

// sockets tells the inodes of the sockets a process holds, and returns how many descriptors it has; -1 when they are
// closed to us: what is refused stays without owner.
func (r *reader) sockets(pid int, tell func(inode uint64)) int {
	name := r.name(pid, "fd")
	fd, err := again(func() (int, error) {
		return unix.Openat(r.root, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	descriptors, _ := dir.Readdirnames(-1) // a process that ends now loses its descriptors one by one
	buffer := r.data[:64]                  // "socket:[N]" fits; a longer target is not a socket
	for _, name := range descriptors {
		n, err := unix.Readlinkat(fd, name, buffer)
		if err != nil {
			continue
		}
		if inode, ok := parseSocketLink(buffer[:n]); ok {
			tell(inode)
		}
	}
	return len(descriptors)
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
