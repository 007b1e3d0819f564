package redact

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

// Tokens replaces each part of a URL's path and query that is a secret by itself, a token or the key of a stream, by what
// stand makes of it, and returns the URL. It hides no other secret: String does.
func Tokens(url string, stand func(token string) string) string {
	var out strings.Builder
	done := 0
	for _, s := range tokens(url) {
		out.WriteString(url[done:s.from])
		out.WriteString(stand(url[s.from:s.to]))
		done = s.to
	}
	out.WriteString(url[done:])
	return out.String()
}

// between parts the path and the query of a URL, also where these are encoded or stand in JSON or HTML.
var between = lazyre.New(`(?i)\\*/|[?&;#=,'()\[\]{}|!]|\\+u0026|\\.|%(?:25)*(?:2f|3f|26|3b|23|3d|2c)`)

// tokens finds the tokens of every URL in a text.
func tokens(text string) []span {
	if !strings.Contains(text, "://") && !strings.Contains(text, "%") && !strings.Contains(text, `\/`) {
		return nil
	}
	var spans []span
	for _, m := range authority.Get().FindAllStringIndex(text, -1) {
		stops := ""
		if text[m[0]] == '%' {
			stops = "&"
		}
		begin := m[1]
		url := text[begin : begin+endOfToken(text[begin:], stops)]
		l := location{scheme: schemeBefore(text[:m[0]])}
		end := hostEnd.Get().FindStringIndex(url)
		if l.scheme == "file" || end == nil {
			continue
		}
		l.host, l.port = hostAndPort(url[:end[0]])
		from := end[0]
		for part, sep := range parts(url[from:]) {
			if s := (span{begin + from, begin + from + len(part)}); l.takes(part, sep) {
				spans = append(spans, s)
			}
			from += len(part) + len(sep)
		}
	}
	return spans
}

// parts tells the parts of a URL behind its scheme, each with the sign that ends it.
func parts(url string) func(yield func(part, sep string) bool) {
	return func(yield func(part, sep string) bool) {
		from := 0
		for _, m := range between.Get().FindAllStringIndex(url, -1) {
			if !yield(url[from:m[0]], url[m[0]:m[1]]) {
				return
			}
			from = m[1]
		}
		yield(strings.TrimRight(url[from:], ":."), "") // these are the sentence's around the URL
	}
}

func schemeBefore(text string) string {
	const longest = 16
	text = text[max(0, len(text)-longest):]
	from := len(text)
	for from > 0 && (text[from-1]|0x20 >= 'a' && text[from-1]|0x20 <= 'z' || text[from-1] >= '0' && text[from-1] <= '9') {
		from--
	}
	return strings.ToLower(text[from:])
}

// location is how far a URL has been read.
type location struct {
	scheme   string
	host     string
	port     int
	depth    int    // parts of the path that were read
	before   string // the part before this one
	searches bool   // the query has begun
}

// takes reads the next part and reports whether it is a token.
func (l *location) takes(part, sep string) bool {
	token := strings.Trim(part, "*") != "" && (!l.searches && l.certain(part) || random(part) || login(part))
	if !l.searches && part != "" {
		l.depth++
	}
	l.before, l.searches = strings.ToLower(part), l.searches || isQuery(sep)
	return token
}

func isQuery(sep string) bool {
	return strings.HasPrefix(sep, "?") || strings.HasSuffix(strings.ToLower(sep), "3f")
}

var (
	hostEnd      = lazyre.New(`(?i)[/?#\\]|%(?:25)*(?:2f|3f|23)`)
	encodedColon = lazyre.New(`(?i)%(?:25)*3a`)
)

// hostAndPort reads an authority, encoded or not; without a port that is 0.
func hostAndPort(authority string) (host string, port int) {
	authority = encodedColon.Get().ReplaceAllString(authority[strings.LastIndexByte(authority, '@')+1:], ":")
	i := strings.LastIndexByte(authority, ':')
	if i < 0 {
		return strings.ToLower(authority), 0
	}
	port, _ = strconv.Atoi(authority[i+1:])
	return strings.ToLower(authority[:i]), port
}

// Where a part of a path is a key whatever it looks like.
const (
	protectTLS = 7441 // UniFi Protect serves each camera under a token, here over TLS
	protect    = 7447
)

// liveServices are the hosts that are sent streams, with the key of the sender as the last part of the path.
func liveServices() []string {
	return []string{
		"youtube.com", "twitch.tv", "facebook.com", "restream.io", "rtmp.t.me", "live-video.net", "kick.com", "vimeo.com",
		"instagram.com", "tiktokcdn.com", "pscp.tv", "cloudflare.com", "mux.com", "dacast.com", "vk.com", "ok.ru", "bilivideo.com",
	}
}

func (l *location) certain(part string) bool {
	switch {
	case part == "":
		return false
	case l.depth == 0 && (l.port == protectTLS || l.port == protect):
		return strings.HasPrefix(l.scheme, "rts")
	case l.depth == 0 || !strings.HasPrefix(l.scheme, "rtmp"):
		return false
	}
	return l.before == "live2" || streamKey.Get().MatchString(part) ||
		slices.ContainsFunc(liveServices(), func(name string) bool { return l.host == name || strings.HasSuffix(l.host, "."+name) })
}

// streamKey is what the keys of the large live services look like, and of those that follow them.
var streamKey = lazyre.New(`^(?:(?:[a-z0-9]{4}-){3,}[a-z0-9]{4}|live_\d+_\w+|FB-\d+-.+|(?:sk|re|rtmp|key)_\w+|\d+:[\w-]{8,})$`)

// login reports whether a part of a path is a user name with its password, or the base64 of both.
func login(part string) bool {
	if loginPart.Get().MatchString(part) {
		return true
	}
	const shortest = 8
	plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(part), "=")
	if len(plain) < shortest || len(plain) > longestLogin {
		return false
	}
	decoded, err := base64.RawStdEncoding.DecodeString(plain)
	name, word, found := strings.Cut(string(decoded), ":")
	if err != nil || !found || name == "" || word == "" || !utf8.Valid(decoded) {
		return false
	}
	return !slices.ContainsFunc(decoded, func(b byte) bool { return b < ' ' || b == 0x7f })
}

var loginPart = lazyre.New(`(?i)^(?:admin\w*|root|user\w*|usrnm|guest|operator|viewer|service|supervisor):.+$`)

// What ordinary paths hold between their words, and is no sign of chance: sizes, codecs, a time of day.
var ordinary = lazyre.New(`(?i)\d{2,4}x\d{2,4}|[hx]\.?26[3-6]|g7\d\d|mpeg-?[124]|20\d{6}(?:t?\d{4,9}z?)?`)

// How long a word must be, in letters and digits, before it can be called a word of chance.
const (
	longWord  = 12
	longHex   = 16
	longPlain = 16 // letters of one case
	longer    = 18
)

// random reports whether a part of a URL looks as if drawn by lot. It is judged word by word and as a whole, since keys hold
// dashes, and so do names.
func random(part string) bool {
	if len(part) < longWord {
		return false
	}
	if uuid.Get().MatchString(part) {
		return true
	}
	var all strings.Builder
	for word := range strings.FieldsFuncSeq(escape.Get().ReplaceAllString(part, "_"), func(r rune) bool { return !letter(r) && !digit(r) }) {
		if byLot(word) {
			return true
		}
		all.WriteString(word)
	}
	return mixed(all.String()) && byLot(all.String())
}

var (
	uuid   = lazyre.New(`^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)
	escape = lazyre.New(`%[0-9A-Fa-f]{2}`)
)

func lower(r rune) bool  { return r >= 'a' && r <= 'z' }
func upper(r rune) bool  { return r >= 'A' && r <= 'Z' }
func letter(r rune) bool { return lower(r) || upper(r) }
func digit(r rune) bool  { return r >= '0' && r <= '9' }

// mixed reports whether a word has capitals, small letters and digits, as hardly a name has.
func mixed(word string) bool {
	return strings.ContainsFunc(word, lower) && strings.ContainsFunc(word, upper) && strings.ContainsFunc(word, digit)
}

// byLot reports whether too few of the letters of a word follow each other as they do in words of a language.
func byLot(word string) bool {
	if len(word) >= longHex && hexadecimal(word) {
		return strings.ContainsFunc(word, letter) && strings.ContainsFunc(word, digit)
	}
	word = ordinary.Get().ReplaceAllString(word, "")
	letters := len(strings.Join(strings.FieldsFunc(word, digit), ""))
	pairs, spoken, changes := 0, 0, 0
	for i := 1; i < len(word); i++ {
		a, b := rune(word[i-1]), rune(word[i])
		if digit(a) && digit(b) {
			continue
		}
		pairs++
		switch {
		case !letter(a) || !letter(b), lower(a) && upper(b):
			changes++
		case strings.IndexByte(followers()[a|0x20-'a'], word[i]|0x20) >= 0:
			spoken++
		}
	}
	switch {
	case len(word) < longWord || len(word) == longWord && hexadecimal(word):
		return false // the second is the number of a network card
	case changes == 0:
		return len(word) >= longPlain && 3*spoken < pairs || len(word) >= longer && 5*spoken < 2*pairs
	case 5*letters < 2*len(word):
		return false // a number with a few letters
	default:
		return 5*spoken < 2*pairs || len(word) >= longer && 2*spoken < pairs
	}
}

func hexadecimal(word string) bool {
	return strings.Trim(word, "0123456789abcdef") == "" || strings.Trim(word, "0123456789ABCDEF") == ""
}

// followers returns for each letter those that often follow it in English, or in the names of places in some other languages:
// four of five pairs in words, and about one of four by lot.
func followers() [26]string {
	return [26]string{
		"bcdgilmnprst", "aeilu", "aehklorst", "adeilors", "acdefgilmnprstvwx", "afilor", "eos", "aeou", "cdfglmnoprstz", "", "aeiou", "adeiloty", "aeiop", "acdefgiknost", "cdflmnoprstuw", "aeiloprtu", "", "acdeikorst", "acehiopstuy", "acehiloprstuy", "bdelmnprst", "aei", "a", "t", "aps", "ei",
	}
}
