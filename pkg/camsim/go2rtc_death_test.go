package camsim_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// apiCall is what try takes.
type apiCall struct {
	method, path string
	pairs        []string
}

func streamsCall(method string, pairs ...string) apiCall {
	return apiCall{method, "/api/streams", pairs}
}

// meet makes two calls at a time, and returns their answers once both are over.
func (r *relay) meet(first, second apiCall) (answers [2]reply) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*patience)
	defer cancel()
	done := make(chan reply)
	go func() { done <- r.try(ctx, first.method, first.path, first.pairs...) }()
	for deadline := time.Now().Add(patience); r.Counts().InFlight == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("the first call does not begin")
		}
	}
	answers[1] = r.try(ctx, second.method, second.path, second.pairs...)
	answers[0] = <-done
	return answers
}

func TestARelayDiesOfCallsThatMeetInItsMap(t *testing.T) {
	t.Parallel()
	list, info := streamsCall("GET"), apiCall{"GET", "/api", nil}
	patch := streamsCall("PATCH", "name", "cw-2", "src", "rtsp://127.0.0.2:9/a"+safe)
	put, remove := streamsCall("PUT", "name", "cw-3", "src", "rtsp://127.0.0.2:9/b"), streamsCall("DELETE", "src", "cw-2")
	for what, calls := range map[string][2]apiCall{
		"list and PATCH": {list, patch}, "PATCH and list": {patch, list}, "list and PUT": {list, put}, "DELETE and list": {remove, list},
		"PATCH and DELETE": {patch, remove}, "two DELETEs": {remove, streamsCall("DELETE", "src", "another")}, "two GET /api": {info, info},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: camsim.Healthy})
			r := startRelay(t, camsim.Go2rtcConfig{Hold: time.Second, Streams: map[string]string{"theirs": camera.URL()}})
			leave := r.Watch("theirs", camsim.Viewer{})
			defer leave()
			eventually(t, camera, "one connection", func(c camsim.Counts) bool { return c.Connections == 1 })
			if answers := r.meet(calls[0], calls[1]); answers[0].status != 0 || answers[1].status != 0 {
				t.Errorf("the dead answered %+v", answers)
			}
			if c := r.Counts(); c.Deaths != 1 || r.Alive() {
				t.Errorf("alive: %v, counts %+v", r.Alive(), c)
			}
			if conn, err := net.DialTimeout("tcp", r.Config().Address.String(), patience); err == nil {
				_ = conn.Close()
				t.Error("the dead accept connections")
			}
			eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 })
			if err := r.Restart(); err != nil {
				t.Fatal(err)
			}
			r.call(200, "GET", "/api/streams")
		})
	}
}

func TestOtherCallsMayMeet(t *testing.T) {
	t.Parallel()
	list, info := streamsCall("GET"), apiCall{"GET", "/api", nil}
	patch, look := streamsCall("PATCH", "name", "cw-2", "src", "rtsp://127.0.0.2:9/a"+safe), streamsCall("GET", "src", "theirs")
	frame, probe := apiCall{"GET", "/api/frame.jpeg", []string{"src", "theirs"}}, streamsCall("GET", "src", "theirs", "video", "all")
	remove := streamsCall("DELETE", "src", "cw-2")
	for what, calls := range map[string][2]apiCall{
		"two lists": {list, list}, "two PATCHes": {patch, patch}, "PATCH and a look": {patch, look}, "list and a picture": {list, frame},
		"DELETE and a picture": {remove, frame}, "PATCH and a probe": {patch, probe}, "GET /api and list": {info, list}, "a list, which PATCH without a source is": {streamsCall("PATCH", "name", "x"), list},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: camsim.Healthy})
			r := startRelay(t, camsim.Go2rtcConfig{Hold: 300 * time.Millisecond, Streams: map[string]string{"theirs": camera.URL()}})
			for _, answer := range r.meet(calls[0], calls[1]) {
				if answer.status != 200 && answer.body != "config file disabled\n" {
					t.Errorf("an answer is %+v", answer)
				}
			}
			if c := r.Counts(); c.Deaths != 0 || !r.Alive() || c.InFlightMost != 2 {
				t.Errorf("counts %+v", c)
			}
		})
	}
}

func TestAKilledRelayForgetsWhatItWasTold(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.Healthy})
	r := startRelay(t, camsim.Go2rtcConfig{Streams: map[string]string{"theirs": camera.URL()}})
	r.register("cw-1", camera)
	leave := r.Watch("cw-1", camsim.Viewer{})
	defer leave()
	eventually(t, camera, "one connection", func(c camsim.Counts) bool { return c.Connections == 1 })
	r.call(200, "POST", "/api/restart")
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if got := r.try(t.Context(), "GET", "/api/streams", "src", "cw-1"); got.status == 404 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("it did not restart: %+v", got)
		}
	}
	eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 && c.Teardowns == 0 })
	r.look("theirs")
	if c := r.Counts(); c.Restarts != 1 || c.Deaths != 0 {
		t.Errorf("counts %+v", c)
	}
	r.call(400, "GET", "/api/restart")
	r.Kill()
	if got := r.try(t.Context(), "GET", "/api/streams"); got.status != 0 || r.Alive() {
		t.Errorf("the dead answered %+v", got)
	}
}
