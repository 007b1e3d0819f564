package round

import "github.com/camwarden/camwarden/pkg/observe"

// StillsRecord is the name of the record that says by which sources the last round took its stills; doctor reads it.
const StillsRecord = "stills"

// stillsBy counts the stills of a round by their source.
func stillsBy(visits []Visit) observe.Stills {
	var s observe.Stills
	for _, v := range visits {
		if !v.OK {
			continue
		}
		switch v.Source {
		case "go2rtc":
			s.Go2rtc++
		case "rtsp":
			s.RTSP++
		case "ffmpeg":
			s.FFmpeg++
		}
	}
	return s
}
