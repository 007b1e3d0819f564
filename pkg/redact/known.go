package redact

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// needle is one text to look for.
type needle struct {
	text   string
	base64 bool // part of the base64 of a log-in: the rest of that word goes too
}

// shortestBase64 is how many certain characters of a log-in's base64 we ask for before we call it a match.
const shortestBase64 = 6

// needlesFor returns the secret, and what of it is certain to stand in the base64 of any text that contains it.
func needlesFor(secret string) []needle {
	if secret == "" || len(secret) <= len(Mask) && strings.Trim(secret, "*") == "" {
		return nil // the mask would show it
	}
	needles := []needle{{text: secret}}
	for shift := range 3 {
		// Three bytes make four characters. Depending on how many bytes stand before the secret, its first and last
		// characters are shared with its neighbours; those between are its own.
		padded := strings.Repeat("\x00", shift) + secret
		first := (shift*8 + 5) / 6
		last := len(padded) * 8 / 6
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if coded := alphabet.EncodeToString([]byte(padded)); last-first >= shortestBase64 {
				needles = append(needles, needle{text: coded[first:last], base64: true})
			}
		}
	}
	return needles
}

// vocabulary is every needle of a Redactor, and which of them may begin with a given byte. It never changes.
type vocabulary struct {
	needles []needle
	starts  [256][]int
}

// with returns a vocabulary that holds the needles too; v may be nil.
func (v *vocabulary) with(needles []needle) *vocabulary {
	all := &vocabulary{}
	if v != nil {
		all.needles = slices.Clone(v.needles)
	}
	for _, n := range needles {
		if !slices.ContainsFunc(all.needles, func(known needle) bool { return known.text == n.text }) {
			all.needles = append(all.needles, n)
		}
	}
	for i, n := range all.needles {
		// Whatever the first byte of the needle, one of these begins its spelling; see spell.
		first := []byte{n.text[0], '%', '\\', '&', '+', '\'', "\ufffd"[0]}
		slices.Sort(first)
		for _, b := range slices.Compact(first) {
			all.starts[b] = append(all.starts[b], i)
		}
	}
	return all
}

// replace masks every occurrence of the needles, overlapping ones as a whole.
func (v *vocabulary) replace(text string, end ending) string {
	if v == nil {
		return text
	}
	var spans []span
	for at := range len(text) {
		for _, i := range v.starts[text[at]] {
			n := v.needles[i]
			to, ok := n.match(text, at, end)
			if !ok || len(n.text) < shortest && !alone(n.text, text, at, to) {
				continue
			}
			from := at
			if n.base64 {
				from, to = widen(text, from, to)
			}
			spans = append(spans, span{from, to})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	return mask(text, spans)
}

// match follows all spellings of the needle at once, and returns the end of the longest occurrence that begins at a
// position of text. At a cut end, a good beginning of the needle is an occurrence too.
func (n needle) match(text string, at int, end ending) (int, bool) {
	begins := false
	spell(n.text, text[at:], func(int, int) { begins = true })
	if !begins {
		return 0, false // nearly always, and without any allocation
	}
	// reached[i] are the lengths of text that the first i bytes of the needle may take.
	reached := make([][]int, len(n.text)+1)
	reached[0] = []int{0}
	far := 0 // the furthest i that was reached
	for i := 0; i < len(n.text) && i <= far; i++ {
		slices.Sort(reached[i])
		for _, length := range slices.Compact(reached[i]) {
			if end == cut && at+length == len(text) && i >= shortest {
				return len(text), true
			}
			spell(n.text[i:], text[at+length:], func(taken, more int) {
				reached[i+taken] = append(reached[i+taken], length+more)
				far = max(far, i+taken)
			})
		}
		reached[i] = nil
	}
	if ends := reached[len(n.text)]; len(ends) > 0 {
		return at + slices.Max(ends), true
	}
	return 0, false
}

// alone reports whether the short secret that stands at from..to is a token of its own.
func alone(secret, text string, from, to int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:from])
	after, _ := utf8.DecodeRuneInString(text[to:])
	if strings.ContainsFunc(secret, wordRune) {
		return (from == 0 || !wordRune(before)) && (to == len(text) || !wordRune(after))
	}
	// A secret of punctuation only stands between other punctuation everywhere ("/" in "rtsp://"):
	// it counts where a value would stand.
	return (from == 0 || unicode.IsSpace(before) || strings.ContainsRune(`"':=`, before)) &&
		(to == len(text) || unicode.IsSpace(after) || strings.ContainsRune(`"'@&,`, after))
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

// widen extends an occurrence to the base64 word around it, but not over a slash, which more often belongs to a path.
func widen(text string, from, to int) (int, int) {
	inside := func(b byte) bool {
		return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '+' || b == '-' || b == '_'
	}
	for from > 0 && inside(text[from-1]) {
		from--
	}
	for to < len(text) && (inside(text[to]) || text[to] == '=') {
		to++
	}
	return from, to
}
