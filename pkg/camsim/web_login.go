package camsim

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// lockAfter is how many wrong log-ins lock the camera of habit WebLocks.
const lockAfter = 3

// admit says whether a request may have the picture, and answers it if not.
func (w *web) admit(out http.ResponseWriter, request *http.Request) bool {
	config := w.camera.config
	if w.habit.habit == WebJSON {
		query := request.URL.Query()
		right := query.Get("user") == config.Username && query.Get("password") == config.Password
		w.judge(right, query.Get("password") == config.Password)
		if !right {
			out.Header().Set("Content-Type", "text/html")
			_, _ = out.Write([]byte(`[{"cmd":"Snap","code":1,"error":{"detail":"please login first","rspCode":-6}}]`))
		}
		return right
	}
	authorization := request.Header.Get("Authorization")
	if authorization == "" {
		w.challenge(out)
		return false
	}
	user, password, basic := request.BasicAuth()
	right := false
	switch {
	case basic && (w.habit.habit == WebBasic || w.habit.habit == WebSelfSigned):
		right = user == config.Username && password == config.Password
	case !basic && w.habit.habit != WebBasic && w.habit.habit != WebSelfSigned:
		right = w.digest(request, authorization)
	}
	if locked := w.judge(right, basic && password == config.Password && !w.habit.tls); locked {
		http.Error(out, "locked", http.StatusForbidden)
		return false
	}
	if !right {
		w.challenge(out)
	}
	return right
}

// judge counts a log-in, and reports whether the camera is locked.
func (w *web) judge(right, readable bool) (locked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if readable {
		w.counts.InClear++
	}
	if w.habit.habit == WebLocks && w.counts.LoginsFailed >= lockAfter {
		return true
	}
	if right {
		w.counts.Logins++
	} else {
		w.counts.LoginsFailed++
	}
	return false
}

func (w *web) challenge(out http.ResponseWriter) {
	switch w.habit.habit {
	case WebBasic, WebSelfSigned:
		out.Header().Set("WWW-Authenticate", `Basic realm="camsim"`)
	default:
		nonce := rand.Text()
		w.mu.Lock()
		w.nonces[nonce] = true
		w.mu.Unlock()
		out.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="camsim", qop="auth", nonce="%s", algorithm=%s`, nonce, w.algorithm()))
	}
	http.Error(out, "log in", http.StatusUnauthorized)
}

func (w *web) algorithm() string {
	switch w.habit.habit {
	case WebSession:
		return "MD5-sess"
	case WebSHA256:
		return "SHA-256"
	}
	return "MD5"
}

var digestField = regexp.MustCompile(`(\w+)=("[^"]*"|[^,\s]+)`)

// digest checks an answer to the challenge (RFC 7616 section 3.4.1).
func (w *web) digest(request *http.Request, authorization string) bool {
	fields := map[string]string{}
	for _, found := range digestField.FindAllStringSubmatch(authorization, -1) {
		fields[found[1]] = strings.Trim(found[2], `"`)
	}
	w.mu.Lock()
	known := w.nonces[fields["nonce"]]
	w.mu.Unlock()
	fresh := md5.New
	if w.habit.habit == WebSHA256 {
		fresh = sha256.New
	}
	sum := func(text string) string {
		h := fresh()
		_, _ = h.Write([]byte(text))
		return hex.EncodeToString(h.Sum(nil))
	}
	config := w.camera.config
	secret := sum(config.Username + ":camsim:" + config.Password)
	if w.habit.habit == WebSession {
		secret = sum(secret + ":" + fields["nonce"] + ":" + fields["cnonce"])
	}
	want := sum(secret + ":" + fields["nonce"] + ":" + fields["nc"] + ":" + fields["cnonce"] + ":auth:" + sum(request.Method+":"+request.RequestURI))
	return known && fields["username"] == config.Username && fields["uri"] == request.RequestURI && fields["response"] == want
}
