package camsim_test

import (
	"bytes"
	"crypto/tls"
	"image/jpeg"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// Every habit does what its sentence says, seen with a client that is not camwarden's.
func TestWeb_habits(t *testing.T) {
	t.Parallel()
	for _, habit := range camsim.Habits() {
		t.Run(string(habit), func(t *testing.T) {
			t.Parallel()
			cam, err := camsim.Start(camsim.Config{Temper: camsim.Healthy, Web: habit, Username: "viewer", Password: "secret"})
			if err != nil {
				t.Fatal(err)
			}
			defer cam.Close()
			client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
			}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			get := func(change func(*http.Request)) (status int, body []byte) {
				t.Helper()
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cam.WebURL(), nil)
				if err != nil {
					t.Fatal(err)
				}
				change(request)
				answer, err := client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				body, _ = io.ReadAll(io.LimitReader(answer.Body, 1<<20))
				return answer.StatusCode, body
			}
			answer, body := get(func(*http.Request) {})
			picture, _ := jpeg.Decode(bytes.NewReader(body))
			status, whole := http.StatusOK, false
			switch habit {
			case camsim.WebOpen, camsim.WebSingle, camsim.WebSlow, camsim.WebFrozen:
				whole = true
			case camsim.WebDigest, camsim.WebSession, camsim.WebSHA256, camsim.WebBasic, camsim.WebLocks, camsim.WebSelfSigned:
				status = http.StatusUnauthorized
			case camsim.WebBusy:
				status = http.StatusServiceUnavailable
			case camsim.WebToTLS:
				status = http.StatusMovedPermanently
			}
			if answer != status || (picture != nil) != whole {
				t.Errorf("%d, a picture: %v", answer, picture != nil)
			}
			switch habit {
			case camsim.WebBasic, camsim.WebSelfSigned:
				if answer, _ := get(func(r *http.Request) { r.SetBasicAuth("viewer", "secret") }); answer != http.StatusOK {
					t.Errorf("with Basic: %d", answer)
				}
				if c := cam.WebCounts(); c.Logins != 1 || (c.InClear == 1) != (habit == camsim.WebBasic) {
					t.Errorf("%+v", c)
				}
			case camsim.WebJSON:
				if _, body := get(func(r *http.Request) { r.URL.RawQuery = "user=viewer&password=secret" }); !bytes.HasPrefix(body, []byte{0xff, 0xd8}) {
					t.Errorf("%q", body)
				}
			case camsim.WebLocks:
				for range 4 {
					answer, _ = get(func(r *http.Request) { r.Header.Set("Authorization", `Digest username="viewer", response="no"`) })
				}
				if c := cam.WebCounts(); answer != http.StatusForbidden || c.LoginsFailed != 3 {
					t.Errorf("%d %+v", answer, c)
				}
			case camsim.WebFrozen, camsim.WebOpen:
				if _, again := get(func(*http.Request) {}); bytes.Equal(body, again) != (habit == camsim.WebFrozen) {
					t.Error("the next picture is not as the habit says")
				}
			}
			if c := cam.WebCounts(); c.Requests == 0 || c.ConnectionsTotal != c.Requests {
				t.Errorf("%+v", c)
			}
		})
	}
	if camsim.Habit("polite").Sentence() != "" {
		t.Error("an unknown habit has a sentence")
	}
	if _, err := camsim.Start(camsim.Config{Temper: camsim.Healthy, Web: camsim.WebDigest}); err == nil {
		t.Error("digest without a user name")
	}
}
