package go2rtc

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Target is a camera as its address and URL tell it.
type Target struct {
	Scheme  string // rtsp or rtsps
	Host    string // as written, without brackets
	Address netip.AddrPort
	Port    uint16 // 0: that of Address
	Path    string // with leading slash and query
}

// Watching is a stream through which a camera is watched now.
type Watching struct {
	Stream Stream
	Judgement
}

// Watched returns the streams, ours or not, that have a viewer and a connected producer with the camera's scheme, host,
// port and path: its picture can be had from them by name, and it must not be dialled beside them. What go2rtc has masked
// beyond recognition is not among them.
func Watched(streams []Stream, camera Target, runs Runs, now time.Time) []Watching {
	var found []Watching
	for _, s := range streams {
		if !s.connectedTo(camera) {
			continue
		}
		if j := Judge(s, runs, now); j.Watched() {
			found = append(found, Watching{s, j})
		}
	}
	return found
}

func (s Stream) connectedTo(camera Target) bool {
	port := camera.Port
	if port == 0 {
		port = camera.Address.Port()
	}
	meant := place{
		scheme: strings.ToLower(camera.Scheme), host: sameHost(camera.Host),
		port: strconv.Itoa(int(port)), path: samePath(camera.Path),
	}
	address := netip.AddrPortFrom(camera.Address.Addr().Unmap(), camera.Address.Port())
	for _, p := range s.Producers {
		if !p.Connected() {
			continue
		}
		asked := meant
		// Another name for the host is as good when the connection, or the name itself, leads to the camera's address.
		if at := p.place(); at != nil && address.IsValid() {
			if remote, ok := p.remote(); at.host == address.Addr().String() || ok && remote == address {
				asked.host = at.host
			}
		}
		if p.compare(&asked) == same || p.compare(&meant) == same {
			return true
		}
	}
	return false
}

// Serves reports whether the stream's first source is the camera, connected or not.
func (s Stream) Serves(camera Target) bool {
	port := camera.Port
	if port == 0 {
		port = camera.Address.Port()
	}
	if len(s.Producers) == 0 {
		return false
	}
	meant := place{
		scheme: strings.ToLower(camera.Scheme), host: sameHost(camera.Host),
		port: strconv.Itoa(int(port)), path: samePath(camera.Path),
	}
	if s.Producers[0].compare(&meant) == same {
		return true
	}
	if camera.Address.IsValid() { // registered by address
		meant.host = camera.Address.Addr().Unmap().String()
	}
	return s.Producers[0].compare(&meant) == same
}
