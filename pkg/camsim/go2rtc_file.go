package camsim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// This file is go2rtc's configuration file, as far as its streams go. It is edited as text, like the real one does it, so
// that comments and order survive; and it is written over in place. Of YAML this knows what such files hold: block style
// with sources on the line or as a list below, and a flow mapping on one line.

// configured makes the streams of the configuration.
func (l *life) configured() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, source := range l.config.Streams {
		l.streams[name] = l.newRelay(source)
	}
	if l.config.ConfigFile == "" {
		return nil
	}
	text, err := os.ReadFile(l.config.ConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	page := readPage(string(text))
	for _, entry := range page.entries {
		l.streams[entry.name] = l.newRelay(entry.sources...)
	}
	return nil
}

// rewrite sets an entry of the file, or takes it out where there are no sources. Its errors are what the real one answers;
// what was asked for has been done in memory by then.
func (l *life) rewrite(name string, sources []string) error {
	path := l.config.ConfigFile
	if path == "" {
		return errors.New("config file disabled")
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	changed, err := patchPage(string(text), name, sources)
	if err != nil {
		return err
	}
	// Root may write to any file: the simulated one shall not, no more than the real one that runs as a user.
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o222 == 0 {
		return &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}
	}
	return os.WriteFile(path, []byte(changed), 0o644)
}

// page is a configuration file.
type page struct {
	lines   []string // with their ends
	streams int      // the line of "streams:", -1 for none
	end     int      // the line after its last child
	indent  string   // of its children
	flow    bool     // its children are on its line
	entries []entry
}

// entry is a stream in the file.
type entry struct {
	name       string
	sources    []string
	begin, end int // lines
}

func readPage(text string) page {
	p := page{lines: strings.SplitAfter(text, "\n"), streams: -1, indent: "  "}
	if last := len(p.lines) - 1; p.lines[last] == "" {
		p.lines = p.lines[:last]
	}
	for i, line := range p.lines {
		if key, rest, ok := strings.Cut(line, ":"); ok && key == "streams" {
			p.streams, p.end = i, i+1
			p.flow = strings.HasPrefix(strings.TrimSpace(rest), "{")
			break
		}
	}
	switch {
	case p.streams < 0:
	case p.flow:
		p.readFlow()
	default:
		p.readBlock()
	}
	return p
}

// readFlow reads {a: x, b: y}.
func (p *page) readFlow() {
	line := p.lines[p.streams]
	open, end := strings.Index(line, "{"), strings.LastIndex(line, "}")
	if end < open {
		return
	}
	for part := range strings.SplitSeq(line[open+1:end], ",") {
		if name, source, ok := strings.Cut(part, ": "); ok {
			p.entries = append(p.entries, entry{name: unquoted(name), sources: []string{unquoted(source)}})
		}
	}
}

// readBlock reads the lines below "streams:".
func (p *page) readBlock() {
	first := true
	for i := p.streams + 1; i < len(p.lines); i++ {
		line := strings.TrimRight(p.lines[i], "\r\n")
		body := strings.TrimLeft(line, " ")
		depth := line[:len(line)-len(body)]
		switch {
		case body == "" || strings.HasPrefix(body, "#"):
			continue // comments belong to what comes after, or to nothing
		case depth == "":
			return // the next section
		case first:
			p.indent, first = depth, false
		}
		p.end = i + 1
		if depth == p.indent && !strings.HasPrefix(body, "- ") {
			name, source, _ := strings.Cut(body, ":")
			one := entry{name: unquoted(name), begin: i}
			if source = unquoted(source); source != "" {
				one.sources = []string{source}
			}
			p.entries = append(p.entries, one)
		} else if source, item := strings.CutPrefix(body, "- "); item && len(p.entries) > 0 {
			one := &p.entries[len(p.entries)-1]
			one.sources = append(one.sources, unquoted(source))
		}
		if n := len(p.entries); n > 0 {
			p.entries[n-1].end = i + 1
		}
	}
}

// unquoted is a scalar without its quotes, and without the comment behind it.
func unquoted(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > 1 && (text[0] == '"' || text[0] == '\'') {
		if end := strings.IndexByte(text[1:], text[0]); end >= 0 {
			return text[1 : end+1]
		}
	}
	if strings.HasPrefix(text, "#") {
		return ""
	}
	text, _, _ = strings.Cut(text, " #")
	return strings.TrimSpace(text)
}

// patchPage returns the text with an entry set, or taken out.
func patchPage(text, name string, sources []string) (string, error) {
	if err := balanced(text); err != nil {
		return "", err
	}
	p := readPage(text)
	if p.streams < 0 && sources == nil {
		return "", errors.New("yaml: path not exist")
	}
	if sources != nil && p.flow {
		return "", fmt.Errorf("yaml: line %d: did not find expected key", p.streams+2)
	}
	if sources == nil && (len(name) > 128 || strings.ContainsAny(name, "\r\n")) {
		return "", errors.New("yaml: path not exist") // its own entry is not found again
	}
	begin, end := p.end, p.end
	for _, entry := range p.entries {
		switch {
		case entry.name != name:
		case p.flow: // and every other stream with it
			begin, end = p.streams, p.streams+1
		default:
			begin, end = entry.begin, entry.end
		}
	}
	var paste strings.Builder
	if sources != nil {
		if p.streams < 0 {
			begin, end = len(p.lines), len(p.lines)
			if text != "" && !strings.HasSuffix(text, "\n") {
				paste.WriteString("\n")
			}
			paste.WriteString("streams:\n")
		}
		fmt.Fprintf(&paste, "%s%s:\n", p.indent, name)
		for _, source := range sources {
			fmt.Fprintf(&paste, "%s  - %s\n", p.indent, plain(source))
		}
	}
	return strings.Join(p.lines[:begin], "") + paste.String() + strings.Join(p.lines[end:], ""), nil
}

// plain quotes a source where YAML would read it otherwise.
func plain(source string) string {
	if strings.Contains(source, " #") || strings.Contains(source, ": ") || strings.ContainsAny(source[:1], "{[&*!|>'\"%@`#-?") {
		return "'" + strings.ReplaceAll(source, "'", "''") + "'"
	}
	return source
}

// balanced refuses a text whose brackets or quotes are not closed: what tests take for YAML that is none.
func balanced(text string) error {
	depth, lines := 0, strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		line, _, _ = strings.Cut(line, " #")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "\t") {
			return fmt.Errorf("yaml: line %d: found character that cannot start any token", i+1)
		}
		for _, quote := range []string{`"`, `'`} {
			if strings.Count(line, quote)%2 != 0 {
				return fmt.Errorf("yaml: line %d: found unexpected end of stream", len(lines)+1)
			}
		}
		depth += strings.Count(line, "{") + strings.Count(line, "[") - strings.Count(line, "}") - strings.Count(line, "]")
	}
	if depth != 0 {
		return fmt.Errorf("yaml: line %d: found unexpected end of stream", len(lines)+1)
	}
	return nil
}
