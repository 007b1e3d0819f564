package onvif

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What an answer may have. A recorder of 256 channels with three streams each has 768 profiles, of some 15 elements that matter.
const (
	maxDepth    = 200
	maxElements = 40000
	maxText     = 4 << 10 // bytes of one text
)

// element is one element of an answer by its local name: prefixes and namespaces differ from maker to maker. Of an answer only
// the elements of kept are there; what stands in another one counts as standing in the nearest kept one round it.
type element struct {
	name  string
	token string // the attribute of that name
	words strings.Builder
	kids  []*element
}

func kept(name string) bool {
	switch name {
	case "Fault", "Value", "Text", "faultcode", "faultstring",
		"UTCDateTime", "Time", "Hour", "Minute", "Second", "Date", "Year", "Month", "Day",
		"Service", "Namespace", "XAddr", "Device", "Media", "Media2", "Events", "Imaging",
		"Manufacturer", "Model", "FirmwareVersion",
		"Profiles", "VideoEncoderConfiguration", "VideoEncoder", "Encoding", "Resolution", "Width", "Height",
		"VideoSourceConfiguration", "VideoSource", "SourceToken", "Uri", "Body":
		return true
	}
	return false
}

func (e *element) text() string { return strings.TrimSpace(e.words.String()) }

// find returns the first element of that name below e, at any depth, or nil.
func (e *element) find(name string) *element {
	if e == nil {
		return nil
	}
	for _, kid := range e.kids {
		if kid.name == name {
			return kid
		}
		if found := kid.find(name); found != nil {
			return found
		}
	}
	return nil
}

// all returns the elements of that name below e, in their order.
func (e *element) all(name string) []*element {
	var found []*element
	if e == nil {
		return nil
	}
	for _, kid := range e.kids {
		if kid.name == name {
			found = append(found, kid)
		}
		found = append(found, kid.all(name)...)
	}
	return found
}

// say returns the text of the first element of that name below e, or "".
func (e *element) say(name string) string {
	if found := e.find(name); found != nil {
		return found.text()
	}
	return ""
}

// open is an element that has begun.
type open struct {
	name xml.Name
	as   *element // the kept one that it counts as
}

// decode reads one envelope. Entities that a document defines itself are not expanded, and how deep it goes is bounded.
func decode(from io.Reader) (*element, error) {
	d := xml.NewDecoder(&printable{r: bufio.NewReader(from)})
	d.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil } // addresses are ASCII in all of them
	root := &element{}
	stack := []open{{as: root}}
	count := 0
	for {
		next, err := d.RawToken() // which keeps no stack of its own, and leaves the matching of tags to us
		if err != nil {
			return root, unreadable(err)
		}
		top := &stack[len(stack)-1]
		switch token := next.(type) {
		case xml.StartElement:
			at := top.as
			if kept(token.Name.Local) {
				if count++; count > maxElements {
					return root, ErrFlood
				}
				at = newElement(token)
				top.as.kids = append(top.as.kids, at)
			}
			if stack = append(stack, open{token.Name, at}); len(stack) > maxDepth {
				return root, fmt.Errorf("%w: too deep", ErrXML)
			}
		case xml.EndElement:
			if len(stack) == 1 || top.name != token.Name {
				return root, fmt.Errorf("%w: its tags do not match", ErrXML)
			}
			if stack = stack[:len(stack)-1]; len(stack) == 1 {
				if root.find("Body") == nil {
					return root, fmt.Errorf("%w: not an envelope", ErrXML)
				}
				return root, nil // what follows the envelope is nobody's concern
			}
		case xml.CharData:
			if room := maxText - top.as.words.Len(); top.as.name == top.name.Local && room > 0 {
				top.as.words.Write(token[:min(len(token), room)])
			}
		}
	}
}

func unreadable(err error) error {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: not XML", ErrXML)
	}
	return err
}

func newElement(start xml.StartElement) *element {
	e := &element{name: start.Name.Local}
	for _, attribute := range start.Attr {
		if attribute.Name.Local == "token" {
			e.token = attribute.Value[:min(len(attribute.Value), maxText)]
		}
	}
	return e
}

// printable is a text without what XML does not allow and devices send: a byte order mark, blank lines before the first tag, zero
// bytes, and bytes that are no UTF-8.
type printable struct {
	r     *bufio.Reader
	begun bool
	rest  []byte
}

// Read returns the next bytes of the text.
func (p *printable) Read(into []byte) (int, error) {
	n := copy(into, p.rest)
	p.rest = p.rest[n:]
	for n < len(into) {
		if n > 0 && p.r.Buffered() == 0 {
			return n, nil
		}
		r, size, err := p.r.ReadRune()
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		switch {
		case !p.begun && (r == '\ufeff' || unicode.IsSpace(r)), r == 0:
			continue
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xfffe, r == 0xffff:
			r = '?'
		}
		p.begun = true
		var one [utf8.UTFMax]byte
		whole := one[:utf8.EncodeRune(one[:], r)]
		taken := copy(into[n:], whole)
		n += taken
		p.rest = append(p.rest, whole[taken:]...)
	}
	return n, nil
}

// clean makes a text of the device's fit for a table and a document.
func clean(text string) string {
	const longest = 100
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	for i := range text {
		if i > longest {
			return text[:i] + "..."
		}
	}
	return text
}
