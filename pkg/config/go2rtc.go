package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/camwarden/camwarden/pkg/camera"
)

func (l *loader) go2rtc(n *node) {
	m, ok := l.mapping(n)
	if !ok {
		return
	}
	g := defaultGo2rtc()
	m.each(map[string]func(*node){
		"url":           func(n *node) { l.serverURL(n, &g) },
		"username":      nil,
		"password_file": nil,
		"ca_file":       func(n *node) { l.path(n, &g.CAFile) },
		"stream_prefix": func(n *node) { l.streamPrefix(n, &g.StreamPrefix) },
		"snapshot":      func(n *node) { l.oneOf(n, []string{"frame", "restream"}, &g.Snapshot) },
		"lifecycle":     func(n *node) { l.oneOf(n, []string{"ephemeral", "standing"}, &g.Lifecycle) },
	})
	if n := m.value("username"); n != nil {
		l.within("username", func() { l.serverUser(n, &g) })
	}
	if n := m.value("password_file"); n != nil {
		l.within("password_file", func() { l.serverPassword(n, &g) })
	}
	l.c.Go2rtc = &g
}

func (l *loader) serverUser(n *node, g *Go2rtc) {
	var name string
	switch {
	case !l.text(n, &name), name == "":
	case g.Username != "" || g.Password.Plain():
		l.problem(n, "the url holds a user name already")
	default:
		g.Username = name
	}
}

func (l *loader) serverPassword(n *node, g *Go2rtc) {
	var file string
	switch {
	case !l.text(n, &file), file == "":
	case g.Password.Plain():
		l.problem(n, "the url holds a password already")
	default:
		l.passwordFile(n, file, &g.Password)
	}
}

// serverURL reads the URL, and moves a log-in out of it.
func (l *loader) serverURL(n *node, g *Go2rtc) {
	var text string
	if !l.text(n, &text) {
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil: // whose text quotes the URL
		l.problem(n, "it cannot be read; write it like http://127.0.0.1:1984")
		return
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/") && u.User == nil:
	case u.Scheme != "http" && u.Scheme != "https":
		l.problem(n, "it begins with none of http://, https:// and unix:///")
		return
	case u.Hostname() == "":
		l.problem(n, "it has no host; write it like http://127.0.0.1:1984")
		return
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(text, "?#"):
		l.problem(n, "it ends with its path; leave out what follows ? or #")
		return
	}
	login := u.User
	u.User = nil
	g.URL = strings.TrimSuffix(u.String(), "/")
	if login == nil {
		return
	}
	g.Username = login.Username()
	if password, ok := login.Password(); ok {
		g.Password = camera.PlainSecret(password)
		l.plain(n, "a url with a password in it")
	}
}

// longestPrefix leaves room for the longest slug of an id: go2rtc cannot take names of more than 128 bytes out of its
// configuration file again.
const longestPrefix = 24

// streamPrefix reads what the names of our streams begin with. It cannot be empty: it is how they are told from others.
func (l *loader) streamPrefix(n *node, into *string) {
	var text string
	if !l.text(n, &text) {
		return
	}
	err := camera.ValidID(text)
	switch {
	case err != nil:
	case len(text) > longestPrefix:
		err = fmt.Errorf("it is %d bytes long, of at most %d", len(text), longestPrefix)
	case strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }):
		err = errors.New("it holds a letter that is not one of a to z")
	}
	if err != nil {
		l.problem(n, "%s cannot be what stream names begin with: %v", l.shown.quote(text), err)
		return
	}
	*into = text
}
