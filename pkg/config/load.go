package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
)

// The bounds of reading a file.
const (
	maxSize  = 4 << 20 // bytes; 250 cameras need about 30 kB
	readWait = 5 * time.Second
)

// Load reads the file; path "" gives the defaults. What is wrong with the file is one usage fault that lists all of it
// and wraps Problems; one that cannot be opened wraps the reason (fs.ErrNotExist, fs.ErrPermission). No secret is
// revealed, and no other file is opened. Secrets that others can read do not make Load fail: see CheckSecrets.
func Load(path string, env func(string) string) (*Config, error) {
	if path == "" {
		return Default(), nil
	}
	content, info, err := readFile(path)
	if err != nil {
		return nil, unreadable(path, "", err)
	}
	l, err := newLoader(path, env)
	if err != nil {
		return nil, err
	}
	l.open = info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0
	l.mode = info.Mode().Perm()
	root := l.parse(content)
	if root != nil {
		l.know(root)
		l.file(root)
	}
	if len(l.problems) > 0 {
		return nil, l.problems.sorted().fault(fmt.Sprintf("correct the file, then try: camwarden -c %s config check", path))
	}
	_ = l.c.SecretProblems.sorted() // sorts in place; what it returns is the same list
	return l.c, nil
}

// CheckSecrets returns the secrets that stand in the configuration itself while others can read it, as one usage fault, or
// nil. Only what dials needs to ask. A password file that others can read is the failure of the cameras that need it.
func (c *Config) CheckSecrets() error {
	return slices.DeleteFunc(slices.Clone(c.SecretProblems), func(p Problem) bool { return p.apart }).fault("")
}

// ReadBounded reads a file of another program as a configuration is read: at most 4 MiB of it, and without waiting for ever
// for a pipe.
func ReadBounded(path string) ([]byte, error) {
	content, _, err := readFile(path)
	return content, err
}

func readFile(path string) ([]byte, fs.FileInfo, error) {
	// Without O_NONBLOCK the opening of a FIFO waits for a writer, perhaps for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	_ = file.SetReadDeadline(time.Now().Add(readWait)) // only pipes can wait, and only they take a deadline
	content, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(content) > maxSize:
		return nil, nil, fmt.Errorf("it is larger than %d bytes", maxSize)
	case len(content) == 0 && info.Mode()&fs.ModeNamedPipe != 0:
		return nil, nil, errors.New("it is a pipe, and nothing came out of it")
	}
	return content, info, nil
}

// loader collects the configuration and what is wrong with it.
type loader struct {
	c        *Config
	dir      string // the folder of the file
	env      func(string) string
	open     bool // others can read the file
	mode     fs.FileMode
	problems Problems
	shown    shown
	trail    []string // the names of the parts that are being read
}

func newLoader(path string, env func(string) string) (*loader, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fault.New(fault.Local, "", "cannot tell the folder of %s: %w", path, err).
			WithHint("the current folder was removed: go to one that is there, or give an absolute path")
	}
	c := Default()
	c.Path, c.Inventory.Source, c.places = path, path, map[string]place{}
	return &loader{c: c, dir: filepath.Dir(absolute), env: env}, nil
}

func (l *loader) file(root *node) {
	m, ok := l.mapping(root)
	if !ok {
		return
	}
	defaults := defaultValues{camera: l.c.Inventory.Defaults}
	m.each(map[string]func(*node){
		"state_dir":    func(n *node) { l.path(n, &l.c.StateDir) },
		"output_dir":   func(n *node) { l.path(n, &l.c.OutputDir) },
		"output_name":  l.outputName,
		"keep":         l.keep,
		"sources":      func(n *node) { l.sources(n) },
		"cooldown":     func(n *node) { l.duration(n, 0, &l.c.Cooldown) },
		"jpeg_quality": func(n *node) { l.number(n, 2, 31, &l.c.JPEGQuality) },
		"ffmpeg":       l.ffmpeg,
		"go2rtc":       l.go2rtc,
		"defaults":     func(n *node) { l.defaults(n, &defaults) },
		"reap":         l.reap,
		"doctor":       l.doctor,
		"subnets":      nil, // these two need what the others say
		"cameras":      nil,
	})
	l.c.Inventory.Defaults = l.settled(defaults)
	entries := l.cameras(m.value("cameras"), defaults)
	l.within("subnets", func() { l.subnets(m.value("subnets"), entries) })
}

func (l *loader) sources(n *node) {
	list, ok := l.words(n)
	if !ok {
		return
	}
	l.c.Sources = nil
	for _, item := range list {
		l.oneOf(item.node, sourceNames(), &item.text)
		l.c.Sources = append(l.c.Sources, item.text)
	}
}

func (l *loader) ffmpeg(n *node) {
	m, ok := l.mapping(n)
	if !ok {
		return
	}
	m.each(map[string]func(*node){"path": func(n *node) { l.program(n, &l.c.FFmpeg.Path) }})
}

func (l *loader) reap(n *node) {
	m, ok := l.mapping(n)
	if !ok {
		return
	}
	m.each(map[string]func(*node){
		"older_than": func(n *node) { l.duration(n, time.Nanosecond, &l.c.Reap.OlderThan) },
		"silent_for": func(n *node) { l.duration(n, time.Nanosecond, &l.c.Reap.SilentFor) },
		"programs":   l.programs,
	})
}

func (l *loader) programs(n *node) {
	list, ok := l.words(n)
	if !ok {
		return
	}
	l.c.Reap.Programs = nil
	for _, item := range list {
		if filepath.Base(item.text) != item.text || item.text == "." || item.text == ".." {
			l.problem(item.node, "%s is not the bare name of a program", l.shown.quote(item.text))
		}
		l.c.Reap.Programs = append(l.c.Reap.Programs, item.text)
	}
}

func (l *loader) doctor(n *node) {
	m, ok := l.mapping(n)
	if !ok {
		return
	}
	d := &l.c.Doctor
	m.each(map[string]func(*node){
		"processes_warning":  func(n *node) { l.number(n, 1, 1_000_000, &d.ProcessesWarning) },
		"processes_critical": func(n *node) { l.number(n, 1, 1_000_000, &d.ProcessesCritical) },
		"ignore":             l.ignore,
	})
	if d.ProcessesCritical < d.ProcessesWarning {
		l.problem(cmpNode(m.value("processes_critical"), m.value("processes_warning")),
			"processes_critical (%d) is less than processes_warning (%d)", d.ProcessesCritical, d.ProcessesWarning)
	}
}

// ignore reads the findings that are known.
func (l *loader) ignore(n *node) {
	list := target(n)
	if isNull(list) {
		return
	}
	if list.Kind != yaml.SequenceNode {
		l.problem(list, "ignore: a list is needed here, of items like {code: blind-connections, subject: connections}")
		return
	}
	for _, item := range list.Content {
		m, ok := l.mapping(item)
		if !ok {
			continue
		}
		var known Ignored
		m.each(map[string]func(*node){
			"code":    func(n *node) { l.text(n, &known.Code) },
			"subject": func(n *node) { l.text(n, &known.Subject) },
		})
		if known.Code == "" || strings.Trim(known.Code, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			l.problem(target(item), "ignore: the code of a finding is needed, as doctor prints it, like blind-connections")
			continue
		}
		l.c.Doctor.Ignore = append(l.c.Doctor.Ignore, known)
	}
}

// parse returns the top of the file; nil when it is empty, or no YAML.
func (l *loader) parse(content []byte) *node {
	root, problem := parse(bytes.TrimPrefix(content, []byte("\ufeff")))
	if problem != nil {
		problem.File = l.c.Path
		l.problems = append(l.problems, *problem)
		return nil
	}
	return root
}

// limits is where the limits of an address were said.
type limits struct{ max, reserve *node }

// defaultValues are the values for every camera, and where the file says them.
type defaultValues struct {
	camera camera.Camera
	limits limits
	// The file says them.
	path, port, snapshot, snapshotAuth bool
}
