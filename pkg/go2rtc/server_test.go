package go2rtc_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is as much of a go2rtc as a client can be tested against without cameras. It fails the test when two calls
// other than frame.jpeg are under way at a time: the real one may die of that.
type server struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	streams map[string]*stream // two names may share one
	calls   []string           // "PATCH camwarden-gate"; method and name
	sources []string           // of each PATCH
	agents  map[string]bool
	busy    int

	instead func(http.ResponseWriter, *http.Request) bool // answers before anything else, when it says so
	patched func(name, source string)                     // with mu held, after a PATCH
	removal func(http.ResponseWriter)                     // what DELETE answers
}

// stream is JSON: its parts, or all of it.
type stream struct {
	producers, consumers []string
	whole                string
}

func idle(source string) *stream {
	shown, _ := json.Marshal(masked(source))
	return &stream{producers: []string{fmt.Sprintf(`{"url":%s}`, shown)}}
}

// masked does what the real one does with user-info in its lists.
func masked(source string) string {
	scheme, rest, ok := strings.Cut(source, "://")
	if !ok {
		return source
	}
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = "***" + rest[i:]
	}
	return scheme + "://" + rest
}

func connected(url, remote string) *stream {
	return &stream{producers: []string{fmt.Sprintf(`{"id":7,"format_name":"rtsp","protocol":"rtsp+tcp","remote_addr":%q,"url":%q,`+
		`"receivers":[{"id":8,"codec":{"codec_name":"h264","codec_type":"video"}}],"bytes_recv":100}`, remote, url)}}
}

func (s *stream) with(consumers ...string) *stream {
	s.consumers = append(s.consumers, consumers...)
	return s
}

func consumer(id int, format, agent string) string {
	return fmt.Sprintf(`{"id":%d,"format_name":%q,"protocol":"http","remote_addr":"127.0.0.1:4%04d","user_agent":%q}`, id, format, id, agent)
}

func (s *stream) json() string {
	if s.whole != "" {
		return s.whole
	}
	return `{"producers":[` + strings.Join(s.producers, ",") + `],"consumers":[` + strings.Join(s.consumers, ",") + `]}`
}

// newServer starts a server on an address of its own.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, streams: map[string]*stream{}, agents: map[string]bool{}}
	s.Server = &httptest.Server{Listener: ownListener(t), Config: &http.Server{Handler: s}}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func ownListener(t *testing.T) net.Listener {
	t.Helper()
	n := func() int { return 10 + rand.IntN(240) }
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", n(), n(), n()))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (s *server) client(change ...func(*go2rtc.Options)) *go2rtc.Client {
	s.t.Helper()
	options := go2rtc.Options{URL: s.URL, Version: "1.0", Run: "01MINE"}
	for _, c := range change {
		c(&options)
	}
	return newClient(s.t, options)
}

func newClient(t *testing.T, options go2rtc.Options) *go2rtc.Client {
	t.Helper()
	c, err := go2rtc.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// countBusy adds to the calls that are being answered, and returns how many they are.
func (s *server) countBusy(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy += n
	return s.busy
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	alone := !strings.HasSuffix(r.URL.Path, "frame.jpeg")
	if alone {
		if s.countBusy(1) > 1 {
			s.t.Errorf("%s %s overlaps another call", r.Method, r.URL)
		}
		time.Sleep(2 * time.Millisecond)
		defer s.countBusy(-1)
	}
	q := r.URL.Query()
	name := q.Get("src")
	if r.Method == http.MethodPatch {
		name = q.Get("name")
	}
	s.mu.Lock()
	s.calls = append(s.calls, strings.TrimSpace(r.Method+" "+name))
	s.agents[r.UserAgent()] = true
	s.mu.Unlock()
	if s.instead != nil && s.instead(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.URL.Path != "/api/streams":
		http.NotFound(w, r)
	case r.Method == http.MethodPatch:
		s.patch(name, q.Get("src"))
	case r.Method == http.MethodDelete:
		delete(s.streams, name)
		if s.removal != nil {
			s.removal(w)
		}
	case name == "":
		parts := []string{}
		for name, one := range s.streams {
			key, _ := json.Marshal(name)
			parts = append(parts, string(key)+":"+one.json())
		}
		fmt.Fprint(w, "{"+strings.Join(parts, ",")+"}\n")
	case s.streams[name] == nil:
		http.Error(w, "", http.StatusNotFound)
	default:
		fmt.Fprint(w, s.streams[name].json())
	}
}

func (s *server) patch(name, source string) {
	s.sources = append(s.sources, source)
	s.streams[name] = idle(source)
	if s.patched != nil {
		s.patched(name, source)
	}
}

// set changes what the server holds.
func (s *server) set(name string, one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one == nil {
		delete(s.streams, name)
		return
	}
	s.streams[name] = one
}

func (s *server) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[name] != nil
}

// count returns how many calls there were of a method.
func (s *server) count(method string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, call := range s.calls {
		if strings.HasPrefix(call, method) {
			n++
		}
	}
	return n
}

func (s *server) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// recorded is an answer of the real server, from testdata/recorded.
func recorded(t *testing.T, file string) *http.Response {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "recorded", file))
	if err != nil {
		t.Fatal(err)
	}
	// curl writes down the header, and the body without the chunks.
	raw = bytes.Replace(raw, []byte("Transfer-Encoding: chunked\r\n"), nil, 1)
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// replay answers everything with a recording.
func replay(t *testing.T, file string) func(http.ResponseWriter, *http.Request) bool {
	t.Helper()
	res := recorded(t, file) //nolint:bodyclose // a recording, closed when it has been read
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil && file != "frame-ok-headers.txt" {
		t.Fatalf("%s: %v", file, err)
	}
	if file == "frame-ok-headers.txt" {
		body = jpeg(t)
	}
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for name, values := range res.Header {
			w.Header()[name] = values
		}
		if res.Header.Get("Content-Type") == "" {
			w.Header()["Content-Type"] = nil // which net/http would make up
		}
		w.WriteHeader(res.StatusCode)
		_, _ = w.Write(body)
		return true
	}
}

func jpeg(t *testing.T) []byte {
	t.Helper()
	picture, err := os.ReadFile("testdata/frame-ok.jpg")
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// wantFault checks class, and that the message and the hint say these things.
func wantFault(t *testing.T, err error, class fault.Class, says ...string) *fault.Error {
	t.Helper()
	f := fault.From(err, "plain", "")
	if f == nil {
		t.Fatalf("no error, want class %s: %q", class, says)
	}
	if f.Class != class {
		t.Errorf("class %q, want %q: %s", f.Class, class, f.Message)
	}
	for _, say := range says {
		if !strings.Contains(f.Message+"\n"+f.Hint, say) {
			t.Errorf("neither message nor hint says %q\nmessage: %s\nhint:    %s", say, f.Message, f.Hint)
		}
	}
	return f
}

// hangUp closes the connection without a word, when the call is over.
func hangUp() { panic(http.ErrAbortHandler) }
