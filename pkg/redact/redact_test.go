package redact_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/redact"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// nasty are passwords with every character that some encoding treats in its own way.
var nasty = []string{
	"S3cretPass", "p@ss/w#rd", "100%sure&more", `quo'te"d`, "back\\slash", "a:b?c=d", "two words+one",
	"pässwörd☃", "パスワード", "emoji😀pw", "<&>&amp;", "%41%2f%", "tab\there", "nl\\n\\u0026", "****", "***x", "x***", "bad\xffutf8",
}

// spellings are the ways in which a program may write a secret down.
func spellings(secret string) map[string]string {
	quoted, _ := json.Marshal(secret)
	bare := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	inJSON := bare(string(quoted))
	again, _ := json.Marshal(string(quoted))
	var upper, lower, octal strings.Builder
	for _, b := range []byte(secret) {
		fmt.Fprintf(&upper, "%%%02X", b)
		fmt.Fprintf(&lower, "%%%02x", b)
		fmt.Fprintf(&octal, `\%03o`, b)
	}
	user := url.UserPassword("u", secret).String()
	return map[string]string{
		"raw":             secret,
		"path":            url.PathEscape(secret),
		"query":           url.QueryEscape(secret),
		"user-info":       user[len("u:"):],
		"all upper":       upper.String(),
		"all lower":       lower.String(),
		"twice":           url.QueryEscape(url.PathEscape(secret)),
		"thrice":          url.QueryEscape(url.QueryEscape(upper.String())),
		"json":            inJSON,
		"json in json":    strings.TrimSuffix(strings.TrimPrefix(string(again), `"\"`), `\""`),
		"ascii":           bare(fmt.Sprintf("%+q", secret)),
		"go":              bare(fmt.Sprintf("%q", secret)),
		"shell, ffconcat": strings.ReplaceAll(secret, `'`, `'\''`),
		"shlex":           strings.ReplaceAll(secret, `'`, `'"'"'`),
		"html":            html.EscapeString(secret),
		"octal":           octal.String(),
	}
}

func TestRedact_knownSecretInEverySpelling(t *testing.T) {
	t.Parallel()
	for _, secret := range nasty {
		r := redact.New(secret)
		for name, spelling := range spellings(secret) {
			text := "camera gate says " + spelling + " at 192.168.1.5:554/stream1"
			got := r.String(text)
			if want := "camera gate says *** at 192.168.1.5:554/stream1"; got != want {
				t.Errorf("%q as %s: %q became %q", secret, name, text, got)
			}
			if again := r.String(got); again != got {
				t.Errorf("%q as %s: a second time changed %q to %q", secret, name, got, again)
			}
		}
	}
}

func TestAKnownSecretIsHiddenInTheBase64OfALogIn(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"S3cretPass", "p@ss/w#rd", "パスワード"} {
		for _, user := range []string{"", "u", "ad", "adm", "admin"} {
			for _, coded := range []string{
				base64.StdEncoding.EncodeToString([]byte(user + ":" + secret)),
				base64.RawURLEncoding.EncodeToString([]byte(user + ":" + secret)),
			} {
				if got := redact.New(secret).String("login=" + coded + " done"); strings.Contains(got, coded[4:12]) {
					t.Errorf("%q in base64 survived: %q", secret, got)
				}
				if got, want := redact.String("Authorization: Basic "+coded+" done"), "Authorization: Basic *** done"; got != want {
					t.Errorf("unknown secret: got %q, want %q", got, want)
				}
			}
		}
	}
}

func TestOverlappingSecretsLeaveNoRemains(t *testing.T) {
	t.Parallel()
	if got := redact.New("abcdef", "defghi").String("<abcdefghi>"); got != "<***>" {
		t.Errorf("got %q", got)
	}
	if got := redact.New("a***b").String("aa***bb"); strings.Contains(got, "a***b") {
		t.Errorf("the replacement put the secret together again: %q", got)
	}
}

func TestRedact_shortSecretStandsAlone(t *testing.T) {
	t.Parallel()
	r := redact.New("cam", "/", "", "***")
	got := r.String("camera cam, webcam, /stream/cam and rtsp://cam:/@10.0.0.1/x")
	if want := "camera ***, webcam, /stream/*** and rtsp://***@10.0.0.1/x"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTextCutInTheMiddleOfASecretShowsNoHalf(t *testing.T) {
	t.Parallel()
	r := redact.New("S3cretPass")
	if got := r.Cut("connecting with S3cretP"); got != "connecting with ***" {
		t.Errorf("got %q", got)
	}
	if got := r.String("connecting with S3cretP"); got != "connecting with S3cretP" {
		t.Errorf("a whole text was taken for a cut one: %q", got)
	}
}

func TestRedact_whatLooksLikeASecret(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		// URLs as programs print them.
		"rtsp://admin:S3cret@127.0.0.1:22101/stream1: Invalid data":              "rtsp://***@127.0.0.1:22101/stream1: Invalid data",
		"Impossible to open 'rtsp://viewer:S3cret'Pass@127.0.0.1:22198/cam'":     "Impossible to open 'rtsp://***@127.0.0.1:22198/cam'",
		"rtsp://u:p@ss/w#rd?x@gate/stream1":                                      "rtsp://***@gate/stream1",
		"rtsp://u:p@w@[fe80::1]:554/a":                                           "rtsp://***@[fe80::1]:554/a",
		"rtsp://a:b@h1/x,rtsp://c:d@h2/y":                                        "rtsp://***@h1/x,rtsp://***@h2/y",
		"RTSPS://a:b%40c@h1":                                                     "RTSPS://***@h1",
		"rtsp:/u:p/w@gate/x":                                                     "rtsp:/***@gate/x",
		"rtsp://u:with blank@gate/x":                                             "rtsp://***@gate/x",
		`rtsp://u:with"quote@gate/x`:                                             `rtsp://***@gate/x`,
		"cut off: rtsp://admin:S3cre":                                            "cut off: rtsp://***",
		`{"url":"rtsp:\/\/u:p@h\/x"}`:                                            `{"url":"rtsp:\/\/***@h\/x"}`,
		"PUT /api/streams?src=rtsp%3A%2F%2Fu%3Ap%2540x%4010.0.0.1%2Fa&name=gate": "PUT /api/streams?src=rtsp%3A%2F%2F***%4010.0.0.1%2Fa&name=gate",
		"rtsp://u:a://b/c@gate/x":                                                "rtsp://***@gate/x",
		"rtsp://u:12://b/c@gate/x":                                               "rtsp://***@gate/x",
		"rtsp://u:a/b://c@gate/x":                                                "rtsp://***@gate/x",
		"rtsp://u:a@b://c@gate/x and rtsp://c:d@h":                               "rtsp://***@gate/x and rtsp://***@h",
		"rtsp://a:b@h1,rtsp://c:d@h2/y":                                          "rtsp://***@h1,rtsp://***@h2/y",
		"rtsp://gate:8554/rtsp://u:p@h/x":                                        "rtsp://gate:8554/rtsp://***@h/x",
		"http://127.0.0.1:1984/api?src=rtsp://u:p@h/x&y=z":                       "http://127.0.0.1:1984/api?src=rtsp://***@h/x&y=z",
		"user admin:S3cret@192.168.1.5 failed":                                   "user ***@192.168.1.5 failed",
		// Assignments.
		"password=hunter2 host=gate":                   "password=*** host=gate",
		"/cgi?passwd=x'y,z&channel=1":                  "/cgi?passwd=***&channel=1",
		"pwd=a;token=b auth=c":                         "pwd=*** auth=***",
		"CAM_PASSWORD='two words' next":                "CAM_PASSWORD=*** next",
		"src=http%3A%2F%2Fh%2Fx%3Ftoken%3Dabc%26n%3D1": "src=http%3A%2F%2Fh%2Fx%3Ftoken%3D***%26n%3D1",
		`{"password":"hun\"ter2","host":"gate"}`:       `{"password":"***","host":"gate"}`,
		`"{\"password\": \"hunter2\", \"n\": 1}"`:      `"{\"password\": \"***\", \"n\": 1}"`,
		"  password: hunter2 # mine\n  host: gate":     "  password: ***\n  host: gate",
		"http://h/x?pass=a\\u0026b=c":                  "http://h/x?pass=***\\u0026b=c",
		// Headers.
		"Authorization: Bearer abc.def1 x":                                       "Authorization: Bearer *** x",
		`Authorization: Digest username="a", response="0123", uri="rtsp://h" ok`: `Authorization: Digest *** ok`,
		"authorization: Weird stuff here\r\nHost: gate":                          "authorization: ***\r\nHost: gate",
		`"Authorization":"Basic YTpi","Host":"gate"`:                             `"Authorization":"***","Host":"gate"`,
		`ffmpeg -headers 'X-Key: it'\''s' -i rtsp://h/x`:                         `ffmpeg -headers '***'\''s' -i rtsp://h/x`,
		"ffmpeg -headers X-Key: abc -i rtsp://h/x":                               "ffmpeg -headers *** -i rtsp://h/x",
	} {
		got := redact.String(in)
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
		if again := redact.String(got); again != got {
			t.Errorf("a second time changed %q to %q", got, again)
		}
	}
}

func TestHarmlessTextStaysAsItIs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"[tcp @ 0x55c4ad01df40] Connection to tcp://127.0.0.1:22198?timeout=0 failed: Connection refused",
		"[rtsp @ 0x56427ae1e440] method DESCRIBE failed: 401 Unauthorized",
		"rtsp://192.168.125.19:554/stream1 and rtsp://[::1]:554/a@b and rtsp://gate/",
		"rtsp://127.0.0.1/cam@main", "see https://github.com/a/b@v1.2", "http://gate:1984/api", "2026-01-05T22:00:00Z",
		"wrong password: check the camera", "Basic information about tokens", "pipe:0: Invalid data", "",
		"password_file: /etc/camwarden/yard.pw", "the bearer of news", "author=me", "-frames:v 1 -f image2 -c:v mjpeg pipe:1",
	} {
		if got := redact.String(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestArgumentsAreSeenOneByOne(t *testing.T) {
	t.Parallel()
	args := []string{"ffmpeg", "-headers", "X-Key: abc\r\n", "-rtsp_transport", "tcp", "-i", "rtsp://u:a b\"c@gate/x", "--password", "hunter2",
		"-token=x1", "-f", "image2", "pipe:1"}
	kept := strings.Join(args, "\x00")
	got := strings.Join(redact.Args(args), "|")
	if want := `ffmpeg|-headers|***|-rtsp_transport|tcp|-i|rtsp://***@gate/x|--password|***|-token=***|-f|image2|pipe:1`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if strings.Join(args, "\x00") != kept {
		t.Error("the caller's own list was changed")
	}
}

func TestTheNilRedactorWorksByLooks(t *testing.T) {
	t.Parallel()
	var r *redact.Redactor
	if got := r.String("rtsp://a:b@h/x"); got != "rtsp://***@h/x" {
		t.Errorf("got %q", got)
	}
	if got := string(r.Bytes([]byte("pwd=x"))); got != "pwd=***" {
		t.Errorf("got %q", got)
	}
}

func TestSecretsMayBeAddedWhileOthersRedact(t *testing.T) {
	t.Parallel()
	r := redact.New()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			secret := fmt.Sprintf("secret-%d-secret", i)
			r.Add(secret)
			if got := r.String("say " + secret); got != "say ***" {
				t.Errorf("got %q", got)
			}
		})
	}
	all.Wait()
}

func TestRedact_manyReadingsAreOne(t *testing.T) {
	t.Parallel()
	r := redact.New(strings.Repeat(`\`, 12)+"x", strings.Repeat("%25", 12)+"y")
	length := 250 // 2 to the power of it would be enough
	if testkit.IsLong() {
		length = 1000
	}
	r.String(strings.Repeat(`\`, length))
	r.String(strings.Repeat("%25", length))
}

// A local user may give a process any argument, up to 128 KiB long (man 2 execve, MAX_ARG_STRLEN), and doctor shows it.
func TestRedact_timeGrowsWithTheLength(t *testing.T) {
	t.Parallel()
	for _, word := range []string{
		"://", "u:1://", "a://h:7441/v/", "?u=1&p=2", "&p=", "p=1 ", "key=", "key='", "-key ", "-key '", " -u a:", " -u 'a:", "-ua:", "openRTSP ", "openRTSP -u ",
		"openRTSP -u a b ", "%3A%2F%2F", "%3a%2f%2fa%2fb%3fp%3d", "x-key:", "cookie: ", "Xk7Qz92LmPw4", "/Xk7Qz92LmPw4", "://a/Xk7Qz92LmPw4", "://a/b=", "://a/b%2",
		"streamid=read:", "YTpi", "://h/YTpi", "/admin:", "://h/admin:", "<token>", "<password a", "\\/", "\\u0026sid=", "--", "--x-", "-_key ", "pass", "pass-", "auth_", "login_",
	} {
		length := 1 << 13
		if testkit.IsLong() {
			length = 1 << 16
		}
		long := strings.Repeat(word, length/len(word))
		took := func(text string) time.Duration { // of this thread's processor: the host may be busy with others
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			began := processorTime(t)
			redact.String(text)
			return processorTime(t) - began
		}
		short, whole := time.Hour, time.Hour // the best of a few: the others waited for a processor
		for try := 0; try < 5 && (try == 0 || whole > 24*short+100*time.Millisecond); try++ {
			short, whole = min(short, took(long[:len(long)/8])), min(whole, took(long))
		}
		t.Logf("%q: %s, %s", word, short, whole)
		if whole > 24*short+100*time.Millisecond {
			t.Errorf("%q: %s for an eighth of the text and %s for all of it", word, short, whole)
		}
	}
}

func TestRedact_hintsKeepTheirPlaceholders(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"write it as http://USER@HOST:PORT/PATH, with %40 for @": "write it as http://USER@HOST:PORT/PATH, with %40 for @",
		"rtsp://USER:PASSWORD@HOST/PATH":                         "rtsp://USER:PASSWORD@HOST/PATH",
		"rtsp://USER:PASSWORD@HOST":                              "rtsp://USER:PASSWORD@HOST",
		"rtsp://USER:hunter2@HOST/PATH":                          "rtsp://***@HOST/PATH",
		"rtsp://USER:PASSWORD@10.0.0.1/":                         "rtsp://***@10.0.0.1/",
		"rtsp://USER@HOST:hunter2@10.0.0.1/":                     "rtsp://***@10.0.0.1/",
		"rtsp://USER@HOSTpw:hunter2@10.0.0.1/":                   "rtsp://***@10.0.0.1/",
		"rtsp://USER:PASSWORD@HOST/hunter2@10.0.0.1/":            "rtsp://***@10.0.0.1/",
	} {
		if got := redact.String(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := redact.New("PASSWORD").String("rtsp://USER:PASSWORD@HOST/PATH"); strings.Contains(got, "PASSWORD") {
		t.Errorf("a known password is shown: %q", got)
	}
}

func TestRedact_knownLeavesWhatOnlyLooksSecret(t *testing.T) {
	t.Parallel()
	if got, want := redact.New("a/b c99").Known("/x?password=y&p=a%2Fb%20c99"), "/x?password=y&p=***"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// processorTime is what this thread has used of the processor (man 2 getrusage).
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func FuzzASecretNeverSurvives(f *testing.F) {
	for i, secret := range nasty {
		f.Add("rtsp://admin:", secret, "@192.168.1.5:554/stream1", byte(i))
		f.Add("password="+secret[:1], secret, secret, byte(i+7))
	}
	f.Add("****", "**x*", "%", byte(1))
	f.Fuzz(func(t *testing.T, before, secret, after string, pick byte) {
		if len(secret) < 4 {
			t.Skip("a short secret may stay inside words")
		}
		all := spellings(secret)
		names := []string{"raw", "path", "query", "user-info", "all upper", "all lower", "json", "ascii", "shell, ffconcat", "html", "octal"}
		spelling := all[names[int(pick)%len(names)]]
		r := redact.New(secret)
		got := r.String(before + spelling + after)
		if strings.Contains(got, secret) || len(spelling) > 3 && strings.Contains(got, spelling) {
			t.Errorf("%q, written %q, survived in %q", secret, spelling, got)
		}
		if again := r.String(got); again != got {
			t.Errorf("a second time changed %q to %q", got, again)
		}
	})
}
