package camsim

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Viewer is somebody who is given a stream, of a kind that the tests have no program for: a browser, say. The zero value
// is an RTSP player.
type Viewer struct {
	Format     string // "webrtc/whep", "mse/fmp4", "hls/fmp4", "keyframe"; default rtsp
	Protocol   string // default that of the format
	UserAgent  string
	RemoteAddr string // default an address of this host that nobody has
	Source     string // of go2rtc's own ffmpeg: "ffmpeg:gate#video=mjpeg"
}

// Watch gives a stream to a viewer until leave is called. What it is given goes nowhere. It returns when the viewer is
// listed, or leave does nothing because the camera cannot be had, or there is no such stream.
func (g *Go2rtc) Watch(name string, viewer Viewer) (leave func()) {
	g.mu.Lock()
	l := g.life
	g.mu.Unlock()
	if l == nil || !l.enter() {
		return func() {}
	}
	defer l.wg.Done()
	stream := l.stream(name)
	if stream == nil {
		return func() {}
	}
	c := viewer.consumer()
	if stream.add(c) != nil {
		return func() {}
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			if l.enter() {
				defer l.wg.Done()
				stream.remove(c)
			}
		})
	}
}

func (v Viewer) consumer() *consumer {
	c := &consumer{
		format: cmp.Or(v.Format, "rtsp"), protocol: v.Protocol, agent: v.UserAgent, source: v.Source,
		remote: cmp.Or(v.RemoteAddr, "127.0.0.1:9"), medias: []string{"video, sendonly, ANY"}, packet: func([]byte, *upstream) {},
	}
	kind, _, _ := strings.Cut(c.format, "/")
	row := map[string][2]string{ // protocol, and the type up to 1.9.3
		"rtsp": {"rtsp+tcp", "RTSP passive consumer"}, "mse": {"ws", "MSE/WebSocket passive consumer"}, "webrtc": {"http+udp", "WebRTC/WHEP passive consumer"},
		"mjpeg": {"http", "HTTP/MJPEG passive consumer"}, "hls": {"http", "HLS/fMP4 passive consumer"}, "mp4": {"http", "MP4/HTTP active consumer"},
		"mpegts": {"http", "TS/HTTP active consumer"}, "keyframe": {"http", ""}, "probe": {"http", "probe"}, "preload": {"", "preload"},
	}[kind]
	if kind != "rtsp" && kind != "keyframe" { // these never show what they were sent
		c.packet = func(raw []byte, _ *upstream) { c.sent.Add(int64(len(raw))) }
	}
	c.protocol, c.kind = cmp.Or(c.protocol, row[0]), cmp.Or(row[1], c.format+" consumer")
	switch kind {
	case "preload":
		c.remote = ""
	case "webrtc":
		c.remote += " host"
	case "keyframe":
		c.kind = ""
	}
	return c
}

// flow is what goes to a client over HTTP: pieces that are dropped when the client does not read them in time.
type flow struct {
	pieces chan []byte
}

func (f flow) put(piece []byte) {
	select {
	case f.pieces <- piece:
	default:
	}
}

// watchMJPEG answers GET /api/stream.mjpeg: the pictures of an MJPEG camera until the client goes.
func (l *life) watchMJPEG(w http.ResponseWriter, r *http.Request) {
	stream := l.stream(r.URL.Query().Get("src"))
	if stream == nil {
		http.Error(w, "stream not found", http.StatusNotFound)
		return
	}
	c := l.visitor(r, "mjpeg", "HTTP/MJPEG passive consumer", "video, sendonly, JPEG, RAW")
	c.takes = []string{"JPEG", "RAW"}
	pictures := flow{make(chan []byte, 16)}
	var packets *unpacker
	var last *upstream
	c.packet = func(raw []byte, from *upstream) {
		if from != last {
			last, packets = from, newUnpacker(from.codec)
		}
		if file := packets.keyFrame(raw); file != nil {
			head := "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: " + strconv.Itoa(len(file)) + "\r\n\r\n"
			pictures.put(append(append([]byte(head), file...), "\r\n"...))
		}
	}
	if stream.add(c) != nil {
		nothing(w) // which is how it says that it cannot
		return
	}
	l.pour(w, r, stream, c, pictures, "multipart/x-mixed-replace; boundary=frame")
}

// watchBytes answers a request for a film in a container. What comes has the right type and pace, and is no film.
func (l *life) watchBytes(w http.ResponseWriter, r *http.Request, format, kind, content string) {
	stream := l.stream(r.URL.Query().Get("src"))
	if stream == nil {
		http.Error(w, "stream not found", http.StatusNotFound)
		return
	}
	c := l.visitor(r, format, kind, "video, sendonly, H264, H265", "audio, sendonly, MPEG4-GENERIC")
	c.takes, c.sound = []string{"H264", "H265"}, "AAC"
	packets := flow{make(chan []byte, 1024)}
	c.packet = func(raw []byte, _ *upstream) { packets.put(raw) }
	if err := stream.add(c); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	l.pour(w, r, stream, c, packets, content)
}

// pour writes what comes until the client goes or the server ends.
func (l *life) pour(w http.ResponseWriter, r *http.Request, stream *relay, c *consumer, from flow, content string) {
	defer stream.remove(c)
	w.Header().Set("Content-Type", content)
	w.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(w)
	_ = flusher.Flush()
	for {
		select {
		case piece := <-from.pieces:
			n, err := w.Write(piece)
			c.sent.Add(int64(n))
			if err != nil || flusher.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-l.ctx.Done():
			return
		}
	}
}

// preloaded is a stream that go2rtc keeps running for nobody.
type preloaded struct {
	stream *relay
	c      *consumer
	query  string
}

// servePreload answers everything about preloads. They are not written to the configuration file here.
func (l *life) servePreload(w http.ResponseWriter, r *http.Request) {
	if l.config.Old {
		http.NotFound(w, r)
		return
	}
	name := r.URL.Query().Get("src")
	switch r.Method {
	case http.MethodPut:
		stream := l.stream(name)
		if stream == nil {
			http.Error(w, "streams: stream not found: "+name, http.StatusInternalServerError)
			return
		}
		query := r.URL.Query()
		query.Del("src")
		one := &preloaded{stream, Viewer{Format: "preload"}.consumer(), query.Encode()}
		if err := stream.add(one.c); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		l.mu.Lock()
		old := l.preload[name]
		l.preload[name] = one
		l.mu.Unlock()
		if old != nil {
			old.stream.remove(old.c)
		}
		nothing(w)
	case http.MethodDelete:
		l.mu.Lock()
		one := l.preload[name]
		delete(l.preload, name)
		l.mu.Unlock()
		if one == nil {
			http.Error(w, fmt.Sprintf("streams: preload not found: %s", name), http.StatusInternalServerError)
			return
		}
		one.stream.remove(one.c)
		nothing(w)
	default:
		l.mu.Lock()
		all := map[string]any{}
		for name, one := range l.preload {
			all[name] = map[string]any{"consumer": one.c.json(false), "query": one.query}
		}
		l.mu.Unlock()
		l.answer(w, all, false)
	}
}
