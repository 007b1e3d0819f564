package proc

import (
	"net/netip"
	"strings"
	"testing"
)

const tableHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// As printed by a little-endian machine, which is what Go's Linux ports but s390x, ppc64 and mips are.
const (
	tableLine   = "   0: 0100007F:9C40 0200007F:022A 01 00000000:000003E8 00:00000000 00000000  1000        0 24042 1 0000000000000000 20 4 30 10 -1\n"
	listenLine  = "   1: 0100007F:022A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 24041 1 0000000000000000 100 0 0 10 0\n"
	mappedLine  = "   2: 0000000000000000FFFF00000100007F:9C41 0000000000000000FFFF00000200007F:022A 02 00000001:00000000 01:00000064 00000001     0        0 24043 2 0 200\n"
	sixLine     = "   3: 00000000000000000000000001000000:9C42 000080FE00000000FF00005401000000:022A 08 00000000:00000001 00:00000000 00000000 65534        0 24044 1 0 20\n"
	foreignLine = "   4: 0100007F:9C43 0200007F:0050 01 00000000:00000000 00:00000000 00000000  1000        0 24045 1 0 20\n"
)

func TestTheTableOfTheKernelIsRead(t *testing.T) {
	t.Parallel()
	table := picture(t, map[string]string{
		"net/tcp":  tableHead + tableLine + listenLine + foreignLine,
		"net/tcp6": tableHead + mappedLine + sixLine,
	})
	sockets, err := table.Connections([]uint16{554})
	if err != nil || sockets.Method != Procfs || sockets.Why != nil {
		t.Fatalf("%+v, %v", sockets, err)
	}
	want := []Conn{
		{Local: netip.MustParseAddrPort("127.0.0.1:40000"), Remote: netip.MustParseAddrPort("127.0.0.2:554"), State: Established, Inode: 24042, UID: 1000, RecvQueue: 1000},
		{Local: netip.MustParseAddrPort("127.0.0.1:40001"), Remote: netip.MustParseAddrPort("127.0.0.2:554"), State: SynSent, Inode: 24043},
		{Local: netip.MustParseAddrPort("[::1]:40002"), Remote: netip.MustParseAddrPort("[fe80::5400:ff:0:1]:554"), State: CloseWait, Inode: 24044, UID: 65534, RecvQueue: 1},
	}
	if len(sockets.Conns) != len(want) {
		t.Fatalf("%+v", sockets.Conns)
	}
	for i := range want {
		if sockets.Conns[i] != want[i] {
			t.Errorf("%+v, not %+v", sockets.Conns[i], want[i])
		}
	}
}

func TestAKernelWithoutIPv6HasOneTable(t *testing.T) {
	t.Parallel()
	table := picture(t, map[string]string{"net/tcp": tableHead + tableLine})
	if sockets, err := table.Connections([]uint16{554}); len(sockets.Conns) != 1 || err != nil {
		t.Errorf("%+v, %v", sockets, err)
	}
	table = picture(t, map[string]string{"net/tcp6": tableHead + sixLine})
	if sockets, err := table.Connections([]uint16{554}); err == nil {
		t.Errorf("without the first table: %+v", sockets)
	}
}

func TestATornTableIsAnErrorAndNotAShortOne(t *testing.T) {
	t.Parallel()
	for _, torn := range []string{
		tableLine[:70] + "\n",
		strings.Replace(tableLine, "0100007F:9C40", "0100007F", 1),
		strings.Replace(tableLine, "0100007F:9C40", "01007F:9C40", 1),
		strings.Replace(tableLine, "0100007F:9C40", "0100007F:19C40", 1),
		strings.Replace(tableLine, "0100007F:9C40", "0100007G:9C40", 1),
		strings.Replace(tableLine, " 01 ", " XX ", 1),
		strings.Replace(tableLine, ":000003E8", "", 1),
		strings.Replace(tableLine, " 24042 ", " -1 ", 1),
		strings.Replace(tableLine, " 1000 ", " root ", 1),
	} {
		conns, err := parseNetTCP(strings.NewReader(tableHead+listenLine+torn), []uint16{554})
		if err == nil || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%q: %+v, %v", torn, conns, err)
		}
	}
}

func FuzzParseNetTCP(f *testing.F) {
	f.Add(tableHead + tableLine + listenLine)
	f.Add(tableHead + mappedLine + sixLine)
	f.Fuzz(func(t *testing.T, table string) {
		conns, err := parseNetTCP(strings.NewReader(table), []uint16{554})
		if err != nil && conns != nil {
			t.Errorf("%d connections with %v", len(conns), err)
		}
		for _, conn := range conns {
			if conn.Remote.Port() != 554 || conn.Remote.Addr().Is4In6() || conn.SilentKnown || conn.RecvQueue < 0 {
				t.Errorf("%+v", conn)
			}
		}
	})
}
