package testkit_test

import (
	"testing"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// Not parallel: they set the environment.

func TestLong_skipsWithoutTheSwitch(t *testing.T) {
	for value, want := range map[string]bool{"": false, "1": true} {
		t.Setenv("CAMWARDEN_LONG", value)
		t.Setenv("CAMWARDEN_SOAK", "")
		if got := runs(t, testkit.Long); got != want || testkit.IsLong() != want {
			t.Errorf("with CAMWARDEN_LONG=%q a long test runs: %v, IsLong: %v, want %v", value, got, testkit.IsLong(), want)
		}
		if runs(t, testkit.Soak) || testkit.IsSoak() {
			t.Errorf("with CAMWARDEN_LONG=%q a soak runs", value)
		}
	}
}

func TestSoak_skipsWithoutTheSwitch(t *testing.T) {
	for value, want := range map[string]bool{"": false, "1": true} {
		t.Setenv("CAMWARDEN_LONG", "")
		t.Setenv("CAMWARDEN_SOAK", value)
		if got := runs(t, testkit.Soak); got != want || testkit.IsSoak() != want {
			t.Errorf("with CAMWARDEN_SOAK=%q a soak runs: %v, IsSoak: %v, want %v", value, got, testkit.IsSoak(), want)
		}
	}
}

func TestSome_isAllInALongRun(t *testing.T) {
	all := []int{1, 2, 3}
	for value, want := range map[string]int{"": 1, "1": 3} {
		t.Setenv("CAMWARDEN_LONG", value)
		if got := testkit.Some(all, 2); len(got) != want {
			t.Errorf("with CAMWARDEN_LONG=%q: %v", value, got)
		}
	}
}

// runs reports whether a test that asks goes on after the answer.
func runs(t *testing.T, ask func(testing.TB, string)) bool {
	asking := &asking{TB: t}
	ask(asking, "takes minutes")
	return !asking.skipped
}

// asking is a test that is told to skip, and notes it.
type asking struct {
	testing.TB
	skipped bool
}

func (a *asking) Skipf(string, ...any) { a.skipped = true }
