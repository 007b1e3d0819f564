package round

import (
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/observe"
)

// StillsRecord is the name of the record, a Stills, that says what the last rounds gave; doctor reads it.
const StillsRecord = "stills"

// Stills is by which sources the last round took its stills, and which cameras gave one not long ago.
type Stills struct {
	observe.Stills

	Given []observe.Given `json:"given,omitempty"`
}

// givenFor is how long it counts that a camera gave a still.
const givenFor = time.Hour

// stillsOf adds a round to what is recorded of those before. Two rounds that end in the same moment may lose what one of them
// has to add: then doctor knows a little less.
func stillsOf(before Stills, visits []Visit, now time.Time) Stills {
	after := Stills{Stills: stillsBy(visits)}
	for _, g := range before.Given {
		visited := slices.ContainsFunc(visits, func(v Visit) bool { return v.Camera == g.Camera && !v.Skipped })
		if !visited && now.Sub(g.At) < givenFor {
			after.Given = append(after.Given, g)
		}
	}
	for _, v := range visits {
		if v.OK && v.CapturedAt != nil {
			after.Given = append(after.Given, observe.Given{Camera: v.Camera, Address: v.Address, At: v.CapturedAt.UTC()})
		}
	}
	return after
}

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
