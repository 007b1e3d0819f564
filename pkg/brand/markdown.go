package brand

import (
	"fmt"
	"strings"
)

// Markdown is the page about all brands: docs/cameras.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Cameras by brand

<!-- Rendered from pkg/brand/brands.json by "make generate". -->

What ` + "`brand:`" + ` stands for in the configuration. A brand gives path, port, limit and the path of single pictures where the camera
names none; what the camera names wins. ` + "`stream: sub`" + ` takes the smaller stream, ` + "`channel: N`" + ` the channel of a recorder, counted
from 1. ` + "`model:`" + ` names the brand too, if it begins with one of its names.

Every fact has its source. Documented: by the maker, or by a maintained project. Reported: by people who have such cameras.
None of them was tried on a camera by this project; no passwords are in the file, and none that makers ship.

| brand | ` + "`brand:`" + ` | port | main stream | smaller stream | single picture |
|---|---|---|---|---|---|
`)
	for _, one := range all() {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n", cell(one.Name), one.ID, number(one.RTSP.Port), text(one.RTSP.Main), text(one.RTSP.Sub), text(one.Snapshot.Path))
	}
	for _, one := range all() {
		one.section(&b)
	}
	return b.String()
}

func (b Brand) section(to *strings.Builder) {
	fmt.Fprintf(to, "\n## %s\n\n", b.Name)
	if len(b.Aliases) > 0 {
		fmt.Fprintf(to, "Also: %s.\n\n", strings.Join(b.Aliases, ", "))
	}
	say := func(what, value string, from Source) {
		fmt.Fprintf(to, "- %s: %s (%s: %s)\n", what, value, from.Certainty, from.Source)
	}
	texts := func(what string, list ...*Text) {
		for _, t := range list {
			if t != nil {
				say(what, "`"+t.Value+"`", t.Source)
			}
		}
	}
	numbers := func(what string, n *Number) {
		if n != nil {
			say(what, fmt.Sprint(n.Value), n.Source)
		}
	}
	numbers("RTSP port", b.RTSP.Port)
	texts("main stream", b.RTSP.Main)
	for _, other := range b.RTSP.Others {
		texts("other main stream", &other)
	}
	texts("smaller stream", b.RTSP.Sub)
	texts("single picture", b.Snapshot.Path)
	numbers("its port", b.Snapshot.Port)
	texts("its log-in", b.Snapshot.Auth)
	numbers("ONVIF port", b.ONVIF)
	numbers("connections at once", b.Limit)
	if b.LogIn != nil {
		say("log-in", b.LogIn.Value, b.LogIn.Source)
	}
	if b.Lockout != nil {
		tries := "after wrong log-ins"
		if b.Lockout.Tries > 0 {
			tries = fmt.Sprintf("after %d wrong log-ins", b.Lockout.Tries)
		}
		say("locks", fmt.Sprintf("%s for %d s", tries, b.Lockout.Seconds), b.Lockout.Source)
	}
	for _, h := range b.Habits {
		say("habit", h.Value, h.Source)
	}
	for _, m := range b.Marks {
		say("known by", fmt.Sprintf("%s `%s`", m.Where, m.Text), m.Source)
	}
	for _, n := range b.Notes {
		say("note", n.Text, n.Source)
	}
}

func cell(value string) string { return strings.ReplaceAll(value, "|", `\|`) }

func text(t *Text) string {
	if t == nil {
		return ""
	}
	return "`" + cell(t.Value) + "`"
}

func number(n *Number) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(n.Value)
}
