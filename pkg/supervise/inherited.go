package supervise

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// keepInherited marks all open files but the first three close-on-exec. What Go opens is so already; a file inherited
// from cron, ssh or a shell is not, and a child would keep its lock or its connection open.
// Only the flag changes, which means something at an exec alone: our own use of the files is not touched, and files that
// os/exec hands to a child on purpose are copies without the flag. Not close_range(CLOSE_RANGE_CLOEXEC): that needs Linux 5.11.
func keepInherited() error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= 2 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if errors.Is(err, unix.EBADF) { // closed since it was listed
			continue
		}
		if err != nil {
			return err
		}
		if flags&unix.FD_CLOEXEC == 0 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags|unix.FD_CLOEXEC); err != nil && !errors.Is(err, unix.EBADF) {
				return err
			}
		}
	}
	return nil
}
