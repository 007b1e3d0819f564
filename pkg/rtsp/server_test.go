package rtsp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// station is gortsplib's server, which plays a clip for ever to whoever joins.
type station struct {
	server *gortsplib.Server
	stream *gortsplib.ServerStream

	mu     sync.Mutex
	ends   []string // how sessions ended
	setups int
}

// broadcast is how a station plays.
type broadcast struct {
	clip      *clip
	from      int  // the first access unit anybody sees
	described bool // parameter sets in the SDP only
	tls       *tls.Config
	host      string
	port      int // of UDP; 0 is none
	mangle    func(packets []*rtp.Packet, unit int) []*rtp.Packet
}

func play(t testing.TB, b broadcast) (*station, rtsp.Target) {
	t.Helper()
	if b.host == "" {
		b.host = loopback()
	}
	medium, encode := medium(t, b)
	s := &station{}
	var address netip.AddrPort
	s.server = &gortsplib.Server{
		Handler: s, RTSPAddress: net.JoinHostPort(b.host, "0"), TLSConfig: b.tls,
		Listen: func(network, address_ string) (net.Listener, error) {
			l, err := net.Listen(network, address_)
			if err == nil {
				address = l.Addr().(*net.TCPAddr).AddrPort()
			}
			return l, err
		},
	}
	if b.port != 0 {
		s.server.UDPRTPAddress = net.JoinHostPort(b.host, itoa(b.port))
		s.server.UDPRTCPAddress = net.JoinHostPort(b.host, itoa(b.port+1))
	}
	if err := s.server.Start(); err != nil {
		t.Fatal(err)
	}
	s.stream = &gortsplib.ServerStream{Server: s.server, Desc: &description.Session{Medias: []*description.Media{
		{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{MULaw: true, PayloadTyp: 0, SampleRate: 8000, ChannelCount: 1}}},
		medium,
	}}}
	if err := s.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.run(b, medium, encode, stop)
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		s.stream.Close()
		s.server.Close()
	})
	target := rtsp.Target{Address: address, Path: "/stream1?channel=1&subtype=0"}
	if b.tls != nil {
		target.Scheme = "rtsps"
	}
	return s, target
}

// run begins to play when the first client is there, so that it sees the access unit from first.
func (s *station) run(b broadcast, medium *description.Media, encode func([][]byte) []*rtp.Packet, stop chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := b.from; ; {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		if s.readers() == 0 {
			continue
		}
		unit := b.clip.units[n%len(b.clip.units)]
		if b.described {
			unit = without(b.clip.codec, unit)
		}
		packets := encode(unit)
		for _, packet := range packets {
			packet.Timestamp = uint32(n) * 9000
		}
		if b.mangle != nil {
			packets = b.mangle(packets, n)
		}
		for _, packet := range packets {
			_ = s.stream.WritePacketRTP(medium, packet)
		}
		n++
	}
}

func (s *station) readers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setups
}

func (s *station) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, s.stream, nil
}

func (s *station) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, s.stream, nil
}

func (s *station) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnResponse counts players after the answer to PLAY: what is written before is lost to them.
func (s *station) OnResponse(conn *gortsplib.ServerConn, _ *base.Response) {
	if session := conn.Session(); session != nil && session.State() == gortsplib.ServerSessionStatePlay {
		s.mu.Lock()
		s.setups++
		s.mu.Unlock()
	}
}

func (s *station) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, ctx.Error.Error())
}

func (s *station) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}

// medium returns the track of the clip, and what makes packets of it.
func medium(t testing.TB, b broadcast) (*description.Media, func([][]byte) []*rtp.Packet) {
	t.Helper()
	media := &description.Media{Type: description.MediaTypeVideo}
	must := func(packets []*rtp.Packet, err error) []*rtp.Packet {
		if err != nil {
			panic(err)
		}
		return packets
	}
	switch b.clip.codec {
	case depacketize.H264:
		forma := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
		if b.described {
			sets := only(depacketize.H264, b.clip.units[0])
			forma.SPS, forma.PPS = sets[0], sets[1]
		}
		encoder, err := forma.CreateEncoder()
		if err != nil {
			t.Fatal(err)
		}
		media.Formats = []format.Format{forma}
		return media, func(unit [][]byte) []*rtp.Packet { return must(encoder.Encode(unit)) }
	case depacketize.H265:
		forma := &format.H265{PayloadTyp: 97}
		if b.described {
			sets := only(depacketize.H265, b.clip.units[0])
			forma.VPS, forma.SPS, forma.PPS = sets[0], sets[1], sets[2]
		}
		encoder, err := forma.CreateEncoder()
		if err != nil {
			t.Fatal(err)
		}
		media.Formats = []format.Format{forma}
		return media, func(unit [][]byte) []*rtp.Packet { return must(encoder.Encode(unit)) }
	}
	forma := &format.MJPEG{}
	encoder, err := forma.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	media.Formats = []format.Format{forma}
	return media, func(unit [][]byte) []*rtp.Packet { return must(encoder.Encode(unit[0])) }
}

func only(codec depacketize.Codec, unit [][]byte) [][]byte {
	var sets [][]byte
	for _, nal := range unit {
		if isSet(codec, nal) {
			sets = append(sets, nal)
		}
	}
	return sets
}

func without(codec depacketize.Codec, unit [][]byte) [][]byte {
	var rest [][]byte
	for _, nal := range unit {
		if codec == depacketize.JPEG || !isSet(codec, nal) {
			rest = append(rest, nal)
		}
	}
	return rest
}

// certificate makes a self-signed one, as cameras do, for the name.
func certificate(t testing.TB, name string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

// patient are limits for real servers and encoders on a machine that does other things too.
func patient() rtsp.Limits {
	return rtsp.Limits{Step: time.Minute, Whole: time.Minute, Goodbye: 20 * time.Second}
}
