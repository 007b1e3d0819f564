package proc

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of a process's start time. USER_HZ is 100 on every architecture that Go runs Linux on (man 7 time).
const tick = 10 * time.Millisecond

// BootTime returns how long ago the machine started, suspended time included (CLOCK_BOOTTIME, man 2 clock_gettime).
// It does not jump when somebody sets the clock, it is the clock that process start times are told in,
// and it is the same in all processes, so a deadline told in it can be kept in a file.
func BootTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		// Every kernel since 2.6.39 has this clock, and the arguments are constants.
		panic("proc: no CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(now.Nano())
}

// Age returns how long ago a process started, from its start in clock ticks since boot.
// A start in the future or beyond belief gives 0: an age that cannot be told must never look old.
func Age(start uint64) time.Duration {
	if start > math.MaxInt64/uint64(tick) {
		return 0
	}
	return max(0, BootTime()-time.Duration(start)*tick)
}
