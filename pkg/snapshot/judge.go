package snapshot

import (
	"bytes"
	"strings"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/httpwire"
	"github.com/camwarden/camwarden/pkg/login"
)

const hintLock = "some cameras lock an account after a few wrong log-ins: check before the next try"

// judge names what came with a good status and is no picture. wrong says what a picture lacked, where one began.
func (t *talk) judge(a *httpwire.Answer, body []byte, wrong error) error {
	if len(body) == 0 {
		return t.fault(fault.NotJPEG, "it answered %d with nothing", a.Status).WithHint("its source may be dead: look at it in a browser")
	}
	if start := soi(body); start >= 0 && wrong != nil {
		return t.fault(fault.NotJPEG, "not one whole JPEG (%d bytes): %w", len(body)-start, wrong).WithHint("try again; if it stays, look at it in a browser")
	}
	raw := string(bytes.TrimLeft(body[:min(len(body), enough)], " \t\r\n\xef\xbb\xbf"))
	text, said := t.redactCut(raw), strings.ToLower(raw) // to be shown; to look for words in
	switch {
	case raw == "":
	case raw[0] == '{' || raw[0] == '[':
		return t.judgeJSON(text, said)
	case strings.HasPrefix(said, "<!doctype html"), strings.HasPrefix(said, "<html"), raw[0] == '<' && strings.Contains(said, "<body"):
		return t.judgePage(text, said)
	case raw[0] == '<' && t.sent() && hasAny(said, "unauthorized", "not authorized", "login failed", "password"):
		return t.fault(fault.Auth, "%w: %s", login.ErrRefused, t.clean(wordsOf(text))).WithHint(hintLock)
	case raw[0] == '<':
		return t.fault(fault.NotJPEG, "it answered %d with XML: %s", a.Status, t.clean(wordsOf(text))).WithHint("is this the snapshot path? see the camera's manual")
	}
	for _, kind := range kinds() {
		if bytes.HasPrefix(body, []byte(kind.begins)) {
			return t.fault(fault.NotJPEG, "what it sends is %s, and no JPEG", kind.name).WithHint("set the camera's snapshots to JPEG, or take another path")
		}
	}
	return t.fault(fault.NotJPEG, "what it sends is no JPEG (it calls it %q)", t.clean(a.First("content-type"))).
		WithHint("is this the snapshot path? see the camera's manual")
}

// kinds are the files that come in place of a JPEG, by how they begin.
func kinds() []struct{ begins, name string } {
	return []struct{ begins, name string }{
		{"\x89PNG", "a PNG"}, {"GIF8", "a GIF"}, {"RIFF", "a WebP or AVI"},
		{"\x00\x00\x00\x01", "H.264 or H.265"}, {"\x00\x00\x01", "MPEG video"}, {"BM", "a bitmap"},
	}
}

// judgeJSON names the errors that cameras tell with status 200: Reolink's rspCode, and words that speak for themselves.
func (t *talk) judgeJSON(text, said string) error {
	detail := t.clean(wordsOf(text))
	switch {
	case hasAny(said, "max session", "maxsession", "too many", "busy"):
		return t.fault(fault.Exhausted, "it has no session left: %s", detail).WithHint("end other clients of this camera, or wait until it forgets them")
	case hasAny(said, "login", "log in", "unauthorized", "not authorized", "password", "forbidden", "denied", "auth"):
		if t.sent() {
			return t.fault(fault.Auth, "%w: %s", login.ErrRefused, detail).WithHint(hintLock)
		}
		return t.fault(fault.Auth, "it wants a log-in: %s", detail).WithHint("set snapshot_auth: query, with {username} and {password} in snapshot")
	}
	return t.fault(fault.NotJPEG, "it answered with JSON and no picture: %s", detail).WithHint("is this the snapshot path? see the camera's manual")
}

// judgePage names a page of the web that stands in the place of a picture.
func (t *talk) judgePage(text, said string) error {
	switch {
	case strings.Contains(said, "busy"):
		return t.fault(fault.NotJPEG, "it sent a page, and no picture: %s", t.clean(wordsOf(text))).WithHint("try again in a while")
	case hasAny(said, "password", "login", "log in", "sign in"):
		if t.sent() { // by digest, in the path, or before a redirect that led here
			return t.fault(fault.Auth, "it was sent the log-in, and answered with a log-in page").Because(login.ErrRefused).WithHint(hintLock)
		}
		return t.fault(fault.Auth, "it sent a log-in page, and no picture").
			WithHint("is this the snapshot path, and does it take a log-in by digest? see the camera's manual")
	}
	return t.fault(fault.NotJPEG, "it sent a page, and no picture: %s", t.clean(wordsOf(text))).
		WithHint("is this the snapshot path? see the camera's manual")
}

// sent reports whether the camera has got a log-in of ours in this visit.
func (t *talk) sent() bool { return t.logIns > 0 }

func hasAny(text string, words ...string) bool {
	for _, word := range words {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// wordsOf is a text without what marks it up, in one line.
func wordsOf(text string) string {
	var out strings.Builder
	inside := false
	for _, r := range text {
		switch {
		case r == '<':
			inside = true
		case r == '>':
			inside = false
			out.WriteByte(' ')
		case !inside:
			out.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(out.String()), " ")
}
