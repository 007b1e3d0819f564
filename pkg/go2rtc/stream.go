package go2rtc

import (
	"net/netip"
	"strconv"
	"strings"
)

// Stream is what go2rtc says of one of its streams. Nothing in it holds a password.
type Stream struct {
	Name      string
	Masked    bool // the name is not the real one, since go2rtc or we hid a part of it: it cannot be asked for
	Producers []Producer
	Consumers []Consumer

	// Unseen says that go2rtc told nothing of it. Before 1.9.4 it did so while the stream was busy.
	Unseen bool
}

// Idle reports whether the stream is seen to have neither a consumer nor a connection. A connection that is being made
// does not show.
func (s Stream) Idle() bool {
	if s.Unseen || len(s.Consumers) > 0 {
		return false
	}
	for _, p := range s.Producers {
		if p.Connected() {
			return false
		}
	}
	return true
}

// Producer is a source of a stream. Until it is connected, Source is all there is.
type Producer struct {
	Source     string // its URL, redacted; with go2rtc's options while it is not connected
	ID         uint64 // unique while the server runs; 0 before 1.9.4, and when not connected
	Format     string // "rtsp"; before 1.9.4 "RTSP active producer"
	Protocol   string // "rtsp+tcp"; empty before 1.9.4
	RemoteAddr string // "192.168.125.19:554", perhaps with words behind it
	BytesRecv  int64
	Codec      string // of its video, when it is received: "h264", "hevc" (before 1.9.4 "h265"), "mjpeg"

	at *place
}

// Connected reports whether it has a connection to its source, or had one that go2rtc is trying to renew. A connection
// that is being made does not show.
func (p Producer) Connected() bool { return p.ID != 0 || p.RemoteAddr != "" || p.Format != "" }

// Explained counts the connections to each address that the connected producers of streams account for.
func Explained(streams []Stream) map[netip.AddrPort]int {
	explained := map[netip.AddrPort]int{}
	for _, s := range streams {
		for _, p := range s.Producers {
			first, _, _ := strings.Cut(p.RemoteAddr, " ")
			if remote, err := netip.ParseAddrPort(first); err == nil && p.Connected() {
				explained[netip.AddrPortFrom(remote.Addr().Unmap().WithZone(""), remote.Port())]++
			}
		}
	}
	return explained
}

// Leads is where it leads: the host as it is written, without brackets, and the port. What is no URL, and what go2rtc has
// masked, leads nowhere that could be told.
func (p Producer) Leads() (host string, port uint16, known bool) {
	at := p.place()
	if at == nil || at.host == "" {
		return "", 0, false
	}
	n, err := strconv.ParseUint(at.port, 10, 16)
	return at.host, uint16(n), err == nil
}

// place is where its pictures come from.
func (p Producer) place() *place {
	if p.at != nil {
		return p.at
	}
	return placeOf(p.Source)
}

// compare compares where its pictures come from with what was meant.
func (p Producer) compare(meant *place) likeness {
	at := p.place()
	result := at.compare(meant)
	if result != different || at == nil || p.ID != 0 || !p.Connected() {
		return result
	}
	// Before 1.9.4 a connected source is listed by the name that the camera gives itself (Content-Base), which has often
	// another host, and always a slash at its end.
	named := *at
	named.path = strings.TrimSuffix(named.path, "/")
	if remote, ok := p.remote(); ok {
		named.host, named.port = remote.Addr().String(), strconv.Itoa(int(remote.Port()))
	}
	return named.compare(meant)
}

// remote is where its connection ends.
func (p Producer) remote() (netip.AddrPort, bool) {
	first, _, _ := strings.Cut(p.RemoteAddr, " ")
	remote, err := netip.ParseAddrPort(first)
	return netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()), err == nil
}

// Consumer is somebody who is given a stream.
type Consumer struct {
	ID         uint64 // unique while the server runs; 0 before 1.9.4
	Format     string // "rtsp", "mse/fmp4", "keyframe"; before 1.9.4 "RTSP passive consumer", and "" for a picture
	Protocol   string // "http", "ws", "rtsp+tcp"; empty before 1.9.4
	RemoteAddr string
	UserAgent  string
	Source     string // what it makes of the stream, for go2rtc's own ffmpeg: "ffmpeg:gate#video=mjpeg"
	Codec      string // of the video it is given
}

// picture reports whether it asked for a single picture (frame.jpeg). Before 1.9.4 those have no format.
func (c Consumer) picture() bool {
	return c.Format == "keyframe" || c.Format == "" && c.ID == 0 && c.UserAgent != ""
}

// internal reports whether it is an ffmpeg that go2rtc started to make another stream of this one.
func (c Consumer) internal() bool {
	return c.UserAgent == "go2rtc/ffmpeg" || strings.HasPrefix(c.Source, "ffmpeg:")
}

// Who describes it for an operator: "an RTSP player at 192.168.1.5 (Lavf59.27.100)".
func (c Consumer) Who() string {
	who := c.kind()
	if address, _, _ := strings.Cut(c.RemoteAddr, " "); address != "" {
		who += " at " + address
	}
	if c.UserAgent != "" {
		who += " (" + c.UserAgent + ")"
	}
	return who
}

func (c Consumer) kind() string {
	if c.internal() {
		return "go2rtc's own ffmpeg"
	}
	if c.picture() {
		return "a picture being taken"
	}
	lower := strings.ToLower(c.Format)
	for _, row := range [][2]string{
		{"rtsp", "an RTSP player"},
		{"mse", "a browser by MSE"},
		{"webrtc", "a browser by WebRTC"},
		{"mjpeg", "an MJPEG viewer"},
		{"mp4", "an MP4 viewer"},
		{"mpegts", "an MPEG-TS viewer"},
		{"mpeg-ts", "an MPEG-TS viewer"},
		{"hls", "an HLS player"},
		{"preload", "go2rtc's preload"},
		{"probe", "a probe"},
	} {
		if strings.HasPrefix(lower, row[0]) {
			return row[1]
		}
	}
	if c.Format == "" {
		return "an unknown consumer"
	}
	return "a consumer of the unknown kind " + c.Format
}
