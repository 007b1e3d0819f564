package config

import (
	"net/url"
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
)

func (l *loader) go2rtc(n *node) {
	m, ok := l.mapping(n, "go2rtc")
	if !ok {
		return
	}
	g := defaultGo2rtc()
	var fromURL bool
	m.each(map[string]func(*node){
		"url":           func(n *node) { fromURL = l.serverURL(n, &g) },
		"username":      nil,
		"password_file": nil,
		"ca_file":       func(n *node) { l.path(n, &g.CAFile) },
		"stream_prefix": func(n *node) { l.streamPrefix(n, &g.StreamPrefix) },
		"snapshot":      func(n *node) { l.oneOf(n, []string{"frame", "restream"}, &g.Snapshot) },
		"lifecycle":     func(n *node) { l.oneOf(n, []string{"ephemeral", "standing"}, &g.Lifecycle) },
	})
	var username, file string
	if n := m.value("username"); n != nil && l.text(n, &username) && username != "" {
		if fromURL {
			l.problem(n, "the url of go2rtc holds a user name already")
		}
		g.Username = username
	}
	if n := m.value("password_file"); n != nil && l.text(n, &file) && file != "" {
		if fromURL && g.Password.Plain() {
			l.problem(n, "the url of go2rtc holds a password already")
		}
		l.passwordFile(n, file, &g.Password)
	}
	l.c.Go2rtc = &g
}

// serverURL reports whether the URL holds a log-in, which it moves out of it.
func (l *loader) serverURL(n *node, g *Go2rtc) bool {
	var text string
	if !l.text(n, &text) {
		return false
	}
	u, err := url.Parse(text)
	switch {
	case err != nil: // whose text quotes the URL
		l.problem(n, "the url of go2rtc cannot be read; write it like http://127.0.0.1:1984")
		return false
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/") && u.User == nil:
	case u.Scheme != "http" && u.Scheme != "https":
		l.problem(n, "the url of go2rtc begins with http://, https:// or unix:///")
		return false
	case u.Hostname() == "":
		l.problem(n, "the url of go2rtc has no host; write it like http://127.0.0.1:1984")
		return false
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(text, "?#"):
		l.problem(n, "the url of go2rtc ends with its path; it has no ? and no #")
		return false
	}
	login := u.User
	u.User = nil
	g.URL = strings.TrimSuffix(u.String(), "/")
	if login == nil {
		return false
	}
	g.Username = login.Username()
	if password, ok := login.Password(); ok {
		g.Password = camera.PlainSecret(password)
		l.plain(n, "the url")
	}
	return true
}

// streamPrefix reads what the names of our streams begin with. It cannot be empty: it is how they are told from others.
func (l *loader) streamPrefix(n *node, into *string) {
	var text string
	if !l.text(n, &text) {
		return
	}
	if err := camera.ValidID(text); err != nil {
		l.problem(n, "%s cannot be what stream names begin with: %v", l.shown.quote(text), err)
		return
	}
	*into = text
}
