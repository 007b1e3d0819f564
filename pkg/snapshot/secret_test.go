package snapshot

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// A camera may say our own log-in back to us, in any kind of answer and in other letters. No part of the password goes on.
func TestFetch_passwordsItSaysAreHidden(t *testing.T) {
	t.Parallel()
	const password = "SecretPass9"
	ok := func(body string) []byte { return reply("200 OK", "", []byte(body)) }
	for name, answer := range map[string][]byte{
		"JSON":                  ok(`{"error":"login failed for admin / SecretPass9"}`),
		"JSON, lower case":      ok(`{"error":"login failed for admin / secretpass9"}`),
		"JSON, upper case":      ok(`{"error":"busy: SECRETPASS9"}`),
		"JSON, mixed case":      ok(`{"error":"no: secretPASS9"}`),
		"JSON, escaped":         ok(`{"error":"no: \u0053ecretPass9"}`),
		"XML":                   ok(`<error>failed for SecretPass9</error>`),
		"XML, split":            ok(`<error>failed for Secre<b>tPass9</b></error>`),
		"a page":                ok(`<html><body>no picture for SecretPass9</body></html>`),
		"a page, split":         ok(`<html><body>busy: Secre<b>tPass9</b></body></html>`),
		"a page, cut":           ok(`<html><body>no ` + strings.Repeat(" ", enough-len("<html><body>no Secre")) + `SecretPass9</body></html>`),
		"a kind":                reply("200 OK", "Content-Type: x/secretpass9\r\n", []byte("nothing")),
		"a reason":              reply("500 No SecretPass9", "", nil),
		"a redirect":            reply("302 No", "Location: http://192.0.2.7/secretpass9\r\n", nil),
		"something else":        []byte("SSH says that the password is SecretPass9\r\n\r\n"),
		"something else, ended": []byte("SSH says that the password is SecretPas"),
	} {
		cam := serve(t, func(_ int, _ string, conn net.Conn) []byte {
			_, _ = conn.Write(answer)
			return nil
		})
		target := Target{Address: cam.at, Path: "/shot.jpg", Username: "admin", Password: password, Auth: Query}
		_, _, err := Fetch(t.Context(), target, Limits{Whole: 10 * time.Second})
		said := fault.From(err, fault.Local, "")
		if said == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if text := strings.ToLower(said.Message + said.Hint); strings.Contains(text, "secre") || strings.Contains(text, "pass9") {
			t.Errorf("%s: %q, %q", name, said.Message, said.Hint)
		}
	}
}

// A log-in that stands in the path goes out with each redirect that keeps it there.
func TestFetch_redirectsThatKeepThePassword(t *testing.T) {
	t.Parallel()
	cam := serve(t, func(int, string, net.Conn) []byte {
		return reply("302 Found", "Location: /again?user=viewer&key=hunter%262\r\n", nil)
	})
	target := Target{Address: cam.at, Path: "/shot.jpg?user=viewer&key=hunter%262", Username: "viewer", Password: "hunter&2", Auth: Query}
	_, _, err := Fetch(t.Context(), target, Limits{Whole: 10 * time.Second})
	if fault.ClassOf(err) != fault.Auth || len(cam.requests) != 2 {
		t.Errorf("%v, %d log-ins", err, len(cam.requests))
	}
}
