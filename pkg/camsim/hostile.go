package camsim

import (
	"fmt"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
)

// The hostile tempers. What each does is one sentence in the table below; Temper.Sentence returns it.
const (
	EndlessHeaders    Temper = "endless-headers"
	EndlessSDP        Temper = "endless-sdp"
	HugeBody          Temper = "huge-body"
	DrippingBody      Temper = "dripping-body"
	EndlessDigest     Temper = "endless-digest"
	FloodBeforePlay   Temper = "flood-before-play"
	StrayChannels     Temper = "stray-channels"
	TinyFragments     Temper = "tiny-fragments"
	NestedAggregation Temper = "nested-aggregation"
	EndlessKeyFrame   Temper = "endless-key-frame"
	GapsInKeyFrame    Temper = "gaps-in-key-frame"
	JumpingTimestamps Temper = "jumping-timestamps"
	TornTimestamps    Temper = "torn-timestamps"
)

const (
	hugeBody           = 1 << 30
	straysChannel      = 200
	tinyFragments      = 1_000_000
	mostOfPacket       = 1400 // bytes of an RTP payload that fit into an Ethernet frame, with some room
	drippingBodyPeriod = 100 * time.Millisecond
)

// hostilities is the table of hostile tempers, in the order of the conversation.
func hostilities() []behaviour {
	return []behaviour{
		{temper: EndlessHeaders, open: scripted(script{describe: answerHeadersForEver}), sentence: "answers DESCRIBE with headers that never end"},
		{temper: EndlessSDP, open: scripted(script{describe: describeForEver}), sentence: "answers DESCRIBE with a description of no announced length that never ends"},
		{temper: HugeBody, open: scripted(script{describe: describeAtLength(false)}), sentence: "announces a description of 1 GiB, and sends it"},
		{temper: DrippingBody, open: scripted(script{describe: describeAtLength(true)}), defaults: Config{Delay: drippingBodyPeriod}, sentence: "announces a description of 1 GiB, and sends a byte every Delay"},
		{temper: EndlessDigest, open: scripted(script{login: challengeForEver}), sentence: "asks for a digest log-in again and again, with a new nonce each time and stale=true"},
		{temper: FloodBeforePlay, open: scripted(script{play: floodInstead}), sentence: "never answers PLAY, but floods the connection with the middle of a picture"},
		{temper: StrayChannels, open: scripted(script{media: sendAstray}), sentence: "sends good pictures, but on channel 200, which nobody announced"},
		{temper: TinyFragments, open: scripted(script{media: sendCrumbs}), sentence: "sends a million fragments of one byte of a key frame, and then nothing"},
		{temper: NestedAggregation, open: scripted(script{media: sendNested}), units: true, sentence: "sends key frames in aggregations within aggregations, hundreds deep"},
		{temper: EndlessKeyFrame, open: scripted(script{media: sendForEver}), sentence: "sends a key frame that never ends"},
		{temper: GapsInKeyFrame, open: scripted(script{media: sendPictures(loseMiddle)}), sentence: "loses a packet in the middle of every key frame"},
		{temper: JumpingTimestamps, open: scripted(script{media: sendPictures(jump)}), sentence: "sends good pictures whose time stamps jump forward and back"},
		{temper: TornTimestamps, open: scripted(script{media: sendPictures(tear)}), sentence: "sends good pictures, every packet of them with a time stamp of its own"},
	}
}

// instead floods the client instead of answering: what stands first goes out once. It still reads, and counts, what the client says.
func (t *talk) instead(first string, more func([]byte) []byte) {
	t.mute = true
	t.media.Go(func() {
		if t.write([]byte(first)) == nil {
			t.flood(more)
		}
	})
}

// opening is the beginning of an answer that will not end well.
func opening(req *base.Request, headers ...string) string {
	text := "RTSP/1.0 200 OK\r\n"
	if number := req.Header["CSeq"]; len(number) > 0 {
		text += "CSeq: " + number[0] + "\r\n"
	}
	return text + strings.Join(headers, "")
}

// again repeats a text for ever.
func again(text string) func([]byte) []byte {
	whole := strings.Repeat(text, max(1, burst/len(text)))
	return func(to []byte) []byte { return append(to, whole...) }
}

const sdpLine = "a=tool:a camera that has much to tell of itself\r\n"

func answerHeadersForEver(t *talk, req *base.Request) {
	t.instead(opening(req), again("X-Camera: has much to tell of itself\r\n"))
}

func describeForEver(t *talk, req *base.Request) {
	t.instead(opening(req, "Content-Type: application/sdp\r\n\r\n"), again(sdpLine))
}

// describeAtLength announces a huge body and sends it, either at full speed or byte by byte.
func describeAtLength(dripping bool) func(*talk, *base.Request) {
	return func(t *talk, req *base.Request) {
		first := opening(req, "Content-Type: application/sdp\r\n", fmt.Sprintf("Content-Length: %d\r\n\r\n", hugeBody)) + "v=0\r\n"
		more, left := again(sdpLine), hugeBody-len("v=0\r\n")
		t.instead(first, func(to []byte) []byte {
			if dripping {
				if !t.pause() {
					return nil
				}
				return append(to, 'x')
			}
			to = more(to)
			to = to[:min(len(to), left)]
			left -= len(to)
			return to
		})
	}
}

// challengeForEver refuses every log-in with a new nonce, as if the old one had only become stale (RFC 7616 section 3.3).
func challengeForEver(t *talk, req *base.Request) bool {
	t.c.tally.denied(req)
	nonce, err := auth.GenerateNonce()
	if err != nil {
		t.over = true
		return false
	}
	t.reply(req, base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{
		"WWW-Authenticate": base.HeaderValue{fmt.Sprintf(`Digest realm="%s", nonce="%s", stale=true`, realm, nonce)},
	}})
	return false
}

func floodInstead(t *talk, _ *base.Request) {
	out := t.outlet(t.channel)
	t.instead("", func(to []byte) []byte {
		for len(to) < burst {
			to = out.packet(to, false, t.c.film.piece(out.scrap[:0], 1, make([]byte, mostOfPacket)))
		}
		return to
	})
}
