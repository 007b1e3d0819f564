package inventory

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
)

func itoa(n int) string { return strconv.Itoa(n) }

// stream is one stream of a go2rtc.
type stream struct {
	name    string
	line    int
	sources []*config.Tree
}

// streams are the streams of a go2rtc section or file, and where it serves them.
type streams struct {
	list  []stream
	ports []uint16 // of its own RTSP server
	hosts []string // that are this go2rtc itself, in lower case
	vars  variables
	mask  string // what Frigate calls its mosaic; "" in a file of go2rtc alone
}

// trouble is a source that gives no camera.
type trouble struct {
	line int // 0: that of whoever asked
	why  string
	talk bool // it carries sound to the camera, or is the same stream once more: nothing is lost
}

// outcome is what a source, or all sources of a stream, came to.
type outcome struct {
	found    []endpoint
	troubles []trouble
}

func (o *outcome) add(other outcome) {
	for _, e := range other.found {
		if !slices.ContainsFunc(o.found, func(known endpoint) bool { return known.stream() == e.stream() }) {
			o.found = append(o.found, e)
		}
	}
	o.troubles = append(o.troubles, other.troubles...)
}

func failed(line int, why string) outcome {
	return outcome{troubles: []trouble{{line: line, why: why}}}
}

func readStreams(section *config.Tree, vars variables) streams {
	s := streams{vars: vars, ports: []uint16{8554}, hosts: []string{"127.0.0.1", "localhost", "::1"}}
	if listen := section.Get("rtsp", "listen"); listen != nil && listen.Kind == config.Scalar {
		text, _ := vars.replace(listen.Text)
		if i := strings.LastIndexByte(text, ':'); i >= 0 {
			if port, err := strconv.ParseUint(text[i+1:], 10, 16); err == nil {
				s.ports = []uint16{uint16(port)}
			}
			s.own(text[:i])
		}
	}
	if list := section.Get("webrtc", "candidates"); list != nil {
		for _, item := range list.Items {
			if i := strings.LastIndexByte(item.Text, ':'); i >= 0 {
				s.own(item.Text[:i])
			}
		}
	}
	all := section.Get("streams")
	if all == nil {
		return s
	}
	for _, key := range all.Keys {
		value := key.Value
		if value != nil && value.Kind == config.Mapping {
			if inner := value.Get("url"); inner != nil {
				value = inner
			}
		}
		next := stream{name: key.Name, line: key.Line}
		switch {
		case value == nil || value.Kind == config.Null:
		case value.Kind == config.List:
			next.sources = value.Items
		default:
			next.sources = []*config.Tree{value}
		}
		s.list = append(s.list, next)
	}
	return s
}

// own notes a host that is this go2rtc itself.
func (s *streams) own(host string) {
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host != "" && host != "0.0.0.0" && host != "::" && host != "stun" {
		s.hosts = append(s.hosts, host)
	}
}

func (s *streams) byName(name string) (stream, bool) {
	i := slices.IndexFunc(s.list, func(one stream) bool { return one.name == name })
	if i < 0 {
		return stream{}, false
	}
	return s.list[i], true
}

// resolve returns what the sources of a stream come to. within are the streams that lead there.
func (s *streams) resolve(one stream, within []string) outcome {
	var all outcome
	if len(one.sources) == 0 {
		return failed(one.line, "it has no source: something else is to push the stream")
	}
	within = append(slices.Clone(within), one.name)
	for _, source := range one.sources {
		all.add(s.source(source, within))
	}
	return all
}

// source reads one source of a stream.
func (s *streams) source(at *config.Tree, within []string) outcome {
	switch {
	case at.Kind == config.Null:
		return failed(at.Line, "it has no source: something else is to push the stream")
	case at.Kind != config.Scalar || !at.Words:
		return failed(at.Line, "this is no source: a text is needed here")
	case at.Tag != "":
		return failed(at.Line, "a tag stands for it, and its value is in another file")
	}
	text, fail := s.vars.replace(at.Text)
	if fail != "" {
		return failed(at.Line, fail)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return failed(at.Line, "it has no source: the text is empty")
	}
	address, options, _ := strings.Cut(text, "#")
	if isTalk(address) || isTalk(options) {
		return outcome{troubles: []trouble{{line: at.Line, why: "it carries only sound to the camera", talk: true}}}
	}
	if inner, ok := cutPrefixFold(address, "ffmpeg:"); ok {
		return s.ffmpeg(inner, options, at.Line, within)
	}
	return s.dial(address, options, at.Line, within)
}

// ffmpeg reads what follows ffmpeg: in a source: an address, the name of another stream, or a device.
func (s *streams) ffmpeg(inner, options string, line int, within []string) outcome {
	lower := strings.ToLower(inner)
	switch {
	case strings.Contains(inner, "://"), isRTSP(inner):
		return s.dial(inner, options, line, within)
	case strings.HasPrefix(lower, "device"), strings.HasPrefix(inner, "/dev/"):
		return failed(line, "it is a device of that host, and no camera in the network")
	case strings.HasPrefix(lower, "virtual"):
		return failed(line, "it is a test picture")
	case anyBrace.Get().MatchString(inner):
		return failed(line, "it is a template")
	}
	name, _, _ := strings.Cut(inner, "?")
	return s.named(name, line, within)
}

// named follows the name of a stream.
func (s *streams) named(name string, line int, within []string) outcome {
	if slices.Contains(within, name) {
		if within[len(within)-1] == name { // the same once more, for another codec
			return outcome{troubles: []trouble{{line: line, why: "it refers to itself", talk: true}}}
		}
		return failed(0, "its streams refer to each other")
	}
	next, ok := s.byName(name)
	switch {
	case !ok && s.mask != "" && name == s.mask:
		return failed(0, "it is a mosaic that Frigate makes, and no camera")
	case !ok:
		return failed(0, "it refers to a stream of go2rtc that the file does not have")
	}
	return s.resolve(next, within)
}

// dial reads an address. One of this go2rtc itself is followed to what it relays.
func (s *streams) dial(address, options string, line int, within []string) outcome {
	if !isRTSP(address) {
		return failed(line, foreign(address))
	}
	if authority, _, _ := strings.Cut(address[strings.IndexByte(address, ':')+1:], "@"); strings.Contains(options, "@") &&
		!strings.Contains(address, "@") && !strings.Contains(strings.TrimLeft(authority, "/"), "/") {
		return failed(line, "a # in its log-in has to be %23")
	}
	e, why := readAddress(address, spelling{encoded: true, tlsPort: camera.DefaultPort, strict: true})
	if why != "" {
		return failed(line, why)
	}
	if s.serves(e) {
		return s.relayed(e, line, within)
	}
	if loopback(e.host) && s.mask != "" { // in a file of go2rtc alone a camera of this host is one, as a v4l2rtspserver makes them
		return failed(line, "it is a relay on the same host that this file says nothing about")
	}
	for option := range strings.SplitSeq(options, "#") {
		switch value, is := strings.CutPrefix(option, "transport="); {
		case is && value == "udp":
			e.udp = true
		case is && value != "tcp":
			return failed(line, "it is RTSP inside of something else (WebSocket, say)")
		}
	}
	e.line = line
	return outcome{found: []endpoint{e}}
}

// serves reports whether an endpoint is this go2rtc itself. By an address of the network it is so only with a stream that exists.
func (s *streams) serves(e endpoint) bool {
	if !slices.Contains(s.ports, e.port) || !slices.Contains(s.hosts, strings.ToLower(e.host)) {
		return false
	}
	_, known := s.byName(streamName(e))
	return known || loopback(e.host)
}

func (s *streams) relayed(e endpoint, line int, within []string) outcome {
	name := streamName(e)
	if name == "" {
		return failed(line, "it is go2rtc itself, and names no stream of it")
	}
	return s.named(name, line, within)
}

func streamName(e endpoint) string {
	path, _, _ := strings.Cut(e.path, "?")
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	return strings.Trim(path, "/")
}

// loopback reports whether a host is certain to be the one that the file is from. Other addresses of 127.0.0.0/8 are used by
// tests and by tunnels that stand for one camera each.
func loopback(host string) bool {
	return host == "127.0.0.1" || host == "::1" || strings.EqualFold(host, "localhost")
}

func isTalk(text string) bool {
	lower := strings.ToLower(text)
	return strings.Contains(lower, "backchannel=1") || strings.HasPrefix(lower, "isapi:") || strings.HasPrefix(lower, "multitrans:")
}

func cutPrefixFold(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}
