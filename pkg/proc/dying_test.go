package proc_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/camwarden/camwarden/pkg/proc"
)

func TestDying_tellsWhoIsAboutToEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state   string
		threads int
		flags   int
		pending string
		want    bool
	}{
		"at work":                         {"S", 9, 0x400000, "0000000000000000", false},
		"stopped, with SIGTERM waiting":   {"T", 9, 0x400000, "0000000000004000", false},
		"SIGKILL waits":                   {"R", 9, 0x400000, "0000000000000100", true},
		"SIGKILL waits, and SIGTERM":      {"D", 9, 0x400000, "0000000000004100", true},
		"its first thread is on its way":  {"R", 9, 0x400004, "0000000000000000", true},
		"its first thread has ended":      {"Z", 9, 0x40000c, "0000000000000000", true},
		"dead, and nobody has taken note": {"Z", 1, 0x40000c, "0000000000000000", true},
	} {
		table := proc.FS{Root: t.TempDir()}
		dir := filepath.Join(table.Root, "11")
		stat := fmt.Sprintf("11 (sh) %s 7 11 11 0 -1 %d 0 0 0 0 0 0 0 0 20 0 %d 0 1 0 0", c.state, c.flags, c.threads)
		status := "Name:\tsh\nSigQ:\t1/31\nSigPnd:\t" + c.pending + "\nShdPnd:\t0000000000000000\n"
		err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o644),
			os.WriteFile(filepath.Join(dir, "status"), []byte(status), 0o644))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := table.Dying(11); got != c.want || err != nil {
			t.Errorf("%s: dying %v, want %v (%v)", name, got, c.want, err)
		}
	}
	if _, err := (proc.FS{Root: t.TempDir()}).Dying(11); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody: %v", err)
	}
	if dying, err := proc.Default().Dying(os.Getpid()); dying || err != nil {
		t.Errorf("ourselves: dying %v (%v)", dying, err)
	}
}
