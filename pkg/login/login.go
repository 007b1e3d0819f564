// Package login answers the challenges with which cameras ask for a user name and a password, over RTSP and over HTTP alike.
package login

import (
	"crypto/md5" //nolint:gosec // RFC 2617 digests are MD5, and most cameras know no other
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
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
	realm, nonce, opaque  string
	algorithm             string // as written, to be returned
	hash                  func() hash.Hash
	session               bool // "-sess": the nonces go into the secret
	hasOpaque, offersAuth bool
}

// New picks the strongest of the challenges that we know among the values of the header "WWW-Authenticate"; nil when there is none.
func New(offers []string, user, password string) *Login {
	var known []challenge
	for _, offer := range offers {
		for _, one := range splitChallenges(offer) {
			if c, ok := parseChallenge(one); ok {
				known = append(known, c)
			}
		}
	}
	if len(known) == 0 {
		return nil
	}
	return &Login{user: user, password: password, challenge: slices.MaxFunc(known, func(a, b challenge) int { return a.strength() - b.strength() })}
}

func (c challenge) strength() int {
	switch {
	case c.scheme == "basic":
		return 0
	case c.hash().Size() == md5.Size:
		return 1
	default:
		return 2
	}
}

// splitChallenges cuts a header that holds several challenges, where a scheme name follows a comma.
func splitChallenges(offer string) []string {
	var parts []string
	for _, field := range splitFields(offer) {
		word, _, _ := strings.Cut(field, " ")
		if len(parts) == 0 || !strings.ContainsAny(word, "=\"") && strings.Contains(field, " ") {
			parts = append(parts, field)
		} else {
			parts[len(parts)-1] += "," + field
		}
	}
	return parts
}

// splitFields cuts text at the commas that stand outside quotes.
func splitFields(text string) []string {
	var fields []string
	quoted, from := false, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				fields = append(fields, strings.TrimSpace(text[from:i]))
				from = i + 1
			}
		}
	}
	return append(fields, strings.TrimSpace(text[from:]))
}

func parseChallenge(text string) (challenge, bool) {
	scheme, rest, _ := strings.Cut(text, " ")
	c := challenge{scheme: strings.ToLower(scheme), algorithm: ""}
	for _, field := range splitFields(rest) {
		key, value, _ := strings.Cut(field, "=")
		value = unquote(strings.TrimSpace(value))
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "realm":
			c.realm = value
		case "nonce":
			c.nonce = value
		case "opaque":
			c.opaque, c.hasOpaque = value, true
		case "algorithm":
			c.algorithm = value
		case "qop":
			c.offersAuth = slices.ContainsFunc(splitFields(value), func(q string) bool { return strings.EqualFold(q, "auth") })
		}
	}
	switch c.scheme {
	case "basic":
		return c, true
	case "digest":
		return c, c.nonce != "" && c.know()
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
	default:
		return false
	}
	return true
}

func unquote(value string) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	value = value[1 : len(value)-1]
	if !strings.Contains(value, `\`) {
		return value
	}
	var plain strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
		}
		plain.WriteByte(value[i])
	}
	return plain.String()
}

func quote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(value) + `"`
}

// Authorization returns the value of the header "Authorization" for one request.
func (l *Login) Authorization(method, uri string) string {
	if l.challenge.scheme == "basic" {
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
	secret := sum(l.user, c.realm, l.password)
	if c.session {
		secret = sum(secret, c.nonce, cnonce)
	}
	fields := []string{"username=" + quote(l.user), "realm=" + quote(c.realm), "nonce=" + quote(c.nonce), "uri=" + quote(uri)}
	if c.offersAuth {
		fields = append(fields, "response="+quote(sum(secret, c.nonce, count, cnonce, "auth", sum(method, uri))),
			"qop=auth", "nc="+count, "cnonce="+quote(cnonce))
	} else {
		fields = append(fields, "response="+quote(sum(secret, c.nonce, sum(method, uri))))
		if c.session {
			fields = append(fields, "cnonce="+quote(cnonce))
		}
	}
	if c.algorithm != "" {
		fields = append(fields, "algorithm="+strings.NewReplacer("\r", "", "\n", "").Replace(c.algorithm))
	}
	if c.hasOpaque {
		fields = append(fields, "opaque="+quote(c.opaque))
	}
	return "Digest " + strings.Join(fields, ", ")
}
