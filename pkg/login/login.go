// Package login answers the challenges with which cameras ask for a user name and a password, over RTSP and over HTTP alike.
package login

import (
	"cmp"
	"crypto/md5" //nolint:gosec // RFC 2617 digests are MD5, and most cameras know no other
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// Login answers a challenge (RFC 7616 and RFC 7617, which RTSP takes over from HTTP).
type Login struct {
	user, password string
	challenge      challenge
	count          int // of requests that used the nonce
}

// challenge is one way to log in that the camera offers.
type challenge struct {
	scheme                string // "basic" or "digest"
	realm                 field
	nonce, opaque         field
	algorithm             string // as written, to be returned
	hash                  func() hash.Hash
	session               bool // "-sess": the nonces go into the secret
	hasOpaque, offersAuth bool
	offersAuthInt         bool // the body goes into the response too; ours is always empty
	stale                 bool // only the nonce of the last try was too old (RFC 2617 section 3.2.1)
}

// field is a parameter of a challenge: what it says, and how it is written between its quotes, which is how it is returned.
type field struct{ text, written string }

// ErrRefused is wrapped by the error of a camera that was sent a log-in and refused it.
var ErrRefused = errors.New("it refused the user name or password")

// The schemes of challenges that can be answered.
const (
	Digest = "digest"
	Basic  = "basic"
)

// New picks the strongest of the challenges that we know among the values of the header "WWW-Authenticate"; nil when there is none.
func New(offers []string, user, password string) *Login {
	return NewOf([]string{Digest, Basic}, offers, user, password)
}

// NewOf is New for some schemes alone: the first of them that is offered is answered.
func NewOf(schemes []string, offers []string, user, password string) *Login {
	var known []challenge
	for _, offer := range offers {
		for _, one := range scan(offer) {
			if c, ok := parseChallenge(one); ok && slices.Contains(schemes, c.scheme) {
				known = append(known, c)
			}
		}
	}
	if len(known) == 0 {
		return nil
	}
	best := slices.MaxFunc(known, func(a, b challenge) int {
		return cmp.Or(slices.Index(schemes, b.scheme)-slices.Index(schemes, a.scheme), a.strength()-b.strength())
	})
	return &Login{user: user, password: password, challenge: best}
}

// Scheme is "digest" or "basic".
func (l *Login) Scheme() string { return l.challenge.scheme }

// Stale reports whether the camera says that it knows the password and only wants its new nonce used.
func (l *Login) Stale() bool { return l.challenge.stale }

func (c challenge) strength() int {
	if c.scheme == Basic {
		return 0
	}
	return c.hash().Size() * c.hash().BlockSize() // MD5, SHA-256, SHA-512-256
}

func parseChallenge(o offered) (challenge, bool) {
	c := challenge{scheme: strings.ToLower(o.scheme)}
	for name, value := range o.parameters {
		switch name {
		case "realm":
			c.realm = value
		case "nonce":
			c.nonce = value
		case "opaque":
			c.opaque, c.hasOpaque = value, true
		case "algorithm":
			c.algorithm = value.text
		case "stale":
			c.stale = strings.EqualFold(value.text, "true")
		case "qop":
			for one := range strings.FieldsFuncSeq(value.text, func(r rune) bool { return r == ',' || isBlank(r) }) {
				c.offersAuth = c.offersAuth || strings.EqualFold(one, "auth")
				c.offersAuthInt = c.offersAuthInt || strings.EqualFold(one, "auth-int")
			}
		}
	}
	switch c.scheme {
	case Basic:
		return c, true
	case Digest:
		return c, c.nonce.text != "" && c.know()
	}
	return c, false
}

// know sets the hash of the algorithm, if it is one we know.
func (c *challenge) know() bool {
	name, session := strings.CutSuffix(strings.ToUpper(c.algorithm), "-SESS")
	c.session = session
	switch name {
	case "", "MD5":
		c.hash = md5.New
	case "SHA-256":
		c.hash = sha256.New
	case "SHA-512-256":
		c.hash = sha512.New512_256
	default:
		return false
	}
	return true
}

func quote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(value) + `"`
}

// quoted is the field as the camera wrote it: some compare it so.
func (f field) quoted() string {
	return `"` + strings.NewReplacer("\r", "", "\n", "").Replace(f.written) + `"`
}

// Authorization returns the value of the header "Authorization" for one request.
func (l *Login) Authorization(method, uri string) string {
	if l.challenge.scheme == Basic {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.user+":"+l.password))
	}
	l.count++
	return l.digest(method, uri, rand.Text(), fmt.Sprintf("%08x", l.count))
}

func (l *Login) digest(method, uri, cnonce, count string) string {
	c := l.challenge
	sum := func(parts ...string) string {
		h := c.hash()
		h.Write([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(h.Sum(nil))
	}
	secret := sum(l.user, c.realm.text, l.password)
	if c.session {
		secret = sum(secret, c.nonce.text, cnonce)
	}
	fields := []string{"username=" + quote(l.user), "realm=" + c.realm.quoted(), "nonce=" + c.nonce.quoted(), "uri=" + quote(uri)}
	qop, request := "auth", sum(method, uri)
	if !c.offersAuth {
		qop, request = "auth-int", sum(method, uri, sum(""))
	}
	if c.offersAuth || c.offersAuthInt {
		fields = append(fields, "response="+quote(sum(secret, c.nonce.text, count, cnonce, qop, request)),
			"qop="+qop, "nc="+count, "cnonce="+quote(cnonce))
	} else {
		fields = append(fields, "response="+quote(sum(secret, c.nonce.text, sum(method, uri))))
		if c.session {
			fields = append(fields, "cnonce="+quote(cnonce))
		}
	}
	if c.algorithm != "" {
		fields = append(fields, "algorithm="+strings.NewReplacer("\r", "", "\n", "").Replace(c.algorithm))
	}
	if c.hasOpaque {
		fields = append(fields, "opaque="+c.opaque.quoted())
	}
	return "Digest " + strings.Join(fields, ", ")
}
