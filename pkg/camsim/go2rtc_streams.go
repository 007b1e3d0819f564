package camsim

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// serveStreams answers everything about streams.
func (l *life) serveStreams(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	src := query.Get("src")
	if src == "" && r.Method != http.MethodPost { // also PUT, PATCH and DELETE: 200, and nothing done
		l.list(w, r)
		return
	}
	switch r.Method {
	case http.MethodGet:
		l.getStream(w, r, src)
	case http.MethodPatch:
		name := query.Get("name")
		if name == "" {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		if _, err := l.patch(name, src); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		nothing(w)
	case http.MethodPut:
		name := query.Get("name")
		if name == "" {
			name = src
		}
		l.put(w, name, query["src"])
	case http.MethodDelete:
		l.mu.Lock()
		delete(l.streams, src) // and that is all: whoever watches goes on
		l.mu.Unlock()
		l.written(w, l.rewrite(src, nil))
	case http.MethodPost: // streams are sent on to somebody, which is not simulated
		http.Error(w, "", http.StatusBadRequest)
	default:
		nothing(w)
	}
}

// list answers with all streams on one line.
func (l *life) list(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "application/json")
		return
	}
	l.mu.Lock()
	all := make(map[string]any, len(l.streams))
	for name, stream := range l.streams {
		all[name] = stream.json(l.config.Old)
	}
	l.mu.Unlock()
	l.answer(w, all, false)
}

func (l *life) getStream(w http.ResponseWriter, r *http.Request, name string) {
	stream := l.stream(name)
	if stream == nil {
		http.Error(w, "", http.StatusNotFound)
		return
	}
	if !probes(r.URL.Query()) {
		l.answer(w, stream.json(l.config.Old), true)
		return
	}
	var medias []string
	for _, row := range [][2]string{{"video", "video, sendonly, ALL"}, {"audio", "audio, sendonly, ALL"}, {"microphone", "audio, recvonly, ANY"}} {
		if r.URL.Query().Has(row[0]) {
			medias = append(medias, row[1])
		}
	}
	c := l.visitor(r, "probe", "probe", medias...)
	if err := stream.add(c); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	l.answer(w, stream.json(l.config.Old), true)
	stream.remove(c)
}

// stream returns the stream of a name, or nil.
func (l *life) stream(name string) *relay {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streams[name]
}

// patch creates a stream or gives one another source. Where the source is an RTSP URL whose path is a stream's name, or
// is one itself, the new name becomes a link to that stream, whatever the host.
func (l *life) patch(name, source string) (*relay, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// An escape that is none, such as a bare %, keeps the source from being parsed, and so from being linked.
	if u, err := url.Parse(source); err == nil && u.Scheme == "rtsp" && len(u.Path) > 1 {
		if linked, ok := l.streams[u.Path[1:]]; ok {
			l.streams[name] = linked
			return linked, nil
		}
	}
	if linked, ok := l.streams[source]; ok {
		l.streams[name] = linked
		return linked, nil
	}
	if err := l.acceptable(source); err != nil {
		return nil, err
	}
	if known, ok := l.streams[name]; ok {
		known.setSource(source) // that of every name of it
		return known, nil
	}
	l.streams[name] = l.newRelay(source)
	return l.streams[name], nil
}

// acceptable is what the API lets in as a source.
func (l *life) acceptable(source string) error {
	scheme, _, found := strings.Cut(source, ":")
	switch {
	case !l.config.Old && strings.ContainsAny(source, " \t\r\n"):
		return errors.New("streams: source with spaces may be insecure")
	case !found:
		return errors.New("streams: source not supported")
	}
	switch scheme {
	case "rtsp", "rtsps", "rtspx", "ffmpeg", "http", "https", "onvif", "tcp":
		return nil
	case "exec", "echo", "expr":
		if l.config.Old {
			return nil
		}
		return errors.New("streams: source from insecure producer")
	default:
		return errors.New("streams: source not supported")
	}
}

// put makes a new stream of the name: whoever watches the old one goes on, unseen.
func (l *life) put(w http.ResponseWriter, name string, sources []string) {
	for _, source := range sources {
		if err := l.acceptable(source); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	l.mu.Lock()
	l.streams[name] = l.newRelay(sources...)
	l.mu.Unlock()
	l.written(w, l.rewrite(name, sources))
}

// written answers PUT and DELETE, which have been done whatever became of the file.
func (l *life) written(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	nothing(w)
}

// getOrPatch returns the stream that frame.jpeg and others ask for; nil when there is none. A source that is unknown
// becomes a stream, under its own URL for a name.
func (l *life) getOrPatch(r *http.Request) (*relay, error) {
	query := r.URL.Query()
	source := query.Get("src")
	if source == "" {
		return nil, nil
	}
	if stream := l.stream(source); stream != nil {
		return stream, nil
	}
	left, alive := l.meetings.enter(callPatch)
	defer left()
	if !alive {
		l.die()
		return nil, errDead
	}
	if name := query.Get("name"); name != "" {
		return l.patch(name, source)
	}
	return l.patch(source, source)
}

// census counts the names, and the consumers of streams that have none.
func (l *life) census() (names, ghosts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	named := map[*relay]bool{}
	for _, stream := range l.streams {
		named[stream] = true
	}
	for _, stream := range l.relays {
		if !named[stream] {
			list, _ := stream.consumers()
			ghosts += len(list)
		}
	}
	return len(l.streams), ghosts
}
