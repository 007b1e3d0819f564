package proc_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/proc"
)

func TestOneConnectionIsBrokenAndItsNeighbourIsNot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_NET_ADMIN")
	}
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	broken, whole := dial(), dial()
	var wanted proc.Conn
	sockets, err := proc.Default().Connections([]uint16{uint16(listener.Addr().(*net.TCPAddr).Port)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range sockets.Conns {
		if c.Local.String() == broken.LocalAddr().String() {
			wanted = c
		}
	}
	// Another socket that got the same ends is not meant.
	other := wanted
	other.Inode++
	if err := proc.Default().Disconnect(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("by another inode: %v", err)
	}
	if err := proc.Default().Disconnect(wanted); errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, fs.ErrPermission) {
		t.Skip("this kernel breaks no connections: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	_ = broken.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := broken.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("the broken one says %v", err)
	}
	_ = whole.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := whole.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("its neighbour says %v", err)
	}
	if err := proc.Default().Disconnect(wanted); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("again: %v", err)
	}
}
