package sweep

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

func signalName(s unix.Signal) string { return strings.TrimPrefix(unix.SignalName(s), "SIG") }

// stateText says what a process does that does not die.
func stateText(state byte) string {
	switch state {
	case 'D':
		return "state D: it waits in the kernel, for a disk or a frozen cgroup, and dies when that ends"
	case 'T', 't':
		return "state T: it is stopped"
	case 0:
		return "its state cannot be seen"
	default:
		return "state " + string(rune(state))
	}
}

// Count is a number with its noun: "1 camera", "17 cameras".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Processes is a number of processes.
func Processes(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}
