package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/config"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func TestWhatIsShownOfAConfiguration(t *testing.T) {
	t.Parallel()
	c := load(t, house+"state_dir: /var/lib/camwarden\ndoctor: {processes_critical: 50}\n")
	text, err := config.MarshalYAML(c.Redacted())
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(string(text), filepath.Dir(c.Path), "/etc/camwarden")
	const golden = "testdata/show.yaml"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./pkg/config -update writes it): %s", golden, diff)
	}
}

func TestShow_neitherSecretNorNull(t *testing.T) {
	t.Parallel()
	c := load(t, secretive)
	inYAML, err := config.MarshalYAML(c.Redacted())
	if err != nil {
		t.Fatal(err)
	}
	inJSON, err := json.Marshal(c.Redacted())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(inYAML, []byte("hunter2")) || bytes.Contains(inJSON, []byte("hunter2")) {
		t.Errorf("it holds a password:\n%s\n%s", inYAML, inJSON)
	}
	inJSON, err = json.Marshal(config.Default().Redacted())
	if err != nil || strings.Contains(strings.ReplaceAll(string(inJSON), `"go2rtc":null`, ""), "null") {
		t.Errorf("a list of nothing is not []: %s, %v", inJSON, err)
	}
}

// awkward are strings that some reader of YAML, old or new, takes for something else when they are not quoted.
func awkward() []string {
	return []string{
		"", " ", "a ", " a", "yes", "No", "on", "OFF", "y", "N", "true", "null", "Null", "~", "-", "- a", "1", "0x1f", "1e3", "1_000", "12:30:45", "+1", ".5", ".inf", ".NaN", "=", "<<",
		"2026-01-05T22:00:00Z", "a: b", "a #b", "#a", "&a", "*a", "!a", "!!str a", "%a", "@a", "`a", "[a]", "{a: b}", "a, b", "? a", "|", ">", "'a'", `"a"`, `a\b`, "---", "...",
		"line\nbreak", "tab\there", "\r", "é門🚪", "\x7f", "\u0085", "\u2028", "\ufeff", "\ufffe", "\x00", "<&>", "rtsp://***@10.0.0.1:554/a?b=c&d", "192.168.125.19:554", "[::1]:554", "_", "a:", strings.Repeat("long ", 60) + "x",
	}
}

func TestYAMLHoldsWhatJSONHolds(t *testing.T) {
	t.Parallel()
	type item struct {
		Zulu  string            `json:"zulu"`
		Alpha []string          `json:"alpha"`
		Empty []int             `json:"empty"`
		None  *item             `json:"none"`
		Map   map[string]string `json:"map"`
		Num   []float64         `json:"num"`
		Big   uint64            `json:"big"`
		OK    bool              `json:"ok"`
	}
	doc := item{Zulu: "z", Alpha: awkward(), Empty: []int{}, Map: map[string]string{}, Num: []float64{0, -1.5, 1e21, 1e-9}, Big: 1<<64 - 1, OK: true}
	for _, key := range awkward() {
		doc.Map[key] = key
	}
	text, err := config.MarshalYAML(doc)
	if err != nil {
		t.Fatal(err)
	}
	var fromYAML any
	if err := yaml.Unmarshal(text, &fromYAML); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	want, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(want, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%s in\n%s", diff, text)
	}
	if !bytes.HasPrefix(text, []byte("zulu: z\nalpha:\n")) || !bytes.Contains(text, []byte("\nempty: []\nnone: null\nmap:\n")) {
		t.Errorf("the order of the keys is lost, or a list changes its shape:\n%s", text)
	}
	for _, word := range []string{`"yes"`, `"No"`, `"12:30:45"`, `"1_000"`, `"0x1f"`, `"y"`, `"="`} {
		if !bytes.Contains(text, []byte("- "+word+"\n")) {
			t.Errorf("%s needs its quotes for readers of YAML 1.1", word)
		}
	}
}

func TestADocumentThatCannotBeEncodedIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := config.MarshalYAML(make(chan int)); err == nil || !strings.HasPrefix(err.Error(), "cannot encode the document: ") {
		t.Errorf("%v", err)
	}
}
