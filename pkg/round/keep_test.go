package round

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
)

func still(at time.Time, data string) capture.Still {
	return capture.Still{JPEG: []byte(data), CapturedAt: at}
}

func mustKeep(t *testing.T, k Keeper, cam camera.Camera, s capture.Still) string {
	t.Helper()
	path, err := k.Keep(cam, s)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func contents(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func noLitter(t *testing.T, dir string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", ".camwarden-*"))
	more, err2 := filepath.Glob(filepath.Join(dir, ".camwarden-*"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if found = append(found, more...); len(found) > 0 {
		t.Errorf("temporary files are left: %v", found)
	}
}

func TestArchive_latestPointsAtTheLast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gate := camera.Camera{ID: "gate"}
	at := time.Date(2026, 1, 5, 22, 0, 0, 123e6, time.FixedZone("JST", 9*3600))
	first := mustKeep(t, Archive{Dir: dir}, gate, still(at, "one"))
	if want := filepath.Join(dir, "gate", "20260105T130000.123Z.jpg"); first != want {
		t.Errorf("kept as %s, want %s", first, want)
	}
	second := mustKeep(t, Archive{Dir: dir}, gate, still(at.Add(time.Second), "two"))
	if contents(t, first) != "one" || contents(t, second) != "two" {
		t.Error("a later picture changed an earlier one")
	}
	if got := contents(t, filepath.Join(dir, "gate", "latest.jpg")); got != "two" {
		t.Errorf("latest.jpg shows %q", got)
	}
	noLitter(t, dir)
}

func TestTwoPicturesOfTheSameMillisecondBothStay(t *testing.T) {
	t.Parallel()
	dir, at := t.TempDir(), time.Now()
	gate := camera.Camera{ID: "gate"}
	first := mustKeep(t, Archive{Dir: dir}, gate, still(at, "one"))
	second := mustKeep(t, Archive{Dir: dir}, gate, still(at, "two"))
	if first == second || contents(t, first) != "one" || contents(t, second) != "two" {
		t.Errorf("%s and %s: one picture took the place of the other", first, second)
	}
}

func TestAFileInTheWayOfLatestIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "gate", "latest.jpg")
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(link, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := (Archive{Dir: dir}).Keep(camera.Camera{ID: "gate"}, still(time.Now(), "one"))
	if fault.ClassOf(err) != fault.Local {
		t.Errorf("error %v, want one of class local", err)
	}
	if path == "" || contents(t, path) != "one" {
		t.Error("the picture itself must still be kept, and named")
	}
	if contents(t, link) != "mine" {
		t.Error("the user's file was replaced")
	}
	noLitter(t, dir)
}

func TestArchive_folderThatCannotBeMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "out"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, k := range []Keeper{Archive{Dir: filepath.Join(dir, "out")}, Folder{filepath.Join(dir, "out", "deeper")}, File{dir}, File{filepath.Join(dir, "no", "such", "x.jpg")}} {
		err := k.Prepare()
		known := fault.From(err, "", "")
		if known == nil || known.Class != fault.Local || known.Hint == "" {
			t.Errorf("%T: error %v (%+v), want class local with a hint", k, err, known)
		}
	}
	noLitter(t, dir)
}

func TestASnapshotReplacesItsOwnFileInOneStep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gate := camera.Camera{ID: "gate"}
	for _, k := range []Keeper{Folder{dir}, File{filepath.Join(dir, "gate.jpg")}} {
		if err := k.Prepare(); err != nil {
			t.Fatal(err)
		}
		mustKeep(t, k, gate, still(time.Now(), "old"))
		path := mustKeep(t, k, gate, still(time.Now(), "new"))
		if contents(t, path) != "new" {
			t.Errorf("%T kept %q", k, contents(t, path))
		}
	}
	noLitter(t, dir)
}
