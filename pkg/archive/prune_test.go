package archive_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/archive"
)

// now is when the tests prune.
func now() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }

// put writes a still of so many bytes, taken so long before now, and returns its path.
func put(t testing.TB, dir, camera string, before time.Duration, size int) string {
	t.Helper()
	path := filepath.Join(dir, template(t, archive.DefaultTemplate).Path(camera, now().Add(-before)))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, size), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

func prune(t testing.TB, dir string, policy archive.Policy, dry bool) archive.Result {
	t.Helper()
	result, err := archive.Prune(t.Context(), archive.Pruning{
		Dir: dir, Template: template(t, archive.DefaultTemplate), Policy: policy, Now: now(), DryRun: dry,
	})
	if err != nil || len(result.Errors) > 0 {
		t.Fatal(err, result.Errors)
	}
	return result
}

// tree lists everything below dir, symlinks and folders too.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestPrune_keepsWhatThePolicySays(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, c := range map[string]struct {
		policy archive.Policy
		stays  []time.Duration // of one camera with a still of 10 bytes every hour for ten hours
		other  int             // stills that stay of another camera, with three old ones
	}{
		"off":                        {archive.Policy{}, []time.Duration{0, hour, 2 * hour, 3 * hour, 4 * hour, 5 * hour, 6 * hour, 7 * hour, 8 * hour, 9 * hour}, 3},
		"for":                        {archive.Policy{For: 2*hour + 30*time.Minute}, []time.Duration{0, hour, 2 * hour}, 1},
		"most":                       {archive.Policy{Most: 2}, []time.Duration{0, hour}, 2},
		"bytes":                      {archive.Policy{Bytes: 45}, []time.Duration{0, hour, 2 * hour, 3 * hour}, 1},
		"bytes, and the rest is old": {archive.Policy{Bytes: 35, For: 5 * hour}, []time.Duration{0, hour, 2 * hour}, 1},
		"nothing may stay":           {archive.Policy{For: time.Nanosecond, Most: 1, Bytes: 1}, []time.Duration{0}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var want []string
			for i := range 10 {
				before := time.Duration(i) * hour
				if path := put(t, dir, "gate", before, 10); slices.Contains(c.stays, before) {
					want = append(want, path)
				}
			}
			for i := range 3 {
				put(t, dir, "yard", 100*hour+time.Duration(i)*hour, 10)
			}
			dry := prune(t, dir, c.policy, true)
			result := prune(t, dir, c.policy, false)
			got, _ := filepath.Glob(filepath.Join(dir, "gate", "*"))
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: there are %v, want %v", c.policy, got, want)
			}
			others, _ := filepath.Glob(filepath.Join(dir, "yard", "*"))
			if len(others) != c.other {
				t.Errorf("%d stills of the other camera stay, want %d", len(others), c.other)
			}
			removed := 13 - len(want) - c.other
			if result.Removed != removed || result.FreedBytes != int64(10*removed) || result.Kept != 13-removed || !result.Finished {
				t.Errorf("%+v, want %d removed", result, removed)
			}
			if dry.Removed != removed || dry.FreedBytes != result.FreedBytes {
				t.Errorf("a dry run says %+v", dry)
			}
		})
	}
}

func TestPrune_leavesWhatIsNoStillAlone(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	old := 1000 * time.Hour
	put(t, dir, "gate", 0, 1)
	victim := put(t, outside, "gate", old, 1)
	for _, name := range []string{"gate/notes.txt", "gate/20200101T000000.000Z.jpg.bak", "README", "gate/.20200101T000000.000Z.jpg"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Folders and links under the names of stills, links that lead out, a pipe.
	err := errors.Join(
		os.Mkdir(filepath.Join(dir, "gate", "20200101T000000.001Z.jpg"), 0o755),
		os.Symlink(victim, filepath.Join(dir, "gate", "20200101T000000.002Z.jpg")),
		os.Symlink(filepath.Join(outside, "gate"), filepath.Join(dir, "elsewhere")),
		unix.Mkfifo(filepath.Join(dir, "gate", "20200101T000000.003Z.jpg"), 0o644),
		os.Symlink("20200101T000000.000Z.jpg", filepath.Join(dir, "gate", archive.Latest)),
	)
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	result := prune(t, dir, archive.Policy{For: time.Hour}, false)
	if after := tree(t, dir); !slices.Equal(before, after) || result.Removed != 0 || result.Foreign != 4 {
		t.Errorf("%+v; before\n%s\nafter\n%s", result, strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if _, err := os.Stat(victim); err != nil {
		t.Error("a file outside was removed: ", err)
	}
}

// A clock that was wrong, or was set back: the still that latest.jpg points at is not the newest by its name, and neither goes.
func TestPrune_keepsTheLastStillOfAnyClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	future, last, old := put(t, dir, "gate", -1000*time.Hour, 1), put(t, dir, "gate", 500*time.Hour, 1), put(t, dir, "gate", 501*time.Hour, 1)
	if err := os.Symlink(filepath.Base(last), filepath.Join(dir, "gate", archive.Latest)); err != nil {
		t.Fatal(err)
	}
	prune(t, dir, archive.Policy{For: time.Hour, Most: 1}, false)
	for path, want := range map[string]bool{future: true, last: true, old: false} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
}

func TestPrune_stopsWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 20 {
		put(t, dir, "gate", time.Duration(i)*time.Hour, 1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := archive.Prune(ctx, archive.Pruning{Dir: dir, Template: template(t, archive.DefaultTemplate), Policy: archive.Policy{Most: 1}, Now: now()})
	if err != nil || result.Finished || result.Removed != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if got := prune(t, dir, archive.Policy{Most: 1}, false); got.Removed != 19 || !got.Finished {
		t.Errorf("%+v", got)
	}
}

func TestPrune_removesEmptyFoldersOfDays(t *testing.T) {
	t.Parallel()
	dir, tpl := t.TempDir(), template(t, "{camera}/{date}/{time}.jpg")
	for i := range 48 {
		path := filepath.Join(dir, tpl.Path("gate", now().Add(-time.Duration(i)*time.Hour)))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := archive.Prune(t.Context(), archive.Pruning{Dir: dir, Template: tpl, Policy: archive.Policy{For: 6 * time.Hour}, Now: now()}); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, dir)[:3], []string{"", "/gate", "/gate/2026-11-29"}; !slices.Equal(got, want) || len(tree(t, dir)) != 3+7 {
		t.Errorf("there are %v", tree(t, dir))
	}
}

func TestPrune_severalAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for camera := range 8 {
		for i := range 60 {
			put(t, dir, fmt.Sprintf("cam%d", camera), time.Duration(i)*time.Hour, 1)
		}
	}
	var all sync.WaitGroup
	removed := make([]int, 4)
	for i := range removed {
		all.Go(func() {
			result, err := archive.Prune(t.Context(), archive.Pruning{Dir: dir, Template: template(t, archive.DefaultTemplate), Policy: archive.Policy{Most: 10}, Now: now()})
			if err != nil || len(result.Errors) > 0 {
				t.Error(err, result.Errors)
			}
			removed[i] = result.Removed
		})
	}
	all.Wait()
	sum := 0
	for _, n := range removed {
		sum += n
	}
	if got := len(tree(t, dir)); got != 1+8+8*10 || sum != 8*50 {
		t.Errorf("%d names are there, want %d; %d were removed, want %d", got, 1+8+8*10, sum, 8*50)
	}
}

// stills counts what looks like a still while it may be on its way.
func stills(dir string) int {
	in, _ := filepath.Glob(filepath.Join(dir, "*", "*.jpg"))
	aside, _ := filepath.Glob(filepath.Join(dir, "*", ".camwarden-prune-*", "*.jpg"))
	return len(in) + len(aside)
}

// TestPrune_killedAtAnyMomentLosesNothing kills prunings, one after the other, and looks after the last at what is there.
func TestPrune_killedAtAnyMomentLosesNothing(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("PRUNE_AND_BE_KILLED"); dir != "" { // this is the child
		for parent := os.Getppid(); os.Getppid() == parent; { // who kills us
			_, _ = archive.Prune(t.Context(), archive.Pruning{Dir: dir, Template: template(t, archive.DefaultTemplate), Policy: archive.Policy{Most: 3}, Now: now()})
		}
		return
	}
	dir := t.TempDir()
	var stay []string
	for camera := range 20 {
		for i := range 100 {
			if path := put(t, dir, fmt.Sprintf("cam%d", camera), time.Duration(i)*time.Hour, 1); i < 3 {
				stay = append(stay, path)
			}
		}
	}
	for i := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestPrune_killedAtAnyMomentLosesNothing$")
		cmd.Env = append(os.Environ(), "PRUNE_AND_BE_KILLED="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := sync.OnceFunc(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		t.Cleanup(end)
		for stills(dir) > 1900-300*i { // as much is gone as shall be at this kill
			time.Sleep(time.Millisecond)
		}
		end()
	}
	prune(t, dir, archive.Policy{Most: 3}, false)
	got := tree(t, dir)
	if len(got) != 1+20+60 {
		t.Errorf("%d names are there, want %d: %v", len(got), 1+20+60, got)
	}
	for _, path := range stay {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// A pruning was killed after it had taken a file out of its folder that somebody had put under the name of an old still.
func TestPrune_putsBackWhatAKilledOneTookOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keep := put(t, dir, "gate", 0, 1)
	aside := filepath.Join(dir, "gate", ".camwarden-prune-KILLED")
	if err := errors.Join(os.Mkdir(aside, 0o700), os.Rename(keep, filepath.Join(aside, filepath.Base(keep)))); err != nil {
		t.Fatal(err)
	}
	prune(t, dir, archive.Policy{For: time.Hour}, false)
	if got, want := tree(t, dir), []string{"", "/gate", strings.TrimPrefix(keep, dir)}; !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
}

func TestPrune_removesWhatKilledRunsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "gate", 0, 1)
	old, young := filepath.Join(dir, "gate", ".camwarden-OLD.tmp"), filepath.Join(dir, "gate", ".camwarden-YOUNG.tmp")
	err := errors.Join(os.Symlink("somewhere", old), os.WriteFile(young, nil, 0o644))
	hourAgo := unix.NsecToTimespec(time.Now().Add(-time.Hour).UnixNano())
	err = errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, old, []unix.Timespec{hourAgo, hourAgo}, unix.AT_SYMLINK_NOFOLLOW))
	if err != nil {
		t.Fatal(err)
	}
	prune(t, dir, archive.Policy{For: time.Hour}, false)
	for path, want := range map[string]bool{old: false, young: true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
}
