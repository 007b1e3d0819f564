package discover

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/brand"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/httpwire"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/login"
	"github.com/camwarden/camwarden/pkg/onvif"
	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/rtsp"
	"github.com/camwarden/camwarden/pkg/socket"
)

// wholeSteps is how many time-outs all questions to one device may take together.
const wholeSteps = 6

// device asks what is behind the open ports of an address: first whatever speaks HTTP, for ONVIF names the streams, then RTSP.
// A log-in that was refused is not sent again, over no protocol.
func (r *run) device(ctx context.Context, addr netip.Addr, open []uint16) *Device {
	ctx, cancel := context.WithTimeout(ctx, wholeSteps*r.plan.Timeout)
	defer cancel()
	q := &questions{run: r, addr: addr, d: &Device{Address: addr.String(), Streams: []Stream{}, LogIn: string(onvif.NotTried), Ports: []Port{}}}
	q.credentials()
	services := map[uint16]string{}
	for _, port := range q.webFirst(open) {
		if !isRTSPPort(port) {
			services[port] = q.web(ctx, port, isTLSPort(port))
		}
	}
	for _, port := range open {
		if isRTSPPort(port) || services[port] == "rtsp" {
			services[port] = q.rtsp(ctx, port)
		}
	}
	for _, port := range open {
		q.d.Ports = append(q.d.Ports, Port{port, services[port]})
	}
	q.finish()
	return q.d
}

// questions are those to one device.
type questions struct {
	*run

	addr     netip.Addr
	d        *Device
	login    *LogIn // nil: none may be sent, or it has been refused
	problems []*fault.Error
	spoke    bool   // something answered in a protocol that we know
	guess    *guess // an RTSP port that could be asked for the paths of a brand
}

// guess is an RTSP server whose streams are not known.
type guess struct {
	port uint16
}

// credentials chooses the log-in of this address: that of the configuration where it names the address, else that of the plan.
func (q *questions) credentials() {
	q.login = q.plan.LogIn
	for _, c := range q.known(q.addr) {
		q.d.Known = true
		q.d.Camera = cmp.Or(q.d.Camera, c.ID)
		if c.Username == "" {
			continue
		}
		password, err := c.Password.Reveal()
		if err != nil {
			q.problems = append(q.problems, fault.From(err, fault.Local, ""))
			q.login = nil
			continue
		}
		q.login = &LogIn{c.Username, password}
		q.d.from = c.ID
		return
	}
}

// webFirst puts the ports where ONVIF is expected first: where it was announced, then by custom.
func (q *questions) webFirst(open []uint16) []uint16 {
	announced := q.announced().port
	rank := func(port uint16) int {
		if port == announced {
			return -1
		}
		if i := slices.Index([]uint16{2020, 8000, 8899, 80, 8080, 88, 443, 8443}, port); i >= 0 {
			return i
		}
		return 99
	}
	ports := slices.Clone(open)
	slices.SortStableFunc(ports, func(a, b uint16) int { return rank(a) - rank(b) })
	return ports
}

func (q *questions) announced() match {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.found[q.addr]
}

// usualPath is where the service of an ONVIF device is (ONVIF Core 5.1.1).
const usualPath = "/onvif/device_service"

// elsewhere returns the path that the device announced, if that is another one: it is waited for until nothing more is announced.
func (q *questions) elsewhere(port uint16, asked string) string {
	<-q.heard
	if a := q.announced(); a.path != "" && a.path != asked && (a.port == 0 || a.port == port) {
		return a.path
	}
	return ""
}

// web asks a port for ONVIF, and learns on the way what kind of server it is.
func (q *questions) web(ctx context.Context, port uint16, tls bool) string {
	path := ""
	if a := q.announced(); a.port == port {
		path = a.path
	}
	return q.webAt(ctx, port, tls, path)
}

func (q *questions) webAt(ctx context.Context, port uint16, tls bool, path string) string {
	target := onvif.Target{Address: netip.AddrPortFrom(q.addr, port), TLS: tls, Path: path, Known: q.d.Known}
	if q.login != nil && q.d.ONVIF == nil {
		target.Username, target.Password, target.LogIn = q.login.Username, q.login.Password, true
	}
	var device onvif.Device
	var err error
	held := capture.Hold(ctx, q.plan.Slots, q.camera(target.Address), func(ctx context.Context, gone func(netip.AddrPort) error) netip.AddrPort {
		target.Gone = gone
		device, err = onvif.Ask(ctx, target, onvif.Limits{Step: 2 * q.plan.Timeout, Whole: wholeSteps * q.plan.Timeout})
		return device.Local
	})
	if held != nil {
		q.problems = append(q.problems, held)
		return "other"
	}
	q.spoke = q.spoke || device.HTTP
	q.recognise(brand.HTTPServer, device.Server, "http-server")
	q.recognise(brand.Realm, device.Realm, "http-realm")
	var alien *httpwire.Alien
	switch {
	case device.ONVIF:
		q.takeONVIF(device, port, err)
		return "onvif"
	case device.HTTP:
		if path := q.elsewhere(port, cmp.Or(target.Path, usualPath)); errors.Is(err, onvif.ErrNoService) && path != "" {
			return q.webAt(ctx, port, tls, path)
		}
		if errors.Is(err, onvif.ErrNoService) {
			q.problems = append(q.problems, fault.New(fault.NotFound, "", "%s: %v (%s)", target.Address, err, cmp.Or(target.Path, usualPath)).
				WithHint("a device that announces itself (WS-Discovery) says its path; or it is no camera"))
		}
		if device.LogIn == onvif.Refused {
			q.refuse(target.Address)
		}
		return map[bool]string{false: "http", true: "https"}[tls]
	case errors.As(err, &alien) && strings.HasPrefix(alien.Said, "RTSP/"):
		return "rtsp"
	case !tls && (errors.As(err, &alien) && alien.TLS || closed(err)) && ctx.Err() == nil:
		return q.web(ctx, port, true)
	}
	return q.unspoken(target.Address, err)
}

// closed reports whether the other side hung up, as a server does that wanted TLS.
func closed(err error) bool {
	why, known := socket.CauseOf(err, "http")
	return known && why.Class == fault.Closed
}

// unspoken notes why a port could not be understood.
func (q *questions) unspoken(at netip.AddrPort, err error) string {
	why, known := socket.CauseOf(err, "http")
	if !known {
		return "other"
	}
	q.problems = append(q.problems, fault.New(why.Class, "", "%s: it accepts a connection, and then: %s", at, why.Message))
	if why.Class == fault.Timeout {
		return "silent"
	}
	return "other"
}

// refuse notes that the log-in must not be sent to this device again.
func (q *questions) refuse(at netip.AddrPort) {
	q.d.LogIn = string(onvif.Refused)
	if q.login != nil {
		if err := q.plan.LogIns.Refused(lockout.LogIn{Address: at, Username: q.login.Username, Password: q.login.Password}); err != nil {
			q.blind(at.String(), err.Error())
		}
	}
	q.login = nil
	q.problems = append(q.problems, fault.New(fault.Auth, "", "%s: it refused the user name or password", at).
		WithHint("it was sent once, and is not tried again: some cameras lock an account after a few wrong log-ins"))
}

func (q *questions) takeONVIF(device onvif.Device, port uint16, err error) {
	if q.d.ONVIF != nil && len(q.d.Streams) > 0 {
		return // another port of the same service
	}
	q.d.ONVIF = &Service{Port: port, ClockOffMS: device.ClockOff.Milliseconds()}
	q.d.Maker, q.d.Model = redact.String(device.Manufacturer), redact.String(device.Model)
	for _, said := range []string{device.Manufacturer, device.Model, device.Manufacturer + " " + device.Model} {
		if b, ok := brand.Of(said); ok {
			q.d.Brand, q.d.KnownBy = b.ID, "onvif"
			break
		}
	}
	q.d.KnownBy = cmp.Or(q.d.KnownBy, "onvif")
	switch {
	case device.LogIn == onvif.Refused:
		q.refuse(netip.AddrPortFrom(q.addr, port))
		return
	case q.d.LogIn == string(onvif.NotTried):
		q.d.LogIn = string(device.LogIn)
	}
	if device.LogIn == onvif.Accepted {
		q.d.login = *q.login
	}
	for _, p := range device.Profiles {
		path, hidden := q.shown(p.Stream.Path)
		q.d.Streams = append(q.d.Streams, Stream{
			Path: path, Port: p.Stream.Port, Scheme: cmp.Or(p.Stream.Scheme, "rtsp"), Codec: p.Codec, Width: p.Width, Height: p.Height,
			Source: p.Source, By: "onvif", hidden: hidden,
		})
		if q.d.Snap == "" && p.Snapshot.Path != "" {
			q.d.Snap = q.picture(p.Snapshot)
		}
	}
	if err != nil && !errors.Is(err, onvif.ErrWanted) {
		q.problems = append(q.problems, q.fault(netip.AddrPortFrom(q.addr, port), err))
	}
}

func (q *questions) fault(at netip.AddrPort, err error) *fault.Error {
	if why, known := socket.CauseOf(err, "http"); known {
		return fault.New(why.Class, "", "%s: ONVIF: %s", at, why.Message)
	}
	return fault.New(fault.Protocol, "", "%s: ONVIF: %s", at, redact.String(err.Error()))
}

// shown is a path as it may be shown. hidden: it holds a secret, and the path is not whole without it.
func (q *questions) shown(path string) (shown string, hidden bool) {
	known := redact.New()
	if q.login != nil {
		known = redact.New(q.login.Password)
	}
	shown = known.String(path)
	return shown, shown != path
}

// picture is the URL of a picture. A log-in that the device has written into it, and that is ours, becomes the places for it.
func (q *questions) picture(at onvif.Address) string {
	path := at.Path
	if q.login != nil && q.login.Password != "" {
		for _, spelt := range []string{q.login.Password, url.QueryEscape(q.login.Password), url.PathEscape(q.login.Password)} {
			path = strings.ReplaceAll(path, "="+spelt, "={password}")
		}
		if strings.Contains(path, "{password}") {
			for _, key := range []string{"user", "usr", "username", "loginuse", "account"} {
				path = strings.ReplaceAll(path, key+"="+url.QueryEscape(q.login.Username), key+"={username}")
			}
		}
	}
	if !strings.Contains(path, "{password}") {
		path, _ = q.shown(path)
	}
	host := q.addr.String()
	if q.addr.Is6() {
		host = "[" + q.addr.WithZone("").String() + "]"
	}
	return at.Scheme + "://" + host + ":" + strconv.Itoa(int(at.Port)) + path
}

// rtsp asks an RTSP server what it is, without a log-in; what wants one is asked for its paths at the end, when its brand is known.
func (q *questions) rtsp(ctx context.Context, port uint16) string {
	path := "/"
	b, _ := brand.Get(q.d.Brand)
	if usual := b.Path(false, 1); usual != "" {
		path = usual
	}
	info, err := q.describe(ctx, port, path, nil)
	q.recognise(brand.RTSPServer, info.Server, "rtsp-server")
	q.recognise(brand.Realm, info.Realm, "rtsp-realm")
	q.recognise(brand.SDP, info.Session, "sdp")
	switch {
	case err == nil:
		q.spoke = true
		q.addStream(info, port, path)
		if q.d.LogIn == string(onvif.NotTried) {
			q.d.LogIn = string(onvif.None)
		}
	case err.Class == fault.Auth, err.Class == fault.NotFound, err.Class == fault.Protocol && info.Server != "", err.Class == fault.NoVideo:
		q.spoke = true
		q.guess = &guess{port: port}
		q.tryPaths(ctx, port)
	default:
		q.problems = append(q.problems, err)
		if err.Class == fault.Timeout {
			return "silent"
		}
		return "other"
	}
	return "rtsp"
}

// describe asks DESCRIBE within a slot.
func (q *questions) describe(ctx context.Context, port uint16, path string, as *LogIn) (rtsp.Info, *fault.Error) {
	c := q.camera(netip.AddrPortFrom(q.addr, port))
	c.Path, c.Username, c.Scheme = path, "", "rtsp"
	password := ""
	if as != nil {
		c.Username, password = as.Username, as.Password
	}
	var schemes []string // RTSP is in clear here, and so would Basic be: it goes to what the configuration names alone
	if !q.d.Known {
		schemes = []string{login.Digest}
	}
	return capture.Ask(ctx, q.plan.Slots, c, password, q.plan.LogIns, 2*q.plan.Timeout, schemes...)
}

// tryPaths asks with the log-in for the paths that the brand is known to have, until one is there or the log-in is refused.
func (q *questions) tryPaths(ctx context.Context, port uint16) {
	b, ok := brand.Get(q.d.Brand)
	if !ok || q.login == nil || len(q.d.Streams) > 0 || q.d.LogIn == string(onvif.Refused) {
		return
	}
	for _, path := range b.Paths(1) {
		info, err := q.describe(ctx, port, path, q.login)
		switch {
		case err == nil:
			q.d.LogIn, q.d.login = string(onvif.Accepted), *q.login
			q.addStream(info, port, path)
			return
		case err.Class == fault.Auth && errors.Is(err, login.ErrRefused):
			q.refuse(netip.AddrPortFrom(q.addr, port))
			return
		case err.Class != fault.NotFound:
			q.problems = append(q.problems, err)
			return
		}
	}
}

func (q *questions) addStream(info rtsp.Info, port uint16, path string) {
	if len(q.d.Streams) > 0 {
		return
	}
	s := Stream{Path: path, Port: port, Scheme: "rtsp", By: "describe"}
	for _, track := range info.Tracks {
		if track.Media == "video" {
			s.Codec = track.Encoding
			break
		}
	}
	q.d.Streams = append(q.d.Streams, s)
}

// recognise notes the brand that a mark tells, unless one is known already.
func (q *questions) recognise(where brand.Where, said, by string) {
	if q.d.Brand != "" || said == "" {
		return
	}
	if b, ok := brand.Recognise(where, said); ok {
		q.d.Brand, q.d.KnownBy = b.ID, by
	}
}

// finish says what such cameras usually have where nothing better is known, and which of the problems is the device's own.
func (q *questions) finish() {
	d := q.d
	if b, ok := brand.Get(d.Brand); ok && len(d.Streams) == 0 && q.guess != nil && d.LogIn != string(onvif.Refused) {
		if path := b.Path(false, 1); path != "" {
			d.Streams = append(d.Streams, Stream{Path: path, Port: q.guess.port, Scheme: "rtsp", By: "brand"})
		}
	}
	if d.KnownBy == "" && (q.guess != nil || len(d.Streams) > 0) {
		d.KnownBy = "rtsp"
	}
	for _, p := range q.problems {
		switch {
		case p.Class == fault.Auth:
			d.Error = p
			return
		case d.Error != nil:
		case p.Class == fault.NotFound && (d.ONVIF != nil || q.guess != nil || len(d.Streams) > 0): // one port has it not, another has
		case d.ONVIF != nil || !q.spoke || p.Class == fault.NotFound:
			d.Error = p
		}
	}
}
