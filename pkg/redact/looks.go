package redact

import (
	"encoding/base64"
	"net/netip"
	"regexp"
	"strings"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

// replaceLooks masks what looks like a secret. Each step sees what the one before it left.
func replaceLooks(text string) string {
	text = replaceHeaders(text)
	text = replaceURLs(text)
	text = mask(text, tokens(text))
	text = replaceAssignments(text)
	return replaceOptions(text)
}

// maskAll replaces the parts of text that find picks, given where each match of start begins and ends.
// find returns the secret's place relative to the end of the match; an empty one, or one already masked, is left alone.
func maskAll(text string, start *regexp.Regexp, find func(match, rest string) (from, to int)) string {
	var spans []span
	for _, m := range start.FindAllStringIndex(text, -1) {
		if len(spans) > 0 && m[0] < spans[len(spans)-1].to {
			continue // inside what is masked already
		}
		from, to := find(text[m[0]:m[1]], text[m[1]:])
		if strings.Trim(text[m[1]+from:m[1]+to], "*") != "" {
			spans = append(spans, span{m[1] + from, m[1] + to})
		}
	}
	return mask(text, spans)
}

// The beginning of a URL's authority: as it is, with JSON's optional backslashes, or percent-encoded any number of times.
var (
	// placeholder is what our own hints say where a log-in goes, up to the end of the authority, so that no part of it can be one.
	placeholder = lazyre.New(`^USER(?::PASSWORD)?@HOST(?::PORT)?(?:/PATH)?(?:[\s,]|$)`)

	authority = lazyre.New(`(?i)://|:\\+/\\+/|%(?:25)*3a%(?:25)*2f%(?:25)*2f`)
	encodedAt = lazyre.New(`@|%(?:25)*40`)
	oddLogin  = lazyre.New(`(?i)\brtsps?:/?([\w.~%+-]+:[^\s"<>]+)@[\w\[]`) // a slash or two forgotten
	bareLogin = lazyre.New(`(?:^|[^\w.~%+/@*\]-])([\w.~%+-]+:[^\s"<>/\\]+)@[\w\[]`)
)

func replaceURLs(text string) string {
	text = maskAll(text, authority.Get(), func(match, rest string) (int, int) {
		if match[0] == '%' {
			token := rest[:endOfToken(rest, "&")]
			if all := encodedAt.Get().FindAllStringIndex(token, -1); all != nil {
				return 0, all[len(all)-1][0]
			}
			return 0, 0
		}
		if placeholder.Get().MatchString(rest) {
			return 0, 0
		}
		return 0, userInfo(rest)
	})
	var spans []span
	for _, m := range oddLogin.Get().FindAllStringSubmatchIndex(text, -1) {
		spans = append(spans, span{m[2], m[3]})
	}
	text, spans = mask(text, spans), nil
	for _, m := range bareLogin.Get().FindAllStringSubmatchIndex(text, -1) {
		spans = append(spans, span{m[2], m[3]})
	}
	return mask(text, spans)
}

// userInfo returns the length of the user-info, without its "@", at the beginning of what follows "://".
func userInfo(rest string) int {
	token := rest[:endOfToken(rest, "")]
	head := token
	if i := strings.IndexAny(token, `/?#\`); i >= 0 {
		head = token[:i]
	}
	at := strings.LastIndexByte(head, '@')
	if address(head[at+1:]) {
		return max(at, 0) // surely the host, so what comes later is path
	}
	if goesOn(token) || at < 0 && !portOf(head) {
		if last := lastAt(rest); last > len(token) {
			return last // the password holds a "://"
		}
	}
	if last := strings.LastIndexByte(token, '@'); last >= 0 && (at >= 0 || strings.Contains(token[:last], ":")) {
		return last // a password with a raw slash is worth more than a path with an at-sign
	}
	if portOf(head) {
		return 0
	}
	// "user:..." and no host in sight: the password holds a blank or a quote, or the text was cut.
	line, _, _ := strings.Cut(rest, "\n")
	if i := strings.IndexByte(line, '@'); i >= 0 && !strings.Contains(line[:i], "://") {
		return i
	}
	return len(token)
}

// longestLogin is how many bytes are looked through for the end of a log-in. Without a limit, an argument that is full of "://"
// would take the square of its length.
const longestLogin = 1 << 10

// lastAt returns where the last at-sign stands in the word that rest begins with; -1 when it has none.
func lastAt(rest string) int {
	rest = rest[:min(len(rest), longestLogin)]
	if i := strings.IndexAny(rest, blanksAndQuotes); i >= 0 {
		rest = rest[:i]
	}
	return strings.LastIndexByte(rest, '@')
}

// goesOn reports whether the "://" behind token is no other URL's: a list or a query would have a sign before that one's scheme.
func goesOn(token string) bool {
	before := strings.TrimRight(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")
	return before == "" || strings.HasSuffix(before, ":") || strings.HasSuffix(before, "@")
}

// blanksAndQuotes are the bytes that end a URL in a text.
const blanksAndQuotes = " \t\r\n\v\f\"<>`"

// endOfToken is where a URL ends: at a blank, a quote that URLs do not hold, another URL, or one of the stops.
func endOfToken(text, stops string) int {
	if next := authority.Get().FindStringIndex(text); next != nil {
		text = text[:next[0]]
	}
	if i := strings.IndexAny(text, blanksAndQuotes+stops); i >= 0 {
		return i
	}
	return len(text)
}

// address reports whether host is an IP address, perhaps with a port.
func address(host string) bool {
	host = strings.TrimRight(host, `'.,;:)`)
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(host)
	return err == nil
}

// portOf reports whether what follows the last colon of head, if there is one, can be a port.
func portOf(head string) bool {
	i := strings.LastIndexByte(head, ':')
	return i < 0 || strings.HasPrefix(head, "[") || strings.Trim(strings.TrimRight(head[i+1:], `'.,;:)]}`), "0123456789") == ""
}

// wholeURL masks the user-info of an argument that is a URL. Where it ends is certain here, blanks or not.
func wholeURL(arg string) string {
	m := authority.Get().FindStringIndex(arg)
	if m == nil || strings.ContainsAny(arg[:m[0]], " '\"") {
		return arg
	}
	rest := arg[m[1]:]
	if i := strings.LastIndexByte(rest, '@'); i >= 0 && strings.ContainsAny(rest[:i], blanksAndQuotes) {
		return arg[:m[1]] + Mask + rest[i:]
	}
	return arg
}

// valueEnd is where the value after "password=" ends. Whatever a password may hold stays inside, so it is greedy.
func valueEnd(text string, encoded bool) int {
	at := 0
	if quote := leadingQuote(text); quote != "" {
		if end := closing(text[len(quote):], quote); end < len(text)-len(quote) {
			at = len(quote) + end + len(quote)
		}
	}
	for ; at < len(text); at++ {
		switch text[at] {
		case ' ', '\t', '\r', '\n', '\v', '\f', '"', '&', '<', '>', '`':
			return at
		case '\'':
			if at+1 == len(text) || strings.IndexByte(" \t\r\n,:;)]}", text[at+1]) >= 0 {
				return at
			}
		case '\\':
			if rest := text[at+1:]; strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "n") || strings.HasPrefix(rest, "r") ||
				strings.HasPrefix(rest, "u0026") {
				return at
			}
		case '%':
			if encoded && encodedAmpersand.Get().MatchString(text[at:]) {
				return at
			}
		}
	}
	return at
}

var encodedAmpersand = lazyre.New(`^%(?:25)*26`)

// leadingQuote returns the quote that text begins with, with its backslashes.
func leadingQuote(text string) string {
	i := 0
	for i < len(text) && text[i] == '\\' {
		i++
	}
	if i < len(text) && (text[i] == '"' || text[i] == '\'') {
		return text[:i+1]
	}
	return ""
}

// closing is where the quote that was opened by the given one closes; the length of text when it does not.
func closing(text, quote string) int {
	for at := 0; at < len(text); at++ {
		switch {
		case strings.HasPrefix(text[at:], quote):
			return at
		case text[at] == '\\':
			for at+1 < len(text) && text[at+1] == '\\' {
				at++
			}
			at++
		}
	}
	return len(text)
}

// Headers, as they are sent and as they stand on command lines.
var (
	keyHeader     = lazyre.New(`(?i)\b(?:(?:set-)?cookie|x-[\w-]*(?:key|token|auth|session|secret|password)[\w-]*):[ \t]*`)
	authHeader    = lazyre.New(`(?i)authorization(?:\\*["']?\s*[:=][ \t]*|%(?:25)*3a)`)
	basicOrBearer = lazyre.New(`(?i)^(basic|bearer|token|negotiate)\s+`)
	digestLogin   = lazyre.New(`(?i)^digest\s+(?:[\w*]+=(?:\\*"[^"]*"|[^\s,"]+)\s*,?\s*)+`)
	maskedLogin   = lazyre.New(`^(?:\w+\s+)?\*{3}(?:\s|$)`)
	basicLogin    = lazyre.New(`(?i)\bbasic\s+`)
	bearerToken   = lazyre.New(`(?i)\bbearer\s+`)
	headersOption = lazyre.New(`(?i)(?:^|\s)--?headers?\s+`)
	nextOption    = lazyre.New(`\s-[A-Za-z]`)
	base64Word    = lazyre.New(`^[A-Za-z0-9+/_-]{4,}={0,2}`)
	tokenWord     = lazyre.New(`^[\w.~+/-]*\d[\w.~+/-]*=*`)
)

func replaceHeaders(text string) string {
	text = maskAll(text, headersOption.Get(), func(_, rest string) (int, int) {
		if quote := leadingQuote(strings.TrimPrefix(rest, "$")); quote != "" {
			from := strings.Index(rest, quote) + len(quote)
			return from, from + closing(rest[from:], quote)
		}
		if next := nextOption.Get().FindStringIndex(rest); next != nil {
			return 0, next[0]
		}
		line, _, _ := strings.Cut(rest, "\n")
		return 0, len(line)
	})
	text = maskAll(text, keyHeader.Get(), func(_, rest string) (int, int) { return 0, endOfHeader(rest) })
	text = maskAll(text, authHeader.Get(), func(match, rest string) (int, int) {
		if strings.Contains(match, "%") {
			return 0, endOfToken(rest, "&")
		}
		if quote := leadingQuote(rest); quote != "" {
			return len(quote), len(quote) + closing(rest[len(quote):], quote)
		}
		if m := basicOrBearer.Get().FindString(rest); m != "" {
			return len(m), len(m) + endOfWord(rest[len(m):])
		}
		if maskedLogin.Get().MatchString(rest) {
			return 0, 0
		}
		if m := digestLogin.Get().FindString(rest); m != "" {
			return len("digest "), len(strings.TrimRight(m, " \t\r\n"))
		}
		return 0, endOfHeader(rest)
	})
	text = maskAll(text, basicLogin.Get(), func(_, rest string) (int, int) {
		word := base64Word.Get().FindString(rest)
		plain := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(word)
		if decoded, err := base64.RawStdEncoding.DecodeString(plain); err == nil && strings.Contains(string(decoded), ":") {
			return 0, len(word)
		}
		return 0, 0
	})
	return maskAll(text, bearerToken.Get(), func(_, rest string) (int, int) {
		return 0, len(tokenWord.Get().FindString(rest))
	})
}

func endOfWord(text string) int {
	if i := strings.IndexAny(text, " \t\r\n\v\f\"'\\"); i >= 0 {
		return i
	}
	return len(text)
}

// endOfHeader is the end of the line, real or written as an escape, or of the quotes around the header.
func endOfHeader(text string) int {
	for i := range len(text) {
		switch text[i] {
		case '\r', '\n', '"', '\'':
			return i
		case '\\':
			if i+1 < len(text) && strings.IndexByte(`rn"'`, text[i+1]) >= 0 {
				return i
			}
		}
	}
	return len(text)
}
