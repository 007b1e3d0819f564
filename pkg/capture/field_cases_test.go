package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"time"
)

// What a case must give: the right picture, or the right one or none at all.
const (
	right  = true
	honest = false
)

// fieldCase is one behaviour that cameras and servers have shown.
type fieldCase struct {
	name   string
	want   bool
	camera *fieldCamera
}

func replaced(expression, with string) func(string) string {
	pattern := regexp.MustCompile(expression)
	return func(wire string) string {
		at := pattern.FindStringSubmatchIndex(wire)
		if at == nil {
			return wire
		}
		return wire[:at[0]] + string(pattern.ExpandString(nil, with, wire, at)) + wire[at[1]:]
	}
}

func editing(edit func(string) string) *fieldCamera   { return &fieldCamera{edit: edit} }
func describing(sdp func(string) string) *fieldCamera { return &fieldCamera{sdp: sdp} }
func granting(values ...string) *fieldCamera {
	return &fieldCamera{transports: append([]string{}, values...)}
}

// behind writes more behind every so-manieth frame.
func behind(every int, more func() []byte) *fieldCamera {
	return &fieldCamera{emit: func(n int, frame, _ []byte) [][]byte {
		if n%every == 0 {
			return [][]byte{frame, more()}
		}
		return [][]byte{frame}
	}}
}

// noise is random, without the sign that begins a frame.
func noise(n int) func() []byte {
	return func() []byte {
		raw := make([]byte, n)
		for i := range raw {
			for raw[i] = '$'; raw[i] == '$'; {
				raw[i] = byte(rand.IntN(256))
			}
		}
		return raw
	}
}

func text(s string) func() []byte { return func() []byte { return []byte(s) } }

// other is an RTP packet of somebody else's.
func other(payload byte, number uint16, stamp, ssrc uint32, data []byte) []byte {
	raw := binary.BigEndian.AppendUint16([]byte{0x80, payload}, number)
	raw = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(raw, stamp), ssrc)
	return append(raw, data...)
}

// beside sends a stranger's packet on our channel behind each of ours.
func beside(stranger func(n int, ours []byte) []byte) *fieldCamera {
	return &fieldCamera{emit: func(n int, frame, ours []byte) [][]byte { return [][]byte{frame, frameOf(0, stranger(n, ours))} }}
}

func deadSession(n int) []byte {
	return other(96|0x80, uint16(9000+n), uint32(777+n), 0x999, append([]byte{0x41, 0x9a}, noise(300)()...))
}

func fieldCases() []fieldCase {
	return append(append(append(append(framingCases(), headCases()...), conversationCases()...), descriptionCases()...), packetCases()...)
}

func framingCases() []fieldCase {
	audio := append([]byte{0x80, 97}, noise(200)()...)
	return []fieldCase{
		{"framing: junk of 7 bytes", right, behind(5, noise(7))},
		{"framing: four zeros behind each", right, behind(1, text("\x00\x00\x00\x00"))},
		{"framing: a dollar that begins no frame", right, behind(7, text("\x11$\xf0\xff\xffab"))},
		{"framing: a dollar of our channel that begins no frame", right, behind(7, text("\x11$\x00\xff\xff\x00b"))},
		{"framing: text", right, behind(9, text("\r\nHELLO\r\n"))},
		{"framing: a frame without its head", right, behind(3, func() []byte { return audio })},
		{"framing: much junk, rarely", right, behind(60, noise(3000))},
		{"framing: an answer nobody asked for", right, behind(4, text("RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n"))},
		{"framing: requests of the server's", right, behind(4, text("SET_PARAMETER rtsp://x RTSP/1.0\r\nCSeq: 7\r\nContent-Length: 3\r\n\r\na:b"))},
		{"framing: junk before the first frame", right, &fieldCamera{first: func(*fieldConn) []byte { return noise(9)() }}},
		{"framing: a length 3 too few", honest, misframed(-3)},
		{"framing: a length 3 too many", honest, misframed(3)},
		{"framing: a length of all there is", honest, misframed(60000)},
		{"framing: frames of no length", right, behind(2, text("$\x00\x00\x00"))},
	}
}

// misframed says another length than every seventh frame has.
func misframed(by int) *fieldCamera {
	return &fieldCamera{emit: func(n int, frame, packet []byte) [][]byte {
		if n%7 == 3 {
			binary.BigEndian.PutUint16(frame[2:], uint16(max(0, len(packet)+by)))
		}
		return [][]byte{frame}
	}}
}

func headCases() []fieldCase {
	return []fieldCase{
		{"head: bare LF", right, editing(func(wire string) string {
			head, body, _ := strings.Cut(wire, "\r\n\r\n")
			return strings.ReplaceAll(head, "\r\n", "\n") + "\n\n" + body
		})},
		{"head: bare CR", right, editing(func(wire string) string {
			head, body, _ := strings.Cut(wire, "\r\n\r\n")
			return strings.ReplaceAll(head, "\r\n", "\r") + "\r\r" + body
		})},
		{"head: CR CR LF", right, editing(func(wire string) string {
			head, body, _ := strings.Cut(wire, "\r\n\r\n")
			return strings.ReplaceAll(head, "\r\n", "\r\r\n") + "\r\r\n\r\r\n" + body
		})},
		{"head: a line of blanks amid", right, editing(replaced(`(Session: [^\r]*\r\n)(RTP-Info)`, "$1 \r\n$2"))},
		{"head: a folded line", right, editing(replaced(`;seq=1`, "\r\n  ;seq=1"))},
		{"head: a date without a name", right, editing(replaced(`\r\n`, "\r\nThu, Jun 13 2024 04:00:59 GMT\r\n"))},
		{"head: a line without a colon", right, editing(replaced(`\r\n`, "\r\nThu Jun 13 2024\r\n"))},
		{"head: one at the end", right, editing(replaced(`\r\n\r\n`, "\r\nno-cache\r\n\r\n"))},
		{"head: no reason", right, editing(replaced(` OK\r\n`, "\r\n"))},
		{"head: two blanks", right, editing(replaced(`RTSP/1.0 `, "RTSP/1.0  "))},
		{"head: a blank first", right, editing(func(wire string) string { return " " + wire })},
		{"head: junk first", right, editing(func(wire string) string { return "\x01\x02\x03" + wire })},
		{"head: a long line", right, editing(replaced(`\r\n\r\n`, "\r\nX-Public: "+strings.Repeat("A", 30000)+"\r\n\r\n"))},
		{"head: names in lower case", right, editing(func(wire string) string {
			head, body, _ := strings.Cut(wire, "\r\n\r\n")
			return regexp.MustCompile(`(?m)^[\w-]+:`).ReplaceAllStringFunc(head, strings.ToLower) + "\r\n\r\n" + body
		})},
		{"head: blanks at every end", right, editing(func(wire string) string {
			head, body, _ := strings.Cut(wire, "\r\n\r\n")
			return strings.ReplaceAll(head, "\r\n", " \r\n") + " \r\n\r\n" + body
		})},
		{"head: RTSP/2.0", right, editing(replaced(`RTSP/1.0`, "RTSP/2.0"))},
		{"length: with blanks", right, editing(replaced(`Content-Length: (\d+)`, "Content-Length:   $1  "))},
		{"length: twice", right, editing(replaced(`(Content-Length: \d+\r\n)`, "$1$1"))},
		{"length: 3 too few", right, editing(wrongLength(-3))},
		{"length: 20 too few", honest, editing(wrongLength(-20))},
		{"length: 7 too many", right, editing(wrongLength(7))},
		{"length: none", right, editing(replaced(`Content-Length: \d+\r\n`, ""))},
		{"length: zero", right, editing(replaced(`Content-Length: \d+\r\n`, "Content-Length: 0\r\n"))},
		{"length: a line end behind it", right, editing(func(wire string) string {
			if strings.Contains(wire, "Content-Length") {
				wire += "\r\n"
			}
			return wire
		})},
		{"length: a zero behind it", right, editing(func(wire string) string { return wire + "\x00" })},
		{"CSeq: zero", right, editing(replaced(`CSeq: \d+`, "CSeq: 0"))},
		{"CSeq: always 1", right, editing(replaced(`CSeq: \d+`, "CSeq: 1"))},
		{"CSeq: padded", right, editing(replaced(`CSeq: (\d+)`, "CSeq: 000$1  "))},
		{"CSeq: twice", right, editing(replaced(`(CSeq: \d+\r\n)`, "$1$1"))},
		{"CSeq: none", right, editing(replaced(`CSeq: \d+\r\n`, ""))},
		{"CSeq: no number", right, editing(replaced(`CSeq: \d+`, "CSeq: x"))},
		{"CSeq: one behind", right, editing(func(wire string) string {
			return regexp.MustCompile(`CSeq: \d+`).ReplaceAllStringFunc(wire, func(found string) string {
				var n int
				_, _ = fmt.Sscanf(found, "CSeq: %d", &n)
				return fmt.Sprintf("CSeq: %d", n-1)
			})
		})},
	}
}

func wrongLength(by int) func(string) string {
	return func(wire string) string {
		return regexp.MustCompile(`Content-Length: \d+`).ReplaceAllStringFunc(wire, func(found string) string {
			var n int
			_, _ = fmt.Sscanf(found, "Content-Length: %d", &n)
			return fmt.Sprintf("Content-Length: %d", n+by)
		})
	}
}

func conversationCases() []fieldCase {
	status := func(method, status string) *fieldCamera {
		return &fieldCamera{answer: func(c *fieldConn, r fieldRequest) (string, bool) { return c.reply(r, status, ""), r.method == method }}
	}
	mute := func(method string) *fieldCamera {
		return &fieldCamera{answer: func(_ *fieldConn, r fieldRequest) (string, bool) { return "", r.method == method }}
	}
	moved := func(step, to string) *fieldCamera {
		return &fieldCamera{answer: func(c *fieldConn, r fieldRequest) (string, bool) {
			here := strings.ReplaceAll(to, "HERE", c.conn.LocalAddr().String())
			return c.reply(r, "302 Moved Temporarily", "", "Location: "+here), r.method == step && strings.HasSuffix(r.url, "/stream1")
		}}
	}
	login := func(realm string, challenges ...string) *fieldCamera {
		return &fieldCamera{user: "u", password: "p:w@d", realm: realm, challenges: func(c *fieldConn) (all []string) {
			for _, one := range challenges {
				all = append(all, strings.NewReplacer("REALM", realm, "NONCE", c.nonce).Replace(one))
			}
			return all
		}}
	}
	stale := login("IP Camera", `Digest realm="REALM", nonce="NONCE", stale=TRUE`)
	stale.answer = func(c *fieldConn, r fieldRequest) (string, bool) {
		if r.method == "OPTIONS" || !c.authorized(r) {
			c.nonce += "x"
			return "", false
		}
		wire := c.own(r)
		c.nonce += "y" // the next one is too late
		return wire, true
	}
	bare := login("IP Camera", `Digest realm="REALM", nonce="NONCE"`)
	bare.answer = func(c *fieldConn, r fieldRequest) (string, bool) {
		return c.reply(r, "401 Unauthorized", ""), r.method == "OPTIONS" && r.header("Authorization") == ""
	}
	bye := []byte{0x81, 203, 0, 1, 0, 0, 9, 0x99}
	cases := []fieldCase{
		{"OPTIONS: 400", right, status("OPTIONS", "400 Bad Request")},
		{"OPTIONS: 401 without a challenge", right, status("OPTIONS", "401 Unauthorized")},
		{"OPTIONS: 404", right, status("OPTIONS", "404 Not Found")},
		{"OPTIONS: 500", right, status("OPTIONS", "500 Oops")},
		{"OPTIONS: 503", right, status("OPTIONS", "503 Busy")},
		{"OPTIONS: never answered", right, mute("OPTIONS")},
		{"OPTIONS: answered behind DESCRIBE", right, &fieldCamera{answer: func(c *fieldConn, r fieldRequest) (string, bool) {
			if r.method == "DESCRIBE" {
				return "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS\r\n\r\n" + c.own(r), true
			}
			return "", r.method == "OPTIONS"
		}}},
		{"PLAY: never answered, but obeyed", right, &fieldCamera{answer: func(c *fieldConn, r fieldRequest) (string, bool) {
			if r.method == "PLAY" {
				c.cam.wg.Go(c.video)
			}
			return "", r.method == "PLAY"
		}}},
		{"TEARDOWN: 454", right, status("TEARDOWN", "454 Session Not Found")},
		{"TEARDOWN: never answered", right, mute("TEARDOWN")},
		{"redirect: another path", right, moved("DESCRIBE", "rtsp://HERE/real")},
		{"redirect: a path alone", right, moved("DESCRIBE", "/real")},
		{"redirect: at OPTIONS", right, moved("OPTIONS", "rtsp://HERE/real")},
		{"redirect: in a circle", honest, moved("DESCRIBE", "rtsp://HERE/stream1")},
		{"log-in: both", right, login("IP Camera", `Basic realm="REALM"`, `Digest realm="REALM", nonce="NONCE"`)},
		{"log-in: both on a line", right, login("IP Camera", `Basic realm="REALM", Digest realm="REALM", nonce="NONCE"`)},
		{"log-in: no commas", right, login("IP Camera", `Digest realm="REALM" nonce="NONCE" stale="FALSE"`)},
		{"log-in: tabs", right, login("IP Camera", "Digest\trealm=\"REALM\",\tnonce=\"NONCE\"")},
		{"log-in: no quotes", right, login("IPC", `Digest realm=REALM,nonce=NONCE,stale=FALSE`)},
		{"log-in: qop and opaque", right, login("IP Camera", `Digest realm="REALM", nonce="NONCE", algorithm="MD5", opaque="", qop="auth"`)},
		{"log-in: a backslash", right, login(`DOM\cam`, `Digest realm="REALM", nonce="NONCE"`)},
		{"log-in: an unknown digest too", right, login("IP Camera", `Digest realm="REALM", nonce="z", algorithm=SHA-512`, `Digest realm="REALM", nonce="NONCE"`)},
		{"log-in: stale nonces", right, stale},
		{"log-in: OPTIONS wants one and says not which", right, bare},
		{"BYE: of a dead session at PLAY", right, &fieldCamera{answer: func(c *fieldConn, r fieldRequest) (string, bool) {
			if r.method == "PLAY" {
				c.write(frameOf(1, bye))
			}
			return "", false
		}}},
		{"BYE: of a dead session amid", right, &fieldCamera{emit: func(_ int, frame, _ []byte) [][]byte { return [][]byte{frameOf(1, bye), frame} }}},
		{"session: with blanks", right, &fieldCamera{session: " 12345678 ; timeout = 60 "}},
		{"session: none", right, editing(replaced(`Session: [^\r]*\r\n`, ""))},
	}
	for name, value := range map[string]string{
		"no /TCP": "RTP/AVP;unicast;interleaved=0-1", "ssrc first": "RTP/AVP/TCP;ssrc=22345684;interleaved=0-1", "no channels": "RTP/AVP/TCP;unicast",
		"blanks": "RTP/AVP/TCP; unicast; interleaved=0-1; ssrc=1F", "lower case": "rtp/avp/tcp;unicast;interleaved=0-1", "one channel": "RTP/AVP/TCP;unicast;interleaved=0",
		"blanks in the channels": "RTP/AVP/TCP;unicast;interleaved= 0 - 1", "commas": "RTP/AVP/TCP;unicast;interleaved=0-1,RTP/AVP;unicast",
		"mode":        `RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=0x1234;mode="RECEIVE,PLAY";ttl=`,
		"destination": "RTP/AVP/TCP;unicast;destination=127.0.0.1;source=127.0.0.1;interleaved=0-1;server_port=0;client_port=",
	} {
		cases = append(cases, fieldCase{"Transport: " + name, right, granting(value)})
	}
	others := granting("RTP/AVP/TCP;unicast;interleaved=8-9;ssrc=2A27A3FB")
	others.channel = 8
	return append(cases, fieldCase{"Transport: other channels", right, others}, fieldCase{"Transport: none", honest, granting()},
		fieldCase{"Transport: twice", right, granting("RTP/AVP/TCP;unicast;interleaved=0-1", "RTP/AVP/TCP;unicast;interleaved=0-1")})
}

func descriptionCases() []fieldCase {
	swap := func(from, to string) *fieldCamera {
		return describing(func(text string) string { return strings.Replace(text, from, to, 1) })
	}
	all := func(from, to string) *fieldCamera {
		return describing(func(text string) string { return strings.ReplaceAll(text, from, to) })
	}
	base := func(base string) *fieldCamera {
		return &fieldCamera{base: func(url string) string { return strings.Replace(base, "URL", url, 1) }}
	}
	return []fieldCase{
		{"SDP: bare LF", right, all("\r\n", "\n")},
		{"SDP: bare CR", honest, all("\r\n", "\r")},
		{"SDP: an empty line first", right, describing(func(text string) string { return "\r\n" + text })},
		{"SDP: m= alone", right, describing(replaced(`(?s)^.*?m=`, "m="))},
		{"SDP: Video", right, swap("m=video", "m=Video")},
		{"SDP: m= without a format", honest, swap("RTP/AVP 96", "RTP/AVP")},
		{"SDP: audio of three fields behind it", right, describing(func(text string) string { return text + "m=audio 0 RTP/AVP\r\na=control:trackID=1\r\n" })},
		{"SDP: an application of two fields behind it", right, describing(func(text string) string {
			return text + "m=application 0 \r\na=control:trackID=3\r\na=rtpmap:96 X/1\r\n"
		})},
		{"SDP: no rtpmap", honest, describing(replaced(`a=rtpmap[^\n]*\n`, ""))},
		{"SDP: rtpmap with blanks", right, swap("a=rtpmap:96 H264", "a=rtpmap: 96  H264")},
		{"SDP: rtpmap of the session", honest, describing(func(text string) string {
			return strings.Replace(replaced(`a=rtpmap[^\n]*\n`, "")(text), "m=video", "a=rtpmap:96 H264/90000\r\nm=video", 1)
		})},
		{"SDP: another number than the wire's", right, all("96", "97")},
		{"SDP: sets that are no base64", right, swap("sets=", "sets=AAAA,!!,")},
		{"SDP: a control of the inside of a NAT", right, swap("trackID=0", "rtsp://10.9.9.9:8554/x/trackID=0")},
		{"SDP: no control", right, swap("a=control:trackID=0\r\n", "")},
		{"SDP: a dead video first", right, swap("m=video", "m=video 0 RTP/AVP 98\r\na=rtpmap:98 VP8/90000\r\na=control:x\r\nm=video")},
		{"SDP: not UTF-8", right, swap("s=Media", "s=\xe9\xff\x00 x")},
		{"base: none", right, base("X-None: 1")},
		{"base: empty", right, base("Content-Base:  ")},
		{"base: a blank behind it", right, base("Content-Base: URL/ ")},
		{"base: no slash", right, base("Content-Base: URL")},
		{"base: no scheme", right, base("Content-Base: 10.9.9.9:554/")},
		{"path: of a recorder", right, &fieldCamera{path: "/cam/realmonitor?channel=1&subtype=0"}},
		{"path: none", right, &fieldCamera{path: "/"}},
	}
}

func packetCases() []fieldCase {
	rng := func(n int) []byte { return noise(n)() }
	cases := []fieldCase{
		{"packets: H.264", right, &fieldCamera{}},
		{"packets: H.265", right, &fieldCamera{film: "h265.h265"}},
		{"packets: JPEG", right, &fieldCamera{film: "still420.jpg"}},
		{"packets: interlaced", right, &fieldCamera{film: "h264mbaff.h264"}},
		{"packets: four slices", right, &fieldCamera{film: "h264s4.h264"}},
		{"packets: never a marker", right, &fieldCamera{mark: func(bool, bool, int, int) bool { return false }}},
		{"packets: a marker on every NAL unit", right, &fieldCamera{mark: func(last, _ bool, _, _ int) bool { return last }}},
		{"packets: one time stamp", right, &fieldCamera{stamp: func(uint32, int) uint32 { return 0 }}},
		{"strangers: a dead session", right, beside(func(n int, _ []byte) []byte { return deadSession(n) })},
		{"strangers: another type, same number", right, beside(func(_ int, ours []byte) []byte {
			return other(50, binary.BigEndian.Uint16(ours[2:]), 777, 0x1234abcd, rng(30))
		})},
		{"strangers: another type, next number", right, beside(func(_ int, ours []byte) []byte {
			return other(50, binary.BigEndian.Uint16(ours[2:])+1, 777, 0x1234abcd, rng(30))
		})},
		{"strangers: another type, own SSRC", right, beside(func(n int, _ []byte) []byte { return other(50, uint16(n), 777, 7, rng(30)) })},
		{"strangers: audio", right, beside(func(n int, _ []byte) []byte { return other(8, uint16(n), uint32(160*n), 7, rng(160)) })},
		{"strangers: RTCP on the channel of RTP", right, beside(func(int, []byte) []byte { return append([]byte{0x80, 200, 0, 6}, make([]byte, 24)...) })},
		{"strangers: forty first", right, &fieldCamera{first: func(*fieldConn) (all []byte) {
			for n := range 40 {
				all = append(all, frameOf(0, other(50, uint16(n), 777, 7, rng(30)))...)
			}
			return all
		}}},
		{"strangers: a dead session first", right, &fieldCamera{answer: func(c *fieldConn, _ fieldRequest) (string, bool) {
			for n := range 40 {
				c.write(frameOf(0, deadSession(n)))
			}
			return "", false
		}}},
		{"SSRC: another for each packet", right, &fieldCamera{rtp: func(_ int, raw []byte) []byte { copy(raw[8:], rng(4)); return raw }}},
		{"numbers: always 0", right, &fieldCamera{rtp: func(_ int, raw []byte) []byte { raw[2], raw[3] = 0, 0; return raw }}},
		{"numbers: each packet twice", right, &fieldCamera{emit: func(_ int, frame, _ []byte) [][]byte { return [][]byte{frame, frame} }}},
		{"numbers: every fifth packet lost", honest, &fieldCamera{mtu: 700, emit: func(n int, frame, _ []byte) [][]byte { return [][]byte{frame}[:min(1, n%5)] }}},
		{"padding: a count of 0", right, &fieldCamera{rtp: func(_ int, raw []byte) []byte {
			if raw[12]&0x1f == 28 && raw[13]&0x40 == 0 {
				return raw // a zero here would be one of the picture
			}
			raw[0] |= 0x20
			return append(raw, 0)
		}}},
		{"padding: four bytes", right, &fieldCamera{rtp: func(_ int, raw []byte) []byte { raw[0] |= 0x20; return append(raw, 0, 0, 0, 4) }}},
		{"units: all in one aggregation", right, &fieldCamera{mtu: 60000, picture: func(nals [][]byte) [][]byte {
			packet := []byte{24}
			for _, nal := range nals {
				packet = append(binary.BigEndian.AppendUint16(packet, uint16(len(nal))), nal...)
			}
			return [][]byte{packet}
		}}},
		{"units: with start codes", right, &fieldCamera{mtu: 60000, picture: func(nals [][]byte) [][]byte { return [][]byte{bytes.Join(nals, []byte{0, 0, 0, 1})} }}},
		{"units: sets in band only", right, &fieldCamera{setsInBand: true}},
		{"units: the last slice never sent", honest, &fieldCamera{film: "h264s4.h264", picture: func(nals [][]byte) [][]byte { return nals[:max(1, len(nals)-1)] }}},
	}
	return cases
}

// portRedirect is a camera that sends its clients to another port of its own.
func portRedirect(there net.Addr) *fieldCamera {
	return &fieldCamera{answer: func(c *fieldConn, r fieldRequest) (string, bool) {
		return c.reply(r, "302 Moved", "", "Location: rtsp://"+there.String()+"/real"), r.method == "DESCRIBE"
	}}
}

const fieldPatience = 90 * time.Second
