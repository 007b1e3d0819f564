package inventory

import (
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
)

// readFrigate reads the configuration of a Frigate: its cameras, each by the input that it records, else the one it looks
// at. What an input takes from Frigate's own go2rtc is followed to the camera.
func (b *builder) readFrigate(root *config.Tree, env Env) {
	f := frigate{root: root, version: versionOf(root)}
	own := map[string]string{}
	if section := root.Get("environment_vars"); section != nil && f.version >= 17 {
		for _, key := range section.Keys {
			if key.Value != nil && key.Value.Kind == config.Scalar {
				own[key.Name] = key.Value.Text
			}
		}
	}
	f.vars = variables{braces: true, lookup: func(name string) (string, bool) {
		if !strings.HasPrefix(name, "FRIGATE_") { // the only ones that Frigate knows
			return "", false
		}
		if value, ok := own[name]; ok {
			return value, true
		}
		if value, ok := env.Secret(name); ok {
			return value, true
		}
		return env.Lookup(name)
	}}
	section := root.Get("go2rtc")
	if section == nil {
		section = &config.Tree{Kind: config.Mapping}
	}
	vars := f.vars
	vars.dollar = true // go2rtc replaces its own in what Frigate hands to it
	f.streams = readStreams(section, vars)
	f.streams.mask = "birdseye"
	cameras := root.Get("cameras")
	if cameras.Empty() || len(cameras.Keys) == 0 {
		b.takeStreams(f.streams)
		return
	}
	for _, key := range cameras.Keys {
		f.camera(b, key)
	}
}

// frigate is a configuration of Frigate that is being read.
type frigate struct {
	root    *config.Tree
	version int // 12 stands for 0.12
	vars    variables
	streams streams
}

// versionOf says how old a configuration is. Only 0.14 and later write it down, so that older ones are known by what they
// hold: 0.12 brought go2rtc and presets, 0.13 audio, and rtmp ended with 0.13. A file without any mark is taken for a new one.
func versionOf(root *config.Tree) int {
	if said := root.Get("version"); said != nil {
		text := strings.TrimPrefix(said.Text, "0.")
		end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if end >= 0 {
			text = text[:end]
		}
		if n, err := strconv.Atoi(text); err == nil && n >= 12 {
			return n
		}
		return 14
	}
	if root.Get("go2rtc") != nil || root.Get("birdseye", "restream") != nil || root.Get("audio") != nil {
		return 12
	}
	old := root.Get("rtmp") != nil
	if cameras := root.Get("cameras"); cameras != nil {
		for _, key := range cameras.Keys {
			inputs := key.Value.Get("ffmpeg", "inputs")
			if key.Value.Get("live") != nil || key.Value.Get("audio") != nil {
				return 12
			}
			for _, input := range items(inputs) {
				if strings.Contains(textOf(input.Get("input_args")), "preset-") {
					return 12
				}
				old = old || slices.Contains(rolesOf(input), "rtmp")
			}
		}
	}
	if old {
		return 11
	}
	return 18
}

// input is one input of a camera, and what it came to.
type input struct {
	line  int
	roles []string
	outcome
}

func (f frigate) camera(b *builder, key config.TreeKey) {
	name, body := key.Name, key.Value
	var inputs []input
	line := key.Line
	for i, item := range items(body.Get("ffmpeg", "inputs")) {
		one := f.input(item, body)
		if one.line < key.Line { // a merge brought it from another camera
			one.line = key.Line
		}
		if i == 0 {
			line = one.line
		}
		inputs = append(inputs, one)
	}
	if off(body.Get("enabled")) {
		b.report(line, name, Note, "it is disabled (enabled), and left away")
		return
	}
	if len(inputs) == 0 {
		b.report(line, name, LeftOut, "it has no inputs")
		return
	}
	usable := slices.DeleteFunc(slices.Clone(inputs), func(i input) bool { return len(i.found) == 0 })
	if len(usable) == 0 {
		at := inputs[blame(inputs)]
		t := worst(at.troubles)
		if t.line == 0 {
			t.line = at.line
		}
		b.report(t.line, name, LeftOut, "%s", t.why)
		return
	}
	main := usable[pick(usable, "record", "detect")]
	c := candidate{name: name, line: line, main: main.found[0]}
	if i := pick(usable, "detect"); slices.Contains(usable[i].roles, "detect") {
		f.sub(b, &c, usable[i])
	}
	for _, i := range inputs {
		if len(i.found) > 0 {
			b.lost(name, i.outcome, i.line)
			continue
		}
		if t := worst(i.troubles); !t.talk {
			if t.line == 0 {
				t.line = i.line
			}
			b.report(t.line, name, Partly, "an input is not taken: %s", t.why)
		}
	}
	b.add(c)
}

// sub takes the input that Frigate looks at as the smaller stream, if it is one of the same camera.
func (f frigate) sub(b *builder, c *candidate, of input) {
	e := of.found[0]
	switch {
	case e.stream() == c.main.stream():
	case e.address() == c.main.address() && e.scheme == c.main.scheme && e.sameLogin(c.main):
		c.sub = &e
	default:
		b.report(of.line, c.name, Partly, "the stream for detect has another address or log-in than the one for record, and is not taken")
	}
}

func (f frigate) input(item, body *config.Tree) input {
	one := input{line: item.Line, roles: rolesOf(item)}
	path := item.Get("path")
	if path.Empty() {
		one.outcome = failed(0, "an input has no path")
		return one
	}
	one.line = path.Line
	switch {
	case path.Kind != config.Scalar || !path.Words:
		one.outcome = failed(0, "the path of an input is no address")
		return one
	case path.Tag != "":
		one.outcome = failed(0, "a tag stands for the path, and its value is in another file")
		return one
	}
	text, fail := f.vars.replace(strings.TrimSpace(path.Text))
	if fail != "" {
		one.outcome = failed(0, fail)
		return one
	}
	if !isRTSP(text) {
		one.outcome = failed(path.Line, foreign(text))
		return one
	}
	e, why := readAddress(text, spelling{literal: f.version >= 12, tlsPort: camera.DefaultTLSPort})
	switch {
	case why != "":
		one.outcome = failed(path.Line, why)
	case f.streams.serves(e):
		one.outcome = f.streams.relayed(e, path.Line, nil)
	case loopback(e.host):
		one.outcome = failed(path.Line, "it is a relay on the same host that this file says nothing about")
	default:
		e.line = path.Line
		e.udp = f.udp(item, body)
		one.outcome = outcome{found: []endpoint{e}}
	}
	return one
}

// udp reports whether the media are to come over UDP: the arguments of the input say so, else those of the camera, else those
// of all cameras.
func (f frigate) udp(item, body *config.Tree) bool {
	for _, args := range []*config.Tree{item.Get("input_args"), body.Get("ffmpeg", "input_args"), f.root.Get("ffmpeg", "input_args")} {
		if !args.Empty() {
			text := strings.Join(strings.Fields(textOf(args)), " ")
			return strings.Contains(text, "-rtsp_transport udp") || strings.Contains(text, "preset-rtsp-udp")
		}
	}
	return false
}

// pick returns the first input that has the first of the roles that any has, else the first input.
func pick(inputs []input, roles ...string) int {
	for _, role := range roles {
		if i := slices.IndexFunc(inputs, func(i input) bool { return slices.Contains(i.roles, role) }); i >= 0 {
			return i
		}
	}
	return 0
}

// blame returns the input to tell of when none can be used: one whose address is RTSP, else the one to record.
func blame(inputs []input) int {
	for n, i := range inputs {
		if len(i.troubles) > 0 && (strings.Contains(i.troubles[0].why, "is not set here")) {
			return n
		}
	}
	return pick(inputs, "record", "detect")
}

func items(t *config.Tree) []*config.Tree {
	switch {
	case t.Empty():
		return nil
	case t.Kind == config.List:
		return t.Items
	default:
		return []*config.Tree{t}
	}
}

func rolesOf(input *config.Tree) []string {
	var roles []string
	for _, item := range items(input.Get("roles")) {
		roles = append(roles, strings.FieldsFunc(item.Text, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return roles
}

// textOf returns a text, or the items of a list with blanks between them.
func textOf(t *config.Tree) string {
	var words []string
	for _, item := range items(t) {
		words = append(words, item.Text)
	}
	return strings.Join(words, " ")
}

// off reports whether a value says no, in the words that Frigate takes for it (pydantic's).
func off(t *config.Tree) bool {
	return t != nil && slices.Contains([]string{"no", "off", "false", "n", "f", "0"}, strings.ToLower(t.Text))
}
