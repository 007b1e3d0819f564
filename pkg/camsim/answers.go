package camsim

import (
	"fmt"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
)

// sessionID is the same for every session: a session of a scripted camera lives on its connection only.
const sessionID = "20260105"

const realm = "camsim"

// reply answers a request; a client that no longer reads ends the conversation.
func (t *talk) reply(req *base.Request, res base.Response) {
	if res.Header == nil {
		res.Header = base.Header{}
	}
	res.Header["CSeq"] = req.Header["CSeq"]
	if t.session {
		res.Header["Session"] = base.HeaderValue{sessionID + ";timeout=60"}
	}
	raw, err := res.Marshal()
	if err != nil || t.write(raw) != nil {
		t.over = true
	}
}

// write sends bytes as they are, whole before anything else.
func (t *talk) write(raw []byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	_ = t.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	defer func() { _ = t.conn.SetWriteDeadline(time.Time{}) }()
	_, err := t.conn.Write(raw)
	return err
}

func answerOptions(t *talk, req *base.Request) {
	t.reply(req, base.Response{StatusCode: base.StatusOK, Header: base.Header{
		"Public": base.HeaderValue{"OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"},
	}})
}

func answerDescribe(t *talk, req *base.Request) {
	t.reply(req, base.Response{StatusCode: base.StatusOK, Body: t.server.sdp, Header: base.Header{
		"Content-Type": base.HeaderValue{"application/sdp"},
		"Content-Base": base.HeaderValue{t.c.URL() + "/"},
	}})
}

func answerSetup(t *talk, req *base.Request) {
	var offered headers.Transports
	if err := offered.Unmarshal(req.Header["Transport"]); err != nil {
		t.reply(req, base.Response{StatusCode: base.StatusBadRequest})
		return
	}
	usable := false
	t.channel = 0
	for _, transport := range offered {
		if transport.Protocol == headers.TransportProtocolTCP {
			usable = true
			if transport.InterleavedIDs != nil {
				t.channel = transport.InterleavedIDs[0]
			}
			break
		}
	}
	if !usable {
		t.reply(req, base.Response{StatusCode: base.StatusUnsupportedTransport})
		return
	}
	if t.c.config.Full == RefuseSetup && !t.takeSlot() {
		t.reply(req, base.Response{StatusCode: base.StatusNotEnoughBandwidth})
		return
	}
	if !t.session {
		t.session = true
		t.c.tally.sessionBegan()
	}
	t.reply(req, base.Response{StatusCode: base.StatusOK, Header: base.Header{
		"Transport": base.HeaderValue{fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d", t.channel, t.channel+1)},
	}})
}

func answerPlay(t *talk, req *base.Request) {
	if !t.session {
		t.reply(req, base.Response{StatusCode: base.StatusSessionNotFound})
		return
	}
	if !t.takeSlot() {
		t.over = true
		return
	}
	t.reply(req, base.Response{StatusCode: base.StatusOK, Header: base.Header{
		"Range": base.HeaderValue{"npt=0.000-"},
	}})
	if media := t.server.script.media; media != nil && !t.playing && !t.over {
		t.playing = true
		t.media.Go(func() { media(t) })
	}
}

func answerTeardown(t *talk, req *base.Request) {
	t.tornDown = t.session
	t.reply(req, base.Response{StatusCode: base.StatusOK})
	t.endSession()
}

func (t *talk) takeSlot() bool {
	if t.slot {
		return true
	}
	if t.slot = t.c.slots.take(); !t.slot {
		t.c.tally.add(func(c *Counts) { c.Turned++ })
	}
	return t.slot
}

// checkLogin lets a request pass whose credentials are right, or that needs none.
func checkLogin(t *talk, req *base.Request) bool {
	config := t.c.config
	if config.Username == "" {
		return true
	}
	if auth.Verify(req, config.Username, config.Password, nil, realm, t.nonce) != nil {
		return challenge(t, req)
	}
	if !t.loggedIn {
		t.loggedIn = true
		t.c.tally.add(func(c *Counts) { c.Logins++ })
	}
	return true
}

// acceptNobody is the log-in of a camera whose password is not the one everybody has.
func acceptNobody(t *talk, req *base.Request) bool { return challenge(t, req) }

func challenge(t *talk, req *base.Request) bool {
	t.c.tally.denied(req)
	t.reply(req, base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{
		"WWW-Authenticate": auth.GenerateWWWAuthenticate(nil, realm, t.nonce),
	}})
	return false
}

// denied counts a request that was not let in: a question for credentials, or wrong ones.
func (t *tally) denied(req *base.Request) {
	t.add(func(c *Counts) {
		if len(req.Header["Authorization"]) > 0 {
			c.LoginsFailed++
		} else {
			c.Challenges++
		}
	})
}
