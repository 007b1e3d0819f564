package commands_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/commands"
)

func TestHelpTexts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "round", "snapshot", "prune", "schema", "reap", "doctor", "discover", "streams", "streams list", "streams add", "streams purge", "streams flush", "config", "config init", "config check", "config show", "config import", "completion", "version"} {
		got := run(t, append(strings.Fields(name), "--help")...)
		commands.Golden(t, filepath.Join("testdata", "help", strings.Join(append([]string{"camwarden"}, strings.Fields(name)...), "-")+".txt"), got.stdout)
	}
}

// TestGenerate_committedPagesAreCurrent fails when make generate would change something.
func TestGenerate_committedPagesAreCurrent(t *testing.T) {
	t.Parallel()
	fresh := t.TempDir()
	if got := run(t, "generate", fresh); got.code != 0 {
		t.Fatal(got.stderr)
	}
	want, have := list(t, fresh), append(list(t, filepath.Join("..", "man")), list(t, filepath.Join("..", "completions"))...)
	have = append(have, filepath.Join("..", "docs", "cameras.md"))
	if !slices.Equal(base(want), base(have)) {
		t.Errorf("make generate writes %v, committed are %v", base(want), base(have))
	}
	for _, path := range want {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(fresh, path)
		if err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile(filepath.Join("..", relative))
		if err != nil {
			t.Error(err)
		} else if string(committed) != string(text) {
			t.Errorf("%s is not what the command tree gives: make generate", relative)
		}
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func base(paths []string) []string {
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	slices.Sort(names)
	return names
}
