package round

import (
	"sync"

	"github.com/camwarden/camwarden/pkg/fault"
)

// brakeAfter is how many visits in a row must have failed to connect before the network, not the cameras, is
// the likely cause; while the brake is on, every brakeAfter-th camera is tried.
const brakeAfter = 10

// brake keeps a round from hammering a network that is down: when the last ten visits all failed to connect,
// cameras are tried one at a time and only every tenth, until one can be reached again.
type brake struct {
	mu      sync.Mutex
	failed  int // visits in a row that failed to connect
	waiting int // cameras that came up since the brake went on
	probe   sync.Mutex
}

// enter asks whether a camera may be visited. While the brake is on, done must be called after the visit, and
// holds off every other one; pass is false for a camera to be skipped.
func (b *brake) enter() (pass bool, done func()) {
	b.mu.Lock()
	if b.failed < brakeAfter {
		b.mu.Unlock()
		return true, func() {}
	}
	b.waiting++
	turn := b.waiting%brakeAfter == 0
	b.mu.Unlock()
	if !turn {
		return false, nil
	}
	b.probe.Lock()
	return true, b.probe.Unlock
}

// saw takes in how a visit ended. A camera that answers anything at all, a refusal included, proves the network.
func (b *brake) saw(err *fault.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if failedToConnect(err) {
		b.failed++
		return
	}
	b.failed, b.waiting = 0, 0
}

func failedToConnect(err *fault.Error) bool {
	if err == nil {
		return false
	}
	switch err.Class {
	case fault.Unreachable, fault.DNS:
		return true
	case fault.Timeout:
		return err.Step == fault.Connect
	default:
		return false
	}
}
