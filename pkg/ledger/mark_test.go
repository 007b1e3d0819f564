package ledger_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/testkit"
)

func TestAMarkTellsWhoseTheChildIs(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	for _, address := range []string{"127.31.0.3:554", "[::1]:8554", ""} {
		lease := ledger.Lease{Kind: ledger.Process, Camera: "gate", Deadline: inAMinute()}
		if address != "" {
			lease.Address = netip.MustParseAddrPort(address)
		}
		held, err := l.Write(lease)
		testkit.Check(t, err)
		want := held.Lease().Mark()
		want.Owner.PIDNS = 0 // of no meaning in another namespace, hence not told
		got, ours := ledger.ParseMark(held.Lease().Mark().String())
		if !ours || got != want {
			t.Errorf("mark %q reads as %+v (%v), want %+v", held.Lease().Mark(), got, ours, want)
		}
		if got, ours := ledger.ParseMark(want.Lease); !ours || got != (ledger.Mark{Lease: want.Lease}) {
			t.Errorf("the id alone reads as %+v (%v)", got, ours)
		}
	}
	for _, text := range []string{"", "1", "/", "not/a/mark/at/all", strings.Repeat("z", 26), strings.Repeat("/", 1<<16)} {
		if got, ours := ledger.ParseMark(text); ours {
			t.Errorf("%.30q was taken for a mark: %+v", text, got)
		}
	}
}
