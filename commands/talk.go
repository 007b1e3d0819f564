package commands

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/redact"
)

// voice is stderr: one writer for sentences, logs and progress, through which no secret passes.
type voice struct {
	mu     sync.Mutex
	to     io.Writer
	redact *redact.Redactor
	before func() // wipes the progress bar off the line, when there is one
}

// Write redacts and writes one whole message. It never fails: conversation that nobody can hear changes nothing.
func (v *voice) Write(text []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.before != nil {
		v.before()
	}
	_, _ = v.to.Write(v.redact.Bytes(text))
	return len(text), nil
}

func (v *voice) wipe(before func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.before = before
}

// newLogger returns the one logger of the program; everything said on stderr goes through it.
func newLogger(to io.Writer, format string, level slog.Level) *slog.Logger {
	if format == logJSON {
		return slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(&sentences{to: to, level: level})
}

const hintKey = "hint"

// sentences is a slog.Handler that writes what a person reads: "camwarden: warning: text (key=value)", and the hint below.
type sentences struct {
	to    io.Writer
	level slog.Level
	attrs []slog.Attr
	group string
}

// Enabled reports whether a message of that level is said at all.
func (s *sentences) Enabled(_ context.Context, level slog.Level) bool { return level >= s.level }

// Handle writes one message.
func (s *sentences) Handle(_ context.Context, r slog.Record) error {
	var text, hint strings.Builder
	text.WriteString("camwarden: ")
	switch {
	case r.Level < slog.LevelInfo:
		text.WriteString("debug: ")
	case r.Level == slog.LevelWarn:
		text.WriteString("warning: ")
	}
	text.WriteString(r.Message)
	var facts []string
	add := func(a slog.Attr) bool {
		switch {
		case a.Key == hintKey && a.Value.String() != "":
			fmt.Fprintf(&hint, "  hint: %s\n", a.Value)
		case a.Key != hintKey && !a.Equal(slog.Attr{}):
			facts = append(facts, fmt.Sprintf("%s%s=%v", s.group, a.Key, a.Value))
		}
		return true
	}
	for _, a := range s.attrs {
		add(a)
	}
	r.Attrs(add)
	if len(facts) > 0 {
		text.WriteString(" (" + strings.Join(facts, " ") + ")")
	}
	_, err := io.WriteString(s.to, text.String()+"\n"+hint.String())
	return err
}

// WithAttrs returns a handler that adds the attributes to every message.
func (s *sentences) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := *s
	more.attrs = slices.Concat(s.attrs, attrs)
	return &more
}

// WithGroup returns a handler that puts the name before the keys of what follows.
func (s *sentences) WithGroup(name string) slog.Handler {
	more := *s
	more.group += name + "."
	return &more
}

// fail says what ended the program: a sentence and a hint, or a camwarden.error/1 where documents are asked for.
func (c *cli) fail(err error) {
	f := fault.From(err, fault.Usage, "")
	if c.spoken.output == asTable || c.spoken.output == asMarkdown {
		c.log.Error(f.Message, hintKey, f.Hint)
		return
	}
	type body struct {
		Schema string       `json:"schema"`
		Error  *fault.Error `json:"error"`
	}
	// One line whatever the format: it must be found among other lines of stderr.
	line, err := marshal(body{"camwarden.error/1", f}, "")
	if err != nil {
		c.log.Error(f.Message, hintKey, f.Hint)
		return
	}
	_, _ = c.voice.Write(line)
}
