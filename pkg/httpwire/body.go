package httpwire

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strconv"
	"strings"
)

// ErrChunks says that a body in chunks breaks the rules for them.
var ErrChunks = errors.New("its chunks cannot be read")

// frame says where the body ends (RFC 9112 section 6.3): with its chunks, at its length, or with the connection. A length that is no
// number, or of which there are two, is none.
func (a *Answer) frame(br *bufio.Reader) {
	a.Length = -1
	switch {
	case a.Status == 204 || a.Status == 304:
		a.Body, a.Framed, a.Length = bytes.NewReader(nil), true, 0
		return
	case strings.Contains(strings.ToLower(strings.Join(a.Header["transfer-encoding"], ",")), "chunked"):
		a.Body, a.Framed = &chunked{br: br}, true
		return
	}
	for i, value := range a.Header["content-length"] {
		n, err := strconv.ParseUint(value, 10, 62)
		if err != nil || i > 0 && int64(n) != a.Length {
			a.Length = -1
			break
		}
		a.Length = int64(n)
	}
	if a.Length < 0 {
		a.Body = br
		return
	}
	a.Body, a.Framed = io.LimitReader(br, a.Length), true
}

// Drain reads past the body of an answer that is of no use, and reports whether the connection can be used again: not where more
// than most bytes would have to be read for it.
func (a *Answer) Drain(most int64) bool {
	if !a.Keeps || !a.Framed || a.Length > most {
		return false
	}
	n, err := io.Copy(io.Discard, io.LimitReader(a.Body, most+1))
	return err == nil && n <= most
}

// chunked reads a body in chunks (RFC 9112 section 7.1). Where no chunk begins although a picture does, the bytes are taken as they
// are.
type chunked struct {
	br   *bufio.Reader
	left int64 // of this chunk
	some bool  // there was one before
	bare bool  // there are none
	over bool
}

// Read returns the bytes of the chunks.
func (c *chunked) Read(p []byte) (int, error) {
	if c.bare {
		return c.br.Read(p)
	}
	if c.over {
		return 0, io.EOF
	}
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
		if c.bare {
			return c.br.Read(p)
		}
	}
	n, err := c.br.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// next reads the size of the next chunk, and after the last one what follows it.
func (c *chunked) next() error {
	if !c.some && isPicture(c.br) {
		c.bare = true
		return nil
	}
	line, err := c.line()
	if err == nil && c.some && len(line) == 0 { // the end of the chunk before
		line, err = c.line()
	}
	if err != nil {
		return err
	}
	c.some = true
	size, _, _ := strings.Cut(string(line), ";")
	n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 62)
	if err != nil {
		return ErrChunks
	}
	if c.left = int64(n); n > 0 {
		return nil
	}
	c.over = true
	for len(line) > 0 { // trailers
		if line, err = c.line(); err != nil {
			break
		}
	}
	return io.EOF
}

func (c *chunked) line() ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, ErrChunks
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// Decoded undoes the coding that the bytes show, where the header names one: some name it and send the bytes as they are.
func (a *Answer) Decoded() io.Reader {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(a.Header["content-encoding"], ",")))
	gzipped, deflated := coding == "gzip" || coding == "x-gzip", coding == "deflate"
	if !gzipped && !deflated {
		return a.Body
	}
	br := bufio.NewReaderSize(a.Body, 16<<10)
	begin, _ := br.Peek(2)
	switch {
	case len(begin) < 2 || begin[0] == 0xff && begin[1] == 0xd8:
		return br
	case begin[0] == 0x1f && begin[1] == 0x8b:
		if r, err := gzip.NewReader(br); err == nil {
			r.Multistream(false)
			return r
		}
	case deflated && begin[0]&0x0f == 8 && (int(begin[0])<<8|int(begin[1]))%31 == 0: // RFC 1950 section 2.2
		if r, err := zlib.NewReader(br); err == nil {
			return r
		}
	case deflated:
		return flate.NewReader(br)
	}
	return br
}
