package camsim

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// This file is what a camera's address can be: open, closed, deaf, or a signpost.

// listen opens the camera's address and settles it.
func (c *Camera) listen() (*net.TCPListener, error) {
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(c.config.Address))
	if err != nil {
		return nil, err
	}
	at, err := netip.ParseAddrPort(listener.Addr().String())
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	c.settle(at)
	return listener, nil
}

// open opens the camera's address for clients: each is counted, and spoken to over TLS where the camera does.
func (c *Camera) open() (net.Listener, error) {
	listener, err := c.listen()
	if err != nil {
		return nil, err
	}
	return countingListener{Listener: listener, camera: c}, nil
}

// openRefusing holds an address that nobody listens on: it is bound, so that nobody else takes it,
// and the kernel answers every SYN by RST.
func openRefusing(c *Camera) (func(), error) {
	family, at := unix.AF_INET, c.config.Address
	var bound unix.Sockaddr = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().Unmap().As4()}
	if at.Addr().Is6() {
		family = unix.AF_INET6
		bound = &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	// As net.Listen does: remains of earlier connections (TIME_WAIT) must not keep a camera from its port.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(fd, bound); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind %s: %w", at, err)
	}
	if name, err := unix.Getsockname(fd); err == nil {
		switch name := name.(type) {
		case *unix.SockaddrInet4:
			at = netip.AddrPortFrom(at.Addr(), uint16(name.Port))
		case *unix.SockaddrInet6:
			at = netip.AddrPortFrom(at.Addr(), uint16(name.Port))
		}
	}
	c.settle(at)
	return func() { _ = unix.Close(fd) }, nil
}

// openDeaf opens a listener whose accept queue is full for as long as it lives: the kernel drops every further SYN,
// as it does for a hung camera (listen(2), with tcp_abort_on_overflow 0).
func openDeaf(c *Camera) (func(), error) {
	listener, err := c.listen()
	if err != nil {
		return nil, err
	}
	shutdown := func() { _ = listener.Close() }
	if err := c.fillQueue(listener); err != nil {
		shutdown()
		return nil, err
	}
	return shutdown, nil
}

// fillQueue shrinks the queue to one connection and puts that one in. Its client side is closed at once: the queue keeps
// the server side, and no socket is left whose remote end is the camera, which others would count as a connection to it.
func (c *Camera) fillQueue(listener *net.TCPListener) error {
	raw, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.Listen(int(fd), 0) }); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("listen with an empty backlog: %w", failed)
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	filler, err := dialer.DialContext(c.ctx, "tcp", listener.Addr().String())
	if err != nil {
		return fmt.Errorf("fill the accept queue: %w", err)
	}
	_ = filler.Close()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && c.wait(time.Millisecond); {
		full := false
		if err := raw.Control(func(fd uintptr) { full, failed = queueFull(int(fd)) }); err != nil {
			return err
		}
		if full || failed != nil {
			return failed
		}
	}
	return fmt.Errorf("the accept queue of %s does not fill", listener.Addr())
}

// queueFull asks the kernel whether a listening socket drops what comes next. Of a listener, tcp_info tells
// the length of the accept queue as "unacked" and its limit as "sacked"; it is full when longer than its limit
// (Linux, tcp_get_info and sk_acceptq_is_full).
func queueFull(fd int) (bool, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false, fmt.Errorf("TCP_INFO: %w", err)
	}
	return info.Unacked > info.Sacked, nil
}

// openRedirecting opens a camera that names another one, which it brings along on the .254 of its /24.
func openRedirecting(c *Camera) (func(), error) {
	elsewhere := c.config.Address.Addr().Unmap()
	if elsewhere.Is4() {
		quad := elsewhere.As4()
		last := quad[3]
		if quad[3] = 254; last == 254 {
			quad[3] = 253
		}
		elsewhere = netip.AddrFrom4(quad)
	}
	target, err := Start(Config{
		Temper: Healthy, Address: netip.AddrPortFrom(elsewhere, 0), Path: c.config.Path, Codec: c.config.Codec, Clip: c.config.Clip, TLS: c.config.TLS,
	})
	if err != nil {
		return nil, err
	}
	c.elsewhere = target
	shutdown, err := openScripted(c, script{describe: redirect(target.URL())})
	if err != nil {
		target.Close()
		return nil, err
	}
	return func() {
		shutdown()
		target.Close()
	}, nil
}
