package camsim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// relay is a stream: where it is from, and who is given it. Several names may mean the same one.
type relay struct {
	life    *life
	pending atomic.Int32 // consumers that are about to join
	mu      sync.Mutex
	sources []*producer
	joined  []*consumer // nil before the first ever
}

// newRelay makes a stream of its sources; it dials nothing. l.mu is held.
func (l *life) newRelay(sources ...string) *relay {
	r := &relay{life: l}
	for _, source := range sources {
		p := &producer{life: l}
		p.source.Store(&source)
		r.sources = append(r.sources, p)
	}
	l.relays = append(l.relays, r)
	return r
}

// consumer is somebody who is given a stream.
type consumer struct {
	id       uint32
	format   string // "keyframe"
	kind     string // what it was called up to 1.9.3: "MJPEG passive consumer"
	protocol string
	remote   string
	agent    string
	source   string // of go2rtc's own ffmpeg
	sdp      string
	medias   []string
	takes    []string // names of codecs; nil takes any
	sound    string   // which it would take too

	joins  func(codecInfo)                     // before it is listed; may be nil
	packet func(packet []byte, from *upstream) // each RTP packet; it must not block
	sent   atomic.Int64                        // what bytes_send shows
	track  atomic.Pointer[sender]
}

// sender is the track between a camera's track and one consumer.
type sender struct {
	id             uint32
	consumer       *consumer
	parent         *track
	bytes, packets atomic.Int64
}

// add gives the stream to a consumer: it dials the camera, if that is not being done already, and returns what the probe
// shows when that fails. The consumer is not listed before.
func (r *relay) add(c *consumer) error {
	c.id = r.life.ids.Add(1)
	r.pending.Add(1)
	var failures, offers []string
	var chosen []*producer
	for _, p := range r.sources {
		if c.source != "" && *p.source.Load() == c.source {
			continue // its own product
		}
		codec, err := p.connect()
		if err != nil {
			failures = append(failures, err.Error())
			continue
		}
		if c.takes != nil && !slices.Contains(c.takes, codec.name) {
			offers = append(offers, codec.name)
			continue
		}
		if err := p.attach(c); err != nil {
			failures = append(failures, err.Error())
			continue
		}
		if c.joins != nil {
			c.joins(codec)
		}
		chosen = append(chosen, p)
		break
	}
	if r.pending.Add(-1) == 0 {
		r.stopIdle()
	}
	if len(chosen) == 0 {
		return whyNot(c, offers, failures)
	}
	r.mu.Lock()
	r.joined = append(r.joined, c)
	r.mu.Unlock()
	for _, p := range chosen {
		p.start()
	}
	return nil
}

func whyNot(c *consumer, offers, failures []string) error {
	switch {
	case len(offers) > 0:
		wants := "video:" + strings.Join(c.takes, ", video:")
		if c.sound != "" {
			wants += ", audio:" + c.sound
		}
		return fmt.Errorf("streams: codecs not matched: video:%s => %s", strings.Join(offers, ", video:"), wants)
	case len(failures) > 0:
		return errors.New("streams: " + strings.Join(failures, ", "))
	}
	return errors.New("streams: unknown error")
}

// remove takes the stream from a consumer, and ends what nobody needs any more at once.
func (r *relay) remove(c *consumer) {
	r.mu.Lock()
	r.joined = slices.DeleteFunc(r.joined, func(other *consumer) bool { return other == c })
	r.mu.Unlock()
	if track := c.track.Load(); track != nil {
		track.parent.detach(track)
	}
	r.stopIdle()
}

// stopIdle ends the connections that no consumer is given.
func (r *relay) stopIdle() {
	if r.pending.Load() > 0 {
		return
	}
	for _, p := range r.sources {
		p.stopIdle()
	}
}

// setSource gives the stream another source: a connection that stands goes on until it is dialled again.
func (r *relay) setSource(source string) {
	for _, p := range r.sources {
		p.source.Store(&source)
	}
}

func (r *relay) consumers() (list []*consumer, ever bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.joined), r.joined != nil
}

// track is a camera's video, from connection to connection.
type track struct {
	id             uint32
	codec          codecInfo
	bytes, packets atomic.Int64

	mu      sync.Mutex
	senders []*sender
}

// attach makes a sender of the track for a consumer.
func (t *track) attach(l *life, c *consumer) {
	s := &sender{id: l.ids.Add(1), consumer: c, parent: t}
	c.track.Store(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.senders = append(t.senders, s)
}

func (t *track) detach(s *sender) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.senders = slices.DeleteFunc(t.senders, func(other *sender) bool { return other == s })
}

func (t *track) given() []*sender {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.senders)
}

// write gives a packet to everybody. What it gives must not be changed.
func (t *track) write(packet []byte, from *upstream) {
	t.bytes.Add(int64(len(packet)))
	t.packets.Add(1)
	for _, s := range t.given() {
		s.bytes.Add(int64(len(packet)))
		s.packets.Add(1)
		s.consumer.packet(packet, from)
	}
}
