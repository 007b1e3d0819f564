package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lazyre"
	"github.com/camwarden/camwarden/pkg/redact"
)

func passwordKeys() []string { return []string{"password", "password_file", "password_env"} }

// secret reads the keys that say where a password comes from. Without any of them, into keeps what it was.
func (l *loader) secret(m *mapping, into *camera.Secret) {
	plain, file, env := m.value("password"), m.value("password_file"), m.value("password_env")
	var path, variable string
	readable := true
	for _, key := range []struct {
		node *node
		name string
		into *string
	}{{file, "password_file", &path}, {env, "password_env", &variable}} {
		if key.node != nil {
			l.within(key.name, func() { readable = l.text(key.node, key.into) && readable })
		}
	}
	if !readable {
		return
	}
	// $CAM_PASSWORD is what holds where nothing is said, so saying it contradicts nothing.
	named := variable != "" && variable != camera.DefaultPasswordEnv
	if plain != nil && (path != "" || named) || path != "" && named {
		l.problem(cmpNode(file, env), "only one of password, password_file and password_env can say where the password is")
		return
	}
	switch {
	case plain != nil:
		l.within("password", func() { l.password(plain, into) })
	case path != "":
		l.within("password_file", func() { l.passwordFile(file, path, into) })
	case env != nil:
		l.within("password_env", func() { l.passwordEnv(env, variable, into) })
	}
}

func (l *loader) password(n *node, into *camera.Secret) {
	var text string
	if !l.text(n, &text) {
		return
	}
	secret := camera.PlainSecret(text)
	if _, err := secret.Reveal(); err != nil {
		l.problem(n, "%v", err)
		return
	}
	*into = secret
	if text != "" {
		l.plain(n, "a password")
	}
}

// plain notes that the file itself holds a secret, which is fine while nobody else can read the file.
func (l *loader) plain(n *node, what string) {
	switch {
	case !l.open:
	case camera.Entrusted(l.c.Path):
		l.notice(fmt.Sprintf("%s holds passwords and can be read by others (mode %04o); accepted, because its directory is for secrets", l.c.Path, l.mode))
	default:
		l.secretProblem(n, fmt.Sprintf("%s stands here, and others can read the file (mode %04o)", what, l.mode), "chmod 600 "+l.c.Path)
	}
}

// secretPath treats a path like /live?user=admin&password=x as the password that it holds. What only looks like a token may be
// the name that somebody's server gives its streams: of that a notice is enough.
func (l *loader) secretPath(n *node, path string) {
	const origin = "rtsp://h"
	token := false
	rest := strings.TrimPrefix(redact.Tokens(origin+path, func(string) string {
		token = true
		return "x"
	}), origin)
	switch {
	case redact.String(rest) != rest:
		l.plain(n, "a path with a password in it")
	case token && l.open && !camera.Entrusted(l.c.Path):
		l.notice(fmt.Sprintf("%s:%d: a path holds what looks like a token, and others can read the file (mode %04o): chmod 600 %s", l.c.Path, n.Line, l.mode, l.c.Path))
	}
}

func (l *loader) secretProblem(n *node, text, hint string) {
	l.c.SecretProblems = append(l.c.SecretProblems, Problem{File: l.c.Path, Line: n.Line, Text: text, Hint: hint})
}

// place is where something stands in the file.
type place struct{ line, column int }

// noteSecret notes where a secret is named. Every camera that takes it from the defaults is told of that one place.
func (l *loader) noteSecret(n *node, secret camera.Secret) {
	if _, noted := l.c.places[secret.String()]; !noted {
		l.c.places[secret.String()] = place{n.Line, n.Column}
	}
}

// MissingSecrets returns the secrets that cameras or go2rtc need and that this process, with its environment and its user,
// cannot read now, each once, with the cameras that fail for it. Those that others can read are SecretProblems. It reads files.
func (c *Config) MissingSecrets() Problems {
	var missing Problems
	needs := map[string][]string{} // by the secret
	add := func(secret camera.Secret, who, at string) {
		name := secret.String()
		needs[name] = append(needs[name], who)
		if len(needs[name]) > 1 || secret.Check() != nil {
			return
		}
		_, err := secret.Reveal()
		if err == nil {
			return
		}
		where, noted := c.places[name]
		if !noted {
			where = c.places[at] // nobody names it: it is what holds where nothing is said
		}
		known := fault.From(err, fault.Usage, "")
		missing = append(missing, Problem{File: c.Path, Line: where.line, Text: known.Message, Hint: known.Hint, column: where.column, secret: name})
	}
	for _, cam := range c.Inventory.Cameras {
		add(cam.Password, "camera "+cam.ID, "camera "+cam.ID)
	}
	if c.Go2rtc != nil {
		add(c.Go2rtc.Password, "go2rtc", "go2rtc")
	}
	for i := range missing {
		missing[i].Text = listed(needs[missing[i].secret]) + ": " + missing[i].Text
	}
	return missing.sorted()
}

// listed names the first few.
func listed(names []string) string {
	const most = 3
	if more := len(names) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

func (l *loader) notice(text string) {
	for _, known := range l.c.Notices {
		if known == text {
			return
		}
	}
	l.c.Notices = append(l.c.Notices, text)
}

// passwordFile finds the file: a relative name is that of a systemd credential, else relative to the folder of the configuration.
func (l *loader) passwordFile(n *node, name string, into *camera.Secret) {
	path := name
	if !l.path(n, &path) {
		return
	}
	secret := camera.Secret{File: path}
	if dir := l.env("CREDENTIALS_DIRECTORY"); dir != "" && filepath.IsLocal(name) {
		credential := filepath.Join(dir, name)
		if _, err := os.Stat(credential); err == nil {
			path, secret = credential, camera.Secret{Systemd: name}
		}
	}
	*into = secret
	l.noteSecret(n, secret)
	check := camera.Secret{File: path}
	if err := check.Check(); err != nil {
		l.secretProblem(n, err.Error(), fault.From(err, fault.Usage, "").Hint)
		l.c.SecretProblems[len(l.c.SecretProblems)-1].apart = true
	}
	if said := check.Notice(); said != "" {
		l.notice(said)
	}
}

var variableName = lazyre.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// passwordEnv reads the name of a variable. It matters only for cameras with a user name, so the secret is an implied one.
func (l *loader) passwordEnv(n *node, name string, into *camera.Secret) {
	switch {
	case name == "":
		*into = camera.Secret{}
	case !variableName.Get().MatchString(name): // and is not quoted: it may be the password itself
		l.problem(n, "the name of an environment variable is needed here: letters, digits and _")
	default:
		*into = camera.ImpliedSecret()
		into.Env = name
		l.noteSecret(n, *into)
	}
}
