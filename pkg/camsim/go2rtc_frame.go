package camsim

import (
	"errors"
	"net/http"
	"strconv"
)

var (
	errNoFFmpeg   = errors.New("fork/exec ffmpeg: no such file or directory")
	errNoHandover = errors.New("exec: ffmpeg cannot reach the RTSP port at 127.0.0.1")
)

// frame answers GET /api/frame.jpeg: it waits for the next key frame, for as long as that takes, whether the client is
// still there or not. A camera that cannot be had is answered by 200 and nothing.
func (l *life) frame(w http.ResponseWriter, r *http.Request) {
	stream, err := l.getOrPatch(r)
	if err != nil || stream == nil {
		http.Error(w, "stream not found", http.StatusNotFound)
		return
	}
	shots := make(chan shot, 1)
	c := l.visitor(r, "keyframe", "", "video, sendonly, JPEG, RAW, H264, H265")
	c.takes = []string{"JPEG", "RAW", "H264", "H265"}
	var packets *unpacker
	var last *upstream
	c.packet = func(raw []byte, from *upstream) { // of one goroutine at a time: that of the connection
		if from != last {
			last, packets = from, newUnpacker(from.codec)
		}
		if key := packets.keyFrame(raw); key != nil {
			select {
			case shots <- shot{from, key, packets.aggregated}:
			default:
			}
		}
	}
	if stream.add(c) != nil {
		nothing(w)
		return
	}
	var got shot
	select {
	case got = <-shots:
	case <-l.ctx.Done():
		return
	}
	stream.remove(c)
	if got.from.codec.syntax() != syntaxJPEG {
		if l.config.NoFFmpeg {
			http.Error(w, errNoFFmpeg.Error(), http.StatusInternalServerError)
			return
		}
		if !l.wait(l.config.Transcode) {
			return
		}
	}
	picture, err := l.develop(got)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "image/jpeg")
	header.Set("Content-Length", strconv.Itoa(len(picture)))
	header.Set("Cache-Control", "no-cache")
	header.Set("Pragma", "no-cache")
	header.Set("Connection", "close")
	_, _ = w.Write(picture)
}

// nothing is an answer without anything: 200, no type, no body.
func nothing(w http.ResponseWriter) {
	w.Header()["Content-Type"] = nil // which net/http would make up
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// visitor is a consumer that came by HTTP.
func (l *life) visitor(r *http.Request, format, kind string, medias ...string) *consumer {
	remote := r.RemoteAddr
	if forwarded := r.Header.Get("X-Forwarded-For"); forwarded != "" {
		remote += " forwarded " + forwarded
	}
	return &consumer{
		format: format, kind: kind, protocol: "http", remote: remote, agent: r.UserAgent(), medias: medias,
		packet: func([]byte, *upstream) {},
	}
}
