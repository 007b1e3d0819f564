// Package config reads the configuration file: every key known, every value checked, every problem named with its line.
package config

import (
	"time"

	"github.com/camwarden/camwarden/pkg/archive"
	"github.com/camwarden/camwarden/pkg/camera"
)

// Config is what a configuration file says, with the defaults where it says nothing.
// Relative paths in the file are relative to the folder of the file.
type Config struct {
	Path string // the file that was read; "" when there is none

	StateDir    string // "" leaves the choice to the ledger
	OutputDir   string // "" means that pictures are not kept
	OutputName  archive.Template
	Keep        archive.Policy // which stills below OutputDir stay; the zero Policy keeps all
	Sources     []string
	Cooldown    time.Duration // between two rounds of the same subnets
	JPEGQuality int           // on ffmpeg's -q:v scale: 2 is the best, 31 the worst
	FFmpeg      FFmpeg
	Go2rtc      *Go2rtc // nil when none is configured
	Inventory   camera.Inventory
	Reap        Reap
	Doctor      Doctor

	// Notices are sentences about what was accepted and may still surprise.
	Notices []string
	// SecretProblems are the secrets that others can read. They stop only what dials: see CheckSecrets.
	SecretProblems Problems

	places map[string]place // where the file names a secret, by the secret's own name for itself, and each camera by its id
}

// FFmpeg says which ffmpeg is run.
type FFmpeg struct {
	Path string // a path, or a name to be found in $PATH
}

// Go2rtc is the go2rtc server that relays the cameras.
type Go2rtc struct {
	URL          string // http, https or unix; without user-info
	Username     string
	Password     camera.Secret
	CAFile       string // "" trusts the certificates that the system trusts
	StreamPrefix string
	Snapshot     string // "frame" or "restream"
	Lifecycle    string // "ephemeral" or "standing"
}

// Reap is when a process of somebody else counts as leaked.
type Reap struct {
	OlderThan time.Duration
	SilentFor time.Duration
	Programs  []string
}

// Doctor is from how many capturing processes on it is a finding, and which findings are known.
type Doctor struct {
	ProcessesWarning, ProcessesCritical int

	Ignore []Ignored
}

// Ignored is a finding of doctor's that is known, and counts for nothing.
type Ignored struct {
	Code    string `json:"code"`
	Subject string `json:"subject"` // empty: any
}

// Default returns the configuration that holds without a file.
func Default() *Config {
	return &Config{
		OutputName:  defaultName(),
		Sources:     sourceNames(),
		JPEGQuality: 3,
		FFmpeg:      FFmpeg{Path: "ffmpeg"},
		Inventory:   camera.Inventory{Defaults: camera.Defaults()},
		Reap:        Reap{OlderThan: 5 * time.Minute, SilentFor: 5 * time.Minute, Programs: []string{"ffmpeg", "ffprobe"}},
		Doctor:      Doctor{ProcessesWarning: 5, ProcessesCritical: 20},
	}
}

// defaultGo2rtc is what holds where a go2rtc section says nothing.
func defaultGo2rtc() Go2rtc {
	return Go2rtc{URL: "http://127.0.0.1:1984", StreamPrefix: "camwarden-", Snapshot: "frame", Lifecycle: "ephemeral"}
}

func sourceNames() []string { return []string{"go2rtc", "http", "rtsp", "ffmpeg"} }
