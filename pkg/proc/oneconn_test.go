package proc

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// A kernel that knows nothing of a protocol answers ENOENT too. To believe it would prove connections gone that stand.
func TestOneConnection_kernelThatCannotTell(t *testing.T) {
	t.Parallel()
	socket, err := openDiag(0)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	const nobodys = 253 // for experiments (RFC 3692): no kernel has a table of it
	local, remote := netip.MustParseAddrPort("127.0.0.1:9"), netip.MustParseAddrPort("127.0.0.2:9")
	if conn, err := findBy(socket, nobodys, local, remote, false); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v, %v", conn, err)
	}
	if conn, err := findBy(socket, unix.IPPROTO_TCP, local, remote, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of TCP: %+v, %v", conn, err)
	}
}

func TestOneConnection_foundByItsEnds(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{"IPv4": net.JoinHostPort(drawn(), "0"), "IPv6": "[::1]:0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", address)
			if err != nil {
				t.Skip(err)
			}
			defer listener.Close()
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			local, remote := netip.MustParseAddrPort(conn.LocalAddr().String()), netip.MustParseAddrPort(conn.RemoteAddr().String())
			found, err := Default().Connection(local, remote)
			if err != nil || found.Local != local || found.Remote != remote || found.State != Established || found.Inode == 0 || !found.SilentKnown {
				t.Errorf("%+v, %v", found, err)
			}
			if again, err := findConnection(local, remote, false); err != nil || again.Inode != found.Inode {
				t.Errorf("asked for by its ends alone: %+v, %v", again, err)
			}
			other := netip.AddrPortFrom(local.Addr(), local.Port()^1)
			if found, err := findConnection(other, remote, true); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("one that is not there: %+v, %v", found, err)
			}
			if found, err := findConnection(remote, netip.AddrPortFrom(local.Addr(), local.Port()^1), true); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a listener was taken for a connection: %+v, %v", found, err)
			}
			picture := FS{Root: t.TempDir()}
			if found, err := picture.Connection(local, remote); err == nil {
				t.Errorf("in an empty picture: %+v", found)
			}
			_ = conn.Close()
			testkit.Eventually(t, "it is gone", func() bool {
				found, err := Default().Connection(local, remote)
				return errors.Is(err, fs.ErrNotExist) || err == nil && found.State != Established
			})
		})
	}
}
