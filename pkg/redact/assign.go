package redact

import (
	"strings"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

// The names under which secrets are assigned. Some are no more than a syllable, and count wherever they stand; some must be a
// word of their own; and some mean something else in most places ("key=" in a filter), and count where a query or an argument
// has a name.
var (
	assignment = lazyre.New(`(?i)(?:pass[\w-]*|pwd|token|auth|secret|api[_-]?key|private[_-]?key) ?(?:=|%(?:25)*3d) ?`)
	wordAssign = lazyre.New(`(?i)(?:^|[^A-Za-z0-9]|%(?:25)*[0-9a-f]{2}|\\u00[0-9a-f]{2})` +
		`(?:auth[_-]?(?:basic|key|code|info|hash|str|string|sig|signature|data|digest|user|usr)|login_?(?:pa?s\w*|pw\w*|use\w*)|pa?s[sw]?w?d?|` +
		`(?:user|usr|proxy|rtsp|http)[_-]?pw|[a-z]*sess(?:ion)?[_-]?id|(?:[a-z]+[_-])?client_private|device_private|sign[_-]?info|signature|` +
		`x-amz-credential|jwt|playpath|ticket|credentials?|(?:verif\w*|access|pin)[_-]?code|` +
		`(?:stream|access|encryption|crypto|security|user|session|client|camera|rtsp|rtmp|shared|srt|hmac|aes)[_-]?key)(?:=|%(?:25)*3d)`)
	queryAssign = lazyre.New(`(?i)(?:^|[?&;#\s"'/_{,-]|%(?:25)*(?:3f|26|3b|23|2f)|\\u0026)` +
		`(?:s?key|api|sid|session|sig|sign|pw|pin|otp|psk)(?:=|%(?:25)*3d)`)
	jsonSecret = lazyre.New(`(?i)["'][\w-]*(?:pass|password|passwd|passphrase|pwd|psw|token|secret|api[_-]?key|stream[_-]?key|session[_-]?id)\\*["']\s*:\s*\\*["']`)
	yamlSecret = lazyre.New(`(?im)^[ \t{,-]*[\w-]*(?:password|passwd|passphrase|pwd|secret)[ \t]*:[ \t]+`)
	xmlSecret  = lazyre.New(`(?i)<(?:\w+:)?(?:password|passwd|passphrase|pwd|secret|token)(?:\s[^<>]*)?>`)
	srtStream  = lazyre.New(`(?i)(?:\b|_)streamid(?:=|%(?:25)*3d)(?:read|publish|request)(?::|%(?:25)*3a)[^:%\s&"']*(?::|%(?:25)*3a)`)
)

func replaceAssignments(text string) string {
	value := func(match, rest string) (int, int) { return 0, valueEnd(rest, strings.Contains(match, "%")) }
	text = maskAll(text, assignment.Get(), value)
	if strings.Contains(text, "=") || strings.Contains(text, "%") {
		text = maskAll(text, wordAssign.Get(), value)
		text = maskAll(text, queryAssign.Get(), value)
		text = maskAll(text, srtStream.Get(), value)
		text = besideUser(text)
	}
	text = maskAll(text, jsonSecret.Get(), func(match, rest string) (int, int) {
		colon := strings.LastIndexByte(match, ':')
		return 0, closing(rest, strings.TrimLeft(match[colon+1:], " \t\r\n"))
	})
	text = maskAll(text, xmlSecret.Get(), func(_, rest string) (int, int) { return 0, max(0, strings.IndexByte(rest, '<')) })
	return maskAll(text, yamlSecret.Get(), func(_, rest string) (int, int) {
		line, _, _ := strings.Cut(rest, "\n")
		return 0, len(line)
	})
}

// Of a query that names a user, "p" is his password.
var (
	userAssign = lazyre.New(`(?i)(?:^|[?&;/]|%(?:25)*(?:3f|26|3b|2f)|\\u0026)(?:u|un|usr|user|user_?name|login|account|id)(?:=|%(?:25)*3d)`)
	pAssign    = lazyre.New(`(?i)(?:[?&;/]|%(?:25)*(?:3f|26|3b|2f)|\\u0026)p(?:=|%(?:25)*3d)`)
	query      = lazyre.New("[^ \t\r\n\v\f\"<>`]+")
)

func besideUser(text string) string {
	if !pAssign.Get().MatchString(text) {
		return text
	}
	return query.Get().ReplaceAllStringFunc(text, func(one string) string {
		if !userAssign.Get().MatchString(one) {
			return one
		}
		return maskAll(one, pAssign.Get(), func(match, rest string) (int, int) { return 0, valueEnd(rest, strings.Contains(match, "%")) })
	})
}

// The options of programs that take a secret as their value: ffmpeg's for keys and log-ins, and those that others share.
const secretNames = `(?:[\w-]+[_-])?(?:pass\w*|pwd|pw|psw|token|auth|secret|headers?|cookies?|key|skey|srtp_(?:in|out)_params|` +
	`activation_bytes|playpath|userpwd|credentials?|jwt|api[_-]?key|psk)`

var (
	secretOption  = lazyre.New(`(?i)^--?` + secretNames + `$`)
	secretValue   = lazyre.New(`(?i)^(--?` + secretNames + `=|[\w-]*(?:pass(?:w\w*|phrase)?|pwd|pw|psw|token|secret|api[_-]?key)=).`)
	loginOption   = lazyre.New(`^(?:--?u|--?[Uu]ser|--?proxy-user|--?auth|-a|--?rtsp-user|-U)$`) // with NAME:PASSWORD
	loginValue    = lazyre.New(`^(--?(?:proxy-)?user=|-u)[^=:\s]*:.`)                            // --user=NAME:PASSWORD, -uNAME:PASSWORD
	optionInText  = lazyre.New(`(?i)(?:^|\s)--?(?:[\w-]+[_-])?(?:password|passwd|passphrase|pwd|token|secret|srtp_(?:in|out)_params|(?:(?:de|en)cryption|hmac|aes|stream|access|audible)_key|key|user-pw|cookies?|api[_-]?key)\s+`)
	loginInText   = lazyre.New(`(?:^|\s)(?:-u|--?user|--proxy-user)[ =](?:'[^':]*:|"[^":]*:|[^\s'":=/-][^\s'":/]*:)`)
	loginOfLive   = lazyre.New(`(?i)(?:^|[\s/])(?:openRTSP|playSIP)\s(?:\S+\s+)*?-[uk]\s+\S+\s+`)
	numericLogin  = lazyre.New(`^\d+:\d*$`) // a user and a group, as of "docker run --user 1000:1000"
	liveProgram   = lazyre.New(`(?i)(?:openRTSP|playSIP|live555\w*)$`)
	schemeInValue = lazyre.New(`(?i)^[a-z][a-z0-9+.-]*://`)
)

// replaceOptions masks the secrets that stand behind options in a command line that is one text.
func replaceOptions(text string) string {
	if !strings.Contains(text, "-") {
		return text
	}
	text = maskAll(text, optionInText.Get(), func(_, rest string) (int, int) {
		if strings.HasPrefix(rest, "-") {
			return 0, 0
		}
		return word(rest)
	})
	text = maskAll(text, loginInText.Get(), func(match, rest string) (int, int) {
		before := match[strings.LastIndexAny(match, "= '\"")+1:]
		if numericLogin.Get().MatchString(before + rest[:endOfWord(rest)]) {
			return 0, 0
		}
		return 0, endOfWord(rest)
	})
	return maskAll(text, loginOfLive.Get(), func(_, rest string) (int, int) { return word(rest) })
}

// word returns where the word is that text begins with, quoted or not.
func word(text string) (from, to int) {
	if quote := leadingQuote(text); quote != "" {
		return len(quote), len(quote) + closing(text[len(quote):], quote)
	}
	return 0, endOfWord(text)
}

// expectation is what the arguments so far say of the next one.
type expectation int

const (
	nothing expectation = iota
	aSecret             // it is one
	aLogin              // it is one if it holds a name and a password
	aName               // it is a user's name, and a secret follows
)

// after says what an argument lets expect of the next one, given what was expected of it.
func after(program, arg string, was expectation) expectation {
	switch {
	case was == aName:
		return aSecret
	case (arg == "-u" || arg == "-k") && liveProgram.Get().MatchString(program):
		return aName
	case secretOption.Get().MatchString(arg):
		return aSecret
	case loginOption.Get().MatchString(arg):
		return aLogin
	}
	return nothing
}

// hidesAll reports whether an argument is a secret as a whole, given what was expected of it; kept is how much of its
// beginning may be shown.
func hidesAll(arg string, was expectation) (kept int, hides bool) {
	switch {
	case arg == "":
		return 0, false
	case was == aSecret:
		return 0, true
	case was == aLogin && strings.Contains(arg, ":") && !numericLogin.Get().MatchString(arg) && !schemeInValue.Get().MatchString(arg):
		return 0, true
	}
	if m := secretValue.Get().FindStringSubmatchIndex(arg); m != nil {
		return m[3], true
	}
	if m := loginValue.Get().FindStringSubmatchIndex(arg); m != nil && !numericLogin.Get().MatchString(arg[m[3]:]) {
		return m[3], true
	}
	return 0, false
}
