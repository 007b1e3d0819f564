package sweep_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// nobody is the ordinary user that tests act as.
const nobody = 65534

// sweepIn makes the test binary sweep the ledger in the folder that the variable names, print what it found, and exit.
const sweepIn = "SWEEP_TEST_LEDGER"

func TestMain(m *testing.M) {
	if dirs := os.Getenv(sweepIn); dirs != "" {
		os.Exit(sweepFor(dirs))
	}
	if text := os.Getenv(standInFor); text != "" {
		os.Exit(standIn(text))
	}
	os.Exit(m.Run())
}

func sweepFor(encoded string) int {
	var dirs ledger.Dirs
	if err := json.Unmarshal([]byte(encoded), &dirs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	book, err := ledger.Open(dirs, proc.Default(), "as-nobody")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	result := sweep.Broom{Ledger: book, FS: proc.Default()}.Sweep(context.Background(), observe.Scope{}, "")
	_ = json.NewEncoder(os.Stdout).Encode(result.Found)
	return 0
}

// sweepAsNobody hands the ledger's folders to an ordinary user and sweeps as that user.
func sweepAsNobody(t *testing.T, dirs ledger.Dirs) string {
	t.Helper()
	// The whole folder of the test, whose top only its owner may enter.
	handOver(t, filepath.Dir(filepath.Dir(dirs.Runtime)))
	encoded, err := json.Marshal(dirs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe") // a name that every user may execute, wherever the binary is
	cmd.Env = append(os.Environ(), sweepIn+"="+string(encoded))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func handOver(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
}
