package commands

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/supervise"
	"github.com/camwarden/camwarden/pkg/sweep"
)

func newConfig(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write, import, check and show the configuration",
		Long: `Write a configuration to start from, import one from Frigate, go2rtc or a table, check the one there is, or show what
it comes to.

The configuration says which cameras there are and how to reach them. camwarden works without one: with prefixes,
addresses and URLs on the command line, and the defaults that "camwarden config show" prints.`,
		Args: knownCommand,
		RunE: needsCommand,
	}
	cmd.AddCommand(newConfigInit(c), newConfigCheck(c), newConfigShow(c), newConfigImport(c))
	return cmd
}

func newConfigInit(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a configuration that explains itself",
		Long: `Write a configuration in which every key is explained and has its default. It goes to the file of --config, else
to /etc/camwarden/config.yaml for root, or to $XDG_CONFIG_HOME/camwarden/config.yaml for anybody else.
A file that exists is left alone. The new one can be read by its owner only, because it may come to hold a password.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			path := c.newConfigPath()
			if path == "" {
				return fault.New(fault.Usage, "", "neither XDG_CONFIG_HOME nor HOME is set").WithHint("say where: camwarden config init -c FILE")
			}
			if err := writeNew(path, config.Template()); err != nil {
				return err
			}
			type body struct {
				Schema string `json:"schema"`
				File   string `json:"file"`
			}
			return c.show(document{value: body{"camwarden.config-init/1", path}, table: func(p *page) {
				p.line("wrote %s", path)
				p.line("name your cameras in it, then try: camwarden config check")
			}})
		},
	}
}

// newConfigPath is where a new configuration goes, "" if nobody knows.
func (c *cli) newConfigPath() string {
	if path := cmp.Or(c.flags.config, c.env("CAMWARDEN_CONFIG")); path != "" {
		return path
	}
	if os.Geteuid() == 0 {
		return "/etc/camwarden/config.yaml"
	}
	dir := c.env("XDG_CONFIG_HOME")
	if dir == "" && c.env("HOME") != "" {
		dir = filepath.Join(c.env("HOME"), ".config")
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "camwarden", "config.yaml")
}

// writeNew writes a file that must not exist yet, whole or not at all.
func writeNew(path string, text []byte) error {
	trouble := func(err error) error {
		var inPath *fs.PathError
		if errors.As(err, &inPath) {
			err = inPath.Err
		}
		f := fault.New(fault.Local, "", "cannot write %s: %w", path, err)
		if errors.Is(err, fs.ErrExist) {
			return f.WithHint("it is left as it is; edit it, or write another: camwarden config init -c FILE")
		}
		if fault.OutOfFiles(err) {
			return f.WithHint("%s", fault.HintMoreFiles)
		}
		return f.WithHint("write it elsewhere: camwarden config init -c FILE")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return trouble(err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return trouble(err)
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(path)
		return trouble(err)
	}
	return nil
}

func newConfigCheck(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with the configuration",
		Long: `Read the configuration and say everything that is wrong with it, by line: unknown keys, values that cannot be,
cameras that contradict each other, secrets that others can read, or that cannot be read. No camera is touched; a go2rtc that is configured
is asked where its configuration file is, which it rewrites when streams are removed.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checked, err := c.check(cmd.Context())
			if err != nil {
				return err
			}
			return c.showWith(document{value: checked, list: "problems", table: checked.page}, checked.code())
		},
	}
}

// checkedConfig is camwarden.config-check/1.
type checkedConfig struct {
	Schema   string           `json:"schema"`
	File     string           `json:"file"` // empty: none was found, the defaults hold
	OK       bool             `json:"ok"`
	Cameras  int              `json:"cameras"`
	Subnets  int              `json:"subnets"`
	Problems []config.Problem `json:"problems"`
	Notices  []string         `json:"notices"`
	FFmpeg   string           `json:"ffmpeg"` // its path; empty: it was not found

	missing int // of the problems, those that fail a camera and no more
}

// code: with a file that is wrong nothing begins; for want of a secret only the cameras that need it fail.
func (checked checkedConfig) code() ExitCode {
	switch {
	case checked.OK:
		return Done
	case checked.missing == len(checked.Problems):
		return CameraFailed
	default:
		return Wrong
	}
}

// check reads the configuration; the error is for a file that could not be read at all.
func (c *cli) check(ctx context.Context) (checkedConfig, error) {
	checked := checkedConfig{Schema: "camwarden.config-check/1", Problems: []config.Problem{}, Notices: []string{}}
	path, _, err := config.Find(c.flags.config, c.env)
	if err != nil {
		return checked, err
	}
	checked.File = path
	read, err := config.Load(path, c.env)
	var wrong config.Problems
	switch {
	case errors.As(err, &wrong):
		checked.Problems = wrong
		return checked, nil
	case err != nil:
		return checked, err
	}
	missing := read.MissingSecrets()
	checked.missing = len(missing)
	checked.Problems = append(append(checked.Problems, read.SecretProblems...), missing...)
	checked.Notices = append(checked.Notices, read.Notices...)
	checked.OK = len(checked.Problems) == 0
	if checked.OK {
		checked.Notices = append(checked.Notices, settings{config: read, c: c}.remarks(ctx)...)
	}
	checked.FFmpeg, _ = supervise.Find(read.FFmpeg.Path) // that there is none is said on the page
	checked.Cameras, checked.Subnets = len(read.Inventory.Cameras), len(read.Inventory.Subnets)
	return checked, nil
}

func (checked checkedConfig) page(p *page) {
	for _, problem := range checked.Problems {
		p.line("%s", p.paint(bad, problem.String()))
		if problem.Hint != "" {
			p.line("  hint: %s", problem.Hint)
		}
	}
	for _, notice := range checked.Notices {
		p.line("notice: %s", notice)
	}
	switch {
	case checked.File == "":
		p.line("there is no configuration file: the defaults hold")
	case checked.OK:
		p.line("%s is right: %s, %s", checked.File, sweep.Count(checked.Cameras, "camera"), sweep.Count(checked.Subnets, "named subnet"))
		if checked.FFmpeg == "" {
			p.line("ffmpeg: not found; without it only cameras that send JPEG give stills: apt-get install ffmpeg, or set ffmpeg: {path: ...}")
		} else {
			p.line("ffmpeg: %s", checked.FFmpeg)
		}
	default:
		p.line("%s: %s", checked.File, sweep.Count(len(checked.Problems), "problem"))
	}
}

func newConfigShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the configuration with its defaults filled in, without secrets",
		Long: `Show what the configuration comes to: every default filled in, every camera with all its values. Of a secret only
the place is shown (a file, a variable), never the secret. In place of a table it is YAML.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			set, err := c.load()
			if err != nil {
				return err
			}
			shown := set.config.Redacted()
			text, err := config.MarshalYAML(shown)
			if err != nil {
				return err
			}
			return c.show(document{value: shown, list: "cameras", table: func(p *page) {
				p.line("%s", strings.TrimSuffix(string(text), "\n"))
			}})
		},
	}
}
