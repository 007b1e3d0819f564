package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// troubled gives a site a go2rtc that is none: what answers is the handler, or what listens is given.
func troubled(sources string, listen func(net.Listener)) option {
	return func(s *site) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(s.t, err)
		s.t.Cleanup(func() { listener.Close() })
		go listen(listener)
		s.sources = sources
		s.more = fmt.Sprintf("go2rtc: {url: \"http://%s\"}\n", listener.Addr())
	}
}

func answers(handler http.HandlerFunc) func(net.Listener) {
	return func(listener net.Listener) {
		server := http.Server{Handler: handler}
		_ = server.Serve(listener)
	}
}

// troubles are servers that are not as they should be.
func troubles() map[string]func(net.Listener) {
	return map[string]func(net.Listener){
		"nobody": func(listener net.Listener) { listener.Close() },
		"mute":   func(listener net.Listener) { _, _ = listener.Accept(); select {} },
		"hangs up": func(listener net.Listener) {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		},
		"garbage": answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("\x00\x01<html>")) }),
		"10 MiB":  answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("["), 10<<20)) }),
		"500":     answers(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }),
		"another": answers(http.NotFound),
	}
}

func TestRelay_inTroubleGivesTheNextItsTurn(t *testing.T) {
	t.Parallel()
	for name, trouble := range troubles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, healthy(3), troubled("go2rtc, rtsp", trouble))
			began := time.Now()
			r := s.start(s.round("office")...)
			r.ends(0)
			doc := r.document()
			if doc.Summary.OK != 3 || doc.Verdict != "clean" {
				t.Errorf("%s", r.stdout)
			}
			for _, v := range doc.Visits {
				if v.Source != "rtsp" || len(v.Attempts) != 2 || v.Attempts[0].Error.Class != "go2rtc" || v.Attempts[0].Error.Message == "" {
					t.Errorf("%+v", v)
				}
			}
			if took := time.Since(began); took > within {
				t.Errorf("it took %s", took)
			}
			// With nothing else to try it is the error, and the exit code of a camera that failed.
			r = s.start(s.round("office", "--source", "go2rtc")...)
			r.ends(1)
			for _, v := range r.document().Visits {
				if v.class() != "go2rtc" || !v.Skipped {
					t.Errorf("%+v", v)
				}
			}
		})
	}
}

func TestAGo2rtcThatAnswersSlowlyIsBounded(t *testing.T) {
	t.Parallel()
	cameras := 1
	if testkit.IsLong() {
		cameras = 4
	}
	s := newSite(t, healthy(cameras), troubled("go2rtc, rtsp", answers(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(2500 * time.Millisecond):
		case <-r.Context().Done():
		}
		_, _ = w.Write([]byte("{}"))
	})))
	r := s.start(s.round("office")...)
	code := r.end()
	doc := r.document()
	// What it does not take in time is left to the next source, and what it may hold is said.
	if doc.Summary.OK != cameras || code != 0 && code != 3 {
		t.Errorf("exit %d: %s", code, r.stdout)
	}
	if doc.Verdict == "clean" && code != 0 {
		t.Errorf("exit %d: %s", code, r.stdout)
	}
}

func TestRelay_restartsInARound(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		s := newSite(t, healthy(6), through(relaying{genuine: genuine, sources: "go2rtc, rtsp"}))
		for i := range 3 {
			r := s.start(s.round("office", "-j", "2")...)
			eventually(t, func() error {
				if len(s.streamLeases()) < 6 {
					return errors.New("not constructed")
				}
				return nil
			})
			<-time.After(time.Duration(i) * 200 * time.Millisecond)
			s.relay.restart()
			code := r.end()
			doc := r.document()
			if doc.Summary.OK != 6 || code != 0 {
				t.Errorf("exit %d: %s%s", code, r.stdout, r.stderr)
			}
			s.nothingRelayed()
		}
	})
}

func TestRelay_deadIsUnverifiedUntilItIsBack(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		s := newSite(t, healthy(6), through(relaying{genuine: genuine, sources: "go2rtc, rtsp"}))
		r := s.start(s.round("office", "-j", "2")...)
		eventually(t, func() error {
			if len(s.streamLeases()) < 6 {
				return errors.New("not constructed")
			}
			return nil
		})
		s.relay.kill()
		r.ends(3)
		doc := r.document()
		if doc.Summary.OK != 6 || doc.Verdict != "unverified" || !strings.Contains(fmt.Sprint(doc.Blind), "go2rtc") {
			t.Errorf("%s", r.stdout)
		}
		for _, l := range doc.Leftovers {
			if l.Kind == "stream" && l.Outcome != "unverified" {
				t.Errorf("%+v", l)
			}
		}
		// Nothing of ours can be in question for a ledger that holds nothing there.
		other := s.start("camwarden", "round", "office", "-c", s.path("cameras.yaml"), "--state-dir", s.path("other"), "-o", "json")
		other.ends(0)
		s.relay.restart()
		next := s.start(s.round("office")...)
		next.ends(0)
		if doc := next.document(); doc.Verdict != "clean" || len(doc.Recovered) != 6 {
			t.Errorf("%s", next.stdout)
		}
		s.nothingRelayed()
	})
}

// A go2rtc that is stopped takes a picture's request and never answers: that is found out after 3 s, not at the visit's end.
func TestRelay_hungIsLeftToTheNextSource(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, genuine bool) {
		if !genuine {
			t.Skip("only a process can be stopped")
		}
		s := newSite(t, healthy(2), through(relaying{genuine: genuine, sources: "go2rtc, rtsp"}))
		r := s.start(s.round("office")...)
		eventually(t, func() error {
			if len(s.streamLeases()) < 2 {
				return errors.New("not constructed")
			}
			return nil
		})
		hung := s.relay.(*realRelay)
		check(t, hung.cmd.Process.Signal(syscall.SIGSTOP))
		code := r.end()
		doc := r.document()
		if doc.Summary.OK != 2 || code != 3 && code != 0 {
			t.Errorf("exit %d: %s", code, r.stdout)
		}
		check(t, hung.cmd.Process.Signal(syscall.SIGCONT))
		eventually(t, func() error {
			next := s.start(s.round("office")...)
			if code := next.end(); code != 0 {
				return fmt.Errorf("exit %d: %s", code, next.stdout)
			}
			return nil
		})
		s.nothingRelayed()
	})
}

// poll asks for the list of streams, as go2rtc's own web page does, until the test is over.
func (s *site) poll(every time.Duration) (asked func() int, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	n, over := 0, make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			s.held()
			n++
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
		}
	}()
	return func() int { return n }, func() { cancel(); <-over }
}
