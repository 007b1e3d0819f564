package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// relay is the go2rtc of a site: the simulated one always, and the real one where GO2RTC names its program.
type relay interface {
	url() string
	rtsp(name string) string // the URL at which a stream is served
	alive() bool
	kill()
	restart()
}

// kinds runs a test with the simulated go2rtc, and with the real one if there is one.
func kinds(t *testing.T, test func(t *testing.T, genuine bool)) {
	t.Run("simulated", func(t *testing.T) { t.Parallel(); test(t, false) })
	if os.Getenv("GO2RTC") != "" {
		t.Run("real", func(t *testing.T) { t.Parallel(); test(t, true) })
	}
}

// relaying says how a site's go2rtc is, and how it is used.
type relaying struct {
	genuine  bool
	streams  func(*site) map[string]string // the user's own
	settings string                        // of the go2rtc section, beside url: "snapshot: restream"
	sources  string                        // default go2rtc alone
	noFile   bool                          // it has no configuration file
	sim      func(*camsim.Go2rtcConfig)
}

// through gives a site a go2rtc of its own, with a block-style configuration file in which the user's streams are.
func through(r relaying) option {
	return func(s *site) {
		s.t.Helper()
		s.sources = cmp.Or(r.sources, "go2rtc")
		text := "# mine, do not touch\nstreams:\n  unrelated: rtsp://127.0.0.2:9/nothing # theirs\n"
		if r.streams != nil {
			streams := r.streams(s)
			for _, name := range slices.Sorted(func(yield func(string) bool) {
				for n := range streams {
					if !yield(n) {
						return
					}
				}
			}) {
				text += fmt.Sprintf("  %s: %s\n", name, streams[name])
			}
		}
		if r.genuine {
			started, err := startRealRelay(os.Getenv("GO2RTC"), s.path("go2rtc.yaml"), text)
			check(s.t, err)
			s.relay = started
			s.t.Cleanup(func() {
				started.kill()
				if s.t.Failed() {
					s.t.Logf("go2rtc said: %s", started.said.String())
				}
			})
		} else {
			config := camsim.Go2rtcConfig{ConfigFile: s.path("go2rtc.yaml")}
			if r.noFile {
				config.ConfigFile = ""
			}
			check(s.t, os.WriteFile(s.path("go2rtc.yaml"), []byte(text), 0o600))
			if r.sim != nil {
				r.sim(&config)
			}
			server, err := camsim.StartGo2rtc(config)
			check(s.t, err)
			s.t.Cleanup(server.Close)
			s.relay = &simRelay{t: s.t, Go2rtc: server}
		}
		s.more = fmt.Sprintf("go2rtc: {url: %q", s.relay.url())
		if r.settings != "" {
			s.more += ", " + r.settings
		}
		s.more += "}\n"
		s.t.Cleanup(func() {
			if s.t.Failed() {
				s.t.Logf("go2rtc holds: %s", s.held())
			}
		})
	}
}

// simRelay is the simulated one.
type simRelay struct {
	t *testing.T
	*camsim.Go2rtc
}

func (r *simRelay) url() string             { return r.URL() }
func (r *simRelay) rtsp(name string) string { return r.StreamURL(name) }
func (r *simRelay) alive() bool             { return r.Alive() }
func (r *simRelay) kill()                   { r.Kill() }
func (r *simRelay) restart()                { check(r.t, r.Restart()) }

// simulated returns the simulated go2rtc of a site.
func (s *site) simulated() *camsim.Go2rtc {
	s.t.Helper()
	r, ok := s.relay.(*simRelay)
	if !ok {
		s.t.Skip("only the simulated go2rtc tells")
	}
	return r.Go2rtc
}

// realRelay is a go2rtc as a process of its own.
type realRelay struct {
	program, config string
	api, port       string
	mu              sync.Mutex
	cmd             *exec.Cmd
	ended           chan struct{}
	said            lockedBuffer
}

// startRealRelay tries a few times: somebody else may take a port between our look and go2rtc's listening.
func startRealRelay(program, config, streams string) (*realRelay, error) {
	for try := 1; ; try++ {
		r := &realRelay{program: program, config: config}
		var err error
		if r.api, err = freePort(); err != nil {
			return nil, err
		}
		if r.port, err = freePort(); err != nil {
			return nil, err
		}
		text := fmt.Sprintf("api:\n  listen: %q\nrtsp:\n  listen: %q\nwebrtc:\n  listen: \"\"\nlog:\n  level: error\n%s", r.api, r.port, streams)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return nil, err
		}
		err = r.start()
		if err == nil && !strings.Contains(r.said.String(), "address already in use") {
			return r, nil
		}
		if r.kill(); try == 5 {
			return nil, fmt.Errorf("%w: %s", err, r.said.String())
		}
	}
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func (r *realRelay) start() error {
	cmd, ended := exec.Command(r.program, "-config", r.config), make(chan struct{})
	cmd.Stdout, cmd.Stderr = &r.said, &r.said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { defer close(ended); _ = cmd.Wait() }()
	r.mu.Lock()
	r.cmd, r.ended = cmd, ended
	r.mu.Unlock()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(r.url() + "/api/schemes")
		if err == nil {
			res.Body.Close()
			return nil
		}
		if time.Since(began) > 15*time.Second {
			return err
		}
	}
}

func (r *realRelay) url() string             { return "http://" + r.api }
func (r *realRelay) rtsp(name string) string { return "rtsp://" + r.port + "/" + name }

func (r *realRelay) restart() {
	r.kill()
	if err := r.start(); err != nil {
		panic(err)
	}
}

func (r *realRelay) alive() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

func (r *realRelay) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.cmd.Process.Kill()
	<-r.ended
}

// held is what the go2rtc of the site holds, as its API says it.
func (s *site) held() string {
	res, err := http.Get(s.relay.url() + "/api/streams")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

// names are the streams of ours that it holds.
func (s *site) names() []string {
	s.t.Helper()
	var streams map[string]any
	check(s.t, json.Unmarshal([]byte(s.held()), &streams))
	var ours []string
	for name := range streams {
		if strings.HasPrefix(name, "camwarden-") {
			ours = append(ours, name)
		}
	}
	slices.Sort(ours)
	return ours
}

// register does what another client of go2rtc may do.
func (s *site) register(name, source string) {
	s.t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequest(http.MethodPatch, s.relay.url()+"/api/streams?"+url.Values{"name": {name}, "src": {source}}.Encode(), nil)
		check(s.t, err)
		res, err := http.DefaultClient.Do(req)
		check(s.t, err)
		said, err := io.ReadAll(res.Body)
		check(s.t, err)
		res.Body.Close()
		switch {
		case res.StatusCode == http.StatusOK:
			return
		case strings.Contains(string(said), "source not supported") && time.Since(began) < patience:
			// The real one answers before all its modules are there, RTSP among them.
		default:
			s.t.Fatalf("%s: %s: %s", name, res.Status, said)
		}
	}
}

// file is the configuration file of the site's go2rtc.
func (s *site) file() []byte {
	s.t.Helper()
	text, err := os.ReadFile(s.path("go2rtc.yaml"))
	check(s.t, err)
	return text
}

// streamLeases are the leases of streams in the site's ledger.
func (s *site) streamLeases() []string {
	s.t.Helper()
	paths, err := filepath.Glob(s.path("state", "state", "streams", "*.json"))
	check(s.t, err)
	var found []string
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue // struck just now
		}
		check(s.t, err)
		var l struct{ Name, Note string }
		check(s.t, json.Unmarshal(content, &l))
		found = append(found, strings.TrimSpace(l.Name+" "+l.Note))
	}
	return found
}

// nothingRelayed demands that nothing of ours is left in go2rtc, in the ledger or at a camera.
func (s *site) nothingRelayed() {
	s.t.Helper()
	if names := s.names(); len(names) > 0 {
		s.t.Errorf("go2rtc still holds %v: %s", names, s.held())
	}
	if leases := s.streamLeases(); len(leases) > 0 {
		s.t.Errorf("the ledger still holds %v", leases)
	}
	for _, c := range s.subnet.Cameras {
		eventually(s.t, func() error { // the camera hears of an end a moment later than we do
			if n := c.Counts().Connections; n > 0 {
				return fmt.Errorf("%s has %d connections", c.Name(), n)
			}
			return nil
		})
	}
}

// viewer is somebody who watches a stream through go2rtc, and notes how long nothing came.
type viewer struct {
	t      *testing.T
	leave  context.CancelFunc
	over   chan struct{}
	mu     sync.Mutex
	bytes  int64
	last   time.Time
	gap    time.Duration
	broken error
}

func (s *site) newViewer() (*viewer, context.Context) {
	ctx, leave := context.WithCancel(context.Background())
	v := &viewer{t: s.t, leave: leave, over: make(chan struct{}), last: time.Now()}
	s.t.Cleanup(v.leaves)
	return v, ctx
}

// Write takes in what came.
func (v *viewer) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bytes > 0 {
		v.gap = max(v.gap, time.Since(v.last))
	}
	v.bytes, v.last = v.bytes+int64(len(p)), time.Now()
	return len(p), nil
}

// leaves ends the watching.
func (v *viewer) leaves() {
	v.leave()
	<-v.over
}

// received is how much has come, and the longest time in which nothing did, now included.
func (v *viewer) received() (int64, time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bytes, max(v.gap, time.Since(v.last))
}

// watchHTTP watches a stream by HTTP: stream.mjpeg, stream.mp4.
func (s *site) watchHTTP(name, what string) *viewer {
	s.t.Helper()
	v, ctx := s.newViewer()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.relay.url()+"/api/"+what+"?src="+url.QueryEscape(name), nil)
	check(s.t, err)
	go func() {
		defer close(v.over)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(v, res.Body)
			res.Body.Close()
		}
		v.mu.Lock()
		v.broken = err
		v.mu.Unlock()
	}()
	s.awaitMedia(v)
	return v
}

// watchRTSP watches a stream as a player does, by interleaved RTSP.
func (s *site) watchRTSP(name string) *viewer {
	s.t.Helper()
	v, ctx := s.newViewer()
	go func() {
		defer close(v.over)
		err := play(ctx, s.relay.rtsp(name), v)
		v.mu.Lock()
		v.broken = err
		v.mu.Unlock()
	}()
	s.awaitMedia(v)
	return v
}

func (s *site) awaitMedia(v *viewer) {
	s.t.Helper()
	eventually(s.t, func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.bytes < 10_000 {
			return fmt.Errorf("the viewer has received %d bytes (%w)", v.bytes, v.broken)
		}
		return nil
	})
}

// play is the shortest player there is.
func play(ctx context.Context, raw string, into io.Writer) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	reader := bufio.NewReader(conn)
	session, control := "", raw
	ask := func(seq int, method, target, header string) (string, error) {
		fmt.Fprintf(conn, "%s %s RTSP/1.0\r\nCSeq: %d\r\nUser-Agent: testplayer\r\n%s\r\n", method, target, seq, header)
		head, length := "", 0
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				return "", err
			}
			head += line
			_, _ = fmt.Sscanf(strings.ToLower(line), "content-length: %d", &length)
			if id, ok := strings.CutPrefix(line, "Session: "); ok {
				session, _, _ = strings.Cut(strings.TrimSpace(id), ";")
			}
			if base, ok := strings.CutPrefix(line, "Content-Base: "); ok {
				control = strings.TrimSuffix(strings.TrimSpace(base), "/")
			}
			if line == "\r\n" {
				break
			}
		}
		body := make([]byte, length)
		_, err := io.ReadFull(reader, body)
		if !strings.Contains(head, " 200 ") {
			return "", fmt.Errorf("%s: %s", method, strings.TrimSpace(head))
		}
		return string(body), err
	}
	sdp, err := ask(1, "DESCRIBE", raw, "Accept: application/sdp\r\n")
	if err != nil {
		return err
	}
	track := ""
	for line := range strings.Lines(sdp[max(0, strings.Index(sdp, "m=video")):]) {
		if name, ok := strings.CutPrefix(line, "a=control:"); ok && track == "" {
			track = strings.TrimSpace(name)
		}
	}
	target := track
	if !strings.Contains(track, "://") {
		target = control + "/" + track
	}
	if _, err = ask(2, "SETUP", target, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"); err != nil {
		return err
	}
	if _, err = ask(3, "PLAY", raw, "Session: "+session+"\r\n"); err != nil {
		return err
	}
	go func() { // go2rtc hangs up on a player that says nothing for a minute
		for seq := 4; ; seq++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(10 * time.Second):
				fmt.Fprintf(conn, "OPTIONS %s RTSP/1.0\r\nCSeq: %d\r\nSession: %s\r\n\r\n", raw, seq, session)
			}
		}
	}()
	_, err = io.Copy(into, reader)
	return err
}

// sight is what a kept picture shows, which only the simulated go2rtc knows to tell.
func sight(t *testing.T, path string) camsim.Sight {
	t.Helper()
	picture, err := os.ReadFile(path)
	check(t, err)
	seen, err := camsim.SightOf(picture)
	check(t, err)
	return seen
}

// same reports whether two texts are equal but for blanks at the ends of lines.
func same(a, b []byte) bool { return bytes.Equal(bytes.TrimSpace(a), bytes.TrimSpace(b)) }
