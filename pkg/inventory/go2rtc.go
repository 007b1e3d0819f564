package inventory

import (
	"github.com/camwarden/camwarden/pkg/config"
)

// readGo2rtc reads a file of go2rtc: each stream is a camera, unless it is another one once more.
func (b *builder) readGo2rtc(root *config.Tree, env Env) {
	own := map[string]string{}
	if section := root.Get("env"); section != nil {
		for _, key := range section.Keys {
			if key.Value != nil && key.Value.Kind == config.Scalar {
				own[key.Name] = key.Value.Text
			}
		}
	}
	// The order of go2rtc: the file, the folder of systemd's credentials, the environment (its pkg/creds).
	lookup := func(name string) (string, bool) {
		if value, ok := own[name]; ok {
			return value, true
		}
		if value, ok := env.Secret(name); ok {
			return value, true
		}
		return env.Lookup(name)
	}
	s := readStreams(root, variables{lookup: lookup, dollar: true})
	s.own(hostOf(root.Get("api", "listen")))
	b.takeStreams(s)
}

// takeStreams makes a camera of each stream.
func (b *builder) takeStreams(s streams) {
	for _, one := range s.list {
		b.take(one.name, one.line, s.resolve(one, nil), func() int {
			if len(one.sources) > 0 {
				return one.sources[0].Line
			}
			return one.line
		}())
	}
}

// take makes a camera of what the sources of one name came to. line is where reports without a place of their own point.
func (b *builder) take(name string, line int, o outcome, source int) {
	if len(o.found) == 0 {
		t := worst(o.troubles)
		if t.line == 0 {
			t.line = source
		}
		if t.why == "" {
			t = trouble{line: line, why: "it has no source"}
		}
		b.report(t.line, name, LeftOut, "%s", t.why)
		return
	}
	b.lost(name, o, source)
	b.add(candidate{name: name, line: source, main: o.found[0]})
}

// lost reports what of the sources of a camera is not taken over.
func (b *builder) lost(name string, o outcome, source int) {
	for _, e := range o.found[1:] {
		b.report(e.line, name, Partly, "a second RTSP source, of another picture, is not taken")
	}
	for _, t := range o.troubles {
		if !t.talk {
			at := t.line
			if at == 0 {
				at = source
			}
			b.report(at, name, Partly, "not taken beside the RTSP source: %s", t.why)
		}
	}
}

// worst is the trouble to tell of when there is no camera: the first that is more than sound.
func worst(troubles []trouble) trouble {
	for _, t := range troubles {
		if !t.talk {
			return t
		}
	}
	if len(troubles) > 0 {
		return troubles[0]
	}
	return trouble{}
}

func hostOf(listen *config.Tree) string {
	if listen == nil {
		return ""
	}
	for i := len(listen.Text) - 1; i >= 0; i-- {
		if listen.Text[i] == ':' {
			return listen.Text[:i]
		}
	}
	return ""
}
