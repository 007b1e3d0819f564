package capture

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// fieldCamera is a camera that does one thing otherwise than the standard says. Unlike those of camsim its server is written out by
// hand, down to the bytes: what it is for, no well-kept server does. The zero value shows h264.h264 and is well behaved.
type fieldCamera struct {
	film                              string // below testdata/field
	host, path, user, password, realm string
	session                           string
	mtu                               int
	payload, channel                  byte
	setsInBand                        bool
	transports                        []string // values of the header; nil is a good one, empty none
	skip                              int      // pictures of the film that are not shown
	base                              func(url string) string
	edit                              func(wire string) string                            // of each answer
	answer                            func(c *fieldConn, r fieldRequest) (string, bool)   // instead of the camera's own
	challenges                        func(c *fieldConn) []string                         // to log in
	sdp                               func(text string) string                            // of its description
	picture                           func(nals [][]byte) [][]byte                        // of each picture that is sent
	split                             func(nal []byte, parts [][]byte) [][]byte           // a NAL unit into payloads
	mark                              func(lastOfUnit, lastOfPicture bool, i, j int) bool // payload i of NAL unit j has the marker
	stamp                             func(stamp uint32, j int) uint32                    // of NAL unit j
	rtp                               func(n int, raw []byte) []byte                      // packet n
	emit                              func(n int, frame, packet []byte) [][]byte          // what is written for it
	first                             func(c *fieldConn) []byte                           // written before all video
	fields                            [][][]byte                                          // the film
	sets                              [][]byte
	listener                          net.Listener
	wg                                sync.WaitGroup
	dials                             atomic.Int64
}

// fieldConn is one connection of it.
type fieldConn struct {
	cam   *fieldCamera
	conn  net.Conn
	mu    sync.Mutex
	nonce string
	stop  atomic.Bool
}

type fieldRequest struct{ method, url, head string }

func (r fieldRequest) header(name string) string {
	for line := range strings.SplitSeq(r.head, "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (f *fieldCamera) h265() bool { return strings.HasSuffix(f.film, ".h265") }
func (f *fieldCamera) jpeg() bool { return strings.HasSuffix(f.film, ".jpg") }

// start serves on an address of its own until the test ends.
func (f *fieldCamera) start(t *testing.T) {
	t.Helper()
	set := func(at *string, to string) {
		if *at == "" {
			*at = to
		}
	}
	set(&f.film, "h264.h264")
	set(&f.path, "/stream1")
	set(&f.realm, "IP Camera")
	set(&f.session, "12345678;timeout=60")
	if f.mtu == 0 {
		f.mtu = 1400
	}
	if f.payload == 0 {
		f.payload = 96
	}
	if f.jpeg() {
		f.payload = 26
	} else {
		f.fields = picturesOf(t, f.film, f.h265())
		for _, nal := range f.fields[0] {
			if f.isSet(nal) {
				f.sets = append(f.sets, nal)
			}
		}
		f.fields = f.fields[f.skip:]
	}
	set(&f.host, camsim.DrawSubnet().Addr().Next().String())
	var err error
	if f.listener, err = net.Listen("tcp", net.JoinHostPort(f.host, "0")); err != nil {
		t.Fatal(err)
	}
	f.wg.Go(f.serve)
	t.Cleanup(func() {
		_ = f.listener.Close()
		f.wg.Wait()
	})
}

func (f *fieldCamera) serve() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.dials.Add(1)
		c := &fieldConn{cam: f, conn: conn, nonce: hex.EncodeToString([]byte(rand.Text()))}
		f.wg.Go(func() {
			c.talk()
			c.stop.Store(true)
			_ = conn.Close()
		})
	}
}

func (c *fieldConn) write(raw []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.conn.Write(raw)
	return err == nil
}

// talk reads requests, and passes over the RTCP between them.
func (c *fieldConn) talk() {
	var got []byte
	buffer := make([]byte, 4096)
	for {
		for len(got) >= 4 && got[0] == '$' && len(got) >= 4+int(binary.BigEndian.Uint16(got[2:])) {
			got = got[4+int(binary.BigEndian.Uint16(got[2:])):]
		}
		head, rest, whole := bytes.Cut(got, []byte("\r\n\r\n"))
		if !whole || got[0] == '$' {
			n, err := c.conn.Read(buffer)
			if err != nil {
				return
			}
			got = append(got, buffer[:n]...)
			continue
		}
		got = rest
		if bytes.HasPrefix(head, []byte("RTSP/")) {
			continue // an answer to what a case asked
		}
		line, _, _ := strings.Cut(string(head), "\r\n")
		words := strings.Split(line, " ")
		if len(words) != 3 {
			return
		}
		r := fieldRequest{words[0], words[1], string(head)}
		wire, special := "", false
		if c.cam.answer != nil {
			wire, special = c.cam.answer(c, r)
		}
		if !special {
			wire = c.own(r)
		}
		if wire == "hang up" || !c.write([]byte(wire)) {
			return
		}
		if r.method == "PLAY" && strings.Contains(wire, " 200") {
			c.cam.wg.Go(c.video)
		}
	}
}

// reply words an answer.
func (c *fieldConn) reply(r fieldRequest, status, body string, headers ...string) string {
	text := "RTSP/1.0 " + status + "\r\nCSeq: " + r.header("CSeq") + "\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
	}
	text += "\r\n" + body
	if c.cam.edit != nil {
		text = c.cam.edit(text)
	}
	return text
}

// own answers as a good camera does.
func (c *fieldConn) own(r fieldRequest) string {
	f := c.cam
	session := "Session: " + f.session
	if r.method != "OPTIONS" && !c.authorized(r) {
		var headers []string
		for _, one := range f.challenges(c) {
			headers = append(headers, "WWW-Authenticate: "+one)
		}
		return c.reply(r, "401 Unauthorized", "", headers...)
	}
	switch r.method {
	case "OPTIONS":
		return c.reply(r, "200 OK", "", "Public: OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, GET_PARAMETER")
	case "DESCRIBE":
		base := "Content-Base: " + r.url + "/"
		if f.base != nil {
			base = f.base(r.url)
		}
		text := f.description()
		if f.sdp != nil {
			text = f.sdp(text)
		}
		return c.reply(r, "200 OK", text, base)
	case "SETUP":
		headers := []string{session}
		if f.transports == nil {
			headers = append(headers, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
		}
		for _, one := range f.transports {
			headers = append(headers, "Transport: "+one)
		}
		return c.reply(r, "200 OK", "", headers...)
	case "PLAY":
		return c.reply(r, "200 OK", "", session, "RTP-Info: url="+r.url+";seq=1;rtptime=0")
	case "TEARDOWN":
		c.stop.Store(true)
	}
	return c.reply(r, "200 OK", "", session)
}

var digestField = regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*"|[^,\s]+)`)

// authorized judges a log-in by a digest of MD5 (RFC 2617), or in the clear.
func (c *fieldConn) authorized(r fieldRequest) bool {
	if c.cam.user == "" {
		return true
	}
	given := r.header("Authorization")
	if basic, ok := strings.CutPrefix(given, "Basic "); ok {
		return basic == base64.StdEncoding.EncodeToString([]byte(c.cam.user+":"+c.cam.password))
	}
	fields := map[string]string{}
	for _, found := range digestField.FindAllStringSubmatch(given, -1) {
		fields[strings.ToLower(found[1])] = strings.Trim(found[2], `"`)
	}
	sum := func(parts ...string) string {
		digest := md5.Sum([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(digest[:])
	}
	secret, what := sum(c.cam.user, c.cam.realm, c.cam.password), sum(r.method, fields["uri"])
	want := sum(secret, fields["nonce"], what)
	if fields["qop"] != "" {
		want = sum(secret, fields["nonce"], fields["nc"], fields["cnonce"], fields["qop"], what)
	}
	return fields["nonce"] == c.nonce && fields["response"] == want
}

// video sends the film for ever.
func (c *fieldConn) video() {
	f := c.cam
	if f.first != nil {
		c.write(f.first(c))
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	number, stamp, n := uint16(4711), uint32(1<<30), 0
	for at := 0; ; at++ {
		for _, p := range f.payloads(at, stamp) {
			raw := binary.BigEndian.AppendUint16([]byte{0x80, f.payload}, number)
			if p.marker {
				raw[1] |= 0x80
			}
			raw = binary.BigEndian.AppendUint32(raw, p.stamp)
			raw = append(append(raw, 0x12, 0x34, 0xab, 0xcd), p.data...)
			if f.rtp != nil {
				raw = f.rtp(n, raw)
			}
			out := [][]byte{frameOf(f.channel, raw)}
			if f.emit != nil {
				out = f.emit(n, out[0], raw)
			}
			for _, one := range out {
				if c.stop.Load() || !c.write(one) {
					return
				}
			}
			number++
			n++
		}
		stamp += 9000
		<-tick.C
	}
}

func frameOf(channel byte, packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{'$', channel}, uint16(len(packet))), packet...)
}

type fieldPayload struct {
	data   []byte
	marker bool
	stamp  uint32
}

// payloads cuts a picture (RFC 6184, RFC 7798).
func (f *fieldCamera) payloads(at int, stamp uint32) (all []fieldPayload) {
	if f.jpeg() {
		return jpegPayloads(f.film, stamp)
	}
	nals := f.fields[at%len(f.fields)]
	if f.picture != nil {
		nals = f.picture(nals)
	}
	for j, nal := range nals {
		parts := f.fragments(nal)
		for i, part := range parts {
			last := i == len(parts)-1
			p := fieldPayload{part, last && j == len(nals)-1, stamp}
			if f.mark != nil {
				p.marker = f.mark(last, j == len(nals)-1, i, j)
			}
			if f.stamp != nil {
				p.stamp = f.stamp(stamp, j)
			}
			all = append(all, p)
		}
	}
	return all
}

func (f *fieldCamera) fragments(nal []byte) [][]byte {
	head := 1
	if f.h265() {
		head = 2
	}
	parts := [][]byte{nal}
	if len(nal) > f.mtu {
		parts = nil
		body := nal[head:]
		for from := 0; from < len(body); from += f.mtu {
			to, flags := min(from+f.mtu, len(body)), byte(0)
			if from == 0 {
				flags |= 0x80
			}
			if to == len(body) {
				flags |= 0x40
			}
			if f.h265() {
				parts = append(parts, append([]byte{nal[0]&0x81 | 49<<1, nal[1], flags | nal[0]>>1&0x3f}, body[from:to]...))
			} else {
				parts = append(parts, append([]byte{nal[0]&0xe0 | 28, flags | nal[0]&0x1f}, body[from:to]...))
			}
		}
	}
	if f.split != nil {
		parts = f.split(nal, parts)
	}
	return parts
}

func (f *fieldCamera) isSet(nal []byte) bool {
	if f.h265() {
		return nal[0]>>1&0x3f >= 32 && nal[0]>>1&0x3f <= 34
	}
	return nal[0]&0x1f == 7 || nal[0]&0x1f == 8
}

const sessionPart = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=Media\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"

func (f *fieldCamera) description() string { return sessionPart + f.videoPart() }

func (f *fieldCamera) videoPart() string {
	if f.jpeg() {
		return "m=video 0 RTP/AVP 26\r\na=control:trackID=0\r\n"
	}
	codec, parameters := "H264", fmt.Sprintf("a=fmtp:%d packetization-mode=1", f.payload)
	names := []string{"sprop-parameter-sets=", ","}
	if f.h265() {
		codec, parameters, names = "H265", fmt.Sprintf("a=fmtp:%d x=1", f.payload), []string{"sprop-vps=", ";sprop-sps=", ";sprop-pps="}
	}
	if !f.setsInBand {
		parameters += ";"
		for i, nal := range f.sets[:len(names)] {
			parameters += names[i] + base64.StdEncoding.EncodeToString(nal)
		}
	}
	return fmt.Sprintf("m=video 0 RTP/AVP %d\r\na=rtpmap:%d %s/90000\r\n%s\r\na=control:trackID=0\r\n", f.payload, f.payload, codec, parameters)
}

// picturesOf cuts an elementary stream into pictures of NAL units.
func picturesOf(t *testing.T, film string, h265 bool) (pictures [][][]byte) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/field", film))
	if err != nil {
		t.Fatal(err)
	}
	var picture [][]byte
	coded := false
	for _, nal := range bytes.Split(bytes.ReplaceAll(raw, []byte{0, 0, 0, 1}, []byte{0, 0, 1}), []byte{0, 0, 1}) {
		if nal = bytes.TrimRight(nal, "\x00"); len(nal) == 0 {
			continue
		}
		kind := nal[0] & 0x1f
		var begins bool
		slice := kind >= 1 && kind <= 5
		if h265 {
			kind = nal[0] >> 1 & 0x3f
			slice = kind < 32
			begins = slice && nal[2]&0x80 != 0 || slices.Contains([]byte{32, 33, 34, 35, 39}, kind)
		} else {
			begins = slice && nal[1]&0x80 != 0 || kind >= 6 && kind <= 9
		}
		if coded && begins {
			pictures, picture, coded = append(pictures, picture), nil, false
		}
		picture, coded = append(picture, nal), coded || slice
	}
	return append(pictures, picture)
}

// jpegPayloads cuts a baseline JPEG (RFC 2435).
func jpegPayloads(film string, stamp uint32) (all []fieldPayload) {
	raw, err := os.ReadFile(filepath.Join("testdata/field", film))
	if err != nil {
		return nil
	}
	var tables, frame []byte
	at := 2
	for ; raw[at+1] != 0xda; at += 2 + int(binary.BigEndian.Uint16(raw[at+2:])) {
		segment := raw[at+4 : at+2+int(binary.BigEndian.Uint16(raw[at+2:]))]
		switch raw[at+1] {
		case 0xdb:
			for ; len(segment) > 64; segment = segment[65:] {
				tables = append(tables, segment[1:65]...)
			}
		case 0xc0:
			frame = segment
		}
	}
	scan := raw[at+2+int(binary.BigEndian.Uint16(raw[at+2:])):]
	height, width := binary.BigEndian.Uint16(frame[1:]), binary.BigEndian.Uint16(frame[3:])
	for from := 0; from < len(scan); from += 1300 {
		to := min(from+1300, len(scan))
		data := binary.BigEndian.AppendUint32(nil, uint32(from))
		data = append(data, 1, 255, byte(width/8), byte(height/8))
		if from == 0 {
			data = append(binary.BigEndian.AppendUint16(append(data, 0, 0), uint16(len(tables))), tables...)
		}
		all = append(all, fieldPayload{append(data, scan[from:to]...), to == len(scan), stamp})
	}
	return all
}
