package snapshot

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
)

// What a header may have: some cameras repeat themselves, none of them for as long.
const (
	maxHeader  = 256 << 10
	maxInterim = 8 // answers 1xx before the one that counts
)

// answer is the header of one answer. Names are in lower case.
type answer struct {
	status int
	reason string
	header map[string][]string
	keeps  bool // the connection may be used again once the body is read
	length int64
	body   io.Reader // as framed; not yet decoded
	framed bool      // its end is known without the end of the connection
}

func (a *answer) first(name string) string {
	if values := a.header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// redirects reports whether the answer sends us on (RFC 9110 section 15.4).
func (a *answer) redirects() bool {
	switch a.status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// readHeader reads to the end of the header, with what cameras make of it: bare line feeds, lines without a colon, an empty line
// before the first, blanks before a colon, lines that go on in the next (RFC 9112 sections 2.2 and 5).
func (t *talk) readHeader() (*answer, error) {
	left := maxHeader
	for range maxInterim {
		a, err := t.readOne(&left)
		if err != nil {
			return nil, err
		}
		if a.status >= 200 {
			t.frame(a)
			return a, nil
		}
	}
	return nil, errNotHTTP
}

func (t *talk) readOne(left *int) (*answer, error) {
	var line []byte
	var err error
	for len(line) == 0 { // RFC 9112 section 2.2
		if begin, failed := t.br.Peek(2); failed == nil && begin[0] == 0xff && begin[1] == 0xd8 {
			return &answer{status: 200, header: map[string][]string{}}, nil // the picture itself, as in HTTP 0.9
		}
		if line, err = t.line(left); err != nil {
			return nil, err
		}
	}
	a := &answer{header: map[string][]string{}}
	version, rest, _ := strings.Cut(string(line), " ")
	version = strings.ToUpper(version)
	code, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if a.status, err = strconv.Atoi(code); err != nil || len(code) != 3 || a.status < 100 || !strings.HasPrefix(version, "HTTP/") && version != "ICY" {
		return nil, notHTTP(line)
	}
	a.reason = reason
	a.keeps = version == "HTTP/1.1"
	last := ""
	for {
		if line, err = t.line(left); err != nil {
			return nil, err
		}
		if len(line) == 0 {
			break
		}
		if values := a.header[last]; (line[0] == ' ' || line[0] == '\t') && len(values) > 0 { // RFC 9112 section 5.2
			values[len(values)-1] += " " + string(bytes.TrimSpace(line))
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		last = strings.ToLower(string(bytes.TrimSpace(name)))
		a.header[last] = append(a.header[last], string(bytes.TrimSpace(value)))
	}
	switch connection := strings.ToLower(strings.Join(a.header["connection"], ",")); {
	case strings.Contains(connection, "close"):
		a.keeps = false
	case strings.Contains(connection, "keep-alive"):
		a.keeps = true
	}
	return a, nil
}

// line reads one line without its end.
func (t *talk) line(left *int) ([]byte, error) {
	var whole []byte
	for {
		part, err := t.br.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return nil, errNotHTTP
		}
		if err == nil && whole == nil {
			return bytes.TrimRight(part, "\r\n"), nil
		}
		whole = append(whole, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(whole, "\r\n"), nil
		case err != bufio.ErrBufferFull && len(whole) > 0 && err == io.EOF:
			return nil, notHTTP(whole)
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}
