package camsim

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// producer is one source of a stream, and its connection while somebody is given the stream.
type producer struct {
	life   *life
	source atomic.Pointer[string]
	shown  atomic.Pointer[upstream] // the present connection, or the last while it is dialled again
	tracks atomic.Pointer[track]    // of it

	mu     sync.Mutex // held through a dial: those of one stream wait for each other
	worker int        // of the present connection's reader; another number ends it
	runs   bool
}

// connect dials the camera unless there is a connection, and returns its codec.
func (p *producer) connect() (codecInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if up := p.shown.Load(); up != nil {
		return up.codec, nil
	}
	up, err := p.life.open(*p.source.Load())
	if err != nil {
		return codecInfo{}, err
	}
	p.shown.Store(up)
	return up.codec, nil
}

// attach makes the consumer a receiver of the connection, which is set up for the first.
func (p *producer) attach(c *consumer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	up := p.shown.Load()
	if up == nil {
		return errors.New("get track from none state")
	}
	video := p.tracks.Load()
	if video == nil {
		if err := up.setup(); err != nil {
			return err
		}
		video = &track{id: p.life.ids.Add(1), codec: up.codec}
		p.tracks.Store(video)
	}
	video.attach(p.life, c)
	return nil
}

// start lets the camera play.
func (p *producer) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if video := p.tracks.Load(); video == nil || p.runs {
		return
	}
	p.runs = true
	p.worker++
	up, worker := p.shown.Load(), p.worker
	p.life.wg.Go(func() { p.work(up, worker) })
}

// work reads the connection until it ends, and dials again for as long as there is somebody to read for.
func (p *producer) work(up *upstream, worker int) {
	for up != nil {
		up.play(p.tracks.Load())
		up = p.again(worker)
	}
}

// again dials until it succeeds, and returns nil when nobody needs that any more. The old connection is closed after the
// new one has been set up.
func (p *producer) again(worker int) *upstream {
	for retry := 0; ; retry++ {
		up, over := p.reconnect(worker)
		if over || up != nil {
			return up
		}
		// 1 s, 5 s, 10 s, 60 s where Patience is the real one's.
		pause := 12 * p.life.config.Patience
		switch {
		case retry < 5:
			pause = p.life.config.Patience / 5
		case retry < 10:
			pause = p.life.config.Patience
		case retry < 20:
			pause = 2 * p.life.config.Patience
		}
		if !p.life.wait(pause) {
			return nil
		}
	}
}

func (p *producer) reconnect(worker int) (up *upstream, over bool) {
	if !p.life.wait(p.life.config.Storm) {
		return nil, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.worker != worker {
		return nil, true
	}
	up, err := p.life.open(*p.source.Load())
	if err != nil {
		return nil, p.life.ctx.Err() != nil
	}
	// A source of another codec matches no track: the consumers stay with nothing.
	if video := p.tracks.Load(); video != nil && up.codec.name == video.codec.name {
		if up.setup() != nil {
			up.deaf = true
		}
	} else {
		up.deaf = true
	}
	p.shown.Load().close()
	p.shown.Store(up)
	return up, false
}

// stopIdle closes the connection if no consumer is given it.
func (p *producer) stopIdle() {
	if video := p.tracks.Load(); video != nil && len(video.given()) > 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	up := p.shown.Load()
	if video := p.tracks.Load(); up == nil || video != nil && len(video.given()) > 0 {
		return
	}
	p.worker++
	p.runs = false
	p.shown.Store(nil)
	p.tracks.Store(nil)
	up.close()
}

// silence is how long a stream may say nothing.
func (l *life) silence() time.Duration { return l.config.Patience }
