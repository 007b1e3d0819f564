package archive

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// entry is one name of a folder as getdents64(2) tells it, without a further call for each.
type entry struct {
	name    string
	inode   uint64
	regular bool
	folder  bool
}

// list reads a folder from its beginning.
func list(dir int) ([]entry, error) {
	if _, err := unix.Seek(dir, 0, 0); err != nil {
		return nil, err
	}
	var entries []entry
	buffer := make([]byte, 1<<15)
	for {
		n, err := unix.Getdents(dir, buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		case n <= 0:
			return entries, nil
		}
		for rest := buffer[:n]; len(rest) > 0; {
			var e entry
			if e, rest = parseEntry(dir, rest); e.name != "." && e.name != ".." {
				entries = append(entries, e)
			}
		}
	}
}

// parseEntry reads the first struct linux_dirent64 of buffer: inode (8 bytes), offset (8), length (2), type (1), name.
func parseEntry(dir int, buffer []byte) (e entry, rest []byte) {
	const header = 19
	length := int(binary.NativeEndian.Uint16(buffer[16:]))
	name, _, _ := bytes.Cut(buffer[header:length], []byte{0})
	e = entry{name: string(name), inode: binary.NativeEndian.Uint64(buffer)}
	switch buffer[18] {
	case unix.DT_REG:
		e.regular = true
	case unix.DT_DIR:
		e.folder = true
	case unix.DT_UNKNOWN: // some file systems do not say
		var stat unix.Stat_t
		if unix.Fstatat(dir, e.name, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil {
			e.regular = stat.Mode&unix.S_IFMT == unix.S_IFREG
			e.folder = stat.Mode&unix.S_IFMT == unix.S_IFDIR
		}
	}
	return e, buffer[length:]
}

// openFolder opens a folder that is no symlink. It must be closed.
func openFolder(parent int, name string) (int, error) {
	return unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}
