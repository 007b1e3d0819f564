package round

import (
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

func unreachable() *fault.Error {
	return fault.New(fault.Unreachable, fault.Connect, "no route to host")
}

func TestBrake_onAfterTenThatCouldNotConnect(t *testing.T) {
	t.Parallel()
	var b brake
	for i := range brakeAfter {
		pass, done := b.enter()
		if !pass {
			t.Fatalf("visit %d was held back before ten had failed", i)
		}
		done()
		b.saw(unreachable())
	}
	tried := 0
	for range 3 * brakeAfter {
		pass, done := b.enter()
		if pass {
			tried++
			done()
			b.saw(unreachable())
		}
	}
	if tried != 3 {
		t.Errorf("with the brake on %d of 30 cameras were tried, want every tenth: 3", tried)
	}
}

func TestBrake_liftedByARefusal(t *testing.T) {
	t.Parallel()
	for _, answer := range []*fault.Error{nil, fault.New(fault.Auth, fault.Describe, "401"), fault.New(fault.Timeout, fault.Media, "silent")} {
		var b brake
		for range brakeAfter {
			b.saw(unreachable())
		}
		b.saw(answer)
		if pass, _ := b.enter(); !pass {
			t.Errorf("the brake stayed on after %v", answer)
		}
	}
}

func TestBrake_countsTimeOutsAtConnect(t *testing.T) {
	t.Parallel()
	if !failedToConnect(fault.New(fault.Timeout, fault.Connect, "")) || !failedToConnect(fault.New(fault.DNS, fault.Connect, "")) {
		t.Error("a connect that timed out, or a name that does not resolve, must count")
	}
	if failedToConnect(fault.New(fault.Timeout, fault.Describe, "")) || failedToConnect(fault.New(fault.Refused, fault.Connect, "")) {
		t.Error("a mute camera and a refusing one prove that the network carries")
	}
}

func TestWithTheBrakeOnCamerasAreTriedOneAtATime(t *testing.T) {
	t.Parallel()
	var b brake
	for range brakeAfter {
		b.saw(unreachable())
	}
	var (
		group        sync.WaitGroup
		mu           sync.Mutex
		inside, most int
	)
	for range 5 * brakeAfter {
		group.Go(func() {
			pass, done := b.enter()
			if !pass {
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			time.Sleep(5 * time.Millisecond) // the visit: long enough for another to show up beside it
			mu.Lock()
			inside--
			mu.Unlock()
			done()
		})
	}
	group.Wait()
	if most != 1 {
		t.Errorf("%d cameras were tried at once under the brake", most)
	}
}
