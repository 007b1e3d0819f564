package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// workshop is where programs are built and measured as people run them: without the race detector, apart from the test's own
// process, and with the cameras in yet another one, so that nothing of theirs is counted.
type workshop struct {
	t       *testing.T
	dir     string
	mark    string
	subnets int
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("needs ffmpeg: ", err)
	}
	dir := t.TempDir()
	run := cmp.Or(os.Getenv("CAMWARDEN_TEST_RUN"), "by-hand-"+strconv.Itoa(os.Getpid()))
	return &workshop{t: t, dir: dir, mark: run + "/" + filepath.Base(filepath.Dir(dir))}
}

func (w *workshop) path(name string) string { return filepath.Join(w.dir, name) }

// build compiles a package, named by its folder, and returns the program.
func (w *workshop) build(folder string) string {
	w.t.Helper()
	absolute, err := filepath.Abs(folder)
	check(w.t, err)
	program := w.path("bin-" + filepath.Base(absolute))
	if _, err := os.Stat(program); err == nil {
		return program
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, absolute)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("go build %s: %v\n%s", folder, err, out)
	}
	return program
}

// command is a program in the workshop's environment, that ends with the test.
func (w *workshop) command(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + w.dir, "CAMWARDEN_TEST_RUN=" + w.mark}
	return cmd
}

// cameras starts a camsim with these cameras, on addresses of their own, and returns a configuration for them.
func (w *workshop) cameras(list string) (config string) {
	w.t.Helper()
	w.subnets++
	config = w.path("cameras-" + strconv.Itoa(w.subnets) + ".yaml")
	sim := w.command(w.build("../camsim"), "--subnet", camsim.DrawSubnet().String(), "--cameras", list,
		"--config", config, "-o", "json", "--exit-with-parent")
	stdout, err := sim.StdoutPipe()
	check(w.t, err)
	check(w.t, sim.Start())
	w.t.Cleanup(func() {
		_ = sim.Process.Signal(syscall.SIGTERM)
		_ = sim.Wait()
	})
	var ready struct{ Cameras []struct{ Camera string } }
	listed := bufio.NewReader(stdout)
	if err := json.NewDecoder(listed).Decode(&ready); err != nil {
		w.t.Fatalf("camsim did not start: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, listed) }()
	return config
}
