package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
)

func noEnv(string) string { return "" }

// write makes a configuration that only its owner can read.
func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, content string) *config.Config {
	t.Helper()
	c, err := config.Load(write(t, content), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// same compares configurations, whatever file they are from. Secrets are compared by what they say of themselves.
func same(a, b *config.Config) string {
	x, y := *a, *b
	x.Path, y.Path, x.Inventory.Source, y.Inventory.Source = "", "", "", ""
	secrets := cmp.Comparer(func(a, b camera.Secret) bool {
		return a.String() == b.String() && a.Implied() == b.Implied() && a.Plain() == b.Plain()
	})
	return cmp.Diff(x, y, secrets,
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }))
}

func TestTheTemplateSaysTheDefaultsAndNothingElse(t *testing.T) {
	t.Parallel()
	if diff := same(config.Default(), load(t, string(config.Template()))); diff != "" {
		t.Errorf("as it is written: %s", diff)
	}
	got := load(t, regexp.MustCompile(`(?m)^#(\S|  )`).ReplaceAllString(string(config.Template()), "$1"))
	if len(got.Inventory.Cameras) != 2 || len(got.Inventory.Subnets) != 1 || got.Go2rtc == nil || got.Go2rtc.URL != "http://127.0.0.1:1984" {
		t.Errorf("its examples gave %+v", got.Inventory)
	}
	got.Inventory.Cameras, got.Inventory.Subnets, got.Go2rtc = nil, nil, nil
	got.Inventory.Defaults.LimitAssumed = true // somebody has said it now
	if diff := same(config.Default(), got); diff != "" {
		t.Errorf("without its comment signs: %s", diff)
	}
	if strings.Contains(string(config.Template()), "\t") {
		t.Error("it holds a tab, which YAML does not indent with")
	}
}

// collision finds two ids with one slug, which takes some 80,000 attempts.
func collision(t *testing.T) (a, b string) {
	t.Helper()
	seen := map[string]string{}
	for x := '一'; x < '一'+2000; x++ {
		for y := '一'; y < '一'+500; y++ {
			id := string([]rune{x, y})
			slug := camera.Slug(id)
			if other, ok := seen[slug]; ok {
				return other, id
			}
			seen[slug] = id
		}
	}
	t.Fatal("no two ids share a slug")
	return "", ""
}
