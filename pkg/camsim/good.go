package camsim

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/pion/rtcp"
)

// manners is in what a good server may differ from a healthy one and still be good.
type manners struct {
	login   []auth.VerifyMethod // nil: both basic and digest are offered, where there is a log-in at all
	slow    bool                // every answer takes Delay
	late    bool                // the first key frame comes Delay after PLAY
	running bool                // key frames follow the clock of the camera, not that of the session
}

// good opens a camera that is gortsplib's server with these manners.
func good(manners manners) opener {
	return func(c *Camera) (func(), error) { return openGood(c, manners) }
}

// goodServer is a camera that behaves. Its On methods are called by gortsplib from the goroutines of connections and sessions.
type goodServer struct {
	c       *Camera
	manners manners
	sdp     []byte
	feed    feed
	server  *gortsplib.Server
}

func openGood(c *Camera, manners manners) (func(), error) {
	sdp, err := c.film.description(c.config.Sets).Marshal()
	if err != nil {
		return nil, err
	}
	wait := time.Duration(0)
	if manners.late {
		wait = c.config.Delay
	}
	g := &goodServer{c: c, manners: manners, sdp: sdp, feed: c.film.newFeed(c.config.Picture, c.config.GOP, wait)}
	if manners.running || c.config.JoinAnywhere {
		c.runs = &timetable{feed: g.feed, began: time.Now(), frameTime: c.film.frameTime}
	}
	for attempt := 1; ; attempt++ {
		g.server = g.build()
		err := g.server.Start()
		if err == nil {
			return g.server.Close, nil
		}
		if !c.config.UDP || attempt == 5 { // a drawn pair of ports may be taken
			return nil, err
		}
	}
}

// build returns the library's server for the camera, not yet started.
func (g *goodServer) build() *gortsplib.Server {
	c := g.c
	server := &gortsplib.Server{
		Handler:     g,
		RTSPAddress: c.config.Address.String(),
		AuthMethods: g.manners.login,
		// TLS is ours: where it is the library's, it insists on SRTP.
		Listen: func(string, string) (net.Listener, error) { return c.open() },
		// A key frame of 1080p has some 300 packets; what the queue does not hold is lost.
		WriteQueueSize: 4096,
	}
	if c.config.UDP {
		// RTP on an even port, RTCP on the next (RFC 3550 section 11).
		even := uint16(20_000 + 2*rand.IntN(6_000))
		server.UDPRTPAddress = netip.AddrPortFrom(c.config.Address.Addr(), even).String()
		server.UDPRTCPAddress = netip.AddrPortFrom(c.config.Address.Addr(), even+1).String()
	}
	return server
}

// goodSession is what a session of gortsplib's carries for us.
type goodSession struct {
	stream *gortsplib.ServerStream
	ctx    context.Context
	stop   context.CancelFunc
	start  sync.Once
	slot   bool
	asked  chan struct{} // a key frame was asked for, and is to come
}

// OnRequest counts, and takes its time where the temper says so.
func (g *goodServer) OnRequest(_ *gortsplib.ServerConn, req *base.Request) {
	g.c.tally.requested(req.Method)
	if g.manners.slow {
		g.c.wait(g.c.config.Delay)
	}
}

// OnDescribe answers with the description of the one stream.
func (g *goodServer) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := g.admit(ctx.Conn, ctx.Request, ctx.Path, ctx.Query); res != nil {
		return res, nil, err
	}
	return &base.Response{StatusCode: base.StatusOK, Body: g.sdp}, nil, nil
}

// admit returns nil for a request that may go on, else the answer that ends it.
func (g *goodServer) admit(conn *gortsplib.ServerConn, req *base.Request, path, query string) (*base.Response, error) {
	config := g.c.config
	if config.Username != "" {
		if !conn.VerifyCredentials(req, config.Username, config.Password) {
			g.c.tally.denied(req)
			return &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
		}
		if conn.UserData() == nil {
			conn.SetUserData("logged in")
			g.c.tally.add(func(c *Counts) { c.Logins++ })
		}
	}
	if query != "" {
		path += "?" + query
	}
	if path != config.Path && !slices.Contains(strings.Fields(config.Also), path) {
		return &base.Response{StatusCode: base.StatusNotFound}, nil
	}
	return nil, nil
}

// OnSetup opens a stream for this session alone, so that each client has its own first frame.
func (g *goodServer) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := g.admit(ctx.Conn, ctx.Request, ctx.Path, ctx.Query); res != nil {
		return res, nil, err
	}
	if known, ok := ctx.Session.UserData().(*goodSession); ok {
		return &base.Response{StatusCode: base.StatusOK}, known.stream, nil
	}
	session := &goodSession{stream: &gortsplib.ServerStream{Server: g.server, Desc: g.c.film.description(g.c.config.Sets)}}
	if err := session.stream.Initialize(); err != nil {
		return &base.Response{StatusCode: base.StatusInternalServerError}, nil, err
	}
	if g.c.config.Full == RefuseSetup {
		if session.slot = g.c.slots.take(); !session.slot {
			g.c.tally.add(func(c *Counts) { c.Turned++ })
			return &base.Response{StatusCode: base.StatusNotEnoughBandwidth}, nil, nil
		}
	}
	session.asked = make(chan struct{}, 1)
	session.ctx, session.stop = context.WithCancel(g.c.ctx)
	ctx.Session.SetUserData(session)
	g.c.tally.sessionBegan()
	return &base.Response{StatusCode: base.StatusOK}, session.stream, nil
}

// OnPlay grants PLAY, or closes the connection when the slots are counted here and none is free.
func (g *goodServer) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	session, ok := ctx.Session.UserData().(*goodSession)
	if !ok {
		return &base.Response{StatusCode: base.StatusSessionNotFound}, nil
	}
	if !session.slot {
		if session.slot = g.c.slots.take(); !session.slot {
			g.c.tally.add(func(c *Counts) { c.Turned++ })
			_ = ctx.Conn.NetConn().Close() // the library can only answer; a Tapo does not
			return &base.Response{StatusCode: base.StatusNotEnoughBandwidth}, errors.New("no slot is free")
		}
	}
	ctx.Session.OnPacketRTCPAny(func(_ *description.Media, packet rtcp.Packet) {
		if session.asks(packet) {
			g.requested(ctx.Conn, session)
		}
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// asks reports whether an RTCP packet asks for a key frame of this session's source.
func (s *goodSession) asks(packet rtcp.Packet) bool {
	ssrc := func(source uint32) bool {
		stats := s.stream.Stats()
		for _, media := range stats.Medias {
			for _, format := range media.Formats {
				if format.LocalSSRC == source {
					return true
				}
			}
		}
		return false
	}
	switch packet := packet.(type) {
	case *rtcp.PictureLossIndication:
		return ssrc(packet.MediaSSRC)
	case *rtcp.FullIntraRequest:
		return len(packet.FIR) == 1 && ssrc(packet.FIR[0].SSRC)
	}
	return false
}

// requested treats a request for a key frame as the camera does.
func (g *goodServer) requested(conn *gortsplib.ServerConn, session *goodSession) {
	g.c.tally.add(func(c *Counts) { c.KeyFrameRequests++ })
	switch g.c.config.Requests {
	case ObeysRequests:
		select {
		case session.asked <- struct{}{}:
		default:
		}
	case DislikesRequests:
		_ = conn.NetConn().Close()
	case IgnoresRequests:
	}
}

// OnResponse starts the video when PLAY has been granted: not in OnPlay, because what is written before
// the library has made the session a reader of its stream is lost, and that would be the key frame.
func (g *goodServer) OnResponse(conn *gortsplib.ServerConn, _ *base.Response) {
	running := conn.Session()
	if running == nil || running.State() != gortsplib.ServerSessionStatePlay {
		return
	}
	if session, ok := running.UserData().(*goodSession); ok {
		session.start.Do(func() { g.c.wg.Go(func() { g.play(session) }) })
	}
}

// OnSessionClose gives the slot back.
func (g *goodServer) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	session, ok := ctx.Session.UserData().(*goodSession)
	if !ok {
		return
	}
	session.stop()
	session.stream.Close()
	if session.slot {
		var tornDown liberrors.ErrServerSessionTornDown
		if errors.As(ctx.Error, &tornDown) {
			g.c.slots.release()
		} else {
			g.c.slots.abandon()
		}
	}
	g.c.tally.sessionEnded()
}

// OnStreamWriteError keeps the library from logging: a client that hung up is no news here.
func (g *goodServer) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}
