package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Feeder returns the process, of those asked about, that has the pipe open which process pid reads as its standard input; 0:
// none of them, there is no pipe, or it is closed to us.
func (f FS) Feeder(pid int, among []int) int {
	pipe, err := os.Readlink(f.path(pid, "fd", "0"))
	if err != nil || !strings.HasPrefix(pipe, "pipe:") {
		return 0
	}
	for _, other := range among {
		dir := f.path(other, "fd")
		names, err := list(dir)
		if err != nil || other == pid {
			continue
		}
		for _, fd := range numbers(names) {
			if link, err := os.Readlink(filepath.Join(dir, strconv.Itoa(fd))); err == nil && link == pipe {
				return other
			}
		}
	}
	return 0
}
