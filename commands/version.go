package commands

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Build is what is known of the binary: camwarden.version/1 without its schema. Empty fields are unknown.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Date    string `json:"date"` // of the commit, RFC 3339, so that equal sources give equal answers
	Dirty   bool   `json:"dirty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// readBuild takes what the Go tool stamped into the binary, so no linker flag can disagree with it.
func readBuild(info *debug.BuildInfo, ok bool) Build {
	b := Build{Version: "unknown"}
	if !ok {
		return b
	}
	b.Go = info.GoVersion
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		case "GOOS":
			b.OS = s.Value
		case "GOARCH":
			b.Arch = s.Value
		}
	}
	return b
}

func newVersion(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which camwarden this is",
		Long:  "Say which camwarden this is: version, commit, and the Go it was built with. --version prints the first line of it.",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.show(versionDocument(c.world.Build))
		},
	}
}

func versionDocument(b Build) document {
	type body struct {
		Schema string `json:"schema"`
		Build
	}
	return document{
		value: body{"camwarden.version/1", b},
		table: func(p *page) {
			p.line("camwarden %s", b.Version)
			if b.Commit != "" {
				p.line("commit %s of %s", b.Commit, b.Date)
			}
			if b.Go != "" {
				p.line("%s %s/%s", b.Go, b.OS, b.Arch)
			}
		},
	}
}
