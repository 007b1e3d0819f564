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

// What cameras write is read as they mean it, and what they compare is returned as they wrote it.
func TestLogin_oddChallenges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		offer, realm, written string
		stale, auth           bool
	}{
		"no commas":                    {`Digest realm="r" nonce="n" stale="FALSE"`, "r", "r", false, false},
		"no blanks":                    {`Digest realm="r",nonce="n",stale=TRUE`, "r", "r", true, false},
		"tabs":                         {"Digest\trealm=\"r\",\tnonce=\"n\"\t", "r", "r", false, false},
		"blanks around the equal sign": {`Digest realm = "r" , nonce = "n"`, "r", "r", false, false},
		"semicolons":                   {`Digest realm="r"; nonce="n"`, "r", "r", false, false},
		"no quotes":                    {`Digest realm=IP Camera,nonce=n,stale=true`, "IP Camera", "IP Camera", true, false},
		"no quotes and no commas":      {`Digest realm=IP Camera nonce=n`, "IP Camera", "IP Camera", false, false},
		"an escaped quote":             {`Digest realm="say \"hi\"", nonce="n"`, `say "hi"`, `say \"hi\"`, false, false},
		"a backslash as it stands":     {`Digest realm="DOM\cam", nonce="n"`, `DOM\cam`, `DOM\cam`, false, false},
		"an escaped backslash":         {`Digest realm="DOM\\cam", nonce="n"`, `DOM\cam`, `DOM\\cam`, false, false},
		"a value without end":          {`Digest nonce="n", realm="r\`, `r\`, `r\\`, false, false},
		"a comma behind the scheme":    {`Digest , realm="r", nonce="n"`, "r", "r", false, false},
		"a parameter twice":            {`Digest realm="r", nonce="n", realm="s"`, "r", "r", false, false},
		"another challenge without comma": {
			`Basic realm="b" Digest realm="r" nonce="n" qop="auth-int,auth"`, "r", "r", false, true,
		},
		"blanks in the list of qop": {`Digest qop="auth-int auth",realm="r",nonce="n"`, "r", "r", false, true},
	} {
		l := New([]string{c.offer}, "u", "p")
		if l == nil || l.challenge.scheme != "digest" {
			t.Errorf("%s: %+v", name, l)
			continue
		}
		if got := l.challenge.realm; got.text != c.realm || got.written != c.written || l.challenge.nonce.text != "n" {
			t.Errorf("%s: realm %+v, nonce %+v", name, got, l.challenge.nonce)
		}
		if l.Stale() != c.stale || l.challenge.offersAuth != c.auth {
			t.Errorf("%s: stale %v, qop %v", name, l.Stale(), l.challenge.offersAuth)
		}
	}
}

// A challenge without quotes costs what its length costs, and one that no camera sends is not read: with a part of its realm the log-in
// would be wrong.
func TestLogin_longChallenges(t *testing.T) { //nolint:paralleltest // AllocsPerRun does not go with parallel tests
	const begin = "Digest nonce=x, realm=a "
	long := begin + strings.Repeat("b ", (longest-len(begin))/2)
	l := New([]string{long}, "u", "p")
	if l == nil || l.challenge.realm.text != strings.TrimSpace(strings.TrimPrefix(long, "Digest nonce=x, realm=")) {
		t.Fatalf("%+v", l)
	}
	if n := testing.AllocsPerRun(10, func() { scan(long) }); n > 100 {
		t.Errorf("%d words cost %.0f allocations", len(strings.Fields(long)), n)
	}
	if twice := strings.Repeat("realm=a b c, ", 100); New([]string{"Digest nonce=x, " + twice}, "u", "p").challenge.realm.text != "a b c" {
		t.Error("what goes on with a value that does not count is taken for the first")
	}
	if New([]string{long + strings.Repeat("b ", 125000)}, "u", "p") != nil {
		t.Error("a longer one is read")
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
