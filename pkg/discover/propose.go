package discover

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/brand"
	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/onvif"
)

// isCamera reports whether a device can give a picture, as far as is known.
func (d Device) isCamera() bool {
	return len(d.Streams) > 0 || d.ONVIF != nil || slices.ContainsFunc(d.Ports, func(p Port) bool { return p.Service == "rtsp" })
}

// name proposes an id for every camera that has none: its model, or else its brand, and the end of its address.
func (r *run) name() {
	taken := map[string]bool{}
	for _, c := range r.plan.Known {
		taken[c.ID] = true
	}
	for i := range r.report.Devices {
		d := &r.report.Devices[i]
		if d.Camera != "" || !d.isCamera() {
			continue
		}
		end := strings.NewReplacer(".", "-", ":", "-").Replace(d.Address)
		if d.Address != "" && strings.Contains(d.Address, ".") {
			end = d.Address[strings.LastIndexByte(d.Address, '.')+1:]
		}
		base := plain(cmp.Or(d.Brand, d.Model, "cam"))
		id := base + "-" + end
		if taken[id] {
			id = base + "-" + strings.NewReplacer(".", "-", ":", "-").Replace(d.Address)
		}
		for n := 2; taken[id]; n++ {
			id = fmt.Sprintf("%s-%s-%d", base, end, n)
		}
		d.Camera, taken[id] = id, true
	}
}

// plain keeps of a name what is safe everywhere: small ASCII letters, digits and dashes.
func plain(name string) string {
	const longest = 30
	var out strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			out.WriteRune(r)
		case out.Len() > 0 && !strings.HasSuffix(out.String(), "-"):
			out.WriteByte('-')
		}
		if out.Len() >= longest {
			break
		}
	}
	return cmp.Or(strings.Trim(out.String(), "-"), "cam")
}

// Draft is the configuration for the cameras that were found and that the configuration does not name: one for each source of
// pictures, with its largest stream as the main one and its smallest as the other. inherit: the log-in stands in the defaults.
func (r Report) Draft(inherit bool, password camera.Secret) []config.DraftCamera {
	var cameras []config.DraftCamera
	for _, d := range r.Devices {
		if d.Known || !d.isCamera() {
			continue
		}
		cameras = append(cameras, d.draft(inherit, password)...)
	}
	return cameras
}

// draft is one camera for each source of the device.
func (d Device) draft(inherit bool, password camera.Secret) []config.DraftCamera {
	base := config.DraftCamera{ID: d.Camera, Host: d.Address, Model: d.Model, Brand: d.Brand}
	if d.LogIn == string(onvif.Accepted) && !inherit {
		base.Username, base.PasswordFile, base.PasswordEnv = d.login.Username, password.File, password.Env
	}
	if i := slices.IndexFunc(d.Ports, func(p Port) bool { return p.Service == "rtsp" }); i >= 0 {
		base.Port = d.Ports[i].Port
	}
	var sources []string
	for _, s := range d.Streams {
		if s.Path != "" && !s.hidden && !slices.Contains(sources, s.Source) {
			sources = append(sources, s.Source)
		}
	}
	hidden := slices.ContainsFunc(d.Streams, func(s Stream) bool { return s.hidden })
	switch b, _ := brand.Get(d.Brand); {
	case len(sources) > 0 && hidden:
		base.Note = "it has another stream, whose path holds a log-in: set that path by hand"
	case hidden:
		base.Note = "its path holds a log-in: set path by hand"
	case len(sources) == 0 && b.Path(false, 1) == "": // of the brands that it knows, the configuration knows the path
		base.Note = "its path is not known: set path by hand"
	}
	if len(sources) == 0 {
		return []config.DraftCamera{base}
	}
	var cameras []config.DraftCamera
	for i, source := range sources {
		c := base
		if i > 0 {
			c.Note = ""
			c.ID = fmt.Sprintf("%s-%d", base.ID, i+1)
		}
		d.streams(&c, source)
		if i == 0 { // that of the first source; a recorder has one for each, which its brand knows
			if c.Snapshot = d.picture(); strings.Contains(c.Snapshot, "{password}") {
				c.SnapshotAuth = string(camera.AuthQuery)
			}
		}
		cameras = append(cameras, c)
	}
	return cameras
}

// picture is the snapshot as a configuration has it: by the address alone, so that it is right behind a name too; "" where the device
// names none, or one with a log-in that is not ours.
func (d Device) picture() string {
	if strings.Contains(d.Snap, "***") || camera.CheckSnapshot(d.Snap) != nil {
		return ""
	}
	return d.Snap
}

// streams sets the largest stream of a source as the main one, and the smallest of the same port as the other.
func (d Device) streams(c *config.DraftCamera, source string) {
	var largest, smallest *Stream
	for i := range d.Streams {
		s := &d.Streams[i]
		if s.Source != source || s.Path == "" || s.hidden {
			continue
		}
		if largest == nil || s.Width*s.Height > largest.Width*largest.Height {
			largest = s
		}
		if smallest == nil || s.Width*s.Height < smallest.Width*smallest.Height {
			smallest = s
		}
	}
	c.Port, c.Path = largest.Port, largest.Path
	if largest.Scheme == "rtsps" {
		c.URL, c.Host, c.Port, c.Path = config.URLOf("rtsps", c.Host, largest.Port, largest.Path), "", 0, ""
	}
	if smallest != largest && smallest.Port == largest.Port && smallest.Path != largest.Path {
		c.SubPath = smallest.Path
	}
}

// Target is a camera as a still is taken of it: its first draft, with the log-in that the device took. False: no path is known that
// was not only guessed, or the device refused the log-in.
func (d Device) Target(defaults camera.Camera) (camera.Camera, bool) {
	usable := slices.ContainsFunc(d.Streams, func(s Stream) bool { return s.Path != "" && !s.hidden && s.By != "brand" })
	addr, err := netip.ParseAddr(d.Address)
	if d.Known || !usable || err != nil || d.LogIn == string(onvif.Refused) {
		return camera.Camera{}, false
	}
	draft := d.draft(true, camera.Secret{})[0]
	c := defaults
	c.ID, c.Host, c.Port, c.Path, c.Scheme = draft.ID, d.Address, draft.Port, draft.Path, "rtsp"
	if draft.URL != "" {
		parsed, err := camera.ParseURL(draft.URL, defaults)
		if err != nil {
			return camera.Camera{}, false
		}
		c.Port, c.Path, c.Scheme = parsed.Port, parsed.Path, parsed.Scheme
	}
	c.Username, c.Password = d.login.Username, camera.PlainSecret(d.login.Password)
	return c.At(addr), true
}
