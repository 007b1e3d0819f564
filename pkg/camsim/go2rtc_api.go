package camsim

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	pathpkg "path"
	"strings"
	"sync"
	"time"
)

// call is a kind of call.
type call int

const (
	callOther call = iota
	callList
	callGet
	callProbe
	callPatch
	callPut
	callDelete
	callFrame
	callInfo
	callViewer
)

// deadly tells calls that end the server when one comes during the other: the real one iterates its map of streams, and
// deletes from it, without its lock, and writes the map of GET /api with each call. PATCH and PUT do take the lock.
func deadly(a, b call) bool {
	if a > b {
		a, b = b, a
	}
	switch a {
	case callList:
		return b == callPatch || b == callPut || b == callDelete
	case callPatch, callPut, callDelete:
		return b == callDelete
	case callInfo:
		return b == callInfo
	default:
		return false
	}
}

// meetings are the calls under way that another one may be deadly to.
type meetings struct {
	mu      sync.Mutex
	running map[call]int
}

// enter notes a call, and reports whether the server survives that.
func (m *meetings) enter(kind call) (left func(), alive bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	alive = true
	for other, n := range m.running {
		alive = alive && (n == 0 || !deadly(kind, other))
	}
	if m.running == nil {
		m.running = map[call]int{}
	}
	m.running[kind]++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.running[kind]--
	}, alive
}

// kindOf tells what a request is, below the base path.
func kindOf(r *http.Request, path string) call {
	src := r.URL.Query().Get("src")
	switch {
	case path == "/api":
		return callInfo
	case path == "/api/frame.jpeg":
		return callFrame
	case path == "/api/streams.dot":
		return callList
	case strings.HasPrefix(path, "/api/stream."):
		return callViewer
	case path != "/api/streams":
		return callOther
	case src == "" && r.Method != http.MethodPost:
		return callList
	}
	switch r.Method {
	case http.MethodGet:
		if probes(r.URL.Query()) {
			return callProbe
		}
		return callGet
	case http.MethodPatch:
		return callPatch
	case http.MethodPut:
		return callPut
	case http.MethodDelete:
		return callDelete
	default:
		return callOther
	}
}

func probes(query url.Values) bool {
	return query.Has("video") || query.Has("audio") || query.Has("microphone")
}

// handler is the whole API.
func (l *life) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.enter() {
			panic(http.ErrAbortHandler)
		}
		defer l.wg.Done()
		defer func() {
			if l.ctx.Err() != nil {
				panic(http.ErrAbortHandler) // the dead finish no answer
			}
		}()
		if !l.admitted(r) {
			defer l.g.calls.began(callOther)()
			w.Header().Set("WWW-Authenticate", `Basic realm="go2rtc"`)
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		path, below := strings.CutPrefix(r.URL.Path, l.config.BasePath)
		if !below {
			defer l.g.calls.began(callOther)()
			http.NotFound(w, r)
			return
		}
		kind := kindOf(r, path)
		defer l.g.calls.began(kind)()
		if l.troubled(w) {
			return
		}
		left, alive := l.meetings.enter(kind)
		defer left()
		if !alive {
			l.die()
			return
		}
		pause := l.delay()
		switch kind {
		case callList, callPatch, callPut, callDelete, callInfo:
			pause += l.config.Hold
		default: // meets nobody
		}
		if !l.wait(pause) {
			return
		}
		l.route(w, r, path)
	})
}

// admitted checks the log-in. Who comes from this host is let in without one, unless local_auth is set.
func (l *life) admitted(r *http.Request) bool {
	if l.config.Username == "" || !l.config.LocalAuth {
		return true
	}
	user, password, ok := r.BasicAuth()
	return ok && subtle.ConstantTimeCompare([]byte(user), []byte(l.config.Username)) == 1 &&
		subtle.ConstantTimeCompare([]byte(password), []byte(l.config.Password)) == 1
}

func (l *life) route(w http.ResponseWriter, r *http.Request, path string) {
	if clean := pathpkg.Clean(r.URL.Path); clean != r.URL.Path && strings.Contains(r.URL.Path, "//") {
		http.Redirect(w, r, clean, http.StatusTemporaryRedirect)
		return
	}
	switch path {
	case "/api":
		l.info(w, r)
	case "/api/streams":
		l.serveStreams(w, r)
	case "/api/frame.jpeg":
		l.frame(w, r)
	case "/api/restart":
		l.restart(w, r)
	case "/api/preload":
		l.servePreload(w, r)
	case "/api/stream.mjpeg":
		l.watchMJPEG(w, r)
	case "/api/stream.mp4":
		l.watchBytes(w, r, "mp4", "MP4/HTTP active consumer", "video/mp4")
	case "/api/stream.ts":
		l.watchBytes(w, r, "mpegts", "TS/HTTP active consumer", "video/mp2t")
	case "/api/schemes":
		if l.config.Old {
			http.NotFound(w, r)
			return
		}
		writeJSON(w, []string{"rtsp", "rtsps", "rtspx", "ffmpeg", "exec", "http", "https"}, false)
	default:
		http.NotFound(w, r)
	}
}

// info answers GET /api.
func (l *life) info(w http.ResponseWriter, r *http.Request) {
	said := map[string]any{"host": r.Host, "revision": "", "version": l.config.Version}
	listen := l.config.RTSP.String()
	if l.config.NoRTSP {
		listen = ""
	}
	said["rtsp"] = struct {
		Listen       string `json:"listen"`
		DefaultQuery string `json:"default_query"`
	}{listen, "video&audio"}
	if l.config.ConfigFile != "" {
		said["config_path"] = l.config.ConfigFile
	}
	writeJSON(w, said, false)
}

// restart answers POST /api/restart, and ends after that.
func (l *life) restart(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	nothing(w)
	l.g.mu.Lock()
	defer l.g.mu.Unlock()
	if !l.g.closed {
		l.g.wg.Go(func() {
			time.Sleep(20 * time.Millisecond) // the answer is on its way
			_ = l.g.Restart()                 // else it stays dead
		})
	}
}

func writeJSON(w http.ResponseWriter, value any, pretty bool) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	if pretty {
		encoder.SetIndent("", "  ")
	}
	_ = encoder.Encode(value)
}

func (l *life) agent() string { return "go2rtc/" + l.config.Version }
