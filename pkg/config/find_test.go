package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
)

func environment(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

// place makes a file below dir and returns its path.
func place(t *testing.T, dir string, parts ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{dir}, parts...)...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheFileIsTheFirstThatIsNamedOrThere(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/etc/camwarden/config.yaml"); err == nil {
		t.Skip("this host has a configuration of its own")
	}
	dir := t.TempDir()
	flag, variable := place(t, dir, "flag.yaml"), place(t, dir, "variable.yaml")
	xdg, home := place(t, dir, "xdg", "camwarden", "config.yaml"), place(t, dir, "home", ".config", "camwarden", "config.yaml")
	all := map[string]string{"CAMWARDEN_CONFIG": variable, "XDG_CONFIG_HOME": dir + "/xdg", "HOME": dir + "/home"}
	for name, c := range map[string]struct {
		flag, want string
		explicit   bool
		env        map[string]string
	}{
		"the flag":                         {flag, flag, true, all},
		"the variable":                     {"", variable, true, all},
		"XDG's":                            {"", xdg, false, map[string]string{"XDG_CONFIG_HOME": dir + "/xdg", "HOME": dir + "/home"}},
		"below home":                       {"", home, false, map[string]string{"HOME": dir + "/home"}},
		"a relative XDG is void":           {"", home, false, map[string]string{"XDG_CONFIG_HOME": "xdg", "HOME": dir + "/home"}},
		"none":                             {"", "", false, map[string]string{"HOME": dir}},
		"none, where a file is in the way": {"", "", false, map[string]string{"XDG_CONFIG_HOME": flag}},
		"none, without home":               {"", "", false, nil},
	} {
		path, explicit, err := config.Find(c.flag, environment(c.env))
		if path != c.want || explicit != c.explicit || err != nil {
			t.Errorf("%s: %q, explicit %v, %v; want %q, %v", name, path, explicit, err, c.want, c.explicit)
		}
	}
}

func TestAFileThatIsNamedMustBeThere(t *testing.T) {
	t.Parallel()
	gone := t.TempDir() + "/gone.yaml"
	for by, c := range map[string]struct {
		flag string
		env  map[string]string
	}{"--config": {gone, nil}, "CAMWARDEN_CONFIG": {"", map[string]string{"CAMWARDEN_CONFIG": gone}}} {
		_, explicit, err := config.Find(c.flag, environment(c.env))
		want := "cannot read the configuration " + gone + " (given by " + by + "): no such file or directory"
		if err == nil || err.Error() != want || !explicit || !errors.Is(err, fs.ErrNotExist) || fault.ClassOf(err) != fault.Usage {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestWhatIsNoFileIsRefusedWithoutWaiting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, []byte(strings.Repeat("# comment\n", 500_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir: "is a directory", fifo: "it is a pipe, and nothing came out of it", huge: "it is larger than 4194304 bytes",
		"/dev/zero": "it is larger than 4194304 bytes", dir + "/gone": "no such file or directory",
	} {
		begun := time.Now()
		_, err := config.Load(path, noEnv)
		if err == nil || err.Error() != "cannot read the configuration "+path+": "+want {
			t.Errorf("%s: %v", path, err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s took %s", path, took)
		}
	}
}

// TestAPipeIsRead holds what `camwarden -c <(...)` needs.
func TestAPipeIsRead(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipe.WriteString("cooldown: 5s\ndefaults: {password: x}\n"); err != nil {
		t.Fatal(err)
	}
	closed := time.AfterFunc(100*time.Millisecond, func() { pipe.Close() })
	defer closed.Stop()
	c, err := config.Load(fifo, noEnv)
	if err != nil || c.Cooldown != 5*time.Second || len(c.SecretProblems) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
