// Package redact takes secrets out of any text before the text goes on: to a log, an error, a table, a document.
package redact

import (
	"strings"
	"sync"
	"sync/atomic"
)

// Mask is what stands where a secret stood.
const Mask = "***"

// shortest is the length in bytes from which a secret is replaced wherever it occurs. A shorter one ("a", "554")
// would be found inside ordinary words and numbers, so it must stand alone.
const shortest = 4

// Redactor replaces the secrets it was told about, in every spelling a program is likely to give them, and beyond
// these whatever looks like a secret: user-info in URLs, pass*=, pwd=, token=, auth= and their like, Authorization headers, the
// values of options for keys and log-ins, the keys of streams and what looks drawn by lot in a URL's path. It is safe for concurrent use. The nil Redactor knows no secrets and works by looks alone.
type Redactor struct {
	adding sync.Mutex
	known  atomic.Pointer[vocabulary] // replaced as a whole, so that readers never wait
}

// New returns a Redactor that knows the secrets; empty ones are ignored.
func New(secrets ...string) *Redactor {
	r := &Redactor{}
	for _, secret := range secrets {
		r.Add(secret)
	}
	return r
}

// Add makes r remember a secret: as it is, percent-encoded (any bytes of it, either hex case, also more than once),
// with the backslashes of JSON, Go and shell, with the quotes of shells and ffconcat scripts, with HTML entities, and
// inside the base64 of a basic log-in. The empty secret and one that Mask itself would show are ignored.
// Unlike the other methods it must not be called on the nil Redactor, which could only forget the secret.
func (r *Redactor) Add(secret string) {
	r.adding.Lock()
	defer r.adding.Unlock()
	r.known.Store(r.known.Load().with(needlesFor(secret)))
}

// String returns text without the secrets. Applying it twice changes nothing more.
func (r *Redactor) String(text string) string { return r.redact(text, whole) }

// Cut is String for a text whose end was cut off by a limit: a known secret that the cut split is hidden too, as soon as
// four of its bytes stand at the end.
func (r *Redactor) Cut(text string) string { return r.redact(text, cut) }

// Bytes is String for bytes; b itself is not changed.
func (r *Redactor) Bytes(b []byte) []byte { return []byte(r.String(string(b))) }

// Args returns a redacted copy of an argument list. It sees more than String does of the joined list:
// where each argument ends, and which one is the value of -headers or of an option named like a password.
func (r *Redactor) Args(args []string) []string {
	shown := make([]string, len(args))
	expected := nothing
	for i, arg := range args {
		if kept, hides := hidesAll(arg, expected); hides {
			shown[i] = arg[:kept] + Mask
		} else {
			shown[i] = r.String(wholeURL(arg))
		}
		if i > 0 {
			expected = after(args[0], arg, expected)
		}
	}
	return shown
}

// Args redacts an argument list by looks alone; see Redactor.Args.
func Args(args []string) []string { return (*Redactor)(nil).Args(args) }

// String redacts a text by looks alone; see Redactor.String.
func String(text string) string { return (*Redactor)(nil).String(text) }

// ending says whether a text is known to be whole.
type ending int

const (
	whole ending = iota
	cut
)

// Known replaces the known secrets alone, however they are spelled; what only looks like a secret stays.
func (r *Redactor) Known(text string) string { return r.known.Load().replace(text, whole) }

func (r *Redactor) redact(text string, end ending) string {
	var known *vocabulary
	if r != nil {
		known = r.known.Load()
	}
	// A replacement can bring the two halves of another secret together, so we go on until nothing changes. This ends:
	// each change removes bytes that are not asterisks, or shortens the text.
	for {
		before := text
		text = known.replace(text, end)
		text = replaceLooks(text)
		if text == before {
			return text
		}
	}
}

// span is a part of a text, from its first byte to the one after its last.
type span struct{ from, to int }

// mask replaces the spans of text, touching ones by a single Mask. The spans are sorted by their beginning.
func mask(text string, spans []span) string {
	if len(spans) == 0 {
		return text
	}
	var out strings.Builder
	done := 0
	for i := 0; i < len(spans); {
		from, to := spans[i].from, spans[i].to
		for i++; i < len(spans) && spans[i].from <= to; i++ {
			to = max(to, spans[i].to)
		}
		out.WriteString(text[done:from])
		out.WriteString(Mask)
		done = to
	}
	out.WriteString(text[done:])
	return out.String()
}
