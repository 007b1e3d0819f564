package camwarden_test

import (
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promised are the promises of docs/testing.md, each with the tests that keep it.
func promised(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("docs", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string][]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (P\d+) \|.*$`).FindAllStringSubmatch(string(page), -1) {
		for _, name := range regexp.MustCompile("`(Test[^`]*)`").FindAllStringSubmatch(row[0], -1) {
			kept[row[1]] = append(kept[row[1]], name[1])
		}
	}
	return kept
}

func TestPromises_haveTestsThatExist(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	for _, f := range sources(t) {
		for _, declared := range f.file.Decls {
			if function, ok := declared.(*ast.FuncDecl); ok && f.test && function.Recv == nil {
				exists[function.Name.Name] = true
			}
		}
	}
	kept := promised(t)
	for _, promise := range []string{"P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10"} {
		if len(kept[promise]) < 2 {
			t.Errorf("%s is kept by %v", promise, kept[promise])
		}
		for _, name := range kept[promise] {
			if !exists[name] {
				t.Errorf("%s is kept by %s, which there is not", promise, name)
			}
		}
	}
}

func TestPromises_arePatchedAway(t *testing.T) {
	t.Parallel()
	patches, err := filepath.Glob(filepath.Join("testdata", "promises", "*.patch"))
	if err != nil {
		t.Fatal(err)
	}
	kept := promised(t)
	patched := map[string]bool{}
	for _, path := range patches {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		promise, _, _ := strings.Cut(filepath.Base(path), "-")
		seen := regexp.MustCompile(`(?m)^Seen by: \./(\S+) (\S+)$`).FindStringSubmatch(string(text))
		if seen == nil || !slices.Contains(kept[promise], seen[2]) {
			t.Errorf("%s names no test of %s: %q", path, promise, seen)
		}
		patched[promise] = true
	}
	for _, promise := range slices.Sorted(maps.Keys(kept)) {
		if !patched[promise] {
			t.Errorf("no patch in testdata/promises takes %s away", promise)
		}
	}
}
