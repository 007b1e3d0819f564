package supervise

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/camwarden/camwarden/pkg/fault"
)

func TestInspect_wrappersAndPrivilegedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "\x7fELF and so on", 0o755)
	link := filepath.Join(dir, "link")
	if err := os.Symlink("plain", link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]Program{
		plain: {Path: plain},
		link:  {Path: plain},
		write("script", "#!/bin/sh\nexec ffmpeg \"$@\"\n", 0o755): {Path: filepath.Join(dir, "script"), Wrapped: true},
		write("setuid", "\x7fELF", 0o755|os.ModeSetuid):           {Path: filepath.Join(dir, "setuid"), SetID: true},
		write("setgid", "\x7fELF", 0o755|os.ModeSetgid):           {Path: filepath.Join(dir, "setgid"), SetID: true},
		write("short", "#", 0o755):                                {Path: filepath.Join(dir, "short")},
		write("empty", "", 0o755):                                 {Path: filepath.Join(dir, "empty")},
	} {
		got, err := Inspect(path)
		if err != nil || got != want || got.Weak() != (want.Wrapped || want.SetID) {
			t.Errorf("%s: %+v, %v, want %+v", path, got, err, want)
		}
	}
	for _, path := range []string{filepath.Join(dir, "missing"), dir} {
		if _, err := Inspect(path); fault.ClassOf(err) != fault.Local {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestInspectSeesFileCapabilities(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "capable")
	if err := os.WriteFile(path, []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("setcap", "cap_net_raw+ep", path).CombinedOutput(); err != nil {
		t.Skipf("cannot give a file capabilities here: %v %s", err, out)
	}
	if got, err := Inspect(path); err != nil || !got.Caps || got.SetID {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFindNamesTheProgramAndWhatToDo(t *testing.T) {
	t.Parallel()
	if path, err := Find("sh"); err != nil || !filepath.IsAbs(path) {
		t.Errorf("%q, %v", path, err)
	}
	_, err := Find("no-such-program-here")
	if problem := fault.From(err, "", ""); problem == nil || problem.Class != fault.Local || problem.Hint == "" {
		t.Errorf("%#v", err)
	}
}
