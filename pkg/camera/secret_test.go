package camera_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
)

func TestNoWayOfPrintingShowsAPassword(t *testing.T) {
	t.Parallel()
	c := camera.Camera{ID: "gate", Password: camera.PlainSecret("hunter2")}
	hidden := struct{ c camera.Camera }{c} // fmt calls no methods below an unexported field
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T", "%p"} {
		for _, value := range []any{c, &c, c.Password, &c.Password, hidden, &hidden, []camera.Camera{c}, map[string]camera.Secret{"x": c.Password}} {
			if shown := fmt.Sprintf(verb, value); strings.Contains(shown, "hunter2") || strings.Contains(strings.ToLower(shown), "68756e74657232") {
				t.Errorf("%s of %T: %s", verb, value, shown)
			}
		}
	}
	encoded, err := json.Marshal(c)
	if err != nil || strings.Contains(string(encoded), "hunter2") {
		t.Errorf("JSON: %s, %v", encoded, err)
	}
	if v, err := c.Password.MarshalYAML(); err != nil || v != "***" {
		t.Errorf("YAML: %v, %v", v, err)
	}
}

func write(t *testing.T, mode os.FileMode, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPasswordFile_oneLineForItsOwner(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{"hunter2": "hunter2", "hunter2\n": "hunter2", "hunter2\r\n": "hunter2", " a b ": " a b "} { //nolint:gocritic // the blanks are the case
		if got, err := (camera.Secret{File: write(t, 0o600, content)}).Reveal(); got != want || err != nil {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	for what, s := range map[string]camera.Secret{
		"empty": {File: write(t, 0o600, "\n")}, "two lines": {File: write(t, 0o600, "hunter2\nhunter2\n")}, "a directory": {File: t.TempDir()},
		"not there": {File: "/nowhere/pw"}, "too long": {File: write(t, 0o600, strings.Repeat("hunter2", 1000))},
		"no directory of credentials": {Systemd: "gate"},
	} {
		_, err := s.Reveal()
		if fault.ClassOf(err) != fault.Usage || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604} {
		s := camera.Secret{File: write(t, mode, "hunter2")}
		_, err := s.Reveal()
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.From(err, "", "").Hint, "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
		if s.Check() == nil {
			t.Errorf("mode %o: Check finds nothing", mode)
		}
	}
}

func TestAFIFOWithoutAWriterDoesNotHoldUsUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := (camera.Secret{File: path}).Reveal(); err == nil {
		t.Error("it gave a password")
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

func TestSecret_emptyVariable(t *testing.T) {
	t.Setenv("CAMWARDEN_TEST_EMPTY", "")
	_, err := camera.Secret{Env: "CAMWARDEN_TEST_EMPTY"}.Reveal()
	if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "CAMWARDEN_TEST_EMPTY") || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty variable: %v", err)
	}
	if password, err := camera.PlainSecret("").Reveal(); password != "" || err != nil {
		t.Errorf("a camera without a password: %q, %v", password, err)
	}
}

func TestAMissingVariableIsExplainedWithCron(t *testing.T) {
	t.Parallel()
	_, err := camera.Secret{Env: "CAMWARDEN_TEST_NO_SUCH_VARIABLE"}.Reveal()
	if fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.From(err, "", "").Hint, "cron") {
		t.Errorf("got %+v", err)
	}
	if password, err := (camera.Secret{}).Reveal(); password != "" || err != nil {
		t.Errorf("no secret: %q, %v", password, err)
	}
}

func TestPasswordFile_ofAServiceManager(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	path := filepath.Join(dir, "gate")
	if err := os.WriteFile(path, []byte("hunter2\n"), 0o644); err != nil { // that is the point
		t.Fatal(err)
	}
	for _, s := range []camera.Secret{{Systemd: "gate"}, {File: path}} {
		if got, err := s.Reveal(); got != "hunter2" || err != nil {
			t.Errorf("%v: %q, %v", s, got, err)
		}
	}
	if (camera.Secret{File: path}).Notice() == "" {
		t.Error("no notice")
	}
	if camera.Entrusted(dir + "/../elsewhere") {
		t.Error("a path that leaves the directory counts as inside")
	}
	if _, err := (camera.Secret{Systemd: "../../etc/passwd"}).Reveal(); err == nil {
		t.Error("a name that leaves the directory was read")
	}
}

// TestAnOrdinaryUserIsToldWhoMayNotRead runs itself again as nobody, because root can read every file.
func TestAnOrdinaryUserIsToldWhoMayNotRead(t *testing.T) {
	const variable = "CAMWARDEN_TEST_FILE"
	if path := os.Getenv(variable); path != "" {
		_, err := camera.Secret{File: path}.Reveal()
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.From(err, "", "").Hint, "uid 65534") {
			t.Errorf("got %+v", err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	t.Parallel()
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "camera-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "test")
	if err := os.Chmod(dir, 0o755); err != nil { // nobody must get in
		t.Fatal(err)
	}
	if err := os.WriteFile(program, binary, 0o755); err != nil { // and run it
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "pw")
	if err := os.WriteFile(secret, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), variable+"="+secret)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
