package commands

import (
	"strings"
	"testing"
)

func TestPage_dumbTerminalGetsASCII(t *testing.T) {
	t.Parallel()
	for _, env := range []map[string]string{
		{"TERM": "dumb"}, {"TERM": "xterm", "LANG": "C"}, {"TERM": "xterm", "LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, {"TERM": "dumb", "LANG": "C.UTF-8"},
	} {
		c := &cli{flags: defaultFlags(), world: World{Terminal: Terminal{Stdout: true, Width: 80}, Getenv: func(name string) (string, bool) {
			value, ok := env[name]
			return value, ok
		}}}
		p := c.newPage()
		p.table([]string{"A", "B"}, [][]string{{"1", "2"}})
		if text := string(p.bytes()); strings.ContainsFunc(text, func(r rune) bool { return r > '~' }) || !strings.Contains(text, "-+-") {
			t.Errorf("%v: %q", env, text)
		}
	}
}

func TestPage_longPathIsCutInTheMiddle(t *testing.T) {
	t.Parallel()
	p := &page{screen: true, width: 80}
	path := "/srv/stills/" + strings.Repeat("long/", 30) + "20260105T220000.123Z.jpg"
	p.table([]string{"CAMERA", "FILE"}, [][]string{{"gate", path}})
	text := string(p.bytes())
	for line := range strings.Lines(text) {
		if len([]rune(line)) > 81 {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
	}
	if !strings.Contains(text, "/srv/stills/") || !strings.Contains(text, "...") || !strings.Contains(text, "20260105T220000.123Z.jpg") {
		t.Error(text)
	}
}
