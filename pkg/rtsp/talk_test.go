package rtsp_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// greyPicture sends a key frame in one packet, which nobody decodes here, and more pictures behind it.
func greyPicture(l *line) {
	for n := uint16(0); l.write(packet(0, n, uint32(n), true, 0x65, 0x88, 0x84, n8(n))); n++ {
		time.Sleep(5 * time.Millisecond)
	}
}

func n8(n uint16) byte { return byte(n)&0x7f + 1 }

func TestVideoBeforeTheAnswerToPlayIsNotLost(t *testing.T) {
	t.Parallel()
	camera := &fake{on: map[string]func(*line, string){"PLAY": func(l *line, request string) {
		l.write(packet(0, 7, 1, true, 0x65, 0x88, 0x84, 0x21))
		l.reply(request, "200 OK", "")
	}}}
	target := camera.start(t)
	frame, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
	if err != nil || !session.TornDown {
		t.Fatalf("%v, session %+v", err, session)
	}
	want := "\x00\x00\x00\x01" + string(fakeSPS) + "\x00\x00\x00\x01" + string(fakePPS) + "\x00\x00\x00\x01\x65\x88\x84\x21"
	if string(frame.Bytes) != want {
		t.Errorf("got % x\nwant % x", frame.Bytes, want)
	}
}

func TestFetch_setsUpTheVideoTrackOnly(t *testing.T) {
	t.Parallel()
	const host = "rtsp://HOST/live"
	for name, c := range map[string]struct {
		control, contentBase string
		setup, play          string
	}{
		"relative":                     {"trackID=1", "", host + "/trackID=1", host},
		"relative to a base":           {"trackID=1", "Content-Base: rtsp://HOST/other/", "rtsp://HOST/other/trackID=1", "rtsp://HOST/other/"},
		"absolute, with a user's name": {"rtsp://a:b@HOST/x/video", "", "rtsp://HOST/x/video", host},
		"a base with a user's name":    {"t", "Content-Base: rtsp://a:b@HOST/y/", "rtsp://HOST/y/t", "rtsp://HOST/y/"},
		"a base that is only a path":   {"t", "Content-Base: /z/", "rtsp://HOST/z/t", "rtsp://HOST/z/"},
		"a base that is nonsense":      {"t", "Content-Base: 42 42", host + "/t", host},
		"none":                         {"", "", host, host},
		"all":                          {"*", "", host, host},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			camera := &fake{media: greyPicture}
			camera.on = map[string]func(*line, string){"DESCRIBE": func(l *line, request string) {
				here := strings.NewReplacer("HOST", l.conn.LocalAddr().String())
				var headers []string
				if c.contentBase != "" {
					headers = append(headers, here.Replace(c.contentBase))
				}
				l.reply(request, "200 OK", strings.Replace(fakeSDP(), fakeControl, here.Replace(c.control), 1), headers...)
			}}
			target := camera.start(t)
			if _, _, err := rtsp.Fetch(t.Context(), target, patient(), nil); err != nil {
				t.Fatal(err)
			}
			here := strings.NewReplacer("HOST", target.Address.String())
			camera.mu.Lock()
			defer camera.mu.Unlock()
			for _, request := range camera.requests {
				for method, url := range map[string]string{"SETUP": c.setup, "PLAY": c.play, "TEARDOWN": c.play} {
					if strings.HasPrefix(request, method) && !strings.HasPrefix(request, method+" "+here.Replace(url)+" RTSP/1.0\r\n") {
						t.Errorf("want %s %s, got %q", method, here.Replace(url), request)
					}
				}
			}
			if len(camera.requests) != 5 {
				t.Errorf("%d requests, want OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN: %q", len(camera.requests), camera.requests)
			}
		})
	}
}

func TestHowASessionEndedIsSaidAsItWas(t *testing.T) {
	t.Parallel()
	type end struct{ torn, told bool }
	for name, c := range map[string]struct {
		teardown func(*line, string)
		end      end
	}{
		"answered":                        {nil, end{torn: true}},
		"answered in the midst of video":  {func(l *line, request string) { time.Sleep(50 * time.Millisecond); l.reply(request, "200 OK", "") }, end{torn: true}},
		"answered: no such session":       {func(l *line, request string) { l.reply(request, "454 Session Not Found", "") }, end{torn: true}},
		"answered by hanging up":          {func(l *line, _ string) { _ = l.conn.(*net.TCPConn).CloseWrite(); l.over = true }, end{torn: true}},
		"refused":                         {func(l *line, request string) { l.reply(request, "500 No", "") }, end{}},
		"never answered":                  {func(*line, string) {}, end{torn: true}}, // the fake hangs up when we do
		"never answered, and not hung up": {func(*line, string) {}, end{told: true}},
		"answered by a reset":             {func(l *line, _ string) { _ = l.conn.(*net.TCPConn).SetLinger(0); _ = l.conn.Close(); l.over = true }, end{}},
		"answered behind garbage":         {func(l *line, request string) { l.write([]byte("\x01RTSP/garbage")); l.reply(request, "200 OK", "") }, end{torn: true}},
		"answered behind a stray answer": {func(l *line, request string) {
			l.write([]byte("RTSP/1.0 500 No\r\nCSeq: 99\r\n\r\n"))
			l.reply(request, "200 OK", "")
		}, end{torn: true}},
		"a stray answer, and not hung up": {func(l *line, _ string) { l.write([]byte("RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n")) }, end{told: true}},
		"answered with garbage, for ever": {func(l *line, _ string) { l.drip("RTSP/"+strings.Repeat("x", 300), 0) }, end{told: true}},
		"answered with a padded CSeq": {func(l *line, request string) {
			l.reply(strings.Replace(request, "CSeq: ", "CSeq: 00", 1), "200 OK", "")
		}, end{torn: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := make(chan struct{})
			camera := &fake{media: greyPicture}
			if strings.HasSuffix(name, "up") {
				camera.media = func(l *line) { l.write(packet(0, 0, 0, true, 0x65, 0x88, 0x84)) }
			}
			if c.teardown != nil {
				camera.on = map[string]func(*line, string){"TEARDOWN": c.teardown}
			}
			if strings.HasSuffix(name, "not hung up") {
				camera.on["TEARDOWN"] = func(l *line, request string) {
					c.teardown(l, request)
					<-done
				}
			}
			target := camera.start(t)
			began := time.Now()
			limits := patient()
			if !c.end.torn {
				limits.Goodbye = 500 * time.Millisecond
			}
			_, session, err := rtsp.Fetch(t.Context(), target, limits, nil)
			close(done)
			if err != nil {
				t.Fatal(err)
			}
			if got := (end{session.TornDown, session.Told}); got != c.end || session.Lingers() != (c.end == end{}) {
				t.Errorf("session %+v, want %+v", session, c.end)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// A camera can say anything, our own log-in included; what is shown of its words has it no more.
func TestProbe_doesNotRepeatThePassword(t *testing.T) {
	t.Parallel()
	const password = "p@ss/w#rd%ü"
	camera := &fake{on: map[string]func(*line, string){"OPTIONS": func(l *line, request string) {
		l.reply(request, "200 OK", "", "Server: Cam 2.1 for "+password)
	}}}
	target := camera.start(t)
	target.Username, target.Password = "viewer", password
	info, err := rtsp.Probe(t.Context(), target, patient())
	if err != nil || !strings.HasPrefix(info.Server, "Cam 2.1 for ") || strings.Contains(info.Server, "rd%") {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestTheStatusOfEachStepIsClassified(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, status string
		class          fault.Class
		step           fault.Step
	}{
		{"OPTIONS", "404 Not Found", "", ""},
		{"OPTIONS", "401 Unauthorized", "", ""}, // without a challenge it means nothing
		{"OPTIONS", "400 Bad Request", "", ""},
		{"OPTIONS", "503 Service Unavailable", "", ""},
		{"OPTIONS", "501 Not Implemented", "", ""},
		{"OPTIONS", "405 Method Not Allowed", "", ""},
		{"DESCRIBE", "400 Bad Request", fault.Protocol, fault.Describe},
		{"DESCRIBE", "403 Forbidden", fault.Auth, fault.Describe},
		{"DESCRIBE", "301 Moved", fault.Protocol, fault.Describe},
		{"SETUP", "461 Unsupported Transport", fault.Protocol, fault.Setup},
		{"SETUP", "453 Not Enough Bandwidth", fault.Exhausted, fault.Setup},
		{"SETUP", "500 Oops", fault.Protocol, fault.Setup},
		{"PLAY", "453 Not Enough Bandwidth", fault.Exhausted, fault.Play},
		{"PLAY", "454 Session Not Found", fault.Protocol, fault.Play},
		{"PLAY", "551 Option not supported", fault.Protocol, fault.Play},
	} {
		t.Run(c.method+" "+c.status, func(t *testing.T) {
			t.Parallel()
			camera := &fake{media: greyPicture, on: map[string]func(*line, string){
				c.method: func(l *line, request string) { l.reply(request, c.status, "") },
			}}
			target := camera.start(t)
			_, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
			if c.class == "" {
				if err != nil {
					t.Errorf("no picture: %v", err)
				}
				return
			}
			if f := fault.From(err, "", ""); f == nil || f.Class != c.class || f.Step != c.step {
				t.Errorf("%v, want %s at %s", err, c.class, c.step)
			}
			if session.Opened != (c.method == "PLAY") || session.Lingers() {
				t.Errorf("session %+v", session)
			}
		})
	}
}

func TestALogInIsTriedOnceWhereverItIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"OPTIONS", "DESCRIBE", "SETUP", "PLAY"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			camera := &fake{media: greyPicture}
			camera.on = map[string]func(*line, string){method: func(l *line, request string) {
				if header(request, "Authorization") == "" {
					l.reply(request, "401 Unauthorized", "", `WWW-Authenticate: Basic realm="x"`, `www-authenticate: digest realm="x", nonce=abc, qop="auth", algorithm=SHA-256, opaque="o"`)
					return
				}
				plain := &fake{describe: camera.describe, media: camera.media}
				plain.answer(l, request)
			}}
			target := camera.start(t)
			target.Username, target.Password = "viewer", "s3cr3t"
			_, _, err := rtsp.Fetch(t.Context(), target, patient(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if camera.count(method) != 2 {
				t.Errorf("%d requests, want one without credentials and one with", camera.count(method))
			}
			camera.mu.Lock()
			defer camera.mu.Unlock()
			last := header(camera.requests[len(camera.requests)-1], "Authorization")
			if !strings.HasPrefix(last, "Digest ") || !strings.Contains(last, `opaque="o"`) || strings.Contains(last, "s3cr3t") {
				t.Errorf("TEARDOWN came with %q", last)
			}
		})
	}
}

func TestALogInThatIsRefusedLaterIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"SETUP", "PLAY"} {
		challenge := func(l *line, request string) {
			l.reply(request, "401 Unauthorized", "", `WWW-Authenticate: Digest realm="x", nonce="`+header(request, "CSeq")+`"`)
		}
		camera := &fake{on: map[string]func(*line, string){method: challenge}}
		camera.on["OPTIONS"] = func(l *line, request string) {
			if header(request, "Authorization") == "" {
				challenge(l, request)
				return
			}
			l.reply(request, "200 OK", "")
		}
		target := camera.start(t)
		target.Username, target.Password = "viewer", "s3cr3t"
		_, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
		if f := fault.From(err, "", ""); f == nil || f.Class != fault.Auth || string(f.Step) != strings.ToLower(method) {
			t.Errorf("%s: %v", method, err)
		}
		if camera.count(method) != 1 || session.Lingers() {
			t.Errorf("%s: asked %d times, session %+v", method, camera.count(method), session)
		}
	}
}

// A nonce that has become too old is no refusal: each request is repeated with the new one, once.
func TestLogIn_staleNonces(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		good bool // it takes the log-in with the nonce that it gave last
		asks int  // DESCRIBE
	}{"of a camera that changes them": {true, 3}, "without end": {false, 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			camera, plain := &fake{media: greyPicture, on: map[string]func(*line, string){}}, &fake{media: greyPicture}
			var mu sync.Mutex
			nonce, describes := 0, 0
			for _, method := range []string{"DESCRIBE", "SETUP", "PLAY", "TEARDOWN"} {
				camera.on[method] = func(l *line, request string) {
					mu.Lock()
					defer mu.Unlock()
					fresh := nonce > 0 && strings.Contains(header(request, "Authorization"), fmt.Sprintf(`nonce="%d"`, nonce))
					if method == "DESCRIBE" {
						describes++
						fresh = fresh && describes > 2 // the first log-in is too late already
					}
					nonce++
					if !fresh || !c.good {
						l.reply(request, "401 Unauthorized", "", fmt.Sprintf(`WWW-Authenticate: Digest realm="x", nonce="%d", stale=TRUE`, nonce))
						return
					}
					plain.answer(l, request)
				}
			}
			target := camera.start(t)
			plain.describe = camera.describe
			target.Username, target.Password = "viewer", "s3cr3t"
			_, _, err := rtsp.Fetch(t.Context(), target, patient(), nil)
			if c.good != (err == nil) || camera.count("DESCRIBE") != c.asks {
				t.Errorf("%d DESCRIBE, %v", camera.count("DESCRIBE"), err)
			}
			if f := fault.From(err, "", ""); f != nil && (f.Class != fault.Auth || !strings.Contains(f.Hint, "the password is not the trouble")) {
				t.Errorf("%+v", f)
			}
		})
	}
}

// What a server between us and the camera says late is told apart from what a camera says.
func TestTimeout_wordsOfAServerBetween(t *testing.T) {
	t.Parallel()
	late := func(status string) func(*line, string) {
		return func(l *line, request string) {
			if header(request, "Authorization") != "" || status != "401 Unauthorized" {
				time.Sleep(2100 * time.Millisecond) // longer than any camera takes
				l.reply(request, status, "")
				return
			}
			l.reply(request, status, "", `WWW-Authenticate: Basic realm="x"`)
		}
	}
	records := func(l *line, request string) {
		l.reply(request, "200 OK", "", "Public: OPTIONS, DESCRIBE, ANNOUNCE, RECORD")
	}
	for name, c := range map[string]struct {
		on     map[string]func(*line, string)
		limits rtsp.Limits
		words  string
	}{
		"404, late":     {map[string]func(*line, string){"DESCRIBE": late("404 Not Found")}, patient(), "404 Not Found after 2."},
		"refused, late": {map[string]func(*line, string){"DESCRIBE": late("401 Unauthorized")}, patient(), "and without a new challenge"},
		"never":         {map[string]func(*line, string){"OPTIONS": records, "DESCRIBE": func(*line, string) {}}, rtsp.Limits{Whole: time.Second}, "waiting for a camera of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			camera := &fake{on: c.on}
			target := camera.start(t)
			target.Username, target.Password = "viewer", "s3cr3t"
			if _, _, err := rtsp.Fetch(t.Context(), target, c.limits, nil); err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %q", err, c.words)
			}
		})
	}
}

func TestFetch_repeatedLogInIsInNoError(t *testing.T) {
	t.Parallel()
	const user, password = "viewer", "geheim/#%&'@ü"
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	for name, say := range map[string]string{"raw": password, "in base64": basic, "where it is cut": strings.Repeat("-", 70) + password, "in the place it leads to": "rtsp://" + password + ".example/"} {
		camera := saying("DESCRIBE", func(l *line, request string) {
			l.reply(request, "302 see "+say, "", "Location: "+say)
		})
		if name != "in the place it leads to" {
			camera = saying("DESCRIBE", func(l *line, request string) { l.reply(request, "400 not "+say, "") })
		}
		target := camera.start(t)
		target.Username, target.Password = user, password
		_, _, err := rtsp.Fetch(t.Context(), target, patient(), nil)
		text := fmt.Sprintf("%v %+v", err, fault.From(err, "", ""))
		if err == nil || strings.Contains(text, password[:6]) || strings.Contains(text, basic) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestAutoFallsBackToUDPOnTheSameConnection(t *testing.T) {
	t.Parallel()
	var ports []string
	camera := &fake{on: map[string]func(*line, string){}}
	camera.on["SETUP"] = func(l *line, request string) {
		transport := header(request, "Transport")
		if strings.Contains(transport, "TCP") {
			l.reply(request, "461 Unsupported Transport", "")
			return
		}
		_, pair, _ := strings.Cut(transport, "client_port=")
		port, _, _ := strings.Cut(pair, "-")
		ports = append(ports, port)
		l.reply(request, "200 OK", "", "Session: 1", "Transport: "+transport+";server_port=5000-5001")
	}
	camera.on["PLAY"] = func(l *line, request string) {
		l.reply(request, "200 OK", "")
		host, _, _ := net.SplitHostPort(l.conn.RemoteAddr().String())
		from, _, _ := net.SplitHostPort(l.conn.LocalAddr().String())
		dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
		to, err := dialer.Dial("udp", net.JoinHostPort(host, ports[0]))
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		// Out of order, with a duplicate: 1 0 0 3 2, of which 0 to 3 are the key frame.
		for _, n := range []uint16{0, 2, 1, 1, 4, 3} {
			kind := [][]byte{{0x41, 0x9a, 0x11}, {0x65, 0x88, 0x84}, {0x65, 0x30, 0x88}, {0x65, 0x38, 0x88}, {0x65, 0x10, 0x22}}[n]
			stamp := uint32(min(n, 1))
			_, _ = to.Write(packet(0, n, stamp, n == 0 || n == 4, kind...)[4:])
		}
	}
	target := camera.start(t)
	target.Transport = "auto"
	frame, session, err := rtsp.Fetch(t.Context(), target, patient(), nil)
	if err != nil || !session.TornDown || camera.count("DESCRIBE") != 1 {
		t.Fatalf("%v, session %+v, %d DESCRIBE", err, session, camera.count("DESCRIBE"))
	}
	if want := "\x65\x88\x84\x00\x00\x00\x01\x65\x30\x88\x00\x00\x00\x01\x65\x38\x88\x00\x00\x00\x01\x65\x10\x22"; !strings.HasSuffix(string(frame.Bytes), want) {
		t.Errorf("% x", frame.Bytes)
	}
}
