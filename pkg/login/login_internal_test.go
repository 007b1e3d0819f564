package login

import (
	"strings"
	"testing"
)

func TestTheDigestsOfTheRFCs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		challenge, password, cnonce, uri, want string
	}{
		"RFC 2617 section 3.5": {
			`Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			"Circle Of Life", "0a4f113b", "/dir/index.html", "6629fae49393a05397450978507c4ef1",
		},
		"RFC 7616 section 3.9.1, SHA-256": {
			`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
			"Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "/dir/index.html",
			"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		},
	} {
		l := New([]string{c.challenge}, "Mufasa", c.password)
		if l == nil {
			t.Errorf("%s: not understood", name)
			continue
		}
		if got := l.digest("GET", c.uri, c.cnonce, "00000001"); !strings.Contains(got, `response="`+c.want+`"`) || !strings.Contains(got, "opaque=") {
			t.Errorf("%s: %s, want response %s", name, got, c.want)
		}
	}
}

func TestTheStrongestKnownChallengeIsAnswered(t *testing.T) {
	t.Parallel()
	md5, sha, basic := `Digest realm="r", nonce="n"`, `DIGEST realm="r",nonce="n",algorithm="sha-256"`, `Basic realm="r"`
	for name, c := range map[string]struct {
		offers []string
		want   string
	}{
		"one":                       {[]string{basic}, "basic"},
		"two headers":               {[]string{basic, md5}, "md5"},
		"the other way round":       {[]string{sha, md5, basic}, "sha"},
		"two in one header":         {[]string{basic + ", " + md5}, "md5"},
		"commas inside quotes":      {[]string{`Digest realm="a, Basic b", nonce="n"`}, "md5"},
		"an algorithm nobody knows": {[]string{`Digest realm="r", nonce="n", algorithm=MD6`, basic}, "basic"},
		"a digest without a nonce":  {[]string{`Digest realm="r"`}, ""},
		"nothing we know":           {[]string{"Negotiate", "", "Bearer x"}, ""},
		"nothing at all":            {nil, ""},
	} {
		got := ""
		if l := New(c.offers, "u", "p"); l != nil {
			switch {
			case l.challenge.scheme == "basic":
				got = "basic"
			case l.challenge.hash().Size() == 32:
				got = "sha"
			default:
				got = "md5"
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestALogInCannotBreakOutOfItsHeader(t *testing.T) {
	t.Parallel()
	l := New([]string{`Digest realm="a\"b", nonce="n", opaque="x"`}, "eve\"\r\nX: y", "p")
	if got := l.Authorization("DESCRIBE", "rtsp://h/"); strings.ContainsAny(got, "\r\n") || !strings.Contains(got, `realm="a\"b"`) {
		t.Errorf("%q", got)
	}
}

// FuzzLogIn answers any challenge with something that is one header line.
func FuzzLogIn(f *testing.F) {
	f.Add(`Digest realm="r", nonce="n", qop="auth", opaque="o"`, "user")
	f.Add(`Basic realm="a\"b", Digest nonce=x, algorithm=MD5-sess`, "us\"er")
	f.Fuzz(func(t *testing.T, offer, user string) {
		l := New([]string{offer}, user, "p\r\nq")
		if l == nil {
			return
		}
		if got := l.Authorization("DESCRIBE", "rtsp://h/"); strings.ContainsAny(got, "\r\n") {
			t.Errorf("%q", got)
		}
	})
}
