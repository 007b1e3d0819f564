package ledger_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/testkit"
)

// playHostLock takes the lock "server" of the host whose folder is args[1], with a ledger of its own.
func playHostLock(args []string) error {
	l, err := openIn(args[0])
	if err != nil {
		return err
	}
	l.SetHostDir(args[1])
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	lock, _, err := l.LockHost(ctx, "server", time.Minute)
	if err != nil {
		return err
	}
	s := saying{State: "busy"}
	if lock != nil {
		s.State = "held"
	}
	say(s)
	wait()
	return lock.Unlock()
}

// hostDir is a folder like /run/lock: sticky, and everybody may write to it.
func hostDir(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir := sharedDir(t, os.Geteuid())
	testkit.Check(t, os.Chmod(dir, mode))
	return dir
}

func TestUsersOfOneHostExcludeEachOther(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
	t.Parallel()
	for _, users := range [][2]int{{0, 65534}, {65534, 0}, {65534, 65533}} {
		host := hostDir(t, 0o777|os.ModeSticky)
		first := startAs(t, users[0], "hostlock", sharedDir(t, users[0]), host)
		if said := first.hear(); said.State != "held" {
			t.Fatalf("uid %d: %+v", users[0], said)
		}
		second := startAs(t, users[1], "hostlock", sharedDir(t, users[1]), host)
		if said := second.hear(); said.State != "busy" {
			t.Errorf("uid %d beside uid %d: %+v", users[1], users[0], said)
		}
		first.Kill()
		third := startAs(t, users[1], "hostlock", sharedDir(t, users[1]), host)
		if said := third.hear(); said.State != "held" {
			t.Errorf("uid %d after uid %d: %+v", users[1], users[0], said)
		}
	}
}

func TestLockHost_withoutASharedFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be a user who may not write to a folder of root's")
	}
	t.Parallel()
	host := hostDir(t, 0o755)
	base := sharedDir(t, 65534)
	first := startAs(t, 65534, "hostlock", base, host)
	if said := first.hear(); said.State != "held" {
		t.Fatalf("%+v", said)
	}
	if said := startAs(t, 65534, "hostlock", base, host).hear(); said.State != "busy" {
		t.Errorf("the same user again: %+v", said)
	}
	first.Kill()
	// Once root has made the lock there, it is everybody's.
	root := startAs(t, 0, "hostlock", sharedDir(t, 0), host)
	if said := root.hear(); said.State != "held" {
		t.Fatalf("%+v", said)
	}
	if said := startAs(t, 65534, "hostlock", base, host).hear(); said.State != "busy" {
		t.Errorf("beside root: %+v", said)
	}
}

func TestWhatIsNoLockFileIsRefusedInASharedFolder(t *testing.T) {
	t.Parallel()
	for what, put := range map[string]func(path string) error{
		"a pipe":    func(path string) error { return unix.Mkfifo(path, 0o666) },
		"a symlink": func(path string) error { return os.Symlink("/etc/passwd", path) },
		"a folder":  func(path string) error { return os.Mkdir(path, 0o777) },
	} {
		host := hostDir(t, 0o777|os.ModeSticky)
		testkit.Check(t, put(filepath.Join(host, "camwarden-server.lock")))
		l := open(t, t.TempDir())
		l.SetHostDir(host)
		lock, _, err := l.LockHost(t.Context(), "server", time.Minute)
		if lock != nil {
			t.Errorf("%s was taken for a lock", what)
		}
		localWithHint(t, err, "camwarden-server.lock")
	}
}
