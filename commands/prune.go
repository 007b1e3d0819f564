package commands

import (
	"cmp"
	"time"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/archive"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/sweep"
)

type pruneFlags struct {
	dir    string
	name   string
	dryRun bool
}

func newPrune(c *cli) *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "Remove the stills that need not be kept",
		Long: `Remove stills that "keep" in the configuration does not keep: those older than for, those beyond the newest most of a
camera, and the oldest of all until the rest has at most so many bytes. A round does the same after its work.

Only regular files whose names are those of stills (output_name, or --name) are removed; symlinks are not followed, and
other files are left alone. Each camera keeps its newest still, and the one that latest.jpg points at. It is safe to
interrupt it, to run it again, and to run it beside a round.`,
		Example: `camwarden prune --dry-run
camwarden prune -d /srv/stills`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPrune(c, cmd, f) },
	}
	cmd.Flags().StringVarP(&f.dir, "dir", "d", "", "prune the stills below `DIR` (default: output_dir of the configuration)")
	cmd.Flags().StringVar(&f.name, "name", "", nameUsage)
	cmd.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "only say what would be removed")
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}

// nameUsage explains --name of the commands that write or read stills below a folder.
const nameUsage = "how files are named, a `TEMPLATE` like {camera}/{date}/{time}.jpg (default: output_name of the configuration)"

func runPrune(c *cli, cmd *cobra.Command, f pruneFlags) error {
	set, err := c.load()
	if err != nil {
		return err
	}
	dir := cmp.Or(f.dir, set.config.OutputDir)
	switch {
	case dir == "":
		return fault.New(fault.Usage, "", "there is no folder to prune").WithHint("name it with -d DIR, or with output_dir in the configuration")
	case set.config.Keep.Off():
		return fault.New(fault.Usage, "", "nothing says which stills may go, so all are kept").
			WithHint("say it in the configuration, for example keep: {for: 720h, bytes: 50GiB}")
	}
	name, err := set.outputName(f.name)
	if err != nil {
		return err
	}
	result, err := archive.Prune(cmd.Context(), archive.Pruning{Dir: dir, Template: name, Policy: set.config.Keep, Now: time.Now(), DryRun: f.dryRun})
	if err != nil {
		return err
	}
	code := Done
	if !result.Finished {
		code = CameraFailed
	}
	return c.showWith(pruneDocument(result, set.config.Keep), code)
}

// outputName is the template of --name, else that of the configuration.
func (s settings) outputName(flag string) (archive.Template, error) {
	if flag == "" {
		return s.config.OutputName, nil
	}
	return archive.NewTemplate(flag)
}

func pruneDocument(r archive.Result, policy archive.Policy) document {
	type body struct {
		Schema string `json:"schema"`
		archive.Result
	}
	return document{value: body{"camwarden.prune/1", r}, table: func(p *page) {
		for _, text := range r.Errors {
			p.line("not removed: %s", text)
		}
		verb := "removed"
		if r.DryRun {
			verb = "would remove"
		}
		p.line("%s: %s %s (%s), kept %d; what is kept: %s", r.Dir, verb, sweep.Count(r.Removed, "still"), archive.FormatBytes(r.FreedBytes), r.Kept, policy)
		if r.Foreign > 0 {
			p.line("%s of other names left alone", sweep.Count(r.Foreign, "file"))
		}
		if !r.Finished {
			p.line("not all of it is done: run it again")
		}
	}}
}
