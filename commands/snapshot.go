package commands

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/round"
)

type snapshotFlags struct {
	visitFlags
	file         string
	passwordFile string
	brand        string
}

// toStdout reports whether the picture goes to stdout instead of a file.
func (f snapshotFlags) toStdout() bool { return f.file == "-" }

func newSnapshot(c *cli) *cobra.Command {
	var f snapshotFlags
	cmd := &cobra.Command{
		Use:   "snapshot CAMERA... [flags]",
		Short: "Take one still from each of the named cameras",
		Long: `Take one still from each of the named cameras, now: a round of its own, without round lock and cool-down.

CAMERA is an id of the configuration, an address (192.168.125.19 or 192.168.125.19:554), an rtsp:// URL, or the http://
URL of the camera's own picture. A URL needs no configuration at all; its user may stand in it, its password comes from
--password-file or CAM_PASSWORD.

A picture appears whole or not at all, under <id>.jpg in the current folder unless -f or -d says otherwise, and
replaces the one before. A camera that gives none leaves the older picture alone and makes the exit code 1.`,
		Example: `camwarden snapshot gate yard -d /srv/stills
camwarden snapshot gate -f - | display -
CAM_PASSWORD=... camwarden snapshot rtsp://viewer@192.168.125.19/stream1
CAM_PASSWORD=... camwarden snapshot http://viewer@192.168.125.19/snapshot.jpg`,
		Args:              atLeastOne("CAMERA", "gate"),
		ValidArgsFunction: c.completeCameras,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.validate(c, cmd); err != nil {
				return err
			}
			return runSnapshot(c, cmd, f, args)
		},
	}
	f.register(cmd, "keep pictures below `DIR` as <id>.jpg (default: here)")
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "keep the picture of one camera as `FILE`; - writes it to stdout")
	cmd.Flags().StringVar(&f.passwordFile, "password-file", "", "read the password of the cameras named from `FILE`, whatever is configured")
	cmd.Flags().StringVar(&f.brand, "brand", "", "take cameras that the configuration does not hold for this maker's: `BRAND` gives path, port and limit")
	_ = cmd.RegisterFlagCompletionFunc("brand", completeBrands)
	return cmd
}

func (f snapshotFlags) validate(c *cli, cmd *cobra.Command) error {
	if err := f.visitFlags.validate(cmd); err != nil {
		return err
	}
	given := cmd.Flags().Changed
	switch {
	case given("file") && f.file == "":
		return fault.New(fault.Usage, "", "--file is empty").WithHint("name a file, or leave it out; is a variable unset?")
	case given("file") && given("dir"):
		return fault.New(fault.Usage, "", "--file and --dir both say where the picture goes").WithHint("give one of them")
	case f.toStdout() && cmd.Root().PersistentFlags().Changed("output"):
		return fault.New(fault.Usage, "", "-f - writes the picture to standard output, where -o would write the report").
			WithHint("leave out -o (or CAMWARDEN_OUTPUT), or give -f a file")
	case f.toStdout() && c.world.Terminal.Stdout:
		return fault.New(fault.Usage, "", "standard output is a terminal, which cannot show a JPEG").
			WithHint("send it on, as in: %s | display -    or give -f a file", strings.Join([]string{cmd.CommandPath(), "CAMERA -f -"}, " "))
	}
	return nil
}

// keeper says where the pictures go; the second value is not nil when the picture is for stdout.
func (f snapshotFlags) keeper() (round.Keeper, *round.Memory) {
	switch {
	case f.toStdout():
		memory := &round.Memory{}
		return memory, memory
	case f.file != "":
		return round.File{Path: f.file}, nil
	case f.dir != "":
		return round.Folder{Dir: f.dir}, nil
	default:
		return round.Folder{Dir: "."}, nil
	}
}

func runSnapshot(c *cli, cmd *cobra.Command, f snapshotFlags, args []string) error {
	set, err := c.loadToDial()
	if err != nil {
		return err
	}
	c.warnOfPasswords(args)
	if f.brand != "" {
		if err := set.config.AssumeBrand(f.brand); err != nil {
			return err
		}
	}
	cameras, err := set.pick(args, f.passwordFile)
	if err != nil {
		return err
	}
	if f.file != "" && len(cameras) > 1 {
		return fault.New(fault.Usage, "", "--file takes the picture of one camera, but %d are named", len(cameras)).
			WithHint("keep each as <id>.jpg with -d DIR")
	}
	keeper, memory := f.keeper()
	report, code, err := c.visit(cmd.Context(), set, f.visitFlags, round.Plan{
		Schema:    round.SnapshotSchema,
		Selection: camera.Selection{Cameras: cameras},
		Keeper:    keeper,
	})
	if err != nil {
		return err
	}
	if memory == nil {
		return c.showWith(reportDocument(report, reportView{order: ids(cameras), failed: f.failed, quiet: c.flags.quiet}), code)
	}
	return c.showPicture(report, memory.JPEG, code)
}

// showPicture writes the one picture to stdout; what a table would have said goes to stderr, and only if it is not good news.
func (c *cli) showPicture(report round.Report, jpeg []byte, code ExitCode) error {
	for _, v := range report.Visits {
		if v.Error != nil {
			c.log.Error(v.Camera+": "+errorText(v.Error), hintKey, v.Error.Hint)
		}
	}
	for _, l := range report.Leftovers {
		c.log.Warn("left: "+l.Subject, "why", l.Why, "outcome", l.Outcome)
	}
	if report.Verdict != round.Clean {
		c.log.Error("verdict: " + string(report.Verdict))
	}
	if code = c.deliver("the picture", jpeg, code); code != Done {
		return ended(code)
	}
	return nil
}
