package inventory

import (
	"strings"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

// variables replaces what stands for a value of the environment. A name that has no value becomes a mark, so that later
// steps can see whether the mark is all there is of a password.
type variables struct {
	lookup func(name string) (string, bool)
	braces bool // {NAME}, as Frigate has it (Python's str.format)
	dollar bool // ${NAME} and ${NAME:default}, as go2rtc has it
}

const (
	markBegin = "\ue000" // of the private use area: no honest file holds it
	markEnd   = "\ue001"
)

var (
	braced   = lazyre.New(`\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	dollared = lazyre.New(`\$\{([^{}]+)\}`)
	anyBrace = lazyre.New(`\{[^{}]*\}`)
	whole    = lazyre.New("^" + markBegin + "([A-Za-z_][A-Za-z0-9_]*)" + markEnd + "$")
)

// replace returns the text with its variables replaced. fail says why it cannot be used at all.
func (v variables) replace(text string) (replaced, fail string) {
	if strings.Contains(text, markBegin) || strings.Contains(text, markEnd) {
		return "", "it holds a character that no address has"
	}
	if v.dollar {
		text = dollared.Get().ReplaceAllStringFunc(text, func(found string) string {
			name, otherwise, has := strings.Cut(found[2:len(found)-1], ":")
			if value, set := v.lookup(name); set {
				return value
			}
			if has {
				return otherwise
			}
			return markBegin + name + markEnd
		})
	}
	if strings.Contains(text, "{{") {
		return "", "it is a template ({{ }}) that another program fills in"
	}
	if v.braces {
		text = braced.Get().ReplaceAllStringFunc(text, func(found string) string {
			name := found[1 : len(found)-1]
			if value, set := v.lookup(name); set {
				return value
			}
			return markBegin + name + markEnd
		})
	}
	return text, ""
}

// unset returns the name of a variable whose mark is in the text, "" for none.
func unset(text string) string {
	_, rest, found := strings.Cut(text, markBegin)
	if !found {
		return ""
	}
	name, _, _ := strings.Cut(rest, markEnd)
	if whole.Get().MatchString(markBegin + name + markEnd) {
		return name
	}
	return "a variable"
}
