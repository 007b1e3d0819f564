package login

import (
	"slices"
	"strings"
)

// offered is one challenge as it is written: its scheme, and its parameters by lower-case name. The first of a name counts.
type offered struct {
	scheme     string
	parameters map[string]field
}

// longest is how many bytes a value may have; none of a camera's has a quarter of them. Of a longer one nothing is taken: with a part of
// a realm the log-in would be wrong.
const longest = 4 << 10

// scan reads the challenges of one value of "WWW-Authenticate" (RFC 7235 section 4.1), and whatever cameras make of it:
// parameters without commas between them, tabs, blanks around "=", values without quotes that hold blanks.
func scan(value string) []offered {
	if len(value) > longest {
		return nil
	}
	var found []offered
	last, goesOn := "", false // the last parameter: a word without a name goes on with it, if it counts and had no quotes
	var tail strings.Builder  // those words
	end := func() {
		if tail.Len() > 0 {
			parameters := found[len(found)-1].parameters
			text := parameters[last].text + tail.String()
			parameters[last] = field{text, escape(text)}
			tail.Reset()
		}
	}
	s := scanner{text: value}
	for s.more() {
		word := s.word()
		switch {
		case word == "": // a character that begins nothing
			s.at++
		case s.equals() && len(found) > 0:
			end()
			last = strings.ToLower(word)
			quoted := strings.HasPrefix(s.text[s.at:], `"`)
			one := s.value()
			parameters := found[len(found)-1].parameters
			first := parameters[last] == (field{})
			if goesOn = first && !quoted; first {
				parameters[last] = one
			}
		case last != "" && !isScheme(word):
			if goesOn {
				tail.WriteString(" " + word)
			}
		default:
			end()
			found, last = append(found, offered{scheme: word, parameters: map[string]field{}}), ""
		}
	}
	end()
	return found
}

// scanner stands in the text of a challenge.
type scanner struct {
	text string
	at   int
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }

func (s *scanner) blanks() {
	for s.at < len(s.text) && isBlank(rune(s.text[s.at])) {
		s.at++
	}
}

// more passes over what separates, and reports whether something follows.
func (s *scanner) more() bool {
	for s.at < len(s.text) && (s.text[s.at] == ',' || s.text[s.at] == ';' || isBlank(rune(s.text[s.at]))) {
		s.at++
	}
	return s.at < len(s.text)
}

// word takes what stands up to a blank, a comma, a quote or "=".
func (s *scanner) word() string {
	from := s.at
	for s.at < len(s.text) && !strings.ContainsRune(" \t\r\n,;=\"", rune(s.text[s.at])) {
		s.at++
	}
	return s.text[from:s.at]
}

// equals takes "=", blanks around it included, if it comes next.
func (s *scanner) equals() bool {
	back := s.at
	s.blanks()
	if s.at < len(s.text) && s.text[s.at] == '=' {
		s.at++
		s.blanks()
		return true
	}
	s.at = back
	return false
}

// isScheme reports whether a word that no "=" follows begins another challenge. Any other belongs to the value before it, as in
// realm=IP Camera.
func isScheme(word string) bool {
	return slices.Contains([]string{"basic", "digest", "bearer", "negotiate", "ntlm"}, strings.ToLower(word))
}

// value takes a value, in quotes or without.
func (s *scanner) value() field {
	if s.at >= len(s.text) || s.text[s.at] != '"' {
		from := s.at
		for s.at < len(s.text) && !strings.ContainsRune(" \t\r\n,;", rune(s.text[s.at])) {
			s.at++
		}
		text := strings.Trim(s.text[from:s.at], `"`)
		return field{text, escape(text)}
	}
	s.at++
	from := s.at
	for ; s.at < len(s.text) && s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' && s.at+1 < len(s.text) {
			s.at++
		}
	}
	written := s.text[from:min(s.at, len(s.text))]
	s.at++ // the quote
	if tail := len(written) - len(strings.TrimRight(written, `\`)); tail%2 == 1 {
		written += `\` // the value has no end, and would escape the quote that we put there
	}
	return field{unescape(written), written}
}

// unescape takes the backslash from an escaped quote or backslash. Before any other character it stands for itself: cameras put a
// Windows domain in their realm, and hash it as it stands.
func unescape(written string) string {
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(written)
}

func escape(text string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) }
