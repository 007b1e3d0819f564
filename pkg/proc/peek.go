package proc

import (
	"bytes"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// span is a part of a process's memory.
type span struct{ start, length uint64 }

// environmentAt finds in a stat where the process keeps the environment it was started with: env_start and env_end, which
// the kernel tells since 3.5 to who may ask (man 5 proc_pid_stat, fields 50 and 51).
func environmentAt(stat []byte) span {
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	field := func() uint64 {
		var text []byte
		text, rest, _ = bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
		n, _ := strconv.ParseUint(string(text), 10, 64)
		return n
	}
	for range 47 { // fields 3 to 49
		i := bytes.IndexByte(bytes.TrimLeft(rest, " "), ' ')
		if i < 0 {
			return span{}
		}
		rest = bytes.TrimLeft(rest, " ")[i:]
	}
	start, end := field(), field()
	if start == 0 || end <= start {
		return span{}
	}
	return span{start, end - start}
}

// longestPeek is how much of an environment is asked for in one call. Few are longer, and those have their file.
const longestPeek = 16 << 10

// peek reads a part of a process's memory until the next call; a third of the work that its file in /proc is. What it
// returns is of the process that has the pid now, and of the program that it runs now: who must know for certain reads
// the file. It answers no where the memory is closed to us, or where what it finds is no environment, as after an exec.
func (r *reader) peek(pid int, at span) ([]byte, bool) {
	if r.shut || !r.fs.real() || at.length == 0 || at.length > longestPeek {
		return nil, false
	}
	if uint64(cap(r.data)) < at.length {
		r.data = make([]byte, 0, longestPeek)
	}
	data := r.data[:at.length]
	local := []unix.Iovec{{Base: &data[0]}}
	local[0].SetLen(len(data))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(at.start), Len: len(data)}}, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		r.shut = true // by the rules of ptrace, or by a filter of system calls: the same for the next
	}
	if err != nil || n != len(data) || data[n-1] != 0 {
		return nil, false
	}
	first, _, _ := bytes.Cut(data, []byte{0})
	return data, bytes.IndexByte(first, '=') > 0
}
