package camwarden_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/camwarden/camwarden/"

// rows is the house from the roof down: a package may import what stands in a lower row, never its own or a higher one.
func rows() [][]string {
	return [][]string{
		{"cmd/camwarden"},
		{"commands"},
		{"pkg/round", "pkg/doctor", "pkg/discover"},
		{"pkg/capture", "pkg/sweep"},
		{"pkg/ffmpeg", "pkg/inventory"},
		{"pkg/supervise", "pkg/slot", "pkg/observe", "pkg/config"},
		{"pkg/streams", "pkg/lockout"},
		{"pkg/ledger", "pkg/rtsp", "pkg/snapshot", "pkg/onvif", "pkg/go2rtc", "pkg/cmdline"},
		{"pkg/camera", "pkg/proc", "pkg/login", "pkg/socket", "pkg/depacketize"},
		{"pkg/jpeg", "pkg/schema", "pkg/archive", "pkg/brand", "pkg/httpwire"},
		{"pkg/fault", "pkg/redact"},
		{"pkg/lazyre"},
	}
}

// outside stands beside the rows: an independent witness must not share code with what it testifies about.
func outside() []string { return []string{"pkg/camsim", "cmd/camsim"} }

// forTests are the packages that only tests import. They are as free as tests are, and import nothing of ours: then the tests
// of every package can import them.
func forTests() []string { return []string{"pkg/testkit"} }

// restricted says who alone may import what, and why. Tests are free, except where they say so.
func restricted() []restriction {
	return []restriction{
		{[]string{"os/exec"}, []string{"pkg/supervise"}, "every child must be supervised: a lease before it, a proven end after it"},
		{
			[]string{"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/olekukonko/tablewriter", "github.com/mattn/go-isatty", "github.com/schollz/progressbar/v3"},
			[]string{"commands"}, "pkg/ returns values; only the command line knows flags, tables and terminals",
		},
		{[]string{"gopkg.in/yaml.v3"}, []string{"pkg/config"}, "one place knows how YAML is read and written, line numbers included"},
		{[]string{"flag"}, []string{"cmd/camsim"}, "flags are cobra's; only camsim, which stands outside, makes do with less"},
		{[]string{"log"}, nil, "logs are log/slog's, handed down by the command line"},
		{[]string{"testing"}, nil, "a binary that people install does not carry the test framework"},
	}
}

type restriction struct {
	paths   []string
	allowed []string
	why     string
}

// forbiddenCalls says which functions only main, or only one package, may call.
func forbiddenCalls() []call {
	return []call{
		{"os", "Exit", "cmd/", "deferred clean-up is the product, and os.Exit skips it: return an error or an exit code"},
		{"log", "Fatal", "", "it exits, and deferred clean-up is the product"},
		{"os", "StartProcess", "", "children are started by pkg/supervise, through os/exec"},
		{"syscall", "ForkExec", "", "children are started by pkg/supervise, through os/exec"},
		{"syscall", "Exec", "", "re-executing with children alive fires their parent-death signal"},
		{"unix", "Exec", "", "re-executing with children alive fires their parent-death signal"},
		{"fmt", "Print", "", "stdout is written by commands/output.go alone, through the world it was given"},
		{"fmt", "Println", "", "stdout is written by commands/output.go alone, through the world it was given"},
		{"fmt", "Printf", "", "stdout is written by commands/output.go alone, through the world it was given"},
	}
}

type call struct{ pkg, name, allowed, why string }

func TestImportsGoDownwardOnly(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		own, known := rowOf(f.pkg)
		if !known {
			if !slices.Contains(slices.Concat(outside(), forTests()), f.pkg) && f.pkg != "" {
				t.Errorf("%s: package %s stands in no row of the house: give it a place in the table above and in docs/how-it-flows.md", f.path, f.pkg)
			}
			continue
		}
		for _, path := range f.imports {
			to, ours := strings.CutPrefix(path, module)
			if !ours || f.test {
				continue
			}
			if slices.Contains(outside(), to) {
				t.Errorf("%s imports %s, the simulated world: only tests and cmd/camsim may", f.path, to)
				continue
			}
			if row, _ := rowOf(to); row <= own {
				t.Errorf("%s (row %d) imports %s (row %d): imports go downward only, so that each row can be understood without the ones above it",
					f.path, own, to, row)
			}
		}
	}
}

func TestTheSimulatedWorldIsAnIndependentWitness(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if !slices.Contains(outside(), f.pkg) || f.test {
			continue
		}
		for _, path := range f.imports {
			if to, ours := strings.CutPrefix(path, module); ours && to != "pkg/camsim" {
				t.Errorf("%s imports %s: what it counts must not be counted by the code under test", f.path, to)
			}
		}
	}
}

func TestArchitecture_testHelpersAreForTests(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		for _, path := range f.imports {
			to, ours := strings.CutPrefix(path, module)
			switch {
			case f.test || !ours:
			case slices.Contains(forTests(), to) && f.pkg != to:
				t.Errorf("%s imports %s: only tests may", f.path, to)
			case slices.Contains(forTests(), f.pkg):
				t.Errorf("%s imports %s: then the tests of %s, and of all that it imports, cannot use it", f.path, to, to)
			}
		}
	}
}

func TestSomeImportsBelongToOnePackage(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.test || slices.Contains(forTests(), f.pkg) {
			continue
		}
		for _, r := range restricted() {
			for _, path := range f.imports {
				if slices.ContainsFunc(r.paths, func(p string) bool { return covers(p, path) }) && !slices.Contains(r.allowed, f.pkg) {
					t.Errorf("%s imports %s: %s", f.path, path, r.why)
				}
			}
		}
	}
}

func TestNothingBelowMainExitsPrintsOrForks(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.test || slices.Contains(slices.Concat(outside(), forTests()), f.pkg) {
			continue
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			left, ok := selector.X.(*ast.Ident)
			if !ok {
				return true
			}
			for _, c := range forbiddenCalls() {
				if left.Name == c.pkg && selector.Sel.Name == c.name && (c.allowed == "" || !strings.HasPrefix(f.pkg, c.allowed)) {
					t.Errorf("%s: %s.%s: %s", f.position(n), c.pkg, c.name, c.why)
				}
			}
			if left.Name == "os" && (selector.Sel.Name == "Stdout" || selector.Sel.Name == "Stderr" || selector.Sel.Name == "Args") && strings.HasPrefix(f.pkg, "pkg/") {
				t.Errorf("%s: os.%s: pkg/ returns values and does not ask whether somebody watches", f.position(n), selector.Sel.Name)
			}
			return true
		})
	}
}

func TestNoPackageActsBeforeItIsAsked(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		for _, d := range f.file.Decls {
			if function, ok := d.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.Name == "init" {
				t.Errorf("%s: an init function: what happens at start belongs in main, where it can be read", f.position(d))
			}
		}
	}
}

func TestEveryPackageSaysInOneSentenceWhatItIs(t *testing.T) {
	t.Parallel()
	comments := map[string][]string{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		name := f.file.Name.Name
		comments[f.pkg] = append(comments[f.pkg], "")
		if f.file.Doc != nil {
			text := f.file.Doc.Text()
			want := "Package " + name + " "
			if name == "main" {
				want = "Command " + filepath.Base(f.pkg) + " "
			}
			if !strings.HasPrefix(text, want) {
				t.Errorf("%s: the package comment begins %q, not %q", f.path, firstWords(text), want)
			}
			comments[f.pkg] = append(comments[f.pkg], f.path)
		}
		if slices.Contains([]string{"utils", "util", "common", "helpers", "types", "misc"}, name) {
			t.Errorf("%s: package %s: a name that says nothing attracts everything", f.path, name)
		}
	}
	for pkg, in := range comments {
		in = slices.DeleteFunc(in, func(path string) bool { return path == "" })
		switch len(in) {
		case 1:
		case 0:
			t.Errorf("%s has no package comment: say in one sentence what it is for", pkg)
		default:
			t.Errorf("%s has %d package comments, in %s: one sentence, in one place", pkg, len(in), strings.Join(in, ", "))
		}
	}
}

func TestArchitecture_namesOfTests(t *testing.T) {
	t.Parallel()
	const longest = 45 // letters: TestThing_case, and the sentence in a comment
	for _, f := range sources(t) {
		for _, d := range f.file.Decls {
			if function, ok := d.(*ast.FuncDecl); ok && f.test && strings.HasPrefix(function.Name.Name, "Test") && len(function.Name.Name) > longest {
				t.Errorf("%s: %s has %d letters, of at most %d", f.position(d), function.Name.Name, len(function.Name.Name), longest)
			}
		}
	}
}

// source is one Go file of the repository.
type source struct {
	path    string // from the root of the repository
	pkg     string // the folder, "" for the root
	test    bool
	imports []string
	file    *ast.File
	set     *token.FileSet
}

func (s source) position(n ast.Node) string { return s.set.Position(n.Pos()).String() }

func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parsed reads the files once for all tests, which change none.
var parsed = sync.OnceValues(func() ([]source, error) {
	var all []source
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != "." && (strings.HasPrefix(name, ".") || name == "testdata") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		s := source{path: path, pkg: filepath.ToSlash(filepath.Dir(path)), test: strings.HasSuffix(name, "_test.go"), set: token.NewFileSet()}
		if s.pkg == "." {
			s.pkg = ""
		}
		if s.file, err = parser.ParseFile(s.set, path, nil, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		for _, i := range s.file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imported)
		}
		all = append(all, s)
		return nil
	})
	return all, err
})

// covers reports whether path is the package, or lies within the module, named by rule. log/slog is not within log.
func covers(rule, path string) bool {
	return path == rule || strings.Contains(rule, ".") && strings.HasPrefix(path, rule+"/")
}

func rowOf(pkg string) (row int, known bool) {
	for i, row := range rows() {
		if slices.Contains(row, pkg) {
			return i, true
		}
	}
	return 0, false
}

func firstWords(text string) string {
	words := strings.Fields(text)
	return strings.Join(words[:min(3, len(words))], " ")
}
