package main

import (
	"testing"
)

// TestOnvif_field asks the scripted devices of testdata/field/http as an operator does, and holds what comes back against
// expected.tsv: all 119 in a long run, else every tenth. Each runs with a log-in that is right; more than one that is refused, a
// dial to another host, a password in the output or in clear, and two connections at once fall short too.
func TestOnvif_field(t *testing.T) {
	t.Parallel()
	fieldHolds(t, "onvif_cases.py", 119, "127.42")
}
