package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
)

const nobody = 65534

// asNobody runs the test again as an ordinary user, to whom modes apply, and returns true in that run. The folder that
// it hands over holds what prepare, as root, has put into it, and can be written by nobody. Other than as root the test
// simply goes on.
func asNobody(t *testing.T, prepare func(dir string), env ...string) (dir string, inside bool) {
	t.Helper()
	const variable = "CONFIG_TEST_AS_NOBODY"
	if dir := os.Getenv(variable); dir != "" {
		return dir, true
	}
	base, err := os.MkdirTemp("", "config-test") // t.TempDir lies in a folder that is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	prepare(base)
	if os.Geteuid() != 0 {
		return base, true
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(base, "test")
	for _, err := range []error{os.WriteFile(program, binary, 0o755), os.Chmod(program, 0o755), os.Chmod(base, 0o755), os.Chown(base, nobody, nobody)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir = base
	cmd.Env = append(os.Environ(), append(env, variable+"="+base, "TMPDIR="+base, "CREDENTIALS_DIRECTORY="+base+"/credentials")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	return "", false
}

func put(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

const secretive = `defaults:
  username: u
  password: hunter2
go2rtc: {url: "http://u:hunter2@127.0.0.1:1984"}
cameras:
  - {id: a, host: a, password_file: open.pw}
  - {id: b, url: "rtsp://u:hunter2@b/"}
  - {id: c, host: c, path: "/live?user=u&password=hunter2"}
  - {id: d, host: d, password_file: closed.pw}
  - {id: e, host: e, password_file: gone.pw}
  - {id: f, host: f, password: ""}
  - {id: g, host: g}
`

func TestSecretsThatOthersCanReadStopOnlyWhatDials(t *testing.T) {
	t.Parallel()
	dir, inside := asNobody(t, func(string) {})
	if !inside {
		return
	}
	put(t, dir+"/open.pw", "hunter2", 0o640)
	put(t, dir+"/closed.pw", "hunter2", 0o600)
	for _, mode := range []os.FileMode{0o604, 0o640, 0o644, 0o610, 0o602} {
		path := put(t, dir+"/config.yaml", secretive, mode)
		c, err := config.Load(path, noEnv)
		if err != nil {
			t.Fatalf("%o: Load failed: %v", mode, err)
		}
		var got []string
		for _, p := range c.SecretProblems {
			got = append(got, strings.TrimPrefix(p.String(), path)+" | "+p.Hint)
		}
		here := fmt.Sprintf("stands here, and others can read the file (mode %04o) | chmod 600 %s", mode, path)
		want := []string{
			":3: a password " + here, ":4: a url with a password in it " + here,
			":6: " + dir + "/open.pw holds a password and can be read by others (mode 0640) | chmod 600 " + dir + "/open.pw",
			":7: a url with a password in it " + here, ":8: a path with a password in it " + here,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%o: %s", mode, diff)
		}
		err = c.CheckSecrets()
		if fault.ClassOf(err) != fault.Usage || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%o: CheckSecrets: %v", mode, err)
		}
		if hint := fault.From(err, "", "").Hint; hint != "chmod 600 "+path {
			t.Errorf("%o: hint %q", mode, hint)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	// A file of its own is the failure of the camera that needs it, and stops nobody else.
	apart := "cameras: [{id: a, host: a, username: u, password_file: open.pw}]"
	if c, err := config.Load(put(t, dir+"/apart.yaml", apart, 0o644), noEnv); err != nil || c.CheckSecrets() != nil || len(c.SecretProblems) != 1 {
		t.Errorf("a password file that others can read: %v, %v", err, c.CheckSecrets())
	}
	c, err := config.Load(put(t, dir+"/closed.yaml", strings.Replace(secretive, "open.pw", "closed.pw", 1), 0o600), noEnv)
	if err != nil || c.CheckSecrets() != nil || len(c.Notices) != 0 {
		t.Errorf("readable by the owner alone: %v, %v", err, c.CheckSecrets())
	}
	c, err = config.Load(put(t, dir+"/free.yaml", "cameras: [{id: a, host: a, username: u, password_file: closed.pw, path: /a}]", 0o644), noEnv)
	if err != nil || c.CheckSecrets() != nil {
		t.Errorf("readable by all, without a secret in it: %v, %v", err, c.CheckSecrets())
	}
}

func TestAFileThatIsClosedToUsSaysSo(t *testing.T) {
	t.Parallel()
	dir, inside := asNobody(t, func(dir string) {
		put(t, dir+"/closed.yaml", "", 0)
		put(t, dir+"/closed/camwarden/config.yaml", "", 0o600)
		if err := os.Chmod(dir+"/closed", 0); err != nil {
			t.Fatal(err)
		}
	})
	if !inside {
		return
	}
	defer os.Chmod(dir+"/closed", 0o700)
	_, err := config.Load(dir+"/closed.yaml", noEnv)
	if !errors.Is(err, fs.ErrPermission) || fault.ClassOf(err) != fault.Usage ||
		err.Error() != "cannot read the configuration "+dir+"/closed.yaml: permission denied" {
		t.Errorf("Load: %v", err)
	}
	if hint := fault.From(err, "", "").Hint; hint != fmt.Sprintf("make it readable for uid %d, or do without it: camwarden -c /dev/null", os.Geteuid()) {
		t.Errorf("hint %q", hint)
	}
	_, explicit, err := config.Find("", environment(map[string]string{"XDG_CONFIG_HOME": dir + "/closed"}))
	if !errors.Is(err, fs.ErrPermission) || explicit {
		t.Errorf("where we cannot look there may be a configuration, but Find says %v", err)
	}
}

func TestACredentialOfSystemdIsFoundByItsName(t *testing.T) {
	t.Parallel()
	dir, inside := asNobody(t, func(string) {})
	if !inside {
		return
	}
	credentials := os.Getenv("CREDENTIALS_DIRECTORY")
	if credentials == "" {
		t.Skip("as an ordinary user from the start there is no environment of our own to test with")
	}
	put(t, credentials+"/gate.pw", "of systemd\n", 0o444) // readable by others, and accepted
	put(t, dir+"/gate.pw", "hunter2", 0o600)
	put(t, dir+"/yard.pw", "hunter3", 0o600)
	path := put(t, dir+"/config.yaml", `cameras:
  - {id: gate, host: a, username: u, password_file: gate.pw}
  - {id: yard, host: b, username: u, password_file: yard.pw}
  - {id: door, host: c, username: u, password_file: `+credentials+`/gate.pw}
`, 0o644)
	c, err := config.Load(path, os.Getenv)
	if err != nil || c.CheckSecrets() != nil {
		t.Fatal(err, c.CheckSecrets())
	}
	for i, want := range []string{"of systemd", "hunter3", "of systemd"} {
		if got, err := c.Inventory.Cameras[i].Password.Reveal(); got != want || err != nil {
			t.Errorf("%s: %q, %v", c.Inventory.Cameras[i].ID, got, err)
		}
	}
	notice := credentials + "/gate.pw can be read by others (mode 0444); accepted, because its directory is for secrets"
	if diff := cmp.Diff([]string{notice}, c.Notices); diff != "" {
		t.Error(diff)
	}
	whole := put(t, credentials+"/config.yaml", "defaults: {username: u, password: x}", 0o444)
	c, err = config.Load(whole, os.Getenv)
	if err != nil || c.CheckSecrets() != nil || len(c.Notices) != 1 {
		t.Errorf("a configuration that is itself a credential: %v, %v", err, c)
	}
}

func TestSecrets_variableMattersWithAUserName(t *testing.T) {
	t.Parallel()
	c := load(t, `defaults: {password_env: HOUSE_PW}
cameras:
  - {id: a, host: a}
  - {id: b, host: b, username: u}
  - {id: c, host: c, username: u, password_env: ""}
  - {id: d, host: d, username: u, password_file: "", password_env: OWN_PW}
  - {id: e, url: "rtsp://u@e/"}
  - {id: f, host: f, password_env: OWN_PW}
  - {id: g, host: g, username: u, password_file: /pw, password_env: CAM_PASSWORD}
`)
	for i, want := range []camera.Secret{{}, {Env: "HOUSE_PW"}, {}, {Env: "OWN_PW"}, {Env: "HOUSE_PW"}, {}, {File: "/pw"}} {
		if got := c.Inventory.Cameras[i].Password; got.String() != want.String() {
			t.Errorf("%s: %q, want %q", c.Inventory.Cameras[i].ID, got, want)
		}
	}
}

func TestMissingSecrets_named(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir+"/empty.pw", "\n", 0o600)
	put(t, dir+"/right.pw", "hunter2\n", 0o600)
	put(t, dir+"/open.pw", "hunter2\n", 0o644)
	path := put(t, dir+"/config.yaml", `defaults: {username: u, password_file: gone.pw}
go2rtc: {url: "http://127.0.0.1:1", username: u, password_file: none.pw}
cameras:
  - {id: a, host: a}
  - {id: b, host: b}
  - {id: c, host: c}
  - {id: d, host: d}
  - {id: e, host: e}
  - {id: f, host: f, password_file: empty.pw}
  - {id: g, host: g, password_file: right.pw}
  - {id: h, host: h, password_file: open.pw}
  - {id: i, host: i, password_env: CAMWARDEN_TEST_NO_SUCH_VARIABLE}
  - {id: j, host: j, password: ""}
`, 0o600)
	c, err := config.Load(path, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range c.MissingSecrets() {
		got = append(got, strings.TrimPrefix(p.String(), path))
	}
	want := []string{
		":1: camera a, camera b, camera c and 2 more: cannot read the password file " + dir + "/gone.pw: no such file or directory",
		":2: go2rtc: cannot read the password file " + dir + "/none.pw: no such file or directory",
		":9: camera f: the password file " + dir + "/empty.pw is empty",
		":12: camera i: the environment variable CAMWARDEN_TEST_NO_SUCH_VARIABLE, which should hold the password, is not set",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(c.SecretProblems) != 1 || c.SecretProblems[0].Line != 11 {
		t.Errorf("the one that others can read: %v", c.SecretProblems)
	}
}

func TestTokensInPaths_areNoted(t *testing.T) {
	t.Parallel()
	path := put(t, t.TempDir()+"/config.yaml", `cameras:
  - {id: a, url: "rtsp://10.0.0.1:7447/vGiUVAvRD0ZuPxxz"}
  - {id: b, host: 10.0.0.2, path: /h264Preview_01_main}
`, 0o644)
	c, err := config.Load(path, noEnv)
	if err != nil || c.CheckSecrets() != nil || len(c.Notices) != 1 || !strings.Contains(c.Notices[0], ":2: a path holds what looks like a token") || strings.Contains(c.Notices[0], "vGiU") {
		t.Errorf("%v, %v, notices %q", err, c.CheckSecrets(), c.Notices)
	}
}
