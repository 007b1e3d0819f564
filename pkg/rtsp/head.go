package rtsp

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// What a message may be long. Real heads have some hundred bytes, descriptions some thousand.
const (
	maxHead = 64 << 10
	maxLine = 8 << 10 // of a header line; the rest of a longer one is passed over
	maxBody = 128 << 10
)

// method is what a request asks for (RFC 2326 section 10).
type method string

const (
	methodOptions  method = "OPTIONS"
	methodDescribe method = "DESCRIBE"
	methodSetup    method = "SETUP"
	methodPlay     method = "PLAY"
	methodTeardown method = "TEARDOWN"
)

// Status codes that HTTP does not have, or names otherwise (RFC 2326 section 11).
const (
	statusNotEnoughBandwidth   = 453
	statusSessionNotFound      = 454
	statusUnsupportedTransport = 461
)

// header holds the values of each header, by its name in lower case, in the order in which they came.
type header map[string][]string

// first is the first value of a header; "" when it has none.
func (h header) first(name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// answer is a response of the camera's.
type answer struct {
	status int
	reason string
	header header
	body   []byte
}

// request is what a camera asks of us.
type request struct {
	method string
	cseq   string
}

// Where an answer begins: a version and a blank. What looks so in the middle of a picture is looked at no further.
const answerStart = "RTSP/1.0 "

// startsAnswer reports whether data begins like an answer; maybe, when it is too short to tell.
func startsAnswer(data []byte) (yes, maybe bool) {
	for i := range len(answerStart) {
		if i == len(data) {
			return false, true
		}
		switch c := data[i]; i {
		case 5, 7: // of any version
			if c < '0' || c > '9' {
				return false, false
			}
		default:
			if c != answerStart[i] && c != answerStart[i]|0x20 {
				return false, false
			}
		}
	}
	return true, false
}

// startsRequest reports whether data begins like a request that a server may send (RFC 2326 section 10).
func startsRequest(data []byte) (yes, maybe bool) {
	for _, name := range [...]string{
		"OPTIONS ", "GET_PARAMETER ", "SET_PARAMETER ", "ANNOUNCE ", "REDIRECT ", "DESCRIBE ", "TEARDOWN ", "PLAY ", "PAUSE ", "RECORD ", "SETUP ",
	} {
		n := min(len(data), len(name)) // never more of data: it is a whole buffer, and asked about at each of its bytes
		if string(data[:n]) != name[:n] {
			continue
		}
		if n == len(name) {
			return true, false
		}
		maybe = true
	}
	return false, maybe
}

// answer reads an answer; its start has been seen.
func (w *wire) answer() (*answer, error) {
	start, header, err := w.head()
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(strings.TrimSpace(start), " ")
	code, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
	a := &answer{reason: strings.TrimSpace(reason), header: header}
	if a.status, err = strconv.Atoi(code); err != nil || len(code) != 3 || a.status < 100 {
		return nil, errNotRTSP
	}
	a.body, err = w.body(header, a.status/100 == 2)
	return a, err
}

// request reads a request; its start has been seen.
func (w *wire) request() (*request, error) {
	start, header, err := w.head()
	if err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(start, " ")
	_, err = w.body(header, false)
	return &request{method: name, cseq: header.first("cseq")}, err
}

// head reads up to the empty line. What stands there is read as cameras write it: with bare LF or CR, folded lines, blank lines
// and lines without a name in between.
func (w *wire) head() (start string, h header, err error) {
	h = header{}
	left := maxHead
	if start, err = w.line(&left); err != nil {
		return "", nil, err
	}
	name := ""
	for {
		text, err := w.line(&left)
		switch {
		case err != nil:
			return "", nil, err
		case text == "", strings.TrimSpace(text) == "" && !w.headGoesOn():
			return start, h, nil
		case text[0] == ' ' || text[0] == '\t': // RFC 2068 section 2.2: it goes on with the line before
			if values := h[name]; len(values) > 0 {
				values[len(values)-1] = strings.TrimSpace(values[len(values)-1] + " " + strings.TrimSpace(text))
			}
			continue
		}
		key, value, found := strings.Cut(text, ":")
		if name = strings.ToLower(strings.TrimSpace(key)); !found || name == "" {
			name = ""
			continue
		}
		h[name] = append(h[name], strings.TrimSpace(value))
	}
}

// headGoesOn reports, behind a line of blanks only, whether what has come already is another line of the head.
func (w *wire) headGoesOn() bool {
	ahead, _ := w.br.Peek(min(w.br.Buffered(), maxLine))
	line, _, ended := bytes.Cut(ahead, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	name, _, named := bytes.Cut(line, []byte(":"))
	return ended && (len(line) == 0 || named && len(name) > 0 && bytes.IndexFunc(name, func(r rune) bool { return r != '-' && (r|0x20 < 'a' || r|0x20 > 'z') }) < 0)
}

// line reads one line, without its end, which is LF, CR, or CRLF, sometimes with one more CR.
func (w *wire) line(left *int) (string, error) {
	var text []byte
	for {
		c, err := w.br.ReadByte()
		if err != nil {
			return "", err
		}
		if *left--; *left < 0 {
			return "", errNotRTSP
		}
		switch {
		case c == '\n':
			w.bareCR = false
			return string(text), nil
		case c == '\r':
			return string(text), w.afterCR(len(text) == 0)
		case len(text) < maxLine:
			text = append(text, c)
		}
	}
}

// afterCR takes the LF behind a CR. At the end of a head whose lines all end with CR alone none is waited for.
func (w *wire) afterCR(empty bool) error {
	if empty && w.bareCR && w.br.Buffered() == 0 {
		return nil
	}
	next, err := w.br.Peek(1)
	if err != nil {
		return err
	}
	if next[0] == '\r' && w.br.Buffered() > 1 {
		if two, _ := w.br.Peek(2); two[1] == '\n' {
			_, _ = w.br.Discard(1)
			next = two[1:]
		}
	}
	if w.bareCR = next[0] != '\n'; !w.bareCR {
		_, _ = w.br.Discard(1)
	}
	return nil
}

// length is what the header says the body has, the first value that is a number. known is false where none is.
func (h header) length() (length int, known bool) {
	for _, value := range h["content-length"] {
		if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 63); err == nil {
			return int(min(n, maxBody+1)), true
		}
	}
	return 0, false
}

// How long a body is waited for that has all it needs, or may not come at all.
const (
	restOfBody = time.Second
	bodyAtAll  = 300 * time.Millisecond
)

// body reads the body of a message. Lengths that cameras get wrong are made up for where the body is a description: one line
// more than announced, an end that never comes, no length at all.
func (w *wire) body(h header, described bool) ([]byte, error) {
	length, known := h.length()
	if length > maxBody {
		return nil, errNotRTSP
	}
	described = described && strings.Contains(strings.ToLower(h.first("content-type")), "sdp")
	var body []byte
	for len(body) < length {
		if _, err := w.br.Peek(1); err != nil {
			return nil, err
		}
		body = w.buffered(body, length-len(body))
		if len(body) < length && described && wholeLines(body) && !w.within(restOfBody) {
			return body, nil
		}
	}
	switch {
	case !described:
		return body, nil
	case length > 0:
		if !bytes.HasSuffix(body, []byte("\n")) && !bytes.HasSuffix(body, []byte("\r")) {
			body = w.spill(body) // it is longer than announced
		}
		return body, nil
	case known && w.br.Buffered() == 0:
		return nil, nil
	}
	for w.within(bodyAtAll) {
		if len(body) > maxBody {
			return nil, errNotRTSP
		}
		before := len(body)
		if body = w.spill(body); len(body) == before {
			break
		}
	}
	if w.br.Buffered() > 0 && w.passed() {
		return nil, os.ErrDeadlineExceeded
	}
	return body, nil
}

// buffered appends what has come, at most most bytes of it.
func (w *wire) buffered(body []byte, most int) []byte {
	ahead, _ := w.br.Peek(min(w.br.Buffered(), most))
	body = append(body, ahead...)
	_, _ = w.br.Discard(len(ahead))
	return body
}

// spill appends what has come, up to where the next message begins.
func (w *wire) spill(body []byte) []byte {
	ahead, _ := w.br.Peek(w.br.Buffered())
	end := len(ahead)
	for i := range ahead {
		if yes, _ := w.startsMessage(ahead[i:]); yes {
			end = i
			break
		}
	}
	return w.buffered(body, end)
}

func wholeLines(body []byte) bool {
	return bytes.HasSuffix(body, []byte("\n")) && bytes.Contains(body, []byte("m=video"))
}

// within reports whether another byte comes within a time, or has come, and there is time left to read it. The deadline of the
// wire stands as before.
func (w *wire) within(pause time.Duration) bool {
	if w.br.Buffered() > 0 {
		return !w.passed()
	}
	deadline := w.deadline
	soon := time.Now().Add(pause)
	if deadline.Before(soon) {
		soon = deadline
	}
	w.until(soon)
	_, err := w.br.Peek(1)
	w.until(deadline)
	if err != nil && isTimeout(err) && time.Now().Before(deadline) {
		w.failed = nil // nothing failed: it was only a look
	}
	return err == nil
}
