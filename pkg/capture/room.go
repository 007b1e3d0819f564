package capture

import (
	"context"
	"sync"
	"time"
)

// loadLimit is how long an ffmpeg that says nothing keeps others from being loaded.
const loadLimit = 2 * time.Second

// unusedLimit is how long a visit that has its room, and waits for something else first (a name to resolve, one of the
// camera's connections), keeps it from others.
const unusedLimit = 100 * time.Millisecond

// Room is one of the places in which programs are loaded. The zero Room is none, and none is needed for most sources.
type Room struct {
	leave  func()
	unused *time.Timer // gives it back
}

// Leave gives the place back. It may be called again, and of the zero Room.
func (r Room) Leave() {
	if r.leave != nil {
		r.leave()
	}
}

// use reports whether the place is still held, and keeps it from being given back as unused.
func (r Room) use() bool { return r.unused != nil && r.unused.Stop() }

// roomy is a source that starts something heavy for each visit.
type roomy interface {
	enter(ctx context.Context) (Room, bool)
}

// Room waits until this host has room for what the source that is tried first would start. A visit is to begin after that:
// its time-out is for the camera, which must not be blamed for what is slow at home. When ctx ends first there is none.
func (c Chain) Room(ctx context.Context) Room {
	if len(c.sources) == 0 {
		return Room{}
	}
	first, ok := c.sources[0].(roomy)
	if !ok {
		return Room{}
	}
	room, entered := first.enter(ctx)
	if entered {
		room.unused = time.AfterFunc(unusedLimit, room.leave)
	}
	return room
}

// rooms are the places in which ffmpegs are loaded.
//
// Of all that ffmpeg does for one picture, three quarters is to load its two hundred libraries. Where many are started at
// once, all of them are ready at the same late moment; a few at a time, the first is ready at once and the last no later.
// It is loaded when it says a word: the first is about its dial.
type rooms chan struct{}

// enter waits for a place, and reports whether it got one before ctx ended.
func (r rooms) enter(ctx context.Context) (Room, bool) {
	select {
	case r <- struct{}{}:
		leave := sync.OnceFunc(func() { <-r })
		time.AfterFunc(loadLimit, leave)
		return Room{leave: leave}, true
	case <-ctx.Done():
		return Room{}, false
	}
}
