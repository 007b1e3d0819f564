package camsim

import (
	"encoding/json"
	"net/http"
	"time"
)

// Go2rtcHandler serves GET /go2rtc, the counts, and lets scripts do to the server what happens to a real one:
// POST /go2rtc/kill, POST /go2rtc/restart, and POST /go2rtc/trouble?kind=slow&delay=2s (no kind: well again).
func Go2rtcHandler(g *Go2rtc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /go2rtc", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(g.Counts())
	})
	mux.HandleFunc("POST /go2rtc/kill", func(http.ResponseWriter, *http.Request) { g.Kill() })
	mux.HandleFunc("POST /go2rtc/restart", func(w http.ResponseWriter, _ *http.Request) {
		if err := g.Restart(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /go2rtc/trouble", func(w http.ResponseWriter, r *http.Request) {
		kind, delay := Go2rtcTrouble(r.FormValue("kind")), time.Duration(0)
		known := kind == NoTrouble
		for _, trouble := range Go2rtcTroubles() {
			known = known || trouble == kind
		}
		var err error
		if text := r.FormValue("delay"); text != "" {
			delay, err = time.ParseDuration(text)
		}
		if !known || err != nil {
			http.Error(w, "unknown kind, or a delay that is none", http.StatusBadRequest)
			return
		}
		g.SetTrouble(kind, delay)
	})
	return mux
}
