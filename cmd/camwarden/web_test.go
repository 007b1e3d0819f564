package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// A round over cameras that give pictures in different ways, some in all three, by the default order: the slots of each address
// hold, the report says which source gave what and why the others did not.
func TestRound_mixesSources(t *testing.T) {
	t.Parallel()
	secret := func(c camsim.Config) camsim.Config {
		c.Username, c.Password = "viewer", "p4ss/"+c.Name
		return c
	}
	cameras := []camsim.Config{
		{Name: "relayed", Temper: camsim.Healthy},
		{Name: "all-three", Temper: camsim.Healthy, Web: camsim.WebOpen},
		secret(camsim.Config{Name: "exhausted", Temper: camsim.BusyAtSetup, Web: camsim.WebDigest}),
		{Name: "no-rtsp", Temper: camsim.Refuses, Web: camsim.WebStream},
		{Name: "nothing", Temper: camsim.Refuses, Web: camsim.WebEmpty},
		{Name: "page-first", Temper: camsim.Healthy, Web: camsim.WebPage},
		secret(camsim.Config{Name: "wrong", Temper: camsim.Digest, Web: camsim.WebDigest}),
		{Name: "no-snapshot", Temper: camsim.NotFound},
	}
	s := newSite(t, cameras, limitedTo(1), through(relaying{sources: "go2rtc, http, rtsp, ffmpeg"}))
	check(t, os.WriteFile(s.path("wrong.password"), []byte("not this one\n"), 0o600))
	check(t, os.Chown(s.path("wrong.password"), s.uid, s.uid))
	run := s.start(s.round("office", "-d", s.path("out"), "-j", "4")...)
	run.ends(1)
	doc := run.document()
	if doc.Verdict != "clean" || doc.Summary.Cameras != len(cameras) || doc.Summary.OK != 5 {
		t.Errorf("%s %+v", doc.Verdict, doc.Summary)
	}
	for name, want := range map[string]string{ // what gave the picture, and what was tried
		"relayed":     "go2rtc: go2rtc",
		"all-three":   "go2rtc: go2rtc",
		"exhausted":   "http: go2rtc protocol, http",
		"no-rtsp":     "http: go2rtc refused, http",
		"nothing":     ": go2rtc refused, http not-jpeg",
		"page-first":  "go2rtc: go2rtc",
		"wrong":       ": go2rtc auth",
		"no-snapshot": ": go2rtc not-found",
	} {
		v := doc.visit(name)
		var tried []string
		for _, a := range v.Attempts {
			one := a.Source
			if a.Error != nil {
				one += " " + a.Error.Class
			}
			tried = append(tried, one)
		}
		if got := v.Source + ": " + strings.Join(tried, ", "); got != want {
			t.Errorf("%s: %q, want %q (%+v)", name, got, want, v.Error)
		}
		if v.OK != (v.File != "") {
			t.Errorf("%s: ok %v, file %q", name, v.OK, v.File)
		}
	}
	for _, c := range s.subnet.Cameras {
		if web := c.WebCounts(); web.ConnectionsMost > 1 || web.Connections != 0 || web.LoginsFailed > 1 {
			t.Errorf("%s over HTTP: %+v", c.Name(), web)
		}
		if rtsp := c.Counts(); rtsp.ConnectionsMost > 1 || rtsp.Connections != 0 || rtsp.LoginsFailed > 1 {
			t.Errorf("%s over RTSP: %+v", c.Name(), rtsp)
		}
		if password := c.Config().Password; password != "" && strings.Contains(run.stdout.String()+run.stderr.String(), password) {
			t.Errorf("the password of %s is told", c.Name())
		}
	}

	// Without go2rtc http comes first, and takes no RTSP slot where it works.
	run = s.start(append(s.round("office", "-d", s.path("out")), "--source", "http,rtsp")...)
	run.ends(1)
	doc = run.document()
	before := s.subnet.Camera("all-three").Counts().ConnectionsTotal
	for name, want := range map[string]string{"relayed": "rtsp", "all-three": "http", "exhausted": "http", "no-rtsp": "http", "page-first": "rtsp", "wrong": ""} {
		if v := doc.visit(name); v.Source != want {
			t.Errorf("%s: %q, want %q: %+v", name, v.Source, want, v)
		}
	}
	if v := doc.visit("wrong"); v.class() != "auth" || s.subnet.Camera("wrong").WebCounts().LoginsFailed > 1 {
		t.Errorf("%+v", v)
	}
	run = s.start(s.round("office", "--source", "http")...)
	run.ends(1)
	if after := s.subnet.Camera("all-three").Counts().ConnectionsTotal; after != before {
		t.Error("a picture over HTTP took an RTSP connection")
	}
	if v := run.document().visit("wrong"); v.class() != "auth" || !v.Skipped || s.subnet.Camera("wrong").WebCounts().LoginsFailed > 1 {
		t.Errorf("a refused log-in is repeated: %+v", v)
	}
	if v := run.document().visit("relayed"); v.class() != "usage" || len(v.Attempts) != 0 {
		t.Errorf("a camera without a snapshot: %+v", v)
	}
}

// snapshot http://... needs no configuration, and by hand a log-in is tried that a round would not repeat.
func TestSnapshot_httpURL(t *testing.T) {
	t.Parallel()
	s := newSite(t, []camsim.Config{{Name: "gate", Temper: camsim.Refuses, Web: camsim.WebDigest, Username: "viewer", Password: "s3cret&x"}})
	gate := s.subnet.Camera("gate")
	url := strings.Replace(gate.WebURL(), "//", "//viewer@", 1)
	shoot := func(password string, code int) *run {
		t.Helper()
		s.env = append(slices.DeleteFunc(slices.Clone(s.env), func(e string) bool { return strings.HasPrefix(e, "CAM_PASSWORD=") }), "CAM_PASSWORD="+password)
		r := s.start("camwarden", "snapshot", url, "--state-dir", s.path("state"), "-o", "json", "-f", s.path("shot.jpg"))
		r.ends(code)
		if out := r.stdout.String() + r.stderr.String(); strings.Contains(out, password) {
			t.Errorf("it tells the password: %s", out)
		}
		return r
	}
	for n := range 2 {
		shoot("wrong-one", 1)
		if c := gate.WebCounts(); c.LoginsFailed != n+1 {
			t.Errorf("by hand: %+v", c)
		}
	}
	shoot("s3cret&x", 0)
	if info, err := os.Stat(s.path("shot.jpg")); err != nil || info.Size() < 1000 {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(s.path("state", "*", "leases", "*")); len(left) > 0 {
		t.Errorf("%v", left)
	}
	if c := gate.WebCounts(); c.InClear != 0 || c.ConnectionsMost > 1 || c.Connections != 0 {
		t.Errorf("%+v", c)
	}
}
