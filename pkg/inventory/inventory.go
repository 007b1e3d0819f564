// Package inventory reads the cameras out of the files of other programs: Frigate, go2rtc, and tables as CSV.
package inventory

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
)

// Format is what kind of file an inventory is.
type Format string

// The formats.
const (
	Frigate Format = "frigate"
	Go2rtc  Format = "go2rtc"
	CSV     Format = "csv"
)

// Formats returns all formats.
func Formats() []string { return []string{string(Frigate), string(Go2rtc), string(CSV)} }

// Camera is one camera of an inventory.
type Camera struct {
	ID       string
	Line     int    // of the source that was taken over
	Scheme   string // rtsp or rtsps
	Host     string // as written, without brackets
	Port     uint16 // always said: programs differ in what they assume
	Path     string // "" where the file says none, and the default of the configuration is meant
	SubPath  string // the smaller stream of the same address; "" where there is none
	Snapshot string // the URL of its own JPEG; "" where the file has none
	Username string
	Password string // "" together with a user name is an empty password
	// PasswordEnv is the variable that holds the password where the file names one that is not set here.
	PasswordEnv    string
	Transport      string // "udp", or "" for the default
	Model          string
	MaxConnections int // 0: not said
}

// Kind is what became of something that a Report is about.
type Kind string

// The kinds of reports.
const (
	LeftOut Kind = "left-out" // it is not among the cameras
	Partly  Kind = "partly"   // it is, without something that the file says
	Note    Kind = "note"     // nothing was lost
)

// Report is one thing that did not go over as it stands. No text in it is a quotation of an address or a password.
type Report struct {
	Line  int    `json:"line"`
	About string `json:"about"` // the name that the file has for it
	Kind  Kind   `json:"kind"`
	Why   string `json:"why"`
}

// Result is what an inventory came to.
type Result struct {
	Format  Format
	Cameras []Camera // in the order of the file
	Reports []Report // in the order of their lines
	// Shared are addresses with several cameras of which the file says no limit.
	Shared []string
}

// Lost reports whether something of the file is not in the result.
func (r Result) Lost() bool {
	return slices.ContainsFunc(r.Reports, func(r Report) bool { return r.Kind != Note })
}

// Env tells the variables of the environment, and what files below a folder for secrets hold.
type Env struct {
	Lookup func(name string) (string, bool)
	Secret func(name string) (string, bool) // a file of that name below $CREDENTIALS_DIRECTORY or /run/secrets
}

// Read reads the content of an inventory. path is its name, which helps to know the format if none is given. What cannot
// be read at all is a usage fault that names the line, and quotes nothing of the content.
func Read(path string, content []byte, format Format, env Env) (Result, error) {
	text, odd := decode(content)
	if format == "" {
		format = guess(path, text)
	}
	var b builder
	var err error
	if format == CSV {
		err = b.readCSV(path, text)
	} else {
		format, err = b.readTree(path, text, format, env)
	}
	if err != nil {
		return Result{}, err
	}
	if odd {
		b.report(1, filepath.Base(path), Note, "it is not UTF-8: read as Windows-1252")
	}
	r := b.finish()
	r.Format = format
	return r, nil
}

// guess tells CSV from the other two, which are told apart by their keys.
func guess(path string, text []byte) Format {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv", ".tsv":
		return CSV
	case ".yml", ".yaml", ".json":
		return ""
	}
	if _, _, ok := header(text); ok {
		return CSV
	}
	return ""
}

func (b *builder) readTree(path string, text []byte, format Format, env Env) (Format, error) {
	root, problem := config.ParseTree(text)
	if problem != nil {
		problem.File = path
		return "", fault.New(fault.Usage, "", "%s", problem.String()).WithHint("nothing was imported: correct the file, or export it anew")
	}
	if format == "" {
		switch cameras := root.Get("cameras"); {
		case cameras != nil && cameras.Kind == config.List && root.Get("streams") == nil:
			return "", fault.New(fault.Usage, "", "%s is a configuration of camwarden itself", path).WithHint("use it as it is: camwarden -c %s config check", path)
		case cameras != nil, root.Get("go2rtc", "streams") != nil:
			format = Frigate
		case root.Get("streams") != nil:
			format = Go2rtc
		default:
			return "", fault.New(fault.Usage, "", "%s holds neither cameras, as Frigate's file does, nor streams, as go2rtc's does", path).
				WithHint("say what it is: --format %s", strings.Join(Formats(), "|"))
		}
	}
	if root.Kind != config.Mapping {
		return "", fault.New(fault.Usage, "", "%s:%d: keys with values are needed here, as the file of %s has them", path, root.Line, format)
	}
	if format == Frigate {
		b.readFrigate(root, env)
	} else {
		b.readGo2rtc(root, env)
	}
	return format, nil
}

// builder collects cameras and reports.
type builder struct {
	found   []candidate
	reports []Report
}

// candidate is a camera before it has an id.
type candidate struct {
	name  string
	line  int // where a report about it as a whole points
	main  endpoint
	sub   *endpoint
	model string
	snap  string // a URL without a log-in
	limit int
	// limitLine is where the limit stands.
	limitLine int
	noPath    bool // the file says none
}

func (b *builder) report(line int, about string, kind Kind, why string, args ...any) {
	r := Report{Line: line, About: about, Kind: kind, Why: fmt.Sprintf(why, args...)}
	if !slices.Contains(b.reports, r) {
		b.reports = append(b.reports, r)
	}
}

// add takes a camera over, with what its endpoint has to say.
func (b *builder) add(c candidate) {
	for _, e := range []*endpoint{&c.main, c.sub} {
		if e == nil {
			continue
		}
		for _, said := range e.said {
			b.report(e.line, c.name, said.kind, "%s", said.why)
		}
	}
	b.found = append(b.found, c)
}

func sortReports(reports []Report) []Report {
	slices.SortStableFunc(reports, func(a, b Report) int { return cmp.Compare(a.Line, b.Line) })
	return reports
}

// decode returns the text as UTF-8: UTF-16 by its byte order mark, or by its zero bytes. odd: it was neither, and is read
// as what Excel writes in the west of Europe.
func decode(content []byte) (text []byte, odd bool) {
	switch {
	case bytes.HasPrefix(content, []byte{0xff, 0xfe}):
		return utf16Text(content[2:], 0), false
	case bytes.HasPrefix(content, []byte{0xfe, 0xff}):
		return utf16Text(content[2:], 1), false
	case len(content) > 3 && content[0] != 0 && content[1] == 0 && content[3] == 0:
		return utf16Text(content, 0), false
	case len(content) > 3 && content[0] == 0 && content[1] != 0 && content[2] == 0:
		return utf16Text(content, 1), false
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	return windowsText(content)
}
