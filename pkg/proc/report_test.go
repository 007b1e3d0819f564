package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/fault"
)

// playReport runs in a process of its own, answers one Question on stdout and ends.
func playReport(text string) error {
	var question Question
	if err := json.Unmarshal([]byte(text), &question); err != nil {
		return err
	}
	if question.Hide {
		if err := hide(); err != nil {
			return err
		}
	}
	if question.Refuse != "" {
		if err := refuse(question.Refuse, syscall.Errno(question.Errno)); err != nil {
			return err
		}
	}
	answer := Answer{PidHidden: Default().PidHidden()}
	said := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	table := Default()
	var err error
	if question.ID.PID != 0 {
		answer.Presence, err = table.Look(question.ID)
		answer.LookError = said(err)
		_, err = table.Namespace(question.ID.PID, "net")
		answer.NamespaceError = said(err)
		_, _, err = table.Environ(question.ID.PID, "PATH")
		answer.EnvironError = said(err)
		answer.UID, _ = table.UID(question.ID.PID)
	}
	if question.Kill {
		answer.Result, err = table.Kill(context.Background(), question.ID, 50*time.Millisecond, 5*time.Second)
		answer.KillError = said(err)
		var failure *fault.Error
		if errors.As(err, &failure) {
			answer.KillHint = failure.Hint
		}
	}
	if question.Port != 0 {
		sockets, err := table.Connections([]uint16{question.Port})
		if err != nil {
			return err
		}
		answer.Method, answer.Why = sockets.Method, said(sockets.Why)
		if answer.Sockets, err = table.Own(sockets.Conns, nil); err != nil {
			return err
		}
	}
	if question.Variable != "" {
		if answer.Marked, answer.Unreadable, err = table.Marked(context.Background(), question.Variable); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

// hide makes the processes of others invisible, as many hardened hosts do.
func hide() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, "hidepid=2"); err != nil {
		return fmt.Errorf("hidepid: %w", err)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(nobody); err != nil {
		return err
	}
	return syscall.Setuid(nobody)
}

// refuse installs a seccomp filter for all threads, as container runtimes do.
func refuse(what string, errno syscall.Errno) error {
	number, argument, value := uint32(unix.SYS_PIDFD_OPEN), false, uint32(0)
	if what == "netlink" {
		number, argument, value = unix.SYS_SOCKET, true, unix.AF_NETLINK
	}
	const load, equal, end = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	deny := uint32(unix.SECCOMP_RET_ERRNO) | uint32(errno)
	program := []unix.SockFilter{
		{Code: load, K: 0}, // the number of the system call
		{Code: equal, Jf: 1, K: number},
		{Code: end, K: deny},
		{Code: end, K: unix.SECCOMP_RET_ALLOW},
	}
	if argument {
		program = []unix.SockFilter{
			{Code: load, K: 0},
			{Code: equal, Jf: 3, K: number},
			{Code: load, K: 16}, // the low half of the first argument, little-endian
			{Code: equal, Jf: 1, K: value},
			{Code: end, K: deny},
			{Code: end, K: unix.SECCOMP_RET_ALLOW},
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if failed != 0 {
		return fmt.Errorf("seccomp: %w", failed)
	}
	return nil
}

func dialRetry(address string) (net.Conn, error) {
	return net.DialTimeout("tcp", address, 10*time.Second)
}

// playLoopback connects to itself on port 5554 of the loopback of its own network namespace.
func playLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, up); err != nil {
		return fmt.Errorf("loopback up: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:5554")
	if err != nil {
		return err
	}
	defer listener.Close()
	conn, err := dialRetry("127.0.0.1:5554")
	if err != nil {
		return err
	}
	defer conn.Close()
	linger()
	return nil
}
