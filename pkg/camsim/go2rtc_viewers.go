package camsim

import (
	"net"
	"net/http"
)

type preloaded struct{}

func (l *life) servePreload(w http.ResponseWriter, r *http.Request) { writeJSON(w, struct{}{}, false) }
func (l *life) watchMJPEG(w http.ResponseWriter, r *http.Request)   { http.NotFound(w, r) }
func (l *life) watchBytes(w http.ResponseWriter, r *http.Request, format, kind, content string) {
	http.NotFound(w, r)
}
func (l *life) serveRTSP(listener net.Listener) {}
