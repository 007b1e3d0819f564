package lockout

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

func open(t *testing.T, dir string) *ledger.Ledger {
	t.Helper()
	book, err := ledger.Open(ledger.Dirs{Runtime: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")}, proc.Default(), "test")
	if err != nil {
		t.Fatal(err)
	}
	return book
}

func logIn(at, user, password string) LogIn {
	return LogIn{netip.MustParseAddrPort(at), user, password}
}

func TestLockout_roundsDoNotRepeatARefusal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	wrong := logIn("127.40.1.1:80", "viewer", "hunter2")
	if err := Open(open(t, dir), false).Check(wrong); err != nil {
		t.Errorf("nothing is known yet: %v", err)
	}
	if err := Open(open(t, dir), false).Refused(wrong); err != nil {
		t.Fatal(err)
	}
	later := Open(open(t, dir), false)
	if err := later.Check(wrong); err == nil || err.Class != fault.Auth || strings.Contains(err.Message+err.Hint, "hunter2") {
		t.Errorf("%+v", err)
	}
	for _, other := range []LogIn{
		logIn("127.40.1.1:81", "viewer", "hunter2"), logIn("127.40.1.2:80", "viewer", "hunter2"), logIn("127.40.1.1:80", "admin", "hunter2"),
		logIn("127.40.1.1:80", "viewer", "hunter3"), logIn("127.40.1.1:80", "viewerh", "unter2"), logIn("127.40.1.1:80", "", ""),
	} {
		if err := later.Check(other); err != nil {
			t.Errorf("%v was never refused: %v", other, err)
		}
	}
	hand := Open(open(t, dir), true)
	if err := hand.Check(wrong); err != nil {
		t.Errorf("by hand it is tried: %v", err)
	}
	if err := hand.Refused(wrong); err != nil {
		t.Fatal(err)
	}
	if err := hand.Check(wrong); err == nil {
		t.Error("by hand it is tried twice in one run")
	}
	if err := Open(open(t, dir), true).Accepted(wrong, false); err != nil {
		t.Fatal(err)
	}
	if err := Open(open(t, dir), false).Check(wrong); err != nil {
		t.Errorf("it was accepted since: %v", err)
	}
}

func TestLockout_aRefusalIsForgottenInTime(t *testing.T) {
	t.Parallel()
	book := open(t, t.TempDir())
	m := Open(book, false)
	old := logIn("127.40.1.1:80", "viewer", "hunter2")
	for _, at := range []time.Time{time.Now().Add(-For - time.Second), time.Now().Add(time.Hour)} {
		m.load()
		m.notes.Refused[m.notes.of(old)] = at
		if err := book.Save(record, m.notes); err != nil {
			t.Fatal(err)
		}
		again := Open(book, false)
		if err := again.Check(old); err != nil {
			t.Errorf("refused at %s: %v", at, err)
		}
		if err := again.Refused(logIn("127.40.1.9:80", "a", "b")); err != nil {
			t.Fatal(err)
		}
		if n := len(again.notes.Refused); n != 1 && at.Before(time.Now()) {
			t.Errorf("%d refusals are kept", n)
		}
	}
}

func TestLockout_theRecordHoldsNoPassword(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Open(open(t, dir), false).Refused(logIn("127.40.1.1:80", "viewer", "hunter2")); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "hunter2") || strings.Contains(string(text), "viewer") {
			t.Errorf("%s: %s", path, text)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestLockout_severalRunsAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	users := []string{"a", "b", "c", "d", "e", "f"}
	for _, user := range users {
		book := open(t, dir)
		all.Go(func() {
			if err := Open(book, false).Refused(logIn("127.40.1.1:80", user, "x")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	m := Open(open(t, dir), false)
	for _, user := range users {
		if m.Check(logIn("127.40.1.1:80", user, "x")) == nil {
			t.Errorf("the refusal of %s is lost", user)
		}
	}
}

func TestLockout_whatWasRightOnceIsKnown(t *testing.T) {
	t.Parallel()
	book := open(t, t.TempDir())
	right := logIn("127.40.1.1:80", "viewer", "x")
	if _, ok := Open(book, false).Once(right); ok {
		t.Error("it was never accepted")
	}
	if err := Open(book, false).Accepted(right, true); err != nil {
		t.Fatal(err)
	}
	if at, ok := Open(book, false).Once(right); !ok || time.Since(at) > time.Minute {
		t.Errorf("%s %v", at, ok)
	}
	var none *Memory
	if none.Check(right) != nil || none.Refused(right) != nil || none.Accepted(right, true) != nil {
		t.Error("no memory has no opinion")
	}
}
