package go2rtc_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
)

func TestNoTwoCallsOverlap(t *testing.T) {
	t.Parallel()
	s := newServer(t) // which watches
	var host sync.Mutex
	locked := func(o *go2rtc.Options) {
		o.Lock = func(context.Context) (func(), error) { host.Lock(); return host.Unlock, nil }
	}
	clients := []*go2rtc.Client{s.client(locked), s.client(locked)}
	var wg sync.WaitGroup
	for i := range 12 {
		c := clients[i%2]
		wg.Go(func() {
			if _, err := c.Register(t.Context(), source(i)); err != nil {
				t.Error(err)
			}
			if _, err := c.List(t.Context()); err != nil {
				t.Error(err)
			}
			_ = c.Probe(t.Context(), source(i).Name)
			if _, err := c.Remove(t.Context(), mine(), source(i).Name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s.count("DELETE") != 12 || len(s.streams) != 0 {
		t.Errorf("%d removed, %d left", s.count("DELETE"), len(s.streams))
	}
}

func TestCall_lockHeldElsewhereEndsIt(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	busy := fault.New(fault.Busy, "", "pid 7 speaks to go2rtc")
	c := s.client(func(o *go2rtc.Options) { o.Lock = func(context.Context) (func(), error) { return nil, busy } })
	for range 2 { // the second finds its turn free
		_, err := c.List(t.Context())
		wantFault(t, err, fault.Busy, "pid 7")
	}
	waits := s.client(func(o *go2rtc.Options) {
		o.Lock = func(ctx context.Context) (func(), error) { <-ctx.Done(); return nil, ctx.Err() }
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := waits.List(ctx)
	wantFault(t, err, fault.Go2rtc, "before the deadline")
	if len(s.said()) != 0 {
		t.Errorf("%q", s.said())
	}
}

func TestCall_unreachableServerIsNamed(t *testing.T) {
	t.Parallel()
	closed := ownListener(t)
	refusing := "http://" + closed.Addr().String()
	_ = closed.Close()
	for url, says := range map[string][]string{
		refusing:                                 {refusing, "connection refused", "systemctl status go2rtc"},
		"unix://" + t.TempDir() + "/go2rtc.sock": {"go2rtc.sock", "no such socket", "unix_listen"},
		"http://go2rtc.invalid:1984":             {"does not resolve", "getent hosts go2rtc.invalid"},
		"http://user:hush%23hush@" + closed.Addr().String() + "/": {"connection refused"},
	} {
		c := newClient(t, go2rtc.Options{URL: url})
		_, err := c.List(t.Context())
		f := wantFault(t, err, fault.Go2rtc, says...)
		if strings.Contains(f.Message+f.Hint+c.Where(), "hush") {
			t.Errorf("%s", f.Message)
		}
	}
}

func TestCall_otherAnswersAreNotBelieved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request) bool
		says   []string
	}{
		"a log-in":       {replay(t, "auth-401.txt"), []string{"asks for a log-in", "username and password_file"}},
		"base path":      {replay(t, "basepath-404.txt"), []string{"no such path", "base path"}},
		"allow paths":    {replay(t, "allowpaths-404.txt"), []string{"no such path", "allow_paths"}},
		"HTML":           {says("text/html", "<html>router</html>"), []string{"something else", "API of go2rtc"}},
		"a list":         {says("application/json", `["a"]`), []string{"something else"}},
		"nothing":        {says("application/json", ``), []string{"something else"}},
		"half an object": {says("application/json", `{"a":{"producers":[`), []string{"something else"}},
		"more than ever": {says("application/json", strings.Repeat("a", 10<<20)), []string{"more than 8 MiB"}},
		"a proxy's error": {func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "Bad Gateway", http.StatusBadGateway)
			return true
		}, []string{"502", "Bad Gateway"}},
		"a hang-up": {func(http.ResponseWriter, *http.Request) bool { hangUp(); return true }, []string{"closed the connection"}},
		"another host": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://elsewhere.invalid/api/streams", http.StatusFound)
			return true
		}, []string{"another host, elsewhere.invalid"}},
		"in circles": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/api/streams", http.StatusFound)
			return true
		}, []string{"one path to the next"}},
		"headers": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			return true
		}, []string{"not HTTP as we know it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.instead = c.answer
			_, err := s.client().List(t.Context())
			for range 4 { // a host so busy that 8 MiB do not come through within the time of a call
				if err == nil || !strings.Contains(err.Error(), "no answer within") {
					break
				}
				_, err = s.client().List(t.Context())
			}
			wantFault(t, err, fault.Go2rtc, append(c.says, s.URL)...)
		})
	}
}

func says(kind, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", kind)
		fmt.Fprint(w, body)
		return true
	}
}

func TestWhatIsNoHTTPIsSaidWithoutTheQuery(t *testing.T) {
	t.Parallel()
	l := ownListener(t)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write(bytes.Repeat([]byte("\x00\x1b]0;hello\a"), 100))
			_ = conn.Close()
		}
	}()
	c := newClient(t, go2rtc.Options{URL: "http://" + l.Addr().String()})
	_, err := c.Register(t.Context(), gate())
	f := wantFault(t, err, fault.Go2rtc, "not HTTP")
	if strings.ContainsAny(f.Message, "\x00\x1b\a") || strings.Contains(f.Message, "src=") {
		t.Errorf("%q", f.Message)
	}
}

func TestCall_slowServerCostsThreeSeconds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var hung atomic.Bool
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		if hung.CompareAndSwap(false, true) {
			time.Sleep(go2rtc.CallTimeout * 9 / 10)
			s.countBusy(-1) // that the caller has left is heard of some time after, when the next call may be here
			<-r.Context().Done()
			s.countBusy(1)
			return true
		}
		return false
	}
	c := s.client()
	began := time.Now()
	_, err := c.List(t.Context())
	wantFault(t, err, fault.Go2rtc, "no answer within 3s", "stopped or overloaded")
	if took := time.Since(began); took < go2rtc.CallTimeout || took > 10*go2rtc.CallTimeout {
		t.Errorf("it took %s", took)
	}
	for range 2 {
		if _, err := c.List(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := s.count("GET"); n != 4 {
		t.Errorf("%d calls, want one that hung, one for a life sign, and two", n)
	}
}

func TestACallerWhoLeavesIsToldSo(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.instead = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	c := s.client()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := c.List(ctx)
	wantFault(t, err, fault.Cancelled)
	_, err = c.List(ctx)
	wantFault(t, err, fault.Cancelled)
}

func TestCall_redirectWithTheSameMethodOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("camwarden-gate", idle(gateSource))
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/old") {
			status := http.StatusTemporaryRedirect
			if r.Method == http.MethodDelete {
				status = http.StatusFound // which turns it into a GET
			}
			http.Redirect(w, r, strings.TrimPrefix(r.URL.String(), "/old"), status)
			return true
		}
		return false
	}
	c := s.client(func(o *go2rtc.Options) { o.URL += "/old/" })
	if _, ok, err := c.Get(t.Context(), "camwarden-gate"); err != nil || !ok {
		t.Errorf("%v %v", ok, err)
	}
	results, err := c.Remove(t.Context(), mine(), "camwarden-gate")
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, results[0].Err, fault.Go2rtc, "one path to the next")
}

func TestCall_bySocketBasePathTLSAndLogIn(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "jäger" || password != "p:w #%ß" {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"%s":{"producers":null,"consumers":null}}`, strings.TrimPrefix(r.URL.Path, "/"))
	})
	login := func(url string) go2rtc.Options {
		return go2rtc.Options{URL: url, Username: "jäger", Password: "p:w #%ß"}
	}
	asked := func(options go2rtc.Options) (string, error) {
		list, err := newClient(t, options).List(t.Context())
		if err != nil {
			return "", err
		}
		return list[0].Name, nil
	}

	socket := filepath.Join(t.TempDir(), "g.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	unix := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	unix.Start()
	defer unix.Close()
	for url, path := range map[string]string{
		"unix://" + socket: "api/streams",
		"http+unix://" + strings.ReplaceAll(socket, "/", "%2F") + "/rtc/": "rtc/api/streams",
	} {
		if got, err := asked(login(url)); got != path {
			t.Errorf("%s: %q, %v", url, got, err)
		}
	}

	// The certificate of httptest is for 127.0.0.1 and example.com, and signed by itself.
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	here, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure := &httptest.Server{Listener: here, Config: &http.Server{Handler: handler, ErrorLog: quiet}}
	secure.StartTLS()
	defer secure.Close()
	elsewhere := &httptest.Server{Listener: ownListener(t), Config: &http.Server{Handler: handler, ErrorLog: quiet}}
	elsewhere.StartTLS()
	defer elsewhere.Close()
	address := here.Addr().String()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	known := login("https://" + address + "/rtc")
	known.CAFile = ca
	if got, err := asked(known); got != "rtc/api/streams" {
		t.Errorf("%q, %v", got, err)
	}
	known.URL = "https://" + elsewhere.Listener.Addr().String()
	_, err = asked(known)
	wantFault(t, err, fault.Go2rtc, "certificate is not valid", "a name in the certificate")
	_, err = asked(login("https://" + address))
	wantFault(t, err, fault.Go2rtc, "authority that is not known", "ca_file")
	_, err = asked(login("http://" + address))
	wantFault(t, err, fault.Go2rtc, "speaks TLS", "https://")

	plain := newServer(t)
	_, err = asked(login(strings.Replace(plain.URL, "http:", "https:", 1)))
	wantFault(t, err, fault.Go2rtc, "does not speak TLS", "http://")
	wrong := login("unix://" + socket)
	wrong.Password = "wrong-secret"
	_, err = asked(wrong)
	if f := wantFault(t, err, fault.Go2rtc, "does not accept our log-in", "password_file"); strings.Contains(f.Message, "wrong-secret") {
		t.Error(f.Message)
	}
}

func TestAURLThatNamesNoServerIsAUsageFault(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "127.0.0.1:1984", "ftp://127.0.0.1", "http://", "unix://host/x", "unix://", "http+unix://relative/x",
		"http://127.0.0.1/?x=1", "http://127.0.0.1/#x", "http://u:topsecret@%zz", "http+unix://%2Fx/%3F",
	} {
		_, err := go2rtc.New(go2rtc.Options{URL: url})
		if f := wantFault(t, err, fault.Usage); strings.Contains(f.Message, "topsecret") || f.Hint == "" {
			t.Errorf("%+v", f)
		}
	}
	for _, file := range []string{filepath.Join(t.TempDir(), "none"), "go2rtc_test.go", "testdata/frame-ok.jpg"} {
		_, err := go2rtc.New(go2rtc.Options{URL: "https://127.0.0.1", CAFile: file})
		wantFault(t, err, fault.Usage, "ca_file")
	}
}

func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	t.Parallel()
	// net/http reads the environment once, and spares loopback: no server of a test could see the difference.
	if newClient(t, go2rtc.Options{URL: "http://10.0.0.1"}).Proxied() {
		t.Error("it asks somebody for a proxy")
	}
}

func TestTheServerIsAskedOnceWhatItIs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	fail := true
	ok := replay(t, "api-info.json")
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		if fail {
			fail = false
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return true
		}
		return ok(w, r)
	}
	c := s.client()
	_, err := c.Info(t.Context())
	wantFault(t, err, fault.Go2rtc, "503", "not yet")
	for range 3 {
		got, err := c.Info(t.Context())
		if want := (go2rtc.Info{Version: "1.9.14+dev.", ConfigPath: "/config/go2rtc.yaml", RTSPListen: "127.0.0.1:21554"}); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if n := s.count("GET"); n != 2 {
		t.Errorf("%d calls", n)
	}
}

func TestWhereGo2rtcServesRTSP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ listen, url, want, says string }{
		{listen: ":8554", want: "rtsp://127.0.0.1:8554/camwarden-gate?video"},
		{listen: "0.0.0.0:8554", want: "rtsp://127.0.0.1:8554/camwarden-gate?video"},
		{listen: "[::]:8554", want: "rtsp://127.0.0.1:8554/camwarden-gate?video"},
		{listen: "127.4.5.6:21554", want: "rtsp://127.4.5.6:21554/camwarden-gate?video"},
		{listen: "[::1]:8554", want: "rtsp://[::1]:8554/camwarden-gate?video"},
		{listen: "", says: "does not serve RTSP"},
		{listen: "8554", says: "no address"},
	} {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"version":"1","rtsp":{"listen":%q}}`, c.listen)
		})}}
		s.Start()
		client := newClient(t, go2rtc.Options{URL: "unix://" + l.Addr().String()})
		got, err := client.RestreamURL(t.Context(), "camwarden-gate")
		s.Close()
		if c.says != "" {
			wantFault(t, err, fault.Go2rtc, c.says)
		} else if err != nil || got != c.want {
			t.Errorf("%s: %q, %v", c.listen, got, err)
		}
	}
}

func TestEveryErrorIsAFault(t *testing.T) {
	t.Parallel()
	var f *fault.Error
	c := newClient(t, go2rtc.Options{URL: "unix:///none"})
	ctx := t.Context()
	_, a := c.Info(ctx)
	_, b := c.List(ctx)
	_, _, d := c.Get(ctx, "x")
	_, e := c.Register(ctx, gate())
	_, g := c.Remove(ctx, mine(), "x")
	_, h := c.Frame(ctx, "x")
	_, i := c.Flush(ctx, mine(), gate())
	_, j := c.RestreamURL(ctx, "x")
	for n, err := range []error{a, b, d, e, g, h, i, j, c.Probe(ctx, "x"), c.Renew(ctx, gate())} {
		if !errors.As(err, &f) || f.Class != fault.Go2rtc || f.Hint == "" || !strings.Contains(f.Message, "unix:///none") {
			t.Errorf("%d: %#v", n, err)
		}
	}
}
