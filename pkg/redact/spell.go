package redact

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// deepest is how many layers of encoding around encoding we follow: a URL inside a query inside a JSON text has three.
const deepest = 8

// spell calls found for every way in which the beginning of text may spell the beginning of secret:
// with how many bytes of the secret that takes, and how long it is in the text.
func spell(secret, text string, found func(taken, length int)) {
	if text == "" {
		return
	}
	switch {
	case text[0] == secret[0]:
		found(1, 1)
	case secret[0] == ' ' && text[0] == '+': // a query's blank
		found(1, 1)
	}
	switch text[0] {
	case '%':
		spellPercent(secret, text, found)
	case '\\':
		spellBackslash(secret, text, found)
	case '&':
		spellEntity(secret, text, found)
	case '\'':
		if secret[0] == '\'' {
			spellLiteral(text, `'\''`, found)  // shells, and ffmpeg's ffconcat scripts
			spellLiteral(text, `'"'"'`, found) // Python's shlex
			spellLiteral(text, `'\\''`, found) // the first, inside JSON
		}
	}
	if r, size := utf8.DecodeRuneInString(secret); r == utf8.RuneError && size == 1 {
		spellLiteral(text, "\ufffd", found) // what encoders write for a byte that is not UTF-8
	}
}

func spellLiteral(text, form string, found func(taken, length int)) {
	if strings.HasPrefix(text, form) {
		found(1, len(form))
	}
}

// spellPercent reads %XX, also encoded again: %25XX, %2525XX.
func spellPercent(secret, text string, found func(taken, length int)) {
	at := 1
	for range deepest {
		if b, ok := number(text, at, 2, 16); ok && byte(b) == secret[0] {
			found(1, at+2)
		}
		if !strings.HasPrefix(text[at:], "25") {
			return
		}
		at += 2
	}
}

// spellBackslash reads the escapes of JSON, Go, C and shells, with the backslash itself escaped any number of times.
func spellBackslash(secret, text string, found func(taken, length int)) {
	for at := 1; at < len(text) && at <= deepest; at++ {
		if text[at] == secret[0] {
			found(1, at+1)
		}
		if i := strings.IndexByte(controlNames, text[at]); i >= 0 && controlBytes[i] == secret[0] {
			found(1, at+1)
		}
		switch text[at] {
		case 'x':
			spellByte(secret, text, at+1, 2, 16, found)
		case 'u':
			spellRune(secret, text, at+1, 4, found)
		case 'U':
			spellRune(secret, text, at+1, 8, found)
		default:
			spellByte(secret, text, at, 3, 8, found)
		}
		if text[at] != '\\' {
			return
		}
	}
}

// The letters after a backslash, and what they stand for.
const (
	controlNames = "nrtfbavs"
	controlBytes = "\n\r\t\f\b\a\v "
)

func spellByte(secret, text string, at, digits, base int, found func(taken, length int)) {
	if value, ok := number(text, at, digits, base); ok && value <= 0xff && byte(value) == secret[0] {
		found(1, at+digits)
	}
}

// spellRune reads the code point after \u or \U; JSON writes those beyond 16 bits as two halves.
func spellRune(secret, text string, at, digits int, found func(taken, length int)) {
	value, ok := number(text, at, digits, 16)
	if !ok {
		return
	}
	end := at + digits
	if value >= 0xd800 && value < 0xdc00 {
		rest := strings.TrimLeft(text[end:], `\`)
		low, ok := number(rest, 1, 4, 16)
		if !ok || len(text)-len(rest) > end+deepest || rest[0] != 'u' || low < 0xdc00 || low > 0xdfff {
			return
		}
		value = (value-0xd800)<<10 + (low - 0xdc00) + 0x10000
		end = len(text) - len(rest) + 5
	}
	spellCodePoint(secret, value, end, found)
}

func spellCodePoint(secret string, value, length int, found func(taken, length int)) {
	if r, size := utf8.DecodeRuneInString(secret); int(r) == value {
		found(size, length)
	}
}

// spellEntity reads what HTML writes for the characters it cannot show as they are: &amp; &#38; &#x26;.
func spellEntity(secret, text string, found func(taken, length int)) {
	end := strings.IndexByte(text[:min(len(text), 12)], ';')
	if end < 0 {
		return
	}
	name := text[1:end]
	switch name {
	case "amp":
		spellCodePoint(secret, '&', end+1, found)
	case "lt":
		spellCodePoint(secret, '<', end+1, found)
	case "gt":
		spellCodePoint(secret, '>', end+1, found)
	case "quot":
		spellCodePoint(secret, '"', end+1, found)
	case "apos":
		spellCodePoint(secret, '\'', end+1, found)
	}
	digits, base := strings.TrimPrefix(name, "#"), 10
	if digits == name {
		return
	}
	if hex := strings.TrimLeft(digits, "xX"); hex != digits {
		digits, base = hex, 16
	}
	if value, ok := number(digits, 0, len(digits), base); ok {
		spellCodePoint(secret, value, end+1, found)
	}
}

// number reads exactly so many digits of text at a position.
func number(text string, at, digits, base int) (int, bool) {
	if at+digits > len(text) {
		return 0, false
	}
	value, err := strconv.ParseUint(text[at:at+digits], base, 32)
	return int(value), err == nil
}
