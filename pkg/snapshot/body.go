package snapshot

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
	"time"
)

var errChunks = errors.New("its chunks cannot be read")

// frame says where the body ends (RFC 9112 section 6.3): with its chunks, at its length, or with the connection. A length that is no
// number, or of which there are two, is none.
func (t *talk) frame(a *answer) {
	a.length = -1
	switch {
	case a.status == 204 || a.status == 304:
		a.body, a.framed, a.length = bytes.NewReader(nil), true, 0
		return
	case strings.Contains(strings.ToLower(strings.Join(a.header["transfer-encoding"], ",")), "chunked"):
		a.body, a.framed = &chunked{br: t.br}, true
		return
	}
	for i, value := range a.header["content-length"] {
		n, err := strconv.ParseUint(value, 10, 62)
		if err != nil || i > 0 && int64(n) != a.length {
			a.length = -1
			break
		}
		a.length = int64(n)
	}
	if a.length < 0 {
		a.body = t.br
		return
	}
	a.body, a.framed = io.LimitReader(t.br, a.length), true
}

// drain reads past the body of an answer that is of no use, and reports whether the connection can be used again. It does not
// wait long for what was announced: another connection costs less.
func (t *talk) drain(a *answer) bool {
	const patience = 300 * time.Millisecond
	if !a.keeps || !a.framed || a.length > drainMost {
		return false
	}
	if soon := time.Now().Add(patience); soon.Before(t.whole) {
		t.until(soon)
		defer t.until(t.whole)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(a.body, drainMost+1))
	return err == nil && n <= drainMost
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
		if err := c.next(); err != nil || c.bare {
			if c.bare {
				return c.br.Read(p)
			}
			return 0, err
		}
	}
	n, err := c.br.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// next reads the size of the next chunk, and after the last one what follows it.
func (c *chunked) next() error {
	if begin, err := c.br.Peek(2); !c.some && err == nil && begin[0] == 0xff && begin[1] == 0xd8 {
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
		return errChunks
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
	if err == bufio.ErrBufferFull {
		return nil, errChunks
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// decoded undoes the coding that the bytes show, where the header names one: some name it and send the picture as it is.
func decoded(a *answer) io.Reader {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(a.header["content-encoding"], ",")))
	gzipped, deflated := coding == "gzip" || coding == "x-gzip", coding == "deflate"
	if !gzipped && !deflated {
		return a.body
	}
	br := bufio.NewReaderSize(a.body, readBuffer)
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
