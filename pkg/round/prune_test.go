package round

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/archive"
	"github.com/camwarden/camwarden/pkg/camera"
)

func TestArchive_namesByTemplate(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 5, 22, 0, 0, 123e6, time.UTC)
	for text, want := range map[string][2]string{
		"{camera}/{date}/{time}.jpg": {"gate/2026-01-05/220000.123Z.jpg", "gate/latest.jpg"},
		"{date}/{camera}-{time}.jpg": {"2026-01-05/gate-220000.123Z.jpg", "latest/gate.jpg"},
	} {
		dir := t.TempDir()
		name, err := archive.NewTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := mustKeep(t, Archive{Dir: dir, Name: name}, camera.Camera{ID: "gate"}, still(at, text)); got != filepath.Join(dir, want[0]) {
			t.Errorf("%s: kept as %s, want %s", text, got, want[0])
		}
		if got := contents(t, filepath.Join(dir, want[1])); got != text {
			t.Errorf("%s: the link shows %q", text, got)
		}
	}
}

func TestRunner_prunesAfterTheRound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keeper := Archive{Dir: dir}
	gate := camera.Camera{ID: "gate"}
	old := mustKeep(t, keeper, gate, still(time.Now().Add(-time.Hour), "old"))
	last := mustKeep(t, keeper, gate, still(time.Now(), "new"))
	r := &runner{plan: Plan{Keeper: keeper, Keep: archive.Policy{Most: 1}}, deps: Deps{Log: slog.New(slog.DiscardHandler)}}
	r.prune(t.Context())
	if _, err := os.Stat(old); err == nil {
		t.Error("an old still is there")
	}
	if contents(t, last) != "new" || r.report.Pruned == nil || r.report.Pruned.Removed != 1 {
		t.Errorf("%+v", r.report.Pruned)
	}
}

// TestRunner_keepsNothingOnAFullDisk needs a file system of its own, and so root.
func TestRunner_keepsNothingOnAFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("no tmpfs can be mounted here: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	keeper := Archive{Dir: dir}
	gate := camera.Camera{ID: "gate"}
	var kept []string
	for i := range 10 { // 1000 of 1024 KiB
		kept = append(kept, mustKeep(t, keeper, gate, still(time.Now().Add(time.Duration(i)*time.Second), string(make([]byte, 100<<10)))))
	}
	run := func(keep archive.Policy) *runner {
		r := &runner{plan: Plan{Keeper: keeper, Keep: keep}, deps: Deps{Log: slog.New(slog.DiscardHandler)}}
		r.makeRoom(t.Context())
		return r
	}
	if r := run(archive.Policy{}); r.plan.Keeper != nil {
		t.Error("pictures are kept on a disk that is full")
	}
	if r := run(archive.Policy{Most: 2}); r.plan.Keeper == nil {
		t.Error("pictures are not kept, though old ones made room")
	}
	left, _ := filepath.Glob(filepath.Join(dir, "gate", "2*.jpg"))
	if !slices.Equal(left, kept[8:]) {
		t.Errorf("%v are left, want the last two of %v", left, kept)
	}
}
