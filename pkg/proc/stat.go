package proc

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Stat is what /proc/PID/stat says about one process (man 5 proc_pid_stat).
type Stat struct {
	PID, PPID, PGRP, Session int
	Comm                     string // the program's name, at most 15 bytes, as the process chose it: not to be trusted
	State                    byte   // R running, S sleeping, D uninterruptible, T stopped, t traced, Z zombie, X dead, I idle
	Start                    uint64 // clock ticks (1/100 s) since boot
	UTime, STime             uint64 // clock ticks (1/100 s) of CPU spent
	RSSPages                 int64  // resident memory in pages
	Threads                  int
	Kernel                   bool // a kernel thread: no program, no files, no environment
	exiting                  bool // its first thread is on its way out
}

// Flags of the kernel's include/linux/sched.h: PF_KTHREAD, the only way to tell a kernel thread for certain, and PF_EXITING.
const (
	kernelThread  = 0x00200000
	threadExiting = 0x00000004
)

// Stat reads one process. When there is none the error matches fs.ErrNotExist.
func (f FS) Stat(pid int) (Stat, error) {
	data, err := f.read(pid, "stat")
	if err != nil {
		return Stat{}, err
	}
	stat, err := parseStat(data)
	if err != nil {
		return Stat{}, fmt.Errorf("%s: %w", f.path(pid, "stat"), err)
	}
	return stat, nil
}

// Dead says that the process has ended and only waits for its parent to take note: it holds no file and no connection.
// A process whose first thread has left while others work shows state Z too, and is alive: its number of threads tells.
func (s Stat) Dead() bool {
	return (s.State == 'Z' || s.State == 'X' || s.State == 'x') && s.Threads <= 1
}

// parseStat takes the name from the first '(' to the last ')', because a program may call itself "x) Z 1 (y":
// whatever follows the last ')' is numbers that the kernel wrote.
func parseStat(data []byte) (Stat, error) {
	open, last := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || last < open {
		return Stat{}, errors.New("no program name in parentheses")
	}
	const first, needed = 3, 22 // fields[0] is field 3 in the numbering of the manual page
	var fields [needed][]byte
	if n := split(data[last+1:], fields[:]); n < needed {
		return Stat{}, fmt.Errorf("%d fields after the program name, at least %d expected", n, needed)
	}
	if len(fields[0]) != 1 {
		return Stat{}, fmt.Errorf("state %q is not one letter", fields[0])
	}
	var failure error
	number := func(field int) int64 {
		n, err := strconv.ParseInt(string(fields[field-first]), 10, 64)
		if err != nil && failure == nil {
			failure = fmt.Errorf("field %d: %w", field, err)
		}
		return n
	}
	count := func(field int) uint64 {
		n, err := strconv.ParseUint(string(fields[field-first]), 10, 64)
		if err != nil && failure == nil {
			failure = fmt.Errorf("field %d: %w", field, err)
		}
		return n
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(data[:open])))
	if err != nil {
		return Stat{}, fmt.Errorf("field 1: %w", err)
	}
	stat := Stat{
		PID: pid, PPID: int(number(4)), PGRP: int(number(5)), Session: int(number(6)),
		Comm: string(data[open+1 : last]), State: fields[0][0],
		UTime: count(14), STime: count(15), Threads: int(number(20)), Start: count(22), RSSPages: number(24),
		Kernel: count(9)&kernelThread != 0, exiting: count(9)&threadExiting != 0,
	}
	if failure != nil {
		return Stat{}, failure
	}
	return stat, nil
}

// split cuts data at its blanks into fields, as many as there is room for, and returns how many there were.
func split(data []byte, fields [][]byte) int {
	n := 0
	for n < len(fields) {
		data = bytes.TrimLeft(data, " \t\r\n")
		if len(data) == 0 {
			break
		}
		end := bytes.IndexAny(data, " \t\r\n")
		if end < 0 {
			end = len(data)
		}
		fields[n], data = data[:end], data[end:]
		n++
	}
	return n
}
