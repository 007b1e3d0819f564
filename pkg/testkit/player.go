package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/pion/rtp"
)

// player is gortsplib's server, which plays a film for ever, at any path, to whoever joins.
type player struct {
	stream  *gortsplib.ServerStream
	playing atomic.Bool
}

// Play serves the film over RTSP at a loopback address, until the test ends. Who joins first sees it from the access unit from on. A film
// in MPEG-4 is sent with its configuration in the stream.
func Play(t testing.TB, film Film, from int) netip.AddrPort {
	t.Helper()
	medium, encode := packetizer(t, film)
	p := &player{}
	var address netip.AddrPort
	host := fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(241), rand.IntN(256), 1+rand.IntN(254))
	server := &gortsplib.Server{
		Handler: p, RTSPAddress: net.JoinHostPort(host, "0"),
		Listen: func(network, address_ string) (net.Listener, error) {
			l, err := net.Listen(network, address_)
			if err == nil {
				address = l.Addr().(*net.TCPAddr).AddrPort()
			}
			return l, err
		},
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	p.stream = &gortsplib.ServerStream{Server: server, Desc: &description.Session{Medias: []*description.Media{medium}}}
	if err := p.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := from; ; {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			if !p.playing.Load() {
				continue
			}
			for _, packet := range encode(film.Units[n%len(film.Units)]) {
				packet.Timestamp = uint32(n) * 3600
				_ = p.stream.WritePacketRTP(medium, packet)
			}
			n++
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		p.stream.Close()
		server.Close()
	})
	return address
}

// OnDescribe is gortsplib's.
func (p *player) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, p.stream, nil
}

// OnSetup is gortsplib's.
func (p *player) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, p.stream, nil
}

// OnPlay is gortsplib's.
func (p *player) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnResponse begins to play after the answer to PLAY: what is written before is lost to the client.
func (p *player) OnResponse(conn *gortsplib.ServerConn, _ *base.Response) {
	if session := conn.Session(); session != nil && session.State() == gortsplib.ServerSessionStatePlay {
		p.playing.Store(true)
	}
}

// OnStreamWriteError is gortsplib's.
func (p *player) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}

// packetizer returns the track of a film, and what makes packets of its access units.
func packetizer(t testing.TB, film Film) (*description.Media, func([]byte) []*rtp.Packet) {
	t.Helper()
	media := &description.Media{Type: description.MediaTypeVideo}
	var encode func([]byte) ([]*rtp.Packet, error)
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	const payload = 96
	switch film.Codec {
	case "vp8":
		forma := &format.VP8{PayloadTyp: payload}
		encoder, err := forma.CreateEncoder()
		check(err)
		media.Formats, encode = []format.Format{forma}, encoder.Encode
	case "vp9":
		forma := &format.VP9{PayloadTyp: payload}
		encoder, err := forma.CreateEncoder()
		check(err)
		media.Formats, encode = []format.Format{forma}, encoder.Encode
	case "av1":
		forma := &format.AV1{PayloadTyp: payload}
		encoder, err := forma.CreateEncoder()
		check(err)
		media.Formats = []format.Format{forma}
		encode = func(unit []byte) ([]*rtp.Packet, error) {
			var obus av1.Bitstream
			check(obus.Unmarshal(unit))
			return encoder.Encode(obus)
		}
	case "mpeg4":
		forma := &format.MPEG4Video{PayloadTyp: payload}
		encoder, err := forma.CreateEncoder()
		check(err)
		media.Formats, encode = []format.Format{forma}, encoder.Encode
	default:
		forma := &format.MPEG1Video{}
		encoder, err := forma.CreateEncoder()
		check(err)
		media.Formats, encode = []format.Format{forma}, encoder.Encode
	}
	return media, func(unit []byte) []*rtp.Packet {
		packets, err := encode(unit)
		if err != nil {
			panic(err) // not on the test's goroutine
		}
		return packets
	}
}
