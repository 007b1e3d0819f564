// Package httpwire reads HTTP answers as cameras write them, which net/http refuses or reads to the wrong end.
package httpwire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// What a header may have: some cameras repeat themselves, none of them for as long.
const (
	maxHeader  = 256 << 10
	maxInterim = 8       // answers 1xx before the one that counts
	maxFolded  = 8 << 10 // from here on the lines in which a value goes on are passed over
	maxSaid    = 8 << 10
)

// ErrHeader says that a header was longer than any honest one.
var ErrHeader = errors.New("its header does not end")

// Alien is what came where an answer should begin.
type Alien struct {
	Said string // its first line, at most 8 KiB, secrets and all: redact it before it is cut or shown
	TLS  bool   // it is the beginning of a record of TLS
}

// Error says that something else came, and not what: a secret of ours may stand in it.
func (e *Alien) Error() string { return "not HTTP" }

// Answer is the header of one answer. Names are in lower case.
type Answer struct {
	Status int
	Reason string
	Header map[string][]string
	Keeps  bool      // the connection may be used again once the body is read
	Length int64     // of the body, -1 where it is not said
	Body   io.Reader // as framed; not yet decoded
	Framed bool      // its end is known without the end of the connection
}

// First returns the first value of a header, by its name in lower case, "" for none.
func (a *Answer) First(name string) string {
	if values := a.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Redirects reports whether the answer sends us on (RFC 9110 section 15.4).
func (a *Answer) Redirects() bool {
	switch a.Status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// Read reads to the end of the header, with what cameras make of it: bare line feeds, lines without a colon, an empty line
// before the first, blanks before a colon, lines that go on in the next (RFC 9112 sections 2.2 and 5). A picture without any
// header is an answer too. The error is *Alien, ErrHeader, or that of the connection.
func Read(br *bufio.Reader) (*Answer, error) {
	left := maxHeader
	for range maxInterim {
		a, err := readOne(br, &left)
		if err != nil {
			return nil, err
		}
		if a.Status >= 200 {
			a.frame(br)
			return a, nil
		}
	}
	return nil, ErrHeader
}

func readOne(br *bufio.Reader, left *int) (*Answer, error) {
	var line []byte
	var err error
	for len(line) == 0 { // RFC 9112 section 2.2
		if isPicture(br) {
			return &Answer{Status: 200, Header: map[string][]string{}}, nil // as in HTTP 0.9
		}
		if line, err = readLine(br, left); err != nil {
			return nil, err
		}
	}
	a := &Answer{Header: map[string][]string{}}
	version, rest, _ := strings.Cut(string(line), " ")
	version = strings.ToUpper(version)
	code, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if a.Status, err = strconv.Atoi(code); err != nil || len(code) != 3 || a.Status < 100 || !strings.HasPrefix(version, "HTTP/") && version != "ICY" {
		return nil, alien(line)
	}
	a.Reason = reason
	a.Keeps = version == "HTTP/1.1"
	last := ""
	for {
		if line, err = readLine(br, left); err != nil {
			return nil, err
		}
		if len(line) == 0 {
			break
		}
		if values := a.Header[last]; (line[0] == ' ' || line[0] == '\t') && len(values) > 0 { // RFC 9112 section 5.2
			if value := &values[len(values)-1]; len(*value) < maxFolded {
				*value += " " + string(bytes.TrimSpace(line))
			}
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		last = strings.ToLower(string(bytes.TrimSpace(name)))
		a.Header[last] = append(a.Header[last], string(bytes.TrimSpace(value)))
	}
	switch connection := strings.ToLower(strings.Join(a.Header["connection"], ",")); {
	case strings.Contains(connection, "close"):
		a.Keeps = false
	case strings.Contains(connection, "keep-alive"):
		a.Keeps = true
	}
	return a, nil
}

// isPicture reports whether a JPEG begins where an answer, or a chunk, should.
func isPicture(br *bufio.Reader) bool {
	begin, err := br.Peek(2)
	return err == nil && begin[0] == 0xff && begin[1] == 0xd8
}

func alien(line []byte) error {
	return &Alien{Said: string(line[:min(len(line), maxSaid)]), TLS: len(line) > 1 && (line[0] == 0x15 || line[0] == 0x16) && line[1] == 3}
}

// readLine reads one line without its end.
func readLine(br *bufio.Reader, left *int) ([]byte, error) {
	var whole []byte
	for {
		part, err := br.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return nil, ErrHeader
		}
		if err == nil && whole == nil {
			return bytes.TrimRight(part, "\r\n"), nil
		}
		whole = append(whole, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(whole, "\r\n"), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(whole) > 0:
			return nil, alien(whole)
		default:
			return nil, err
		}
	}
}
