package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// served starts a server of Debian's that is no simulation of ours, and waits until it listens.
func (s *site) served(address string, args ...string) {
	s.t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		s.t.Skipf("needs %s: %v", args[0], err)
	}
	var said lockedBuffer
	server := exec.Command(path, args[1:]...)
	server.Dir, server.Stdout, server.Stderr = s.dir, &said, &said
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	check(s.t, server.Start())
	s.t.Cleanup(func() {
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL) // its own group, which it leads
		_ = server.Wait()
		if s.t.Failed() {
			s.t.Logf("%s said: %s", args[0], said.String())
		}
	})
	s.await(args[0]+" listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func (s *site) await(what string, done func() bool) {
	s.t.Helper()
	for began := time.Now(); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			s.t.Fatal("not within a minute: " + what)
		}
	}
}

// shot takes one still of an http:// URL.
func (s *site) shot(url, password string) (v struct {
	visit
	Width, Bytes int
}) {
	s.t.Helper()
	s.env = append(s.env, "CAM_PASSWORD="+password)
	r := s.start("camwarden", "snapshot", url, "--state-dir", s.path("state"), "-o", "json", "-f", s.path("shot.jpg"), "--strict")
	_ = r.end()
	var doc struct {
		Verdict string
		Visits  []json.RawMessage
	}
	if err := json.Unmarshal([]byte(r.stdout.String()), &doc); err != nil || doc.Verdict != "clean" || len(doc.Visits) != 1 {
		s.t.Fatalf("%v: %s\n%s", err, r.stdout, r.stderr)
	}
	check(s.t, json.Unmarshal(doc.Visits[0], &v))
	return v
}

// nginx sends a JPEG as it is, in chunks and packed, over TLS with a certificate of its own, and behind Basic.
func TestStills_nginx(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Name: "gate", Temper: camsim.Refuses}})
	at := s.subnet.Prefix.Addr().Next().Next().String()
	check(t, os.MkdirAll(s.path("www"), 0o755))
	check(t, os.WriteFile(s.path("www", "still.jpg"), testkit.Photo(t, 640, 360), 0o644))
	check(t, os.WriteFile(s.path("users"), []byte("viewer:{PLAIN}s3cret&x\n"), 0o644))
	if out, err := exec.Command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", s.path("key"), "-out", s.path("cert"), "-days", "2", "-subj", "/CN=cam").CombinedOutput(); err != nil {
		t.Skipf("needs openssl: %v %s", err, out)
	}
	check(t, os.WriteFile(s.path("nginx.conf"), fmt.Appendf(nil, `daemon off; master_process off; user root; pid %[1]s/nginx.pid; error_log stderr;
events {}
http {
  types { image/jpeg jpg; } access_log off; client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server { listen %[2]s:8080; root %[1]s/www;
    location /packed/ { alias %[1]s/www/; gzip on; gzip_types image/jpeg; gzip_min_length 1; gzip_http_version 1.0; }
    location /closed/ { alias %[1]s/www/; auth_basic cam; auth_basic_user_file %[1]s/users; }
    location /moved.jpg { return 302 /still.jpg; }
    location /away.jpg { return 302 http://127.0.0.9/still.jpg; } }
  server { listen %[2]s:8443 ssl; root %[1]s/www; ssl_certificate %[1]s/cert; ssl_certificate_key %[1]s/key;
    location / { auth_basic cam; auth_basic_user_file %[1]s/users; } }
}`, s.dir, at), 0o644))
	s.served(at+":8080", "nginx", "-c", s.path("nginx.conf"), "-p", s.dir)
	for path, class := range map[string]string{
		"http://%s:8080/still.jpg": "", "http://%s:8080/packed/still.jpg": "", "http://%s:8080/moved.jpg": "",
		"http://viewer@%s:8080/closed/still.jpg": "auth", // Basic, and in the clear
		"https://viewer@%s:8443/still.jpg":       "", "http://%s:8080/away.jpg": "protocol", "http://%s:8080/none.jpg": "not-found",
		"https://%s:8080/still.jpg": "protocol", "http://%s:8443/still.jpg": "protocol",
	} {
		v := s.shot(fmt.Sprintf(path, at), "s3cret&x")
		if v.class() != class || v.OK != (class == "") || class == "" && v.Width != 640 {
			t.Errorf("%s: %d wide, %+v", path, v.Width, v.Error)
		}
	}
	if v := s.shot(fmt.Sprintf("https://viewer@%s:8443/still.jpg", at), "wrong"); v.class() != "auth" {
		t.Errorf("%+v", v.Error)
	}
}

// Without a device ustreamer answers 200 with a picture that says NO SIGNAL. That is not the camera's.
func TestStills_ustreamer(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Name: "gate", Temper: camsim.Refuses}})
	at := s.subnet.Prefix.Addr().Next().Next().String()
	s.served(at+":8081", "ustreamer", "--device", s.path("no-device"), "--host", at, "--port", "8081")
	if v := s.shot("http://"+at+":8081/snapshot", ""); v.class() != "no-video" || !strings.Contains(v.Error.Message, "X-UStreamer-Online") {
		t.Errorf("%+v", v.Error)
	}
	if v := s.shot("http://"+at+":8081/", ""); v.class() != "not-jpeg" {
		t.Errorf("its page: %+v", v.Error)
	}
}

// motion gives the last picture of its camera. When the camera dies it goes on with the last scene under a running clock, and then
// with a grey notice, all with status 200: nothing proves the contrary, and each visit is bounded and leaves nothing.
func TestStills_motion(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Name: "gate", Temper: camsim.Refuses, Web: camsim.WebStream}})
	gate := s.subnet.Camera("gate")
	free, err := net.Listen("tcp", "127.0.0.1:0") // the only address that motion can be held to
	check(t, err)
	at := free.Addr().String()
	_, port, _ := net.SplitHostPort(at)
	check(t, free.Close())
	check(t, os.WriteFile(s.path("motion.conf"), fmt.Appendf(nil, `daemon off
setup_mode off
log_level 5
target_dir %s
netcam_url %s
width 640
height 360
framerate 10
stream_port %s
stream_localhost on
webcontrol_port 0
picture_output off
movie_output off
`, s.dir, gate.WebURL(), port), 0o644))
	s.served(at, "motion", "-n", "-c", s.path("motion.conf"))
	url := "http://" + at + "/current"
	s.await("motion has a picture", func() bool {
		answer, err := http.Get(url)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK && answer.Header.Get("Content-Type") == "image/jpeg"
	})
	if v := s.shot(url, ""); !v.OK || v.Width != 640 {
		t.Errorf("%d wide, %+v", v.Width, v.Error)
	}
	gate.Close()
	if v := s.shot(url, ""); !v.OK && v.class() != "not-jpeg" && v.class() != "no-video" {
		t.Errorf("its camera died: %+v", v.Error)
	}
}
