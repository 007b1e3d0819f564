package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
)

// entry is one camera of the file, and where it says what.
type entry struct {
	camera camera.Camera
	at     *node
	limits limits
	wrong  bool // a problem was found in it, so that what follows from its values means nothing
}

func (l *loader) defaults(n *node, into *defaultValues) {
	m, ok := l.mapping(n)
	if !ok {
		return
	}
	c := &into.camera
	readers := l.common(c, &into.limits)
	m.each(readers)
	into.path, into.port = m.value("path") != nil, m.value("port") != nil
	into.snapshot, into.snapshotAuth = m.value("snapshot") != nil, m.value("snapshot_auth") != nil
	l.secret(&m, &c.Password)
	l.checkReserve(*c, into.limits)
	c.LimitAssumed = into.limits.max == nil
}

// common are the readers of what both defaults and cameras have.
func (l *loader) common(c *camera.Camera, at *limits) map[string]func(*node) {
	return map[string]func(*node){
		"brand":             func(n *node) { l.brand(n, &c.Brand) },
		"channel":           func(n *node) { l.number(n, 1, 256, &c.Channel) },
		"port":              func(n *node) { l.port(n, &c.Port) },
		"path":              func(n *node) { l.pathInto(n, &c.Path) },
		"sub_path":          func(n *node) { l.subPath(n, &c.SubPath) },
		"username":          func(n *node) { l.text(n, &c.Username) },
		"password":          nil, // these three are read together
		"password_file":     nil,
		"password_env":      nil,
		"transport":         func(n *node) { l.transport(n, &c.Transport) },
		"key_frame_request": func(n *node) { l.keyFrameRequest(n, &c.KeyFrameRequest) },
		"max_connections":   func(n *node) { at.max = n; l.number(n, 1, 1000, &c.MaxConnections) },
		"reserve":           func(n *node) { at.reserve = n; l.number(n, 0, 999, &c.Reserve) },
		"stream":            func(n *node) { l.stream(n, &c.Stream) },
		"snapshot":          func(n *node) { l.snapshot(n, &c.Snapshot) },
		"snapshot_auth":     func(n *node) { l.snapshotAuth(n, &c.SnapshotAuth) },
		"http_connections":  func(n *node) { l.number(n, 1, 1000, &c.HTTPConnections) },
		"timeout":           func(n *node) { l.duration(n, time.Nanosecond, &c.Timeout) },
		"session_timeout":   func(n *node) { l.duration(n, 0, &c.SessionTimeout) },
	}
}

func (l *loader) transport(n *node, into *camera.Transport) {
	text := string(*into)
	l.oneOf(n, []string{string(camera.TCP), string(camera.UDP), string(camera.Auto)}, &text)
	*into = camera.Transport(text)
}

func (l *loader) keyFrameRequest(n *node, into *camera.KeyFrameRequest) {
	text := string(*into)
	l.oneOf(n, []string{string(camera.AutoRequest), string(camera.FullIntraRequest), string(camera.NoRequest)}, &text)
	*into = camera.KeyFrameRequest(text)
}

// snapshot reads where a camera's own picture is. A password does not belong there: it has a placeholder.
func (l *loader) snapshot(n *node, into *string) {
	var text string
	if !l.text(n, &text) {
		return
	}
	scheme, _, absolute := strings.Cut(text, "://")
	absolute = absolute && !strings.ContainsAny(scheme, "/?") // another URL may stand in a path
	if text != "" && !absolute && !strings.HasPrefix(text, "/") {
		text = "/" + text
	}
	if text != "" {
		if err := camera.CheckSnapshot(text); err != nil {
			l.problem(n, "it %v", err)
			return
		}
		l.secretPath(n, strings.ReplaceAll(text, "{password}", ""))
	}
	*into = text
}

func (l *loader) snapshotAuth(n *node, into *camera.SnapshotAuth) {
	text := string(*into)
	l.oneOf(n, camera.SnapshotAuths(), &text)
	*into = camera.SnapshotAuth(text)
}

func (l *loader) port(n *node, into *uint16) {
	port := int(*into)
	if l.number(n, 1, 65535, &port) {
		*into = uint16(port) // number has checked the range
	}
}

// checkReserve wants at least one connection to be ours. It is silent about a camera that says neither of the two.
func (l *loader) checkReserve(c camera.Camera, at limits) {
	if c.Reserve < c.MaxConnections || at.max == nil && at.reserve == nil {
		return
	}
	l.problem(cmpNode(at.reserve, at.max), "reserve %d leaves us none of max_connections %d; it must be less", c.Reserve, c.MaxConnections)
}

func (l *loader) cameras(n *node, defaults defaultValues) []entry {
	if n == nil || isNull(target(n)) {
		return nil
	}
	list := target(n)
	if list.Kind != yaml.SequenceNode {
		l.problem(list, "cameras: a list is needed here, of items like {id: gate, host: 192.168.125.19}")
		return nil
	}
	var entries []entry
	for _, item := range list.Content {
		l.within(cameraName(item), func() {
			if e, ok := l.camera(item, defaults); ok {
				entries = append(entries, e)
			}
		})
	}
	l.checkIDs(entries)
	l.checkAddresses(entries)
	for _, e := range entries {
		l.c.Inventory.Cameras = append(l.c.Inventory.Cameras, e.camera)
	}
	return entries
}

// cameraName is what the problems of a camera are told under.
func cameraName(n *node) string {
	n = target(n)
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if id := target(n.Content[i+1]); n.Content[i].Value == "id" && camera.ValidID(id.Value) == nil {
			return "camera " + id.Value
		}
	}
	return "camera"
}

func (l *loader) camera(n *node, defaults defaultValues) (entry, bool) {
	before := len(l.problems)
	m, ok := l.mapping(n)
	if !ok {
		return entry{}, false
	}
	e := entry{camera: defaults.camera, at: cmpNode(m.value("id"), n)}
	c := &e.camera
	if m.value("id") == nil {
		l.problem(target(n), "it needs an id")
	}
	if m.value("host") == nil && m.value("url") == nil {
		l.problem(target(n), "it needs a host or a url")
	}
	readers := l.common(c, &e.limits)
	readers["id"] = func(n *node) { l.id(n, &c.ID) }
	readers["host"] = func(n *node) { l.host(n, c) }
	readers["model"] = func(n *node) { l.text(n, &c.Model) }
	readers["url"] = nil
	m.each(readers)
	l.branded(&m, &e, defaults)
	if c.Address.IsValid() { // the port may have come after the host
		*c = c.At(c.Address.Addr())
	}
	l.secret(&m, &c.Password)
	if m.value("url") != nil {
		l.within("url", func() { l.fromURL(&m, c) })
	}
	l.chosen(&m, c)
	c.Password = c.Password.For(c.Username)
	l.c.places["camera "+c.ID] = place{e.at.Line, e.at.Column}
	c.LimitAssumed = defaults.camera.LimitAssumed && e.limits.max == nil
	if e.wrong = len(l.problems) > before; !e.wrong {
		l.checkReserve(*c, e.limits)
		e.wrong = len(l.problems) > before
	}
	return e, true
}

func (l *loader) id(n *node, into *string) {
	var text string
	if !l.text(n, &text) {
		return
	}
	if err := camera.ValidID(text); err != nil {
		l.problem(n, "%s cannot be an id: %v", l.shown.quote(text), err)
		return
	}
	*into = text
}

// fromURL takes host, port, path and log-in from the url of a camera.
func (l *loader) fromURL(m *mapping, c *camera.Camera) {
	for _, other := range []string{"host", "port", "path"} {
		if v := m.value(other); v != nil {
			l.problem(v, "it holds the %s; leave out %s", other, other)
		}
	}
	n := m.value("url")
	var text string
	if !l.text(n, &text) {
		return
	}
	parsed, err := camera.ParseURL(text, camera.Camera{})
	if err != nil {
		l.problem(n, "%v; %s", err, fault.From(err, fault.Usage, "").Hint)
		return
	}
	c.Scheme, c.Host, c.Port, c.Path, c.Address = parsed.Scheme, parsed.Host, parsed.Port, parsed.Path, parsed.Address
	l.secretPath(n, c.Path)
	if parsed.Username == "" && !parsed.Password.Plain() {
		return
	}
	if v := m.value("username"); v != nil {
		l.problem(v, "it holds a user name; leave out username")
	}
	c.Username = parsed.Username
	if !parsed.Password.Plain() {
		return
	}
	for _, other := range passwordKeys() {
		if v := m.value(other); v != nil {
			l.problem(v, "it holds a password; leave out %s", other)
		}
	}
	c.Password = parsed.Password
	l.plain(n, "a url with a password in it")
}

func (l *loader) host(n *node, c *camera.Camera) {
	var text string
	if !l.text(n, &text) {
		return
	}
	bare := text
	if inner, ok := strings.CutPrefix(text, "["); ok {
		bare = strings.TrimSuffix(inner, "]")
	}
	if addr, err := netip.ParseAddr(bare); err == nil {
		c.Host = bare
		*c = c.At(addr)
		return
	}
	switch parsed, err := camera.ParseURL("rtsp://"+text, camera.Camera{}); {
	case strings.Contains(text, "://"):
		l.problem(n, "it is a name or an address; a URL goes under url")
	case strings.ContainsAny(text, "/?#@"), err != nil:
		l.problem(n, "%s is neither a host name nor an address", l.shown.quote(text))
	case parsed.Host != text:
		l.problem(n, "%s holds a port; write port: %d instead", l.shown.quote(text), parsed.Port)
	default:
		c.Host, c.Address = text, netip.AddrPort{}
	}
}

// pathInto reads the path of a stream, query included.
func (l *loader) pathInto(n *node, into *string) {
	var text string
	if !l.text(n, &text) {
		return
	}
	if strings.Contains(text, "://") {
		l.problem(n, "it is what follows host and port; a whole URL goes under url")
		return
	}
	if !strings.HasPrefix(text, "/") {
		text = "/" + text
	}
	parsed, err := camera.ParseURL("rtsp://127.0.0.1"+text, camera.Camera{})
	if err != nil {
		l.problem(n, "it %s", strings.TrimPrefix(err.Error(), "the rtsp URL ")) // which is one that we have made of it
		return
	}
	*into = parsed.Path
	l.secretPath(n, parsed.Path)
}

func (l *loader) checkIDs(entries []entry) {
	for i, e := range entries {
		if e.camera.ID == "" {
			continue
		}
		for _, other := range entries[:i] {
			if other.camera.ID == e.camera.ID {
				l.problem(e.at, "the id %s is already that of the camera in line %d", l.shown.quote(e.camera.ID), other.at.Line)
				break
			}
			if other.camera.ID != "" && camera.Slug(other.camera.ID) == camera.Slug(e.camera.ID) {
				l.problem(e.at, "the id %s makes the same stream name as %s in line %d; change one of them",
					l.shown.quote(e.camera.ID), l.shown.quote(other.camera.ID), other.at.Line)
			}
		}
	}
}

// checkAddresses wants the limits of an address to be the same wherever they are said.
func (l *loader) checkAddresses(entries []entry) {
	first := map[string]entry{}
	for _, e := range entries {
		c := e.camera
		if e.wrong || c.Host == "" {
			continue
		}
		address := strings.ToLower(c.Host) + ":" + strconv.Itoa(int(c.Port))
		if c.Address.IsValid() {
			address = c.Address.String()
		}
		other, shared := first[address]
		if !shared {
			first[address] = e
			continue
		}
		if other.camera.MaxConnections != c.MaxConnections || other.camera.Reserve != c.Reserve {
			l.problem(e.at, "the cameras %s (line %d) and %s (line %d) share the address %s but not its limits: "+
				"max_connections %d and %d, reserve %d and %d", other.camera.ID, other.at.Line, c.ID, e.at.Line, address,
				other.camera.MaxConnections, c.MaxConnections, other.camera.Reserve, c.Reserve)
		}
	}
}

func (l *loader) subnets(n *node, entries []entry) {
	m, ok := l.mapping(n)
	if !ok {
		return
	}
	ids := make([]string, 0, len(entries))
	for _, e := range entries {
		ids = append(ids, e.camera.ID)
	}
	for i, key := range m.keys {
		name := key.Value
		switch err := camera.ValidID(name); {
		case err != nil:
			l.problem(key, "%s cannot be a name: %v", l.shown.quote(name), err)
		case name == camera.All:
			l.problem(key, "the name %s stands for every camera and cannot mean something else", camera.All)
		case slices.Contains(ids, name):
			l.problem(key, "%s is the id of a camera too; commands that take both could not tell them apart", l.shown.quote(name))
		}
		l.within(l.shown.quote(name), func() {
			if list, ok := l.words(m.vals[i]); ok {
				l.c.Inventory.Subnets = append(l.c.Inventory.Subnets, l.subnet(name, list, ids))
			}
		})
	}
}

func (l *loader) subnet(name string, list []word, ids []string) camera.Subnet {
	s := camera.Subnet{Name: name}
	for _, item := range list {
		if strings.Contains(item.text, "/") {
			if prefix, ok := l.prefix(item); ok {
				s.Prefixes = append(s.Prefixes, prefix)
			}
			continue
		}
		addr, err := netip.ParseAddr(item.text)
		switch {
		case slices.Contains(ids, item.text):
			s.Cameras = append(s.Cameras, item.text)
		case err == nil:
			l.problem(item.node, "%s is an address; write %s/%d for a prefix of one", l.shown.quote(item.text), addr.WithZone(""), addr.BitLen())
		default:
			l.problem(item.node, "%s is neither a prefix nor the id of a camera%s", l.shown.quote(item.text), perhaps(item.text, ids))
		}
	}
	return s
}

func (l *loader) prefix(item word) (netip.Prefix, bool) {
	prefix, err := camera.ParsePrefix(item.text)
	if err != nil {
		l.problem(item.node, "%s is no prefix: %v", l.shown.quote(item.text), err)
		return prefix, false
	}
	if written, _ := netip.ParsePrefix(item.text); written.Addr().Unmap() != prefix.Addr() {
		l.problem(item.node, "%s names a host inside a prefix; the prefix is %s", l.shown.quote(item.text), prefix)
		return prefix, false
	}
	return prefix, true
}

func perhaps(text string, known []string) string {
	if near := camera.Nearest(text, known); len(near) > 0 {
		return "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}
