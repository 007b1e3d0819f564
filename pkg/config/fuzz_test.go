package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
)

// marker is a password that stands nowhere else by chance.
const marker = "Zq7vXw9k"

// entrusted counts how often the marker stands where a password belongs: below such a key, or as user-info of a URL.
func entrusted(n *yaml.Node) (count int) {
	for i, child := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "password" && child.Kind == yaml.ScalarNode:
			count += strings.Count(child.Value, marker)
		case child.Kind == yaml.ScalarNode && userInfo.MatchString(child.Value):
			count++
		default:
			count += entrusted(child)
		}
	}
	return count
}

var userInfo = regexp.MustCompile(`^rtsp://[a-z]+:` + marker + `@[a-z0-9.]+(/[a-z]*)?$`)

// FuzzLoad holds that no file makes Load panic, that what it refuses has a line within the file, and that no error and
// nothing shown holds a password, as long as the file has it only where passwords belong.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		house, secretive, string(config.Template()), strings.ReplaceAll(secretive, "hunter2", marker),
		"cameras:\n  - {id: a, host: a, password: " + marker + ", port: x}", "cameras:\n  - {id: a, url: 'rtsp://u:" + marker + "@h/', timeout: 1}",
		"defaults: {password: *" + marker + "}", "defaults:\n  password: " + marker + ": x", "a: &a [*a]", "? {a: b}\n: c", "<<: *x", "- - - -", "%YAML 1.2\n---\n", "\"", "{", "a:\n b\n  - c",
		"password: " + marker + "\npassword: " + marker, "!!binary a: b", "cameras: &c\n  - *c", "subnets: {~: [a]}", "defaults: {password: [" + marker + "]}",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path, noEnv)
		var said string
		if err == nil {
			said = tell(t, c)
		} else {
			said = err.Error() + fault.From(err, "", "").Hint
			held(t, err, content)
		}
		var root yaml.Node
		if parses := yaml.Unmarshal(content, &root) == nil; parses && entrusted(&root) != strings.Count(string(content), marker) {
			return
		}
		if strings.Contains(said, marker) {
			t.Errorf("it shows the password: %s", said)
		}
	})
}

// tell is everything that a configuration says of itself.
func tell(t *testing.T, c *config.Config) string {
	text, err := config.MarshalYAML(c.Redacted())
	if err != nil {
		t.Fatal(err)
	}
	said := string(text) + strings.Join(c.Notices, "\n")
	if err := c.CheckSecrets(); err != nil {
		said += err.Error() + fault.From(err, "", "").Hint
	}
	return said
}

// held demands that a refusal is a usage fault whose problems have lines of the file.
func held(t *testing.T, err error, content []byte) {
	var problems config.Problems
	if fault.ClassOf(err) != fault.Usage || fault.From(err, "", "").Hint == "" || !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("refused without saying why: %v", err)
	}
	last := 2 + strings.Count(string(content), "\n") + strings.Count(string(content), "\r") + strings.Count(string(content), "\u0085") +
		strings.Count(string(content), "\u2028") + strings.Count(string(content), "\u2029")
	for _, p := range problems {
		if p.Line < 1 || p.Line > last || p.Text == "" {
			t.Errorf("no such line: %v", p)
		}
	}
}
