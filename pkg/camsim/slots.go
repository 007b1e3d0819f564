package camsim

import (
	"sync"
	"time"
)

// slots is how many sessions a camera has room for. The zero value has room for any number.
type slots struct {
	limit  int
	linger time.Duration

	mu        sync.Mutex
	taken     int
	lingering []time.Time // until when slots of sessions that ended abruptly stay taken
}

// take takes a slot; false when none is free.
func (s *slots) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	if s.limit > 0 && s.taken+len(s.lingering) >= s.limit {
		return false
	}
	s.taken++
	return true
}

// release gives a slot back at once, after a TEARDOWN.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
}

// abandon gives a slot back after the linger time, as a camera does that waits for the session's time-out
// (RFC 2326 section 12.37) before it believes that the client has gone.
func (s *slots) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.linger > 0 {
		s.lingering = append(s.lingering, time.Now().Add(s.linger))
	}
}

// held is how many slots are taken now, lingering ones included.
func (s *slots) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	return s.taken + len(s.lingering)
}

func (s *slots) expire(now time.Time) {
	kept := s.lingering[:0]
	for _, until := range s.lingering {
		if now.Before(until) {
			kept = append(kept, until)
		}
	}
	s.lingering = kept
}
