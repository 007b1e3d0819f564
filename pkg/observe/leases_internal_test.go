package observe

import (
	"os"
	"testing"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// Between the reading of a mark and the question who carries it, the number may have gone to somebody else's process.
func TestLook_reusedPidIsNotOurs(t *testing.T) {
	t.Parallel()
	table := proc.Default()
	stat, err := table.Stat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for start, want := range map[uint64]int{stat.Start: 1, stat.Start - 1: 0} {
		l := looker{fs: table}
		l.addMarked(stat.PID, start, ledger.Mark{})
		if len(l.marked) != want || len(l.Blind) > 0 {
			t.Errorf("a mark read of the process born at %d, which now is one born at %d: %+v, blind %+v", start, stat.Start, l.marked, l.Blind)
		}
	}
}
