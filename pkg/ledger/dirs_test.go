package ledger_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// playOpen opens the ledger in a folder as whoever runs it, and says what it found.
func playOpen(args []string) error {
	l, err := openIn(args[0])
	if err != nil {
		return err
	}
	_, torn, err := l.Read()
	if err != nil {
		return err
	}
	s := saying{State: "open"}
	for _, one := range torn {
		s.Torn = append(s.Torn, one.Why)
	}
	say(s)
	return nil
}

// sharedDir is a folder that an ordinary user can reach and, being its owner, write to. As an ordinary user it is simply ours.
func sharedDir(t *testing.T, uid int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as another user")
	}
	dir, err := os.MkdirTemp("/tmp", "camwarden-test-")
	testkit.Check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	testkit.Check(t, os.Chown(dir, uid, uid))
	return dir
}

func TestWhereTheLedgerIs(t *testing.T) {
	t.Parallel()
	const nobody = 4242 // owns nothing here
	mine := t.TempDir()
	testkit.Check(t, os.Chmod(mine, 0o700))
	loose := t.TempDir()
	testkit.Check(t, os.Chmod(loose, 0o755))
	me := os.Geteuid()
	for _, test := range []struct {
		what, flag string
		uid        int
		env        map[string]string
		want       ledger.Dirs
	}{
		{"an explicit folder wins", "/srv/cw", me, map[string]string{"RUNTIME_DIRECTORY": "/run/x"}, ledger.Dirs{Runtime: "/srv/cw/run", State: "/srv/cw/state"}},
		{"systemd names both, as lists", "", me, map[string]string{"RUNTIME_DIRECTORY": "/run/x:/run/y", "STATE_DIRECTORY": "/var/lib/x"}, ledger.Dirs{Runtime: "/run/x", State: "/var/lib/x"}},
		{"systemd names one", "", 0, map[string]string{"RUNTIME_DIRECTORY": "/run/x"}, ledger.Dirs{Runtime: "/run/x", State: "/var/lib/camwarden"}},
		{"root, whatever the session says", "", 0, map[string]string{"XDG_RUNTIME_DIR": mine, "XDG_STATE_HOME": mine, "HOME": "/root"}, ledger.Dirs{Runtime: "/run/camwarden", State: "/var/lib/camwarden"}},
		{"a session's folder that is another user's", "", nobody, map[string]string{"XDG_RUNTIME_DIR": mine, "HOME": "/home/n"}, ledger.Dirs{Runtime: "/tmp/camwarden-4242", State: "/home/n/.local/state/camwarden"}},
		{"cron", "", nobody, map[string]string{"HOME": "/home/n"}, ledger.Dirs{Runtime: "/tmp/camwarden-4242", State: "/home/n/.local/state/camwarden"}},
		{"no home", "", nobody, nil, ledger.Dirs{Runtime: "/tmp/camwarden-4242", State: "/var/tmp/camwarden-4242"}},
		{"a state folder of its own", "", nobody, map[string]string{"XDG_STATE_HOME": "/home/n/s"}, ledger.Dirs{Runtime: "/tmp/camwarden-4242", State: "/home/n/s/camwarden"}},
	} {
		got, err := ledger.DirsFor(test.flag, func(name string) string { return test.env[name] }, test.uid)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.what, got, err, test.want)
		}
	}
	if me != 0 {
		for dir, want := range map[string]string{mine: mine + "/camwarden", loose: fmt.Sprintf("/tmp/camwarden-%d", me)} {
			got, err := ledger.DirsFor("", func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": dir}[name] }, me)
			if err != nil || got.Runtime != want {
				t.Errorf("XDG_RUNTIME_DIR=%s: %+v, %v; want %s", dir, got, err, want)
			}
		}
	}
}

func TestAFolderThatOthersPreparedInTmpIsRefused(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as another user")
	}
	const uid = 3000000000 % (1 << 31)
	for what, prepare := range map[string]func(dir string, uid int) error{
		"user 0": func(dir string, _ int) error { return os.Mkdir(dir, 0o700) },
		"symlink": func(dir string, uid int) error {
			return errors.Join(os.Symlink("/tmp", dir), os.Lchown(dir, uid, uid))
		},
		"mode 0755": func(dir string, uid int) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, uid, uid))
		},
		"in the way": func(dir string, uid int) error {
			return errors.Join(os.WriteFile(dir, nil, 0o600), os.Chown(dir, uid, uid))
		},
	} {
		uid := uid + os.Getpid()
		dir := fmt.Sprintf("/tmp/camwarden-%d", uid)
		testkit.Check(t, prepare(dir, uid))
		_, err := ledger.DirsFor("", func(string) string { return "" }, uid)
		testkit.Check(t, os.RemoveAll(dir))
		localWithHint(t, err, what, dir)
	}
}

func TestOpenRefusesPlacesThatAreNotSafelyOurs(t *testing.T) {
	t.Parallel()
	for what, prepare := range map[string]func(base string) error{
		"in the way": func(base string) error { return os.WriteFile(filepath.Join(base, "run"), nil, 0o600) },
		"symlink":    func(base string) error { return os.Symlink("/tmp", filepath.Join(base, "run")) },
		"other users": func(base string) error {
			return errors.Join(os.Mkdir(filepath.Join(base, "state"), 0o700), os.Chmod(filepath.Join(base, "state"), 0o777))
		},
		"mode 0755": func(base string) error {
			return errors.Join(os.Mkdir(filepath.Join(base, "run"), 0o755), os.Mkdir(filepath.Join(base, "run", "leases"), 0o755))
		},
	} {
		base := t.TempDir()
		testkit.Check(t, prepare(base))
		_, err := openIn(base)
		localWithHint(t, err, what, base)
	}
	// A path that leads through a file.
	base := t.TempDir()
	testkit.Check(t, os.WriteFile(filepath.Join(base, "file"), nil, 0o600))
	_, err := openIn(filepath.Join(base, "file", "below"))
	localWithHint(t, err, "not a directory", base)
	// As systemd makes it: readable for all, ours.
	base = t.TempDir()
	testkit.Check(t, os.Mkdir(filepath.Join(base, "run"), 0o755))
	_, err = openIn(base)
	testkit.Check(t, err)
}

func TestAnOrdinaryUserIsToldWhatHeMayNotWrite(t *testing.T) {
	t.Parallel()
	base := sharedDir(t, 0)
	testkit.Check(t, os.Chmod(base, 0o755))
	got := startAs(t, 65534, "open", base).hear()
	if got.Error == nil {
		t.Fatal("opened a ledger in root's folder")
	}
	localWithHint(t, got.Error, "permission denied", base)

	testkit.Check(t, os.Mkdir(filepath.Join(base, "run"), 0o755))
	got = startAs(t, 65534, "open", base).hear()
	localWithHint(t, got.Error, "belongs to user 0", base)
	if left := files(t, base); left != "" {
		t.Errorf("half-written: %s", left)
	}
}

func TestAReadOnlyLedgerSaysSo(t *testing.T) {
	t.Parallel()
	base := sharedDir(t, 65534)
	if got := startAs(t, 65534, "open", base).hear(); got.Error != nil {
		t.Fatal(got.Error)
	}
	testkit.Check(t, os.Chmod(filepath.Join(base, "run", "leases"), 0o500))
	got := startAs(t, 65534, "lease", base, "process", "1m").hear()
	if got.Error == nil {
		t.Fatal("wrote into a folder without write permission")
	}
	localWithHint(t, got.Error, "permission denied", "lease")
}

func TestLedger_fullDiskLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Skipf("a small file system of our own is not permitted here: %v", err)
	}
	t.Cleanup(func() { testkit.Check(t, unix.Unmount(base, unix.MNT_DETACH)) })
	l := open(t, base)
	held, err := l.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Deadline: inAMinute()})
	testkit.Check(t, err)
	stream, err := l.Write(ledger.Lease{Kind: ledger.Stream, Name: "camwarden-gate", Deadline: inAMinute()})
	testkit.Check(t, err)
	testkit.Check(t, l.Save("turn", map[string]int{"next": 3}))
	ballast := filepath.Join(base, "ballast")
	f, err := os.Create(ballast)
	testkit.Check(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	testkit.Check(t, f.Close())
	before := files(t, base)

	_, err = l.Write(ledger.Lease{Kind: ledger.Process, Deadline: inAMinute()})
	localWithHint(t, err, "no space left", base)
	_, err = l.Write(ledger.Lease{Kind: ledger.Stream})
	localWithHint(t, err, "no space left")
	was := held.Lease()
	localWithHint(t, held.Update(func(l *ledger.Lease) { l.Note = "grown" }), "no space left")
	localWithHint(t, held.Cool(inAMinute()), "no space left")
	localWithHint(t, stream.Update(func(l *ledger.Lease) { l.Note = "grown" }), "no space left")
	localWithHint(t, l.Save("turn", map[string]int{"next": 4}), "no space left")
	lock, _, err := l.TryLock("round", time.Minute)
	if lock != nil {
		t.Error("a lock that nobody could be asked about was given out")
	}
	localWithHint(t, err, "no space left")

	if held.Lease() != was {
		t.Errorf("after failing the lease is %+v, want %+v", held.Lease(), was)
	}
	var turn map[string]int
	if ok, err := l.Load("turn", &turn); !ok || err != nil || turn["next"] != 3 {
		t.Errorf("the record is %v (%v, %v), want the old one", turn, ok, err)
	}
	if after := strings.Replace(files(t, base), "run/locks/round.lock\n", "", 1); after != before {
		t.Errorf("files before\n%s\nand after\n%s", before, after)
	}
	if got := read(t, l); len(got) != 2 {
		t.Errorf("leases: %+v", got)
	}
	testkit.Check(t, held.Strike())
	testkit.Check(t, stream.Strike())
	testkit.Check(t, os.Remove(ballast))
	_, err = l.Write(ledger.Lease{Kind: ledger.Process, Deadline: inAMinute()})
	testkit.Check(t, err)
	lock, _, err = l.TryLock("round", time.Minute)
	testkit.Check(t, err)
	testkit.Check(t, lock.Unlock())
}

func TestFoldersThatACleanerTookAwayAreMadeAnew(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	testkit.Check(t, os.RemoveAll(filepath.Join(base, "run")))
	_, err := l.Write(ledger.Lease{Kind: ledger.Process, Deadline: inAMinute()})
	testkit.Check(t, err)
	testkit.Check(t, os.RemoveAll(filepath.Join(base, "run")))
	if _, _, err := l.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a ledger that is not there reads as an empty one: %v", err)
	}
	lock, _, err := l.TryLock("round", time.Minute)
	testkit.Check(t, err)
	testkit.Check(t, lock.Unlock())
}

func TestRecords_tornOnesAreSetAside(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := open(t, base)
	type turn struct {
		Next int    `json:"next"`
		Who  string `json:"who"`
	}
	var got turn
	if ok, err := l.Load("turn/門", &got); ok || err != nil {
		t.Fatalf("a record that was never saved: %v, %v", ok, err)
	}
	testkit.Check(t, l.Save("turn/門", turn{Next: 7, Who: "x"}))
	if ok, err := open(t, base).Load("turn/門", &got); !ok || err != nil || got.Next != 7 {
		t.Fatalf("loaded %+v, %v, %v", got, ok, err)
	}
	path := filepath.Join(base, files(t, base))
	for _, content := range []string{"", `{"next":9,"who"`, `{"next":9,"who":3}`, "\x00", strings.Repeat(" ", 2<<20)} {
		testkit.Check(t, os.WriteFile(path, []byte(content), 0o600))
		ok, err := l.Load("turn/門", &got)
		if ok || err != nil || got.Next != 7 {
			t.Errorf("torn record %.20q: %v, %v, and v became %+v", content, ok, err, got)
		}
		if _, err := os.Stat(path + ".torn"); err != nil {
			t.Errorf("torn record %.20q was not set aside: %v", content, err)
		}
		testkit.Check(t, os.Remove(path+".torn"))
	}
	testkit.Check(t, os.Mkdir(path, 0o700))
	_, err := l.Load("turn/門", &got)
	localWithHint(t, err, path)
	localWithHint(t, l.Save("turn/門", turn{}), path)
}

func TestOpenWithoutAProcessTableSaysSo(t *testing.T) {
	t.Parallel()
	_, err := ledger.Open(dirsIn(t.TempDir()), proc.FS{Root: t.TempDir()}, "run")
	localWithHint(t, err)
}
