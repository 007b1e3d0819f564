package config

import (
	"strings"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/redact"
)

// Schema is the "schema" field of a Document.
const Schema = "camwarden.config/1"

// Document is a configuration as `config show` prints it: every value that holds, and of secrets only where they come
// from. Durations are Go durations.
type Document struct {
	Schema      string          `json:"schema"`
	File        string          `json:"file"` // "" when there is none
	StateDir    string          `json:"state_dir"`
	OutputDir   string          `json:"output_dir"`
	OutputName  string          `json:"output_name"`
	Keep        DocumentKeep    `json:"keep"`
	Sources     []string        `json:"sources"`
	Cooldown    string          `json:"cooldown"`
	JPEGQuality int             `json:"jpeg_quality"`
	FFmpeg      DocumentFFmpeg  `json:"ffmpeg"`
	Go2rtc      *DocumentGo2rtc `json:"go2rtc"`
	Defaults    DocumentCommon  `json:"defaults"`
	Subnets     []DocumentNet   `json:"subnets"`
	Cameras     []DocumentCam   `json:"cameras"`
	Reap        DocumentReap    `json:"reap"`
	Doctor      DocumentDoctor  `json:"doctor"`
	Notices     []string        `json:"notices"`
}

// DocumentFFmpeg is the ffmpeg part of a Document.
type DocumentFFmpeg struct {
	Path string `json:"path"`
}

// DocumentKeep is which stills stay; 0 and "0s" set no bound.
type DocumentKeep struct {
	For   string `json:"for"`
	Most  int    `json:"most"`
	Bytes int64  `json:"bytes"`
}

// DocumentGo2rtc is the go2rtc part of a Document.
type DocumentGo2rtc struct {
	URL          string `json:"url"`
	Username     string `json:"username"`
	PasswordFrom string `json:"password_from"`
	CAFile       string `json:"ca_file"`
	StreamPrefix string `json:"stream_prefix"`
	Snapshot     string `json:"snapshot"`
	Lifecycle    string `json:"lifecycle"`
}

// DocumentCommon is what the defaults say, and each camera.
type DocumentCommon struct {
	Port            uint16                 `json:"port"`
	Path            string                 `json:"path"`
	Username        string                 `json:"username"`
	PasswordFrom    string                 `json:"password_from"` // "file X", "credential X", "$X", "this file", or "" for none
	Transport       camera.Transport       `json:"transport"`
	KeyFrameRequest camera.KeyFrameRequest `json:"key_frame_request"`
	Brand           string                 `json:"brand"` // "" where none is known
	Stream          camera.Stream          `json:"stream"`
	Channel         int                    `json:"channel"`
	SubPath         string                 `json:"sub_path"` // of the smaller stream, "" where nobody names it; Path is the one that is taken
	MaxConnections  int                    `json:"max_connections"`
	LimitAssumed    bool                   `json:"limit_assumed"`
	Reserve         int                    `json:"reserve"`
	Snapshot        string                 `json:"snapshot"` // its own picture over HTTP, "" where it gives none
	SnapshotAuth    camera.SnapshotAuth    `json:"snapshot_auth"`
	HTTPConnections int                    `json:"http_connections"`
	Timeout         string                 `json:"timeout"`
	SessionTimeout  string                 `json:"session_timeout"`
}

// DocumentCam is one camera of a Document, with the defaults applied.
type DocumentCam struct {
	ID     string `json:"id"`
	Host   string `json:"host"`
	Scheme string `json:"scheme"`
	Model  string `json:"model"`
	DocumentCommon
}

// DocumentNet is one subnet of a Document.
type DocumentNet struct {
	Name     string   `json:"name"`
	Prefixes []string `json:"prefixes"`
	Cameras  []string `json:"cameras"`
}

// DocumentReap is the reap part of a Document.
type DocumentReap struct {
	OlderThan string   `json:"older_than"`
	SilentFor string   `json:"silent_for"`
	Programs  []string `json:"programs"`
}

// DocumentDoctor is the doctor part of a Document.
type DocumentDoctor struct {
	ProcessesWarning  int `json:"processes_warning"`
	ProcessesCritical int `json:"processes_critical"`

	Ignore []Ignored `json:"ignore"`
}

// Redacted returns what `config show` prints.
func (c *Config) Redacted() Document {
	d := Document{
		Schema: Schema, File: c.Path, StateDir: c.StateDir, OutputDir: c.OutputDir, OutputName: c.OutputName.String(),
		Keep: DocumentKeep{For: c.Keep.For.String(), Most: c.Keep.Most, Bytes: c.Keep.Bytes}, Sources: list(c.Sources),
		Cooldown: c.Cooldown.String(), JPEGQuality: c.JPEGQuality, FFmpeg: DocumentFFmpeg(c.FFmpeg),
		Defaults: commonOf(c.Inventory.Defaults), Subnets: []DocumentNet{}, Cameras: []DocumentCam{},
		Reap:   DocumentReap{OlderThan: c.Reap.OlderThan.String(), SilentFor: c.Reap.SilentFor.String(), Programs: list(c.Reap.Programs)},
		Doctor: DocumentDoctor{c.Doctor.ProcessesWarning, c.Doctor.ProcessesCritical, append([]Ignored{}, c.Doctor.Ignore...)}, Notices: list(c.Notices),
	}
	if g := c.Go2rtc; g != nil {
		d.Go2rtc = &DocumentGo2rtc{
			URL: g.URL, Username: g.Username, PasswordFrom: from(g.Password), CAFile: g.CAFile,
			StreamPrefix: g.StreamPrefix, Snapshot: g.Snapshot, Lifecycle: g.Lifecycle,
		}
	}
	for _, s := range c.Inventory.Subnets {
		net := DocumentNet{Name: s.Name, Prefixes: []string{}, Cameras: list(s.Cameras)}
		for _, p := range s.Prefixes {
			net.Prefixes = append(net.Prefixes, p.String())
		}
		d.Subnets = append(d.Subnets, net)
	}
	for _, cam := range c.Inventory.Cameras {
		d.Cameras = append(d.Cameras, DocumentCam{
			ID: cam.ID, Host: cam.Host, Scheme: cam.Scheme, Model: cam.Model, DocumentCommon: commonOf(cam),
		})
	}
	return d
}

func commonOf(c camera.Camera) DocumentCommon {
	return DocumentCommon{
		Port: c.Port, Path: c.ShownPath(c.Path), Username: c.Username, PasswordFrom: from(c.Password), Transport: c.Transport, KeyFrameRequest: c.KeyFrameRequest, Brand: c.Brand, Stream: c.Stream, Channel: c.Channel,
		SubPath:        c.ShownPath(c.SubPath),
		MaxConnections: c.MaxConnections, LimitAssumed: c.LimitAssumed, Reserve: c.Reserve,
		Snapshot: shownSnapshot(c.Snapshot), SnapshotAuth: c.SnapshotAuth, HTTPConnections: c.HTTPConnections,
		Timeout: c.Timeout.String(), SessionTimeout: c.SessionTimeout.String(),
	}
}

// shownSnapshot hides a password that stands in a snapshot, and not the placeholder of one.
func shownSnapshot(snapshot string) string {
	if bare := strings.ReplaceAll(snapshot, "{password}", ""); redact.String(bare) == bare {
		return snapshot
	}
	return redact.String(snapshot)
}

func from(s camera.Secret) string {
	if !s.Plain() {
		return s.String()
	}
	if password, err := s.Reveal(); err == nil && password == "" {
		return ""
	}
	return "this file"
}

// list is never null in a document.
func list(items []string) []string { return append([]string{}, items...) }
