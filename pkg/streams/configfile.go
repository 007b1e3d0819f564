package streams

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ConfigFile returns the path of go2rtc's configuration file, empty when it has none, and what is known of whether it
// can write there: with every removal of a stream it truncates the file and writes it anew. Where that cannot be seen from
// here, it is taken to be possible.
func (k *Keeper) ConfigFile(ctx context.Context) (path string, writable bool, err error) {
	info, err := k.Client.Info(ctx)
	switch {
	case err != nil:
		return "", false, err
	case info.ConfigPath == "":
		return "", false, nil
	}
	relay := k.Relay()
	if relay == nil {
		return info.ConfigPath, true, nil
	}
	seen := info.ConfigPath
	if relay.ID.PID != 0 { // it may be in a container, with files of its own
		if inside := fmt.Sprintf("/proc/%d/root%s", relay.ID.PID, seen); exists(inside) {
			seen = inside
		}
	}
	stat, known := look(seen)
	return info.ConfigPath, !known || mayWrite(stat, relay.UID) && !fixed(seen), nil
}

func look(path string) (stat unix.Stat_t, known bool) {
	err := unix.Stat(path, &stat)
	return stat, err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// mayWrite reads the mode as the kernel does (path_resolution(7)). Whether the user is in the group is not known: it is
// taken for so.
func mayWrite(stat unix.Stat_t, uid uint32) bool {
	mode := fs.FileMode(stat.Mode).Perm()
	switch {
	case uid == 0:
		return true
	case stat.Uid == uid:
		return mode&0o200 != 0
	}
	return mode&0o022 != 0
}

// fixed reports whether not even root can write: the file system is mounted read-only, or the file is immutable (chattr(1)).
func fixed(path string) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) == nil && st.Flags&unix.ST_RDONLY != 0 {
		return true
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	const immutable = 0x10 // FS_IMMUTABLE_FL of linux/fs.h
	flags, err := unix.IoctlGetInt(int(file.Fd()), unix.FS_IOC_GETFLAGS)
	return err == nil && flags&immutable != 0
}
