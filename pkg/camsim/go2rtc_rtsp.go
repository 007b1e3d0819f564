package camsim

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/conn"
)

// serveRTSP serves the streams by name until the life ends.
func (l *life) serveRTSP(listener net.Listener) {
	for {
		accepted, err := listener.Accept()
		if err != nil {
			if !l.wait(10 * time.Millisecond) {
				return
			}
			continue
		}
		p := &player{life: l, socket: l.sockets.hold(accepted)}
		l.wg.Go(p.serve)
	}
}

// player is somebody who reads a stream by RTSP. He holds the stream from DESCRIBE until he hangs up, and no longer.
type player struct {
	life   *life
	socket *socket
	stream *relay
	c      *consumer

	packets chan []byte
	channel int
	ready   bool // SETUP has been granted
	playing bool
	writing sync.Mutex // answers and media share the socket
}

func (p *player) serve() {
	ctx, left := context.WithCancel(p.life.ctx)
	var media sync.WaitGroup
	defer func() {
		left()
		_ = p.socket.Close()
		media.Wait()
		if p.stream != nil {
			p.stream.remove(p.c)
		}
	}()
	reader := conn.NewConn(bufio.NewReader(p.socket), p.socket)
	for {
		what, err := reader.Read()
		if err != nil {
			return
		}
		req, ok := what.(*base.Request)
		if !ok {
			continue // reports of the player
		}
		res := p.answer(req)
		res.Header["CSeq"] = req.Header["CSeq"]
		raw, err := res.Marshal()
		if err != nil || p.write(raw) != nil || res.StatusCode == base.StatusNotFound || req.Method == base.Teardown {
			return
		}
		if req.Method == base.Play && p.ready && !p.playing {
			p.playing = true
			media.Go(func() { p.feed(ctx) })
		}
	}
}

func (p *player) answer(req *base.Request) base.Response {
	header := base.Header{}
	if p.ready {
		header["Session"] = base.HeaderValue{fmt.Sprint(p.c.id)}
	}
	ok := base.Response{StatusCode: base.StatusOK, Header: header}
	switch req.Method {
	case base.Options:
		header["Public"] = base.HeaderValue{"OPTIONS, SETUP, TEARDOWN, DESCRIBE, PLAY, PAUSE, ANNOUNCE, RECORD"}
	case base.Describe:
		if !p.join(req) { // no such stream, or a camera that cannot be had: it does not say which
			return base.Response{StatusCode: base.StatusNotFound, Header: header}
		}
		header["Content-Type"] = base.HeaderValue{"application/sdp"}
		ok.Body = []byte(p.c.sdp)
	case base.Setup:
		transport := strings.Join(req.Header["Transport"], ",")
		if p.c == nil || !strings.Contains(transport, "RTP/AVP/TCP") {
			return base.Response{StatusCode: base.StatusUnsupportedTransport, Header: header}
		}
		if _, asked, found := strings.Cut(transport, "interleaved="); found {
			_, _ = fmt.Sscanf(asked, "%d", &p.channel)
		}
		p.ready = true
		header["Session"] = base.HeaderValue{fmt.Sprintf("%d;timeout=60", p.c.id)}
		header["Transport"] = base.HeaderValue{fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d", p.channel, p.channel+1)}
	}
	return ok
}

// join makes the player a consumer, which takes as long as the camera's dial.
func (p *player) join(req *base.Request) bool {
	if p.c != nil || req.URL == nil {
		return p.c != nil
	}
	stream := p.life.stream(strings.TrimPrefix(req.URL.Path, "/"))
	if stream == nil {
		return false
	}
	query, _ := url.ParseQuery(req.URL.RawQuery)
	c := &consumer{
		format: "rtsp", kind: "RTSP passive consumer", protocol: "rtsp+tcp", remote: p.socket.RemoteAddr().String(),
		source: query.Get("source"), medias: []string{"audio, sendonly, ANY", "video, sendonly, ANY"},
	}
	if agent := req.Header["User-Agent"]; len(agent) > 0 {
		c.agent = agent[0]
	}
	c.joins = func(codec codecInfo) {
		lines := strings.Join(append(codec.lines, "a=recvonly", "a=control:trackID=0"), "\r\n")
		c.sdp = fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=%s\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP %d\r\n%s\r\n",
			p.life.agent(), codec.kind, lines)
	}
	p.packets = make(chan []byte, 4096) // some key frames of 1080p
	c.packet = func(raw []byte, _ *upstream) {
		select {
		case p.packets <- raw:
		default: // a player that does not read loses packets
		}
	}
	if stream.add(c) != nil {
		return false
	}
	p.stream, p.c = stream, c
	return true
}

// feed sends what comes, until the player has gone.
func (p *player) feed(ctx context.Context) {
	for {
		select {
		case packet := <-p.packets:
			raw, err := base.InterleavedFrame{Channel: p.channel, Payload: packet}.Marshal()
			if err != nil || p.write(raw) != nil {
				_ = p.socket.Close()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// write sends bytes whole. A frozen player is given up after a minute.
func (p *player) write(raw []byte) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	_ = p.socket.SetWriteDeadline(time.Now().Add(12 * p.life.config.Patience))
	_, err := p.socket.Write(raw)
	return err
}
