package proc_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/proc"
)

func TestListener_byEveryAddress(t *testing.T) {
	t.Parallel()
	everywhere, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	port := everywhere.Addr().(*net.TCPAddr).AddrPort().Port()
	here := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	first, found, err := proc.Default().Listening(here)
	if err != nil || !found || first.Inode == 0 || int(first.UID) != os.Geteuid() {
		t.Fatalf("%+v, %v, %v", first, found, err)
	}
	if again, found, _ := proc.Default().Listening(netip.AddrPortFrom(netip.MustParseAddr("127.3.4.5"), port)); !found || again != first {
		t.Errorf("by another address of this host: %+v, %v", again, found)
	}
	if other, found, _ := proc.Default().Listening(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port)); found {
		t.Errorf("an address of another host leads to a socket of this one: %+v", other)
	}
	id, err := proc.Default().Holder(first)
	if err != nil || id.PID != os.Getpid() {
		t.Errorf("held by %v, %v", id, err)
	}
	everywhere.Close()
	// A process that another test is just starting has a copy of it until its exec.
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		gone, found, _ := proc.Default().Listening(here)
		if !found || gone != first {
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("closed, and still found: %+v", gone)
		}
	}
}

func TestAListenerAtAPathIsFound(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	found, ok, err := proc.Default().ListeningAt(path)
	if err != nil || !ok || found.Inode == 0 || int(found.UID) != os.Geteuid() {
		t.Fatalf("%+v, %v, %v", found, ok, err)
	}
	if _, ok, _ := proc.Default().ListeningAt(path + "2"); ok {
		t.Error("nobody listens there")
	}
}
