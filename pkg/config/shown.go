package config

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/lazyre"
	"github.com/camwarden/camwarden/pkg/redact"
)

// shown decides how much of a file its problems may quote. A slip of the pen puts passwords where none belongs:
// an unquoted comma in {password: a,b} makes b a key.
type shown struct{ redact *redact.Redactor }

// longestQuote is enough for any honest value.
const longestQuote = 60

// know remembers every password of the file, wherever in it, before anything of it is quoted.
func (l *loader) know(root *node) {
	l.shown.redact = redact.New()
	l.shown.know(root, 0)
}

// deepest bounds the search; the configuration itself is 4 deep.
const deepest = 100

func (s shown) know(n *node, depth int) {
	if depth > deepest {
		return
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && secretKey.Get().MatchString(n.Content[i-1].Value) && target(child).Kind == yaml.ScalarNode {
			s.redact.Add(target(child).Value)
		}
		s.know(child, depth+1)
	}
	if n.Kind != yaml.ScalarNode || !strings.Contains(n.Value, "://") {
		return
	}
	if c, err := camera.ParseURL(n.Value, camera.Camera{}); err == nil && c.Password.Plain() {
		if password, err := c.Password.Reveal(); err == nil {
			s.redact.Add(password)
		}
	}
}

var secretKey = lazyre.New(`(?i)pass|pwd|secret`)

// quote quotes a value, without what looks like a secret or is one.
func (s shown) quote(value string) string {
	if strings.Contains(value, "@") || utf8.RuneCountInString(value) > longestQuote {
		return "the value" // user-info may stand in it, in any broken form
	}
	return strconv.Quote(s.redact.String(value))
}

var plainWord = lazyre.New(`^[\p{L}\p{N}_.-]{1,40}$`)

// key quotes a key. One without a value, and one that is no plain word, may be the rest of a password.
func (s shown) key(key, value *node, known []string) string {
	odd := !plainWord.Get().MatchString(key.Value) || isNull(value)
	if odd && !slices.Contains(known, key.Value) && len(camera.Nearest(key.Value, known)) == 0 {
		return "like this"
	}
	return s.quote(key.Value)
}
