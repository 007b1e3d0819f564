package config

import (
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/brand"
	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
)

// brand reads the name of a brand: its id, or as its maker writes it.
func (l *loader) brand(n *node, into *string) {
	var text string
	if !l.text(n, &text) {
		return
	}
	if text == "" {
		*into = ""
		return
	}
	id, near := brandNamed(text)
	if id == "" {
		said := "there is no brand " + l.shown.quote(text)
		if len(near) > 0 {
			said += "; did you mean " + strings.Join(near, " or ") + "?"
		} else {
			said += "; docs/cameras.md lists them; leave it out and say path"
		}
		l.problem(n, "%s", said)
		return
	}
	*into = id
}

// brandNamed returns the id of a brand by its id or its name, or else the ids that are near to it.
func brandNamed(text string) (id string, near []string) {
	if text == "" {
		return "", nil
	}
	for _, b := range brand.All() {
		if strings.EqualFold(text, b.ID) || strings.EqualFold(text, b.Name) {
			return b.ID, nil
		}
	}
	return "", camera.Nearest(text, brand.IDs())
}

// branded fills in what the brand of a camera gives and neither the camera nor, where the brand is that of the defaults or is
// only known by the model, the defaults say. A limit that a brand gives stays an assumed one.
func (l *loader) branded(m *mapping, e *entry, defaults defaultValues) {
	c := &e.camera
	own := m.value("brand") != nil
	if !own {
		if b, ok := brand.Of(c.Model); ok {
			c.Brand = b.ID
		}
	}
	b, ok := brand.Get(c.Brand)
	if !ok {
		return
	}
	where := m.value("url") != nil // which says host, port and path
	give(c, b, given{
		path:  where || m.value("path") != nil || defaults.path && !own,
		port:  where || m.value("port") != nil || defaults.port && !own,
		limit: e.limits.max != nil || defaults.limits.max != nil && !own,
		// A model is a remark of its owner's. To be asked over another protocol a camera needs its brand named.
		snapshot: m.value("snapshot") != nil || defaults.snapshot && !own || !own && defaults.camera.Brand == "",
		auth:     m.value("snapshot_auth") != nil || defaults.snapshotAuth && !own,
	})
}

// given is what is said already, and so not taken from a brand.
type given struct{ path, port, limit, snapshot, auth bool }

// give sets what the brand knows.
func give(c *camera.Camera, b brand.Brand, said given) {
	if known := b.Path(false, c.Channel); !said.path && known != "" {
		c.Path = known
	}
	if !said.port && b.RTSP.Port != nil {
		c.Port = uint16(b.RTSP.Port.Value)
	}
	if !said.limit && b.Limit != nil {
		c.MaxConnections = b.Limit.Value
	}
	if known := b.SnapshotURL(c.Channel); !said.snapshot {
		c.Snapshot = known
		// Basic is not among these: in the clear it is for the configuration to ask for.
		if auth := b.Snapshot.Auth; !said.auth && known != "" && auth != nil && (auth.Value == string(camera.AuthQuery) || auth.Value == string(camera.AuthNone)) {
			c.SnapshotAuth = camera.SnapshotAuth(auth.Value)
		}
	}
}

// toStream sets the path to that of the stream that is asked for, and reports whether there is one.
func toStream(c *camera.Camera) bool {
	if c.Stream != camera.Sub {
		return true
	}
	if b, ok := brand.Get(c.Brand); ok && c.SubPath == "" {
		c.SubPath = b.Path(true, c.Channel)
	}
	if c.SubPath == "" {
		return false
	}
	c.Path = c.SubPath
	return true
}

// chosen sets the path of a camera to that of the stream that is asked for.
func (l *loader) chosen(m *mapping, c *camera.Camera) {
	if !toStream(c) {
		l.problem(cmpNode(m.value("stream"), m.value("id")), "stream: sub needs a sub_path, or a brand that is known to have one")
	}
}

func (l *loader) stream(n *node, into *camera.Stream) {
	text := string(*into)
	l.oneOf(n, []string{string(camera.Main), string(camera.Sub)}, &text)
	*into = camera.Stream(text)
}

// subPath reads the path of the smaller stream; "" names none.
func (l *loader) subPath(n *node, into *string) {
	if target(n).Kind == yaml.ScalarNode && target(n).Value == "" && !isNull(target(n)) {
		*into = ""
		return
	}
	l.pathInto(n, into)
}

// settled is the camera that the defaults make of an address alone.
func (l *loader) settled(d defaultValues) camera.Camera {
	c := d.camera
	if b, ok := brand.Get(c.Brand); ok {
		give(&c, b, given{path: d.path, port: d.port, limit: d.limits.max != nil, snapshot: d.snapshot, auth: d.snapshotAuth})
	}
	toStream(&c)
	return c
}

// AssumeBrand makes a brand that of every camera which the configuration does not hold.
func (c *Config) AssumeBrand(name string) error {
	id, near := brandNamed(name)
	b, ok := brand.Get(id)
	if !ok {
		f := fault.New(fault.Usage, "", "there is no brand %q", name)
		if len(near) > 0 {
			return f.WithHint("did you mean %s?", strings.Join(near, " or "))
		}
		return f.WithHint("the brands are: %s", strings.Join(brand.IDs(), ", "))
	}
	d := &c.Inventory.Defaults
	d.Brand, d.SubPath = id, ""
	give(d, b, given{limit: !d.LimitAssumed})
	toStream(d)
	return nil
}
