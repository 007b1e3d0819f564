package discover

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
)

// announcePort is that of WS-Discovery (OASIS WS-Discovery 1.1 section 2.4).
const announcePort = 3702

// match is what a device announced of itself.
type match struct {
	port uint16
	path string
}

// group is where everybody who speaks WS-Discovery listens.
func group() netip.AddrPort { return netip.MustParseAddrPort("239.255.255.250:3702") }

// listen asks, by one datagram each, the addresses, or by multicast over every interface whoever is there, and notes what answers
// within the time-out. A network where that cannot be done is blind; the looks go on without.
func (r *run) listen(ctx context.Context, addresses []netip.Addr) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		r.blind("WS-Discovery", err.Error())
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = conn.SetReadDeadline(time.Now().Add(r.plan.Timeout))
	asked := map[netip.Addr]bool{}
	for _, addr := range addresses {
		if addr = addr.Unmap(); addr.Is4() {
			asked[addr] = true
			_, _ = conn.WriteToUDPAddrPort(probe(), netip.AddrPortFrom(addr, announcePort)) // who is not there cannot answer
		}
	}
	if addresses == nil {
		if err := multicast(conn); err != nil {
			r.blind("WS-Discovery by multicast", err.Error())
		}
	}
	buffer := make([]byte, 64<<10)
	for range 1 << 16 { // a device that answers without end is left after that many
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		addr := from.Addr().Unmap()
		if addresses != nil && !asked[addr] {
			continue // nobody asked it
		}
		if m, ok := readMatch(buffer[:n], addr); ok {
			r.mu.Lock()
			if _, twice := r.found[addr]; !twice {
				r.found[addr] = m
			}
			r.mu.Unlock()
		}
	}
}

// multicast sends the call over every interface that can carry it.
func multicast(conn *net.UDPConn) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	sent := 0
	var last error
	for _, one := range interfaces {
		if one.Flags&net.FlagUp == 0 || one.Flags&net.FlagMulticast == 0 {
			continue
		}
		if last = leaveBy(conn, one.Index); last != nil {
			continue
		}
		if _, last = conn.WriteToUDPAddrPort(probe(), group()); last == nil {
			sent++
		}
	}
	switch {
	case sent > 0:
		return nil
	case last != nil:
		return last
	default:
		return errors.New("no interface of this host carries multicast")
	}
}

// probe is the question: which devices of ONVIF are there? Each has an id of its own.
func probe() []byte {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // it never fails
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><s:Header><a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action><a:MessageID>uuid:%x-%x-%x-%x-%x</a:MessageID><a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header><s:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></s:Body></s:Envelope>`,
		id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// readMatch reads an answer. Of the addresses that it names only the port and the path count, and the port only where the address
// is the one that answered: a device that names another host is asked itself.
func readMatch(answer []byte, from netip.Addr) (match, bool) {
	d := xml.NewDecoder(strings.NewReader(strings.ToValidUTF8(string(answer), "?")))
	d.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	inside, ok := false, false
	m := match{}
	for range 10000 {
		next, err := d.RawToken()
		if err != nil {
			return m, ok
		}
		switch token := next.(type) {
		case xml.StartElement:
			inside = token.Name.Local == "XAddrs"
			ok = ok || token.Name.Local == "ProbeMatch"
		case xml.EndElement:
			inside = false
		case xml.CharData:
			if !inside {
				continue
			}
			for address := range strings.FieldsSeq(string(token)) {
				if found, fits := placeOf(address, from); fits && (m.path == "" || m.port == 0) {
					m = found
				}
			}
		}
	}
	return m, ok
}

func placeOf(address string, from netip.Addr) (match, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return match{}, false
	}
	path, err := camera.CleanPath(u.EscapedPath())
	if err != nil {
		return match{}, false
	}
	m := match{path: path}
	if host, err := netip.ParseAddr(u.Hostname()); err == nil && host.Unmap() == from {
		m.port = map[string]uint16{"http": 80, "https": 443}[u.Scheme]
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil && n > 0 {
			m.port = uint16(n)
		}
	}
	return m, true
}
