package httpwire

import (
	"bufio"
	"errors"
	"strings"
	"testing"
)

// A value that goes on in the next lines costs what its length costs: what no camera says is passed over.
func TestRead_foldedLines(t *testing.T) {
	t.Parallel()
	header := "HTTP/1.1 401 No\r\nWWW-Authenticate: Digest nonce=\"n\",\r\n realm=\"r\"\r\nX: y\r\n" + strings.Repeat(" z\r\n", 50000) + "Y: z\r\n\r\n"
	a, err := Read(bufio.NewReader(strings.NewReader(header)))
	if err != nil {
		t.Fatal(err)
	}
	if a.First("www-authenticate") != `Digest nonce="n", realm="r"` || len(a.First("x")) > maxFolded+2 || a.First("y") != "z" {
		t.Errorf("%q, %d bytes, %q", a.First("www-authenticate"), len(a.First("x")), a.First("y"))
	}
}

// What is no answer is given whole, so that a secret in it is known before it is cut, and the error shows none of it.
func TestRead_alien(t *testing.T) {
	t.Parallel()
	const line = "SSH says that the password of the camera is SecretPass9"
	var alien *Alien
	if _, err := Read(bufio.NewReader(strings.NewReader(line + "\r\n"))); !errors.As(err, &alien) || alien.Said != line || strings.Contains(err.Error(), "Secret") {
		t.Errorf("%v, %+v", err, alien)
	}
}
