package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// relayWish is a go2rtc as the command line describes it.
type relayWish struct {
	camsim.Go2rtcConfig
	streams bool // it has a stream of each camera, by the camera's name
	rtsp    string
}

// relayOptions is the table of options of --go2rtc, in the order of their names.
func relayOptions() []option[relayWish] {
	return []option[relayWish]{
		{"base", "PATH", "its base path, such as %2Frtc", text(func(w *relayWish) *string { return &w.BasePath })},
		{"config", "FILE", "its configuration file, which it rewrites; none by default", text(func(w *relayWish) *string { return &w.ConfigFile })},
		{"hold", "TIME", "how long a call is kept during which another may be deadly; 5ms", duration(func(w *relayWish) *time.Duration { return &w.Hold })},
		{"leak", "TIME", "how long a socket stays open after a failed DESCRIBE; 3m", duration(func(w *relayWish) *time.Duration { return &w.Leak })},
		{"no-ffmpeg", "BOOL", "ffmpeg is not installed where it runs", boolean(func(w *relayWish) *bool { return &w.NoFFmpeg })},
		{"old", "BOOL", "the JSON up to 1.9.3", boolean(func(w *relayWish) *bool { return &w.Old })},
		{"patience", "TIME", "how long it waits for a camera; 5s", duration(func(w *relayWish) *time.Duration { return &w.Patience })},
		{"rtsp", "ADDRESS", "where it serves the streams; a free port of 127.0.0.1 by default", text(func(w *relayWish) *string { return &w.rtsp })},
		{"socket", "PATH", "listen on this Unix socket too", text(func(w *relayWish) *string { return &w.Socket })},
		{"streams", "BOOL", "have a stream of each camera, by the camera's name", boolean(func(w *relayWish) *bool { return &w.streams })},
		{"transcode", "TIME", "how long the making of a JPEG takes; 0s", duration(func(w *relayWish) *time.Duration { return &w.Transcode })},
	}
}

// parseRelay reads ADDRESS[/OPTION=VALUE...].
func parseRelay(spec string) (relayWish, error) {
	var wish relayWish
	parts := strings.Split(spec, "/")
	at, err := netip.ParseAddrPort(parts[0])
	if err != nil || !at.Addr().IsLoopback() {
		return wish, fmt.Errorf("--go2rtc %q: not a loopback address with port, such as 127.0.0.1:0", parts[0])
	}
	wish.Address = at
	for _, option := range parts[1:] {
		if err := setOption(relayOptions(), &wish, option); err != nil {
			return wish, fmt.Errorf("--go2rtc: %w", err)
		}
	}
	if wish.rtsp != "" {
		if wish.RTSP, err = netip.ParseAddrPort(wish.rtsp); err != nil {
			return wish, fmt.Errorf("--go2rtc: option rtsp: %w", err)
		}
	}
	return wish, nil
}

// start starts it beside its cameras.
func (w relayWish) start(cameras []*camsim.Camera) (*camsim.Go2rtc, error) {
	if w.streams {
		w.Streams = map[string]string{}
		for _, camera := range cameras {
			w.Streams[camera.Name()] = camera.LoginURL()
		}
	}
	return camsim.StartGo2rtc(w.Go2rtcConfig)
}

// sum is what it has counted, in one line.
func sum(g *camsim.Go2rtc) string {
	c := g.Counts()
	open, leaked := 0, 0
	for _, dials := range c.Cameras {
		open, leaked = open+dials.Open, leaked+dials.Leaked
	}
	return fmt.Sprintf("go2rtc: %d lists, %d gets, %d probes, %d PATCH, %d PUT, %d DELETE, %d frames; %d in flight at most; %d deaths; %d streams, %d ghosts; %d connections to cameras, %d of them leaked",
		c.Lists, c.Gets, c.Probes, c.Patches, c.Puts, c.Deletes, c.Frames, c.InFlightMost, c.Deaths, c.Streams, c.Ghosts, open, leaked)
}
