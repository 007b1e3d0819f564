package camsim

import "net/http"

type trouble struct{}

func (l *life) troubled(http.ResponseWriter, *http.Request) bool { return false }
