package commands

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/streams"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// streamsBound is how long a command about streams may take: a flush needs up to 8 s, and each call has a bound of its own.
const streamsBound = 30 * time.Second

func newStreams(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "streams",
		Short: "Show what go2rtc holds, who watches, and what is ours",
		Long: `Show the streams that the configured go2rtc holds: who watches each, which of them camwarden made, and what a purge
would do. Without a command of its own it lists.

Streams of ours are those that this ledger holds. A stray one has our prefix and is in no lease here: another host, or
another user, may have made it.`,
		Example: `camwarden streams
camwarden streams purge
camwarden streams flush camwarden-gate-2f9e7a41`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return listStreams(c, cmd) },
	}
	cmd.AddCommand(newStreamsList(c), newStreamsAdd(c), newStreamsPurge(c), newStreamsFlush(c))
	return cmd
}

func newStreamsList(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the streams, their viewers, and what a purge would do",
		Long: `List the streams of go2rtc. A stream is idle, connected to its camera, reconnecting (go2rtc shows it as connected, and
the kernel has no connection for it), or stuck: a picture that nobody waits for any more holds the camera.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listStreams(c, cmd) },
	}
}

func listStreams(c *cli, cmd *cobra.Command) error {
	return c.aboutStreams(cmd, func(ctx context.Context, set settings, keeper *streams.Keeper) (streams.Report, ExitCode, error) {
		report, err := keeper.List(ctx, set.config.Inventory.Cameras)
		return report, Done, err
	})
}

func newStreamsAdd(c *cli) *cobra.Command {
	var passwordFile string
	cmd := &cobra.Command{
		Use:   "add CAMERA... [flags]",
		Short: "Register the streams of cameras, to watch them through go2rtc",
		Long: `Register the streams of cameras, as a round does. No camera is dialled. A stream stays while somebody watches it; then the
next round, or "streams purge", removes it, unless the configuration says lifecycle: standing.`,
		Example:           `camwarden streams add gate yard`,
		Args:              atLeastOne("CAMERA", "gate"),
		ValidArgsFunction: c.completeCameras,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.warnOfPasswords(args)
			return c.aboutStreams(cmd, func(ctx context.Context, set settings, keeper *streams.Keeper) (streams.Report, ExitCode, error) {
				cameras, err := set.pick(args, passwordFile)
				if err != nil {
					return streams.Report{}, Wrong, err
				}
				code := Done
				var wishes []streams.Wish
				for _, cam := range cameras {
					password, err := cam.Password.Reveal()
					if err != nil {
						c.log.Error("camera "+cam.ID+": "+err.Error(), hintKey, fault.From(err, fault.Local, "").Hint)
						code = CameraFailed
						continue
					}
					wishes = append(wishes, streams.Wish{Camera: cam, Password: password})
				}
				report, err := keeper.Add(ctx, set.config.Inventory.Cameras, wishes...)
				if err != nil && report.Go2rtc.Reachable {
					return report, CameraFailed, nil // each says why
				}
				return report, code, err
			})
		},
	}
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "read the password of cameras given by URL or address from `FILE`")
	return cmd
}

func newStreamsPurge(c *cli) *cobra.Command {
	var choice streams.Choice
	cmd := &cobra.Command{
		Use:   "purge [NAME...] [flags]",
		Short: "Remove our streams that nobody watches",
		Long: `Remove the streams of ours that nobody watches and no living run uses; pictures of dead runs that hang on them are flushed
first. With a NAME only that stream, and none while it is watched. One that is not ours, a stray one too, needs its NAME
and --force: go2rtc then also takes it out of its configuration file.`,
		Example: `camwarden streams purge --dry-run
camwarden streams purge
camwarden streams purge camwarden-gate-2f9e7a41 --force`,
		ValidArgsFunction: c.completeStreams,
		RunE: func(cmd *cobra.Command, args []string) error {
			if choice.Force && len(args) == 0 {
				return fault.New(fault.Usage, "", "--force is for streams that are named").WithHint("camwarden streams lists them")
			}
			for _, name := range args {
				if name == "" {
					return fault.New(fault.Usage, "", "a NAME is empty").WithHint("is a variable unset? camwarden streams lists the names")
				}
			}
			choice.Names = args
			return c.aboutStreams(cmd, func(ctx context.Context, set settings, keeper *streams.Keeper) (streams.Report, ExitCode, error) {
				report, left, err := keeper.Purge(ctx, set.config.Inventory.Cameras, choice)
				return report, purgeCode(report, choice, left), err
			})
		},
	}
	cmd.Flags().BoolVar(&choice.Force, "force", false, "also remove a named stream that is not ours")
	cmd.Flags().BoolVarP(&choice.DryRun, "dry-run", "n", false, "say what would be removed, and remove nothing")
	return cmd
}

// purgeCode: something of ours that should be gone and is not weighs most; a named stream that was kept is a failure.
func purgeCode(report streams.Report, choice streams.Choice, left bool) ExitCode {
	if left {
		return LeftBehind
	}
	for _, row := range report.Streams {
		if len(choice.Names) > 0 && row.Action == streams.Keep {
			return CameraFailed
		}
	}
	return Done
}

func newStreamsFlush(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "flush NAME",
		Short: "End pictures that hang on a stream of ours and hold its camera",
		Long: `End the pictures that nobody waits for any more and that hold a camera, or make go2rtc dial it again for ever: go2rtc is
given a test picture as the stream's source until they have ended, and then the camera again. It needs ffmpeg where go2rtc
runs. A camera that goes on sending without a key frame is broken off first, which only root can do.
A stream that somebody watches is not flushed, because he would see the test picture.`,
		Example: `camwarden streams flush camwarden-gate-2f9e7a41`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] != "" {
				return nil
			}
			return fault.New(fault.Usage, "", "%s needs the name of one stream", cmd.Name()).WithHint("camwarden streams lists them")
		},
		ValidArgsFunction: c.completeStreams,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.aboutStreams(cmd, func(ctx context.Context, set settings, keeper *streams.Keeper) (streams.Report, ExitCode, error) {
				report, left, err := keeper.Free(ctx, set.config.Inventory.Cameras, args[0], func(cam camera.Camera) (string, error) { return cam.Password.Reveal() })
				if left {
					return report, LeftBehind, err
				}
				return report, Done, err
			})
		},
	}
}

// aboutStreams does something with the streams of the configured go2rtc and shows what came of it.
func (c *cli) aboutStreams(cmd *cobra.Command, do func(context.Context, settings, *streams.Keeper) (streams.Report, ExitCode, error)) error {
	set, err := c.loadToDial()
	if err != nil {
		return err
	}
	book, err := set.openLedger()
	if err != nil {
		return err
	}
	keeper, err := set.keeper(book)
	if err != nil {
		return err
	}
	defer keeper.Close()
	signals := watch(cmd.Context(), c.world.Signals, func(text string) { c.log.Warn(text) })
	defer signals.stop()
	ctx, cancel := context.WithTimeout(signals.ctx, streamsBound)
	defer cancel()
	report, code, err := do(ctx, set, keeper)
	if s := signals.signal(); s != nil && err != nil {
		return endedBy(s, err)
	}
	if err != nil {
		return serverFailed(err)
	}
	return c.showWith(document{value: report, list: "streams", table: func(p *page) { streamsPage(p, report) }}, code)
}

// serverFailed keeps a go2rtc that does not answer apart from a command line that is wrong.
func serverFailed(err error) error {
	known := fault.From(err, fault.Go2rtc, "")
	if known.Class == fault.Go2rtc || known.Class == fault.Local {
		return cutShort{known, CameraFailed}
	}
	return known
}

func streamsPage(p *page, r streams.Report) {
	var rows [][]string
	for _, s := range r.Streams {
		colour := good
		switch s.State {
		case streams.Stuck:
			colour = bad
		case streams.Reconnecting:
			colour = odd
		}
		whose := ""
		if s.Ours {
			whose = "ours"
		}
		rows = append(rows, []string{s.Name, s.Camera, p.paint(colour, string(s.State)), strconv.Itoa(s.Viewers), whose, string(s.Action), s.Source, s.Why})
	}
	p.table([]string{"STREAM", "CAMERA", "STATE", "VIEWERS", "WHOSE", "ACTION", "SOURCE", "WHY"}, rows, "SOURCE", "CAMERA", "VIEWERS")
	g := r.Go2rtc
	p.line("go2rtc %s at %s: %s, %d watched, %d connected, %d ours, %d stray, %d stuck",
		g.Version, g.URL, sweep.Count(g.Streams, "stream"), g.Watched, g.Connected, g.Ours, g.Stray, g.Stuck)
}

// completeStreams offers the names that streams of the configured cameras have: go2rtc is not asked while somebody types.
func (c *cli) completeStreams(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	set, err := c.load()
	if err != nil || set.config.Go2rtc == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, cam := range set.config.Inventory.Cameras {
		names = append(names, cobra.CompletionWithDesc(set.config.Go2rtc.StreamPrefix+camera.Slug(cam.ID), cam.ID))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
