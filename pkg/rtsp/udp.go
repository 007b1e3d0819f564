package rtsp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// window is how many packets may overtake another before it counts as lost.
const window = 32

// sockets are the two UDP ports the video comes to (RFC 3550 section 11: RTP even, RTCP the odd one above).
type sockets struct {
	rtp, rtcp *net.UDPConn
	port      int
	reports   int        // the port that the camera takes RTCP at; 0 or less where it named none
	camera    netip.Addr // nobody else is listened to, but whom the camera announced
	announced netip.Addr // the source of its answer to SETUP (RFC 2326 section 12.39); invalid when it named none
	stranger  netip.Addr // somebody who sent here unannounced
	granted   transport  // the port and the SSRC that the camera announced tell its packets from others', whatever address they leave it by
	buffer    []byte
	waiting   map[uint16][]byte // packets that came too early, by sequence number
	next      uint16
	began     bool
}

// listenUDP takes a pair of ports on the address that the conversation uses.
func listenUDP(local net.Addr, camera netip.Addr) (*sockets, error) {
	tcp, ok := local.(*net.TCPAddr)
	if !ok {
		return nil, errors.New("the conversation has no TCP address")
	}
	const tries = 32
	var err error
	for range tries {
		var s *sockets
		if s, err = listenPair(tcp, camera); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func listenPair(local *net.TCPAddr, camera netip.Addr) (*sockets, error) {
	one, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone})
	if err != nil {
		return nil, err
	}
	port := one.LocalAddr().(*net.UDPAddr).Port //nolint:errcheck // ListenUDP has no other address
	two, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone, Port: port ^ 1})
	if err != nil {
		_ = one.Close()
		return nil, err
	}
	if port%2 == 1 {
		one, two, port = two, one, port-1
	}
	_ = one.SetReadBuffer(1 << 20) // a key frame comes in one burst; the kernel gives what it may
	return &sockets{
		rtp: one, rtcp: two, port: port, camera: camera.Unmap(), buffer: make([]byte, 64<<10), waiting: map[uint16][]byte{},
	}, nil
}

// greet sends a packet each way, so that a firewall between lets the camera's through. Nobody reads them.
func (s *sockets) greet(rtpPort, rtcpPort int) {
	emptyRTP := []byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	emptyReport := []byte{0x80, 201, 0, 1, 0, 0, 0, 0}
	for _, one := range []struct {
		conn   *net.UDPConn
		port   int
		packet []byte
	}{{s.rtp, rtpPort, emptyRTP}, {s.rtcp, rtcpPort, emptyReport}} {
		if one.port > 1023 && one.port <= 65535 {
			_, _ = one.conn.WriteToUDPAddrPort(one.packet, netip.AddrPortFrom(s.camera, uint16(one.port)))
		}
	}
}

// sent reports whether a datagram is certainly the camera's: from the port and with the SSRC that it announced. A host with several
// addresses sends from any of them.
func (t transport) sent(port uint16, datagram []byte) bool {
	return t.hasSSRC && int(port) == t.ports[0] && len(datagram) >= 12 && binary.BigEndian.Uint32(datagram[8:]) == t.ssrc
}

// report sends RTCP to the camera, if it said where to, and reports whether it could.
func (s *sockets) report(raw []byte) bool {
	if s.reports <= 1023 || s.reports > 65535 {
		return false
	}
	_, err := s.rtcp.WriteToUDPAddrPort(raw, netip.AddrPortFrom(s.camera, uint16(s.reports)))
	return err == nil
}

// read returns the next datagram of the camera's, valid until the next call.
func (s *sockets) read(deadline time.Time) ([]byte, error) {
	_ = s.rtp.SetReadDeadline(deadline)
	for {
		n, from, err := s.rtp.ReadFromUDPAddrPort(s.buffer)
		sender := from.Addr().Unmap().WithZone("")
		if err != nil || sender == s.camera.WithZone("") || sender == s.announced {
			return s.buffer[:n], err
		}
		if s.granted.sent(from.Port(), s.buffer[:n]) {
			s.announced = sender
			return s.buffer[:n], nil
		}
		s.stranger = sender
	}
}

// order hands on packets by their sequence numbers. What is not there when the window is full is lost.
func (s *sockets) order(packet []byte, take func([]byte) error) error {
	if len(packet) < 12 {
		return take(packet)
	}
	number := uint16(packet[2])<<8 | uint16(packet[3])
	if !s.began {
		s.began, s.next = true, number
	}
	ahead := number - s.next
	switch {
	case ahead == 0:
		s.next++
		if err := take(packet); err != nil {
			return err
		}
		return s.release(take)
	case ahead > 1<<15:
		return nil // too late, or a duplicate
	case ahead > 1<<12:
		// The camera began to count anew.
		clear(s.waiting)
		s.next = number + 1
		return take(packet)
	}
	s.waiting[number] = append([]byte(nil), packet...)
	for len(s.waiting) > window {
		s.next++
		if err := s.release(take); err != nil {
			return err
		}
	}
	return nil
}

// release hands on what waited for its turn and has it now.
func (s *sockets) release(take func([]byte) error) error {
	for {
		packet, ok := s.waiting[s.next]
		if !ok {
			return nil
		}
		delete(s.waiting, s.next)
		s.next++
		if err := take(packet); err != nil {
			return err
		}
	}
}

// close gives the ports back. The nil sockets are closed already.
func (s *sockets) close() {
	if s != nil {
		_ = s.rtp.Close()
		_ = s.rtcp.Close()
	}
}

// glance is how long the video is listened to before the conversation gets a look, and blink how long that takes.
const (
	glance = 200 * time.Millisecond
	blink  = time.Millisecond
)

// receiveUDP takes the next datagram, or looks at the conversation when none comes: the camera may say that it has
// ended there, and a cancelled context shows there too.
func (t *talk) receiveUDP(deadline time.Time) error {
	if t.ctx.Err() != nil {
		return os.ErrDeadlineExceeded
	}
	until := time.Now().Add(glance)
	if deadline.Before(until) {
		until = deadline
	}
	packet, err := t.sockets.read(until)
	if err == nil {
		if t.wire.meter.left -= int64(len(packet)); t.wire.meter.left <= 0 {
			return errFlood
		}
		return t.sockets.order(packet, t.receiver.Take)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if !time.Now().Before(deadline) {
		return os.ErrDeadlineExceeded
	}
	return t.overhear()
}

// overhear reads what the conversation has to say just now, if anything.
func (t *talk) overhear() error {
	t.wire.until(time.Now().Add(blink))
	if _, err := t.wire.br.Peek(1); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.wire.failed = nil // nothing failed: it was only a look
			return nil
		}
		return err
	}
	t.wire.until(t.deadline())
	m, err := t.wire.next()
	if err == nil && m.request != nil {
		err = t.reply(m.request)
	}
	return err
}
