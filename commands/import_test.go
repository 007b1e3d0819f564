package commands_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/camwarden/camwarden/commands"
	"github.com/camwarden/camwarden/pkg/config"
)

// expectedImport is a file below testdata/inventories/expected.
type expectedImport struct {
	File    string            `json:"file"`
	Format  string            `json:"format"`
	Env     map[string]string `json:"env"`
	Exit    int               `json:"exit"`
	Cameras []expectedCamera  `json:"cameras"`

	Reported      []expectedReport `json:"reported"`
	MayBeReported []expectedReport `json:"may_be_reported"`
	NeverShown    []string         `json:"never_shown"`
}

type expectedCamera struct {
	ID             string  `json:"id"`
	IDExact        bool    `json:"id_exact"`
	Line           int     `json:"line"`
	Tolerance      int     `json:"line_tolerance"`
	Scheme         string  `json:"scheme"`
	Host           string  `json:"host"`
	Port           uint16  `json:"port"`
	Path           *string `json:"path"`
	SubPath        *string `json:"sub_path"`
	Username       string  `json:"username"`
	Password       *string `json:"password"`
	PasswordEnv    string  `json:"password_env"`
	MaxConnections *int    `json:"max_connections"`
	Transport      string  `json:"transport"`
	Model          string  `json:"model"`
}

type expectedReport struct {
	Line      int    `json:"line"`
	Tolerance int    `json:"line_tolerance"`
	About     string `json:"about"`
	Kind      string `json:"kind"`
}

// imported is what -o json says.
type imported struct {
	Format  string
	Cameras []struct {
		Camera string
		Line   int
	}
	Reported      []expectedReport
	Secrets       []string
	Configuration string
}

func readImport(t *testing.T, want expectedImport, args ...string) (result, imported) {
	t.Helper()
	change := func(w *commands.World) {
		for name, value := range want.Env {
			with(name, value)(w)
		}
	}
	got := runIn(t, change, append([]string{"config", "import"}, args...)...)
	var doc imported
	if got.stdout != "" && slices.Contains(args, "json") {
		commands.Validate(t, "config-import", []byte(got.stdout))
		if err := json.Unmarshal([]byte(got.stdout), &doc); err != nil {
			t.Fatal(err)
		}
	}
	return got, doc
}

func TestImport_inventories(t *testing.T) {
	t.Parallel()
	const dir = "../testdata/inventories"
	names, err := filepath.Glob(dir + "/expected/*.json")
	if err != nil || len(names) != 10 {
		t.Fatalf("%d expectations, want 10: %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var want expectedImport
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			checkImport(t, filepath.Join(dir, "files", want.File), want)
		})
	}
}

// checkImport holds an import against what is expected of it, with the format named and without.
func checkImport(t *testing.T, file string, want expectedImport) {
	t.Helper()
	secrets := filepath.Join(t.TempDir(), "secrets")
	got, doc := readImport(t, want, file, "--secrets", secrets, "-o", "json")
	plain, _ := readImport(t, want, file, "--secrets", filepath.Join(t.TempDir(), "others"), "--format", want.Format)
	if got.code != want.Exit || plain.code != want.Exit {
		t.Errorf("exit %d and %d, want %d: %s", got.code, plain.code, want.Exit, got.stderr)
	}
	for _, secret := range want.NeverShown {
		if strings.Contains(got.stderr+plain.stderr, secret) {
			t.Errorf("stderr shows a secret (%d bytes)", len(secret))
		}
		for _, r := range doc.Reported {
			if strings.Contains(r.About, secret) {
				t.Errorf("the report of line %d shows a secret", r.Line)
			}
		}
	}
	if want.Exit == 2 {
		if got.stdout != "" || plain.stdout != "" {
			t.Errorf("stdout is not empty: %q", got.stdout)
		}
		if _, err := os.Stat(secrets); err == nil {
			t.Error("a folder for secrets was made")
		}
		for _, r := range want.Reported {
			if at := file + ":" + strconv.Itoa(r.Line) + ":"; !strings.Contains(got.stderr, at) {
				t.Errorf("stderr lacks %s: %s", at, got.stderr)
			}
		}
		return
	}
	if doc.Format != want.Format {
		t.Errorf("format %s, want %s", doc.Format, want.Format)
	}
	checkReports(t, doc.Reported, want)
	for _, r := range want.Reported {
		if !strings.Contains(plain.stderr, ": "+r.About+": ") {
			t.Errorf("stderr lacks %s", r.About)
		}
	}
	checkCameras(t, doc, want)
}

func checkReports(t *testing.T, got []expectedReport, want expectedImport) {
	t.Helper()
	match := func(r expectedReport) func(expectedReport) bool {
		return func(w expectedReport) bool {
			return w.About == r.About && w.Kind == r.Kind && abs(w.Line-r.Line) <= w.Tolerance+r.Tolerance
		}
	}
	for _, r := range want.Reported {
		if !slices.ContainsFunc(got, match(r)) {
			t.Errorf("not reported: %+v", r)
		}
	}
	for _, r := range got {
		if !slices.ContainsFunc(append(slices.Clone(want.Reported), want.MayBeReported...), match(r)) {
			t.Errorf("reported, and not expected: %+v", r)
		}
	}
}

func checkCameras(t *testing.T, doc imported, want expectedImport) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(doc.Configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	// Variables of the other software are not set here: that is the cameras' trouble, and the only one.
	check := run(t, "config", "check", "-c", path)
	var unset int
	for _, line := range strings.Split(check.stdout, "\n") {
		if strings.HasPrefix(line, path+":") && !strings.HasSuffix(line, "is not set") && !strings.HasSuffix(line, " problem") && !strings.HasSuffix(line, " problems") {
			t.Errorf("config check: %s", line)
		} else if strings.HasSuffix(line, "is not set") {
			unset++
		}
	}
	if check.code != min(unset, 1) {
		t.Fatalf("config check ends with %d: %s%s\n%s", check.code, check.stdout, check.stderr, doc.Configuration)
	}
	c, err := config.Load(path, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	cameras := c.Inventory.Cameras
	if len(cameras) != len(want.Cameras) || len(doc.Cameras) != len(cameras) {
		t.Fatalf("%d cameras, want %d:\n%s", len(cameras), len(want.Cameras), doc.Configuration)
	}
	for i, w := range want.Cameras {
		got := cameras[i]
		if w.IDExact && got.ID != w.ID {
			t.Errorf("id %q, want %q", got.ID, w.ID)
		}
		if doc.Cameras[i].Camera != got.ID || abs(doc.Cameras[i].Line-w.Line) > w.Tolerance {
			t.Errorf("%s comes from line %d, want %d", got.ID, doc.Cameras[i].Line, w.Line)
		}
		wantPath := "/stream1"
		if w.Path != nil {
			wantPath = *w.Path
		}
		if got.Scheme != w.Scheme || got.Host != w.Host || got.Port != w.Port || got.Path != wantPath || got.SubPath != deref(w.SubPath) {
			t.Errorf("%s is at %s sub %s, want %s %s %d %s sub %s", got.ID, got.URL(), got.SubPath, w.Scheme, w.Host, w.Port, wantPath, deref(w.SubPath))
		}
		if got.Username != w.Username || got.Model != w.Model || w.Transport != "" && string(got.Transport) != w.Transport {
			t.Errorf("%s: user %q model %q transport %s", got.ID, got.Username, got.Model, got.Transport)
		}
		if w.MaxConnections == nil != got.LimitAssumed || w.MaxConnections != nil && got.MaxConnections != *w.MaxConnections {
			t.Errorf("%s: limit %d, assumed %v, want %v", got.ID, got.MaxConnections, got.LimitAssumed, w.MaxConnections)
		}
		if w.Password == nil {
			if got.Password.Env != w.PasswordEnv {
				t.Errorf("%s: password from %s, want $%s", got.ID, got.Password, w.PasswordEnv)
			}
			continue
		}
		password, err := got.Password.Reveal()
		if err != nil || password != *w.Password {
			t.Errorf("%s: the password is not the expected one (%v)", got.ID, err)
		}
		if got.Password.File != "" {
			if info, err := os.Stat(got.Password.File); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", got.Password.File, info, err)
			}
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func abs(n int) int { return max(n, -n) }

func TestImport_secrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "cameras.csv")
	text := "name,ip,username,password,path\na,127.0.3.1,u,geheim-a,/1\nb,127.0.3.2,u,geheim-b,/1\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	none := run(t, "config", "import", file)
	if none.code != 2 || none.stdout != "" || !strings.Contains(none.stderr, "--secrets DIR") {
		t.Errorf("without --secrets: %+v", none)
	}
	secrets := filepath.Join(dir, "secrets")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secrets, "b"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	over := run(t, "config", "import", file, "--secrets", secrets)
	kept, _ := os.ReadFile(filepath.Join(secrets, "b"))
	if _, err := os.Stat(filepath.Join(secrets, "a")); err == nil || string(kept) != "old" || over.code != 2 || over.stdout != "" {
		t.Errorf("a file that is there: %+v, %q, %v", over, kept, err)
	}
	fresh := run(t, "config", "import", file, "--secrets", filepath.Join(dir, "fresh"))
	if fresh.code != 0 || strings.Contains(fresh.stdout+fresh.stderr, "geheim") || !strings.Contains(fresh.stdout, filepath.Join(dir, "fresh", "a")) {
		t.Errorf("a new folder: %+v", fresh)
	}
}
