package commands

import (
	"cmp"
	"time"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/round"
)

type roundFlags struct {
	visitFlags
	deadline time.Duration
	cooldown time.Duration
	ifBusy   string
	name     string
	changes  bool
}

func newRound(c *cli) *cobra.Command {
	f := roundFlags{ifBusy: string(round.Fail)}
	cmd := &cobra.Command{
		Use:   "round SUBNET... [flags]",
		Short: "Take one still from each camera of a subnet, and verify that nothing is left",
		Long: `Take one still from each camera of a subnet: construct what the sources need, visit every camera, take down what
was made, and look at the kernel to see whether anything of ours is left. The verdict is clean, left or unverified.

SUBNET is a prefix (192.168.125.0/24), a name of the configuration, or "all". With -d, or output_dir in the
configuration, each picture is kept as DIR/<id>/<UTC time>.jpg, and the symlink latest.jpg moves only on success.

One round of the same subnets runs at a time; --if-busy says what a second one does, and what a round does before
the cool-down since the last one has passed. What an earlier run left, killed in the middle perhaps, is finished
first and listed as recovered. It is safe to interrupt a round and to run it again.`,
		Example: `camwarden round office -d /srv/stills
camwarden round 192.168.125.0/24 -j 16 --timeout 3s -o json
*/5 * * * * /usr/bin/camwarden round all -q --changes --if-busy skip`,
		Args:              atLeastOne("SUBNET", "192.168.125.0/24"),
		ValidArgsFunction: c.completeSubnets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.validate(cmd); err != nil {
				return err
			}
			return runRound(c, cmd, f, args)
		},
	}
	f.register(cmd, "keep pictures below `DIR` (default: output_dir of the configuration)")
	cmd.Flags().DurationVar(&f.deadline, "deadline", 5*time.Minute, "`TIME` after which no further camera is visited; cleaning up takes at most 8s more")
	cmd.Flags().DurationVar(&f.cooldown, "cooldown", 0, "least `TIME` between two rounds of the same subnets (default: cooldown of the configuration)")
	cmd.Flags().StringVar(&f.name, "name", "", nameUsage)
	cmd.Flags().BoolVar(&f.changes, "changes", false, "show in the table only what differs from the last round of the same subnets")
	cmd.Flags().Var(choice(&f.ifBusy, string(round.Fail), string(round.Skip), string(round.Wait)), "if-busy",
		"`WHAT` to do when another round runs or the cool-down has not passed: fail, skip or wait")
	_ = cmd.RegisterFlagCompletionFunc("if-busy", cobra.FixedCompletions([]string{"fail", "skip", "wait"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f roundFlags) validate(cmd *cobra.Command) error {
	if err := f.visitFlags.validate(cmd); err != nil {
		return err
	}
	switch {
	case f.deadline <= 0:
		return fault.New(fault.Usage, "", "--deadline: %s would end the round before it begins", f.deadline).WithHint("for example --deadline 5m")
	case f.deadline > config.Longest:
		return tooLong("--deadline", f.deadline)
	case f.cooldown > config.Longest:
		return tooLong("--cooldown", f.cooldown)
	case f.cooldown < 0:
		return fault.New(fault.Usage, "", "--cooldown: %s is less than no pause at all", f.cooldown).WithHint("for example --cooldown 1m")
	}
	return nil
}

func runRound(c *cli, cmd *cobra.Command, f roundFlags, args []string) error {
	set, err := c.loadToDial()
	if err != nil {
		return err
	}
	selection, err := set.selection(args)
	if err != nil {
		return err
	}
	plan := round.Plan{
		Schema: round.RoundSchema, Selection: selection, Exclusive: true,
		Deadline: f.deadline, Cooldown: f.cooldown, IfBusy: round.IfBusy(f.ifBusy),
	}
	if !cmd.Flags().Changed("cooldown") {
		plan.Cooldown = set.config.Cooldown
	}
	if dir := cmp.Or(f.dir, set.config.OutputDir); dir != "" {
		name, err := set.outputName(f.name)
		if err != nil {
			return err
		}
		plan.Keeper, plan.Keep = round.Archive{Dir: dir, Name: name}, set.config.Keep
	} else if f.name != "" {
		return fault.New(fault.Usage, "", "--name says how files are named, and no folder is given for them").
			WithHint("name it with -d DIR, or with output_dir in the configuration")
	} else {
		c.log.Info("pictures are not kept", hintKey, "keep them with -d DIR, or output_dir in the configuration")
	}
	report, code, err := c.visit(cmd.Context(), set, f.visitFlags, plan)
	if err != nil {
		return err
	}
	if report.PassedOver && report.Verdict == round.Clean {
		code = Done
	}
	view := reportView{order: ids(selection.Cameras), failed: f.failed, changes: f.changes, quiet: c.flags.quiet}
	return c.showWith(reportDocument(report, view), code)
}
