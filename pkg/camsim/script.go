package camsim

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/conn"
)

// script is what a camera does at each step instead of what a good one would do; nil is the good answer.
type script struct {
	accept   func(*talk, *base.Request)      // before anything is asked: the request is nil
	login    func(*talk, *base.Request) bool // at DESCRIBE and SETUP; false: the request has been answered
	options  func(*talk, *base.Request)
	describe func(*talk, *base.Request)
	setup    func(*talk, *base.Request)
	play     func(*talk, *base.Request)
	media    func(*talk) // after PLAY, in its own goroutine, until talk.ctx ends
}

// scripted opens a camera that follows the script over raw sockets.
func scripted(s script) opener {
	return func(c *Camera) (func(), error) { return openScripted(c, s) }
}

// scriptedServer accepts connections and holds one talk on each.
type scriptedServer struct {
	c        *Camera
	script   script
	sdp      []byte
	listener net.Listener

	mu    sync.Mutex
	conns map[*countedConn]struct{}
}

func openScripted(c *Camera, s script) (func(), error) {
	sdp, err := c.film.description(c.config.Sets).Marshal()
	if err != nil {
		return nil, err
	}
	listener, err := c.open()
	if err != nil {
		return nil, err
	}
	server := &scriptedServer{c: c, script: s, sdp: sdp, listener: listener, conns: map[*countedConn]struct{}{}}
	c.wg.Go(server.run)
	return server.shutdown, nil
}

func (s *scriptedServer) shutdown() {
	_ = s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *scriptedServer) run() {
	for {
		accepted, err := s.listener.Accept()
		if err != nil {
			// Anything but the end of the camera passes: out of file descriptors, say.
			if errors.Is(err, net.ErrClosed) || !s.c.wait(10*time.Millisecond) {
				return
			}
			continue
		}
		conn, ok := accepted.(*countedConn)
		if !ok {
			continue // a countingListener accepts nothing else
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		if s.c.ctx.Err() != nil {
			_ = conn.Close() // shutdown may have passed before we noted it
		}
		s.c.wg.Go(func() {
			s.talk(conn)
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

// talk is one conversation with one client.
type talk struct {
	server *scriptedServer
	c      *Camera
	conn   *countedConn
	reader *conn.Conn
	nonce  string

	ctx   context.Context // ends with the conversation
	stop  context.CancelFunc
	media sync.WaitGroup

	writing sync.Mutex // answers and media share the socket

	mute     bool // heard and counted, but nothing is answered any more
	over     bool
	loggedIn bool
	session  bool // between SETUP and the end
	slot     bool
	tornDown bool
	playing  bool
	channel  int // of RTP; RTCP is the next
}

func (s *scriptedServer) talk(client *countedConn) {
	t := &talk{server: s, c: s.c, conn: client}
	t.reader = conn.NewConn(bufio.NewReader(client), client)
	t.nonce, _ = auth.GenerateNonce()
	t.ctx, t.stop = context.WithCancel(s.c.ctx)
	defer t.end()
	if s.script.accept != nil {
		s.script.accept(t, nil)
	}
	if t.mute && s.c.secure != nil {
		_, _ = io.Copy(io.Discard, client.raw()) // not a word: no handshake either
		return
	}
	for !t.over {
		what, err := t.reader.Read()
		if err != nil {
			if t.mute && !isEnd(err) {
				_, _ = io.Copy(io.Discard, client) // even nonsense gets no answer, not the answer of hanging up
			}
			return
		}
		if req, ok := what.(*base.Request); ok {
			s.c.tally.requested(req.Method)
			if !t.mute {
				t.answer(req)
			}
		}
	}
}

func isEnd(err error) bool {
	var failed net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &failed)
}

// end leaves nothing of a conversation.
func (t *talk) end() {
	t.stop()
	_ = t.conn.Close()
	t.media.Wait()
	t.endSession()
}

func (t *talk) endSession() {
	switch {
	case t.slot && t.tornDown:
		t.c.slots.release()
	case t.slot:
		t.c.slots.abandon()
	}
	t.slot = false
	if t.session {
		t.c.tally.sessionEnded()
		t.session = false
	}
}

// answer does what the script says, or else what a good camera does.
func (t *talk) answer(req *base.Request) {
	script := t.server.script
	perform := func(scripted, usual func(*talk, *base.Request)) {
		if scripted == nil {
			scripted = usual
		}
		scripted(t, req)
	}
	switch req.Method {
	case base.Options:
		perform(script.options, answerOptions)
	case base.Describe, base.Setup:
		login := script.login
		if login == nil {
			login = checkLogin
		}
		if !login(t, req) {
			return
		}
		if req.Method == base.Describe {
			perform(script.describe, answerDescribe)
		} else {
			perform(script.setup, answerSetup)
		}
	case base.Play:
		perform(script.play, answerPlay)
	case base.Teardown:
		answerTeardown(t, req)
	case base.GetParameter, base.SetParameter, base.Pause:
		t.reply(req, base.Response{StatusCode: base.StatusOK})
	default:
		t.reply(req, base.Response{StatusCode: base.StatusNotImplemented})
	}
}
