package archive

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Between the look at a name and its removal somebody puts another file, or a link, under it.
func TestAside_removesTheFileThatWasListed(t *testing.T) {
	t.Parallel()
	for name, swap := range map[string]func(path string) error{
		"another file": func(path string) error { return os.WriteFile(path, []byte("precious"), 0o644) },
		"a symlink":    func(path string) error { return os.Symlink("/etc/hostname", path) },
		"a folder":     func(path string) error { return os.Mkdir(path, 0o755) },
		"a pipe":       func(path string) error { return unix.Mkfifo(path, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "still.jpg")
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			dir, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(dir)
			entries, err := list(dir)
			if err != nil || len(entries) != 1 {
				t.Fatal(entries, err)
			}
			// Renamed away, not removed, so that its inode is not used again at once.
			if err := errors.Join(os.Rename(path, path+".moved"), swap(path)); err != nil {
				t.Fatal(err)
			}
			a, err := newAside(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.remove(candidate{entry: entries[0]}); !errors.Is(err, errOther) {
				t.Errorf("the removal says %v", err)
			}
			a.close()
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 2 || left[0].Name() != "still.jpg" {
				t.Errorf("there are %v", left)
			}
		})
	}
}
