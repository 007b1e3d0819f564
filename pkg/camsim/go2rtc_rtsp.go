package camsim

import "net"

func (l *life) serveRTSP(listener net.Listener) {}
