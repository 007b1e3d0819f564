package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// diagLimit bounds one answer of the kernel. A list takes about 10 ms for 5,000 sockets; this is against a kernel that does
// not answer at all.
const diagLimit = 5 * time.Second

// diag is a socket to the kernel's sock_diag (man 7 sock_diag, man 7 netlink). It blocks its thread: the kernel makes the first
// part of an answer while the question is sent, and to wait for it by the poller would take as long once more.
type diag struct {
	fd       int
	sequence uint32
	buffer   []byte
}

// openDiag opens a socket in the network namespace of an open file; 0: in our own. Close it.
func openDiag(namespace int) (*diag, error) {
	if namespace == 0 {
		return newDiag()
	}
	var d *diag
	var err error
	visited := make(chan struct{})
	go func() {
		defer close(visited)
		d, err = newDiagIn(namespace)
	}()
	<-visited
	return d, err
}

// newDiagIn takes its thread to the namespace and back. A thread that does not come back ends with its goroutine, unless it is the
// main one, which never ends: it may not stay there, for /proc/self/net is where the main thread is.
func newDiagIn(namespace int) (*diag, error) {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("our own network namespace: %w", err)
	}
	defer func() { _ = unix.Close(home) }()
	if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("setns: %w", err)
	}
	d, err := newDiag()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		if d != nil {
			d.Close()
		}
		return nil, fmt.Errorf("back to our own network namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return d, err
}

func newDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	limit := unix.NsecToTimeval(diagLimit.Nanoseconds())
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("setsockopt: %w", err)
		}
	}
	return &diag{fd: fd}, nil
}

// Close lets go of the socket.
func (d *diag) Close() { _ = unix.Close(d.fd) }

// ask sends one request and hands over each message of the answer, which is valid during that call alone. What the kernel
// refuses is the unix.Errno it gives.
func (d *diag) ask(kind, flags uint16, request []byte, each func(data []byte) error) error {
	d.sequence++
	message := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(request)) // struct nlmsghdr
	binary.NativeEndian.PutUint32(message, uint32(cap(message)))
	binary.NativeEndian.PutUint16(message[4:], kind)
	binary.NativeEndian.PutUint16(message[6:], flags|unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(message[8:], d.sequence)
	message = append(message, request...)
	until := time.Now().Add(diagLimit)
	for {
		err := unix.Sendto(d.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		switch {
		case err == nil:
			return d.receive(until, each)
		case !errors.Is(err, unix.EINTR) || time.Now().After(until):
			return fmt.Errorf("send: %w", err)
		}
	}
}

// receive reads the answer to the last request, in place.
func (d *diag) receive(until time.Time, each func(data []byte) error) error {
	if d.buffer == nil {
		d.buffer = make([]byte, 1<<15) // the kernel fills no more at a time (netlink_dump)
	}
	for {
		n, from, err := unix.Recvfrom(d.fd, d.buffer, unix.MSG_TRUNC)
		sender, known := from.(*unix.SockaddrNetlink)
		switch {
		case errors.Is(err, unix.EAGAIN), time.Now().After(until):
			return fmt.Errorf("the kernel did not answer within %s", diagLimit)
		case errors.Is(err, unix.EINTR), err == nil && (!known || sender.Pid != 0): // not from the kernel
			continue
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		case n > len(d.buffer):
			return fmt.Errorf("an answer of %d bytes does not fit", n)
		}
		done, err := answers(d.buffer[:n], d.sequence, each)
		if done || err != nil {
			return err
		}
	}
}

// answers walks the messages of one answer (struct nlmsghdr, man 7 netlink), and reports whether the last one was there.
func answers(data []byte, sequence uint32, each func(data []byte) error) (done bool, err error) {
	for len(data) > 0 {
		if len(data) < unix.SizeofNlMsghdr {
			return false, errors.New("half a message")
		}
		length := int(binary.NativeEndian.Uint32(data))
		if length < unix.SizeofNlMsghdr || length > len(data) {
			return false, fmt.Errorf("a message of %d bytes in %d", length, len(data))
		}
		kind, flags, content := binary.NativeEndian.Uint16(data[4:]), binary.NativeEndian.Uint16(data[6:]), data[unix.SizeofNlMsghdr:length]
		if binary.NativeEndian.Uint32(data[8:]) == sequence {
			switch kind {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if len(content) >= 4 {
					if errno := int32(binary.NativeEndian.Uint32(content)); errno < 0 {
						return true, unix.Errno(-errno)
					}
				}
				return true, nil
			case unix.NLMSG_NOOP:
			default:
				if err := each(content); err != nil {
					return false, err
				}
				if flags&unix.NLM_F_MULTI == 0 {
					return true, nil // it is the whole answer
				}
			}
		}
		data = data[min(len(data), (length+3)&^3):]
	}
	return false, nil
}
