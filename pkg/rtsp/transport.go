package rtsp

import (
	"net/netip"
	"strconv"
	"strings"
)

// transport is how the camera says that the video will come (RFC 2326 section 12.39).
type transport struct {
	tcp, udp  bool // what it names; neither when it does not say
	multicast bool
	secure    bool // SRTP
	channels  [2]int
	ports     [2]int     // it sends from; -1 each when it does not say
	source    netip.Addr // so does this
	ssrc      uint32
	hasSSRC   bool // some name one that they do not send
}

// parseTransport reads the first of the transports in the values of the header that can be read. Without any, what was asked for
// has been granted.
func parseTransport(values []string) transport {
	for _, value := range values {
		for _, one := range splitOutsideQuotes(value, ',') {
			if t, ok := parseOneTransport(one); ok {
				return t
			}
		}
	}
	return transport{channels: [2]int{-1, -1}, ports: [2]int{-1, -1}}
}

func parseOneTransport(text string) (t transport, ok bool) {
	t = transport{channels: [2]int{-1, -1}, ports: [2]int{-1, -1}}
	clientPort := false
	for i, field := range splitOutsideQuotes(text, ';') {
		name, value, _ := strings.Cut(field, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`)
		if specification, is := strings.CutPrefix(name, "rtp/"); is && i == 0 {
			profile, lower, _ := strings.Cut(specification, "/")
			ok, t.tcp, t.udp, t.secure = true, lower == "tcp", lower == "udp", strings.HasPrefix(profile, "savp")
			continue
		}
		switch name {
		case "interleaved":
			t.channels = pair(value, 255)
		case "server_port":
			t.ports = pair(value, 65535)
		case "client_port":
			clientPort = pair(value, 65535)[0] > 0
		case "multicast":
			t.multicast = true
		case "source":
			if address, err := netip.ParseAddr(strings.Trim(value, "[]")); err == nil {
				t.source = address.Unmap().WithZone("")
			}
		case "ssrc":
			if n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(value), "0x"), 16, 32); err == nil {
				t.ssrc, t.hasSSRC = uint32(n), true
			}
		}
	}
	switch {
	case t.channels[0] >= 0:
		ok, t.tcp, t.udp = true, true, false // whatever the lower transport is called
	case !t.tcp && (t.ports[0] > 0 || clientPort || t.multicast):
		t.udp = true
	}
	return t, ok
}

// pair reads "8-9", or "8", which means 9 too. What cannot be read is -1.
func pair(text string, most int) [2]int {
	one, two, both := strings.Cut(text, "-")
	first, err := strconv.Atoi(strings.TrimSpace(one))
	if err != nil || first < 0 || first > most {
		return [2]int{-1, -1}
	}
	second := first + 1
	if n, err := strconv.Atoi(strings.TrimSpace(two)); both && err == nil && n >= 0 && n <= most {
		second = n
	}
	return [2]int{first, min(second, most)}
}

// splitOutsideQuotes cuts text at each separator that stands outside quotes: mode="RECEIVE,PLAY" is one.
func splitOutsideQuotes(text string, separator byte) []string {
	var parts []string
	quoted, from := false, 0
	for i := range len(text) {
		switch text[i] {
		case '"':
			quoted = !quoted
		case separator:
			if !quoted {
				parts = append(parts, text[from:i])
				from = i + 1
			}
		}
	}
	return append(parts, text[from:])
}
