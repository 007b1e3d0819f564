// Package testkit holds what the tests of several packages need. Only tests import it, and it imports nothing of ours, so that
// every package's tests can.
package testkit

import (
	"os"
	"testing"
)

// The switches of a run. make test sets neither, make test-long the first, make soak the second.
const (
	longSwitch = "CAMWARDEN_LONG"
	soakSwitch = "CAMWARDEN_SOAK"
)

// IsLong reports whether this run has time for long cases. It is for tests that do the same less often in make test: six
// rounds instead of thirty, six tempers instead of all.
func IsLong() bool { return os.Getenv(longSwitch) != "" }

// Some returns all cases in a long run, else the few of them that differ most.
func Some[T any](all []T, few ...T) []T {
	if IsLong() {
		return all
	}
	return few
}

// Long skips the test unless this run has time for long cases; why says what makes it one ("waits 95 s").
// Call it before t.Parallel, so that a test that is skipped waits for nobody.
func Long(t testing.TB, why string) {
	t.Helper()
	if !IsLong() {
		t.Skipf("%s: make test-long", why)
	}
}

// IsSoak reports whether this run is a soak: many rounds, random moments, for as long as it takes.
func IsSoak() bool { return os.Getenv(soakSwitch) != "" }

// Soak skips the test unless this run is a soak; why says how long it takes. Call it before t.Parallel.
func Soak(t testing.TB, why string) {
	t.Helper()
	if !IsSoak() {
		t.Skipf("%s: make soak", why)
	}
}
