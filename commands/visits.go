package commands

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/round"
	"github.com/camwarden/camwarden/pkg/supervise"
)

// visitFlags are the flags that round and snapshot share.
type visitFlags struct {
	dir     string
	sources []string
	timeout time.Duration
	jobs    string
	strict  bool
	width   int
	failed  bool
}

func (f *visitFlags) register(cmd *cobra.Command, dirUsage string) {
	flags := cmd.Flags()
	flags.StringVarP(&f.dir, "dir", "d", "", dirUsage)
	flags.StringSliceVar(&f.sources, "source", nil, "comma-separated `LIST` of sources to try, in order: go2rtc, http, rtsp, ffmpeg (default: sources of the configuration)")
	flags.DurationVar(&f.timeout, "timeout", 0, "`TIME` of one visit, all sources together (default: timeout of the camera, 10s)")
	flags.StringVarP(&f.jobs, "jobs", "j", "auto", "visit at most `N` cameras at once; auto is all, up to 64 (8 where each takes an ffmpeg of its own) and what the open files allow")
	flags.BoolVar(&f.strict, "strict", false, "decode the whole picture, not only its headers")
	flags.IntVar(&f.width, "width", 0, "make pictures wider than `N` pixels so wide (default: as the camera sends them)")
	flags.BoolVar(&f.failed, "failed", false, "show in the table only cameras that failed or were skipped")
	_ = cmd.RegisterFlagCompletionFunc("source", cobra.FixedCompletions(knownSources(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("dir")
}

func (f *visitFlags) validate(cmd *cobra.Command) error {
	switch {
	case cmd.Flags().Changed("timeout") && f.timeout <= 0:
		return fault.New(fault.Usage, "", "--timeout: %s is not a time that a visit could take", f.timeout).WithHint("for example --timeout 10s")
	case f.timeout > config.Longest:
		return tooLong("--timeout", f.timeout)
	case f.jobsAtOnce() < 0:
		return fault.New(fault.Usage, "", "--jobs: %s must be a number of at least 1", f.jobs).WithHint("auto, or for example -j 8")
	case cmd.Flags().Changed("width") && (f.width < 16 || f.width > 16384):
		return fault.New(fault.Usage, "", "--width: %d pixels are no width of a picture", f.width).WithHint("from 16 to 16384, for example --width 640")
	case cmd.Flags().Changed("dir") && f.dir == "":
		return fault.New(fault.Usage, "", "--dir is empty").WithHint("name a folder, or leave it out; is a variable unset?")
	}
	for _, s := range f.sources {
		if !slices.Contains(knownSources(), s) {
			return fault.New(fault.Usage, "", "--source: there is no source %q", s).WithHint("the sources: %s", strings.Join(knownSources(), ", "))
		}
	}
	return nil
}

// jobsAtOnce is how many visits may go on at once; 0 for auto, and -1 for what is neither.
func (f *visitFlags) jobsAtOnce() int {
	if f.jobs == "auto" {
		return 0
	}
	if n, err := strconv.Atoi(f.jobs); err == nil && n > 0 {
		return n
	}
	return -1
}

func tooLong(flag string, d time.Duration) error {
	return fault.New(fault.Usage, "", "%s: %s is longer than a year", flag, d).WithHint("at most %s 8760h", flag)
}

// knownSources are the names that a list of sources may hold.
func knownSources() []string { return []string{"go2rtc", "http", "rtsp", "ffmpeg"} }

// visit makes the round of a plan whose cameras are known, and returns its report and the exit code that follows from it.
// Signals are watched from before the first lease until after the last look.
func (c *cli) visit(ctx context.Context, set settings, f visitFlags, plan round.Plan) (round.Report, ExitCode, error) {
	plan.Jobs, plan.Timeout, plan.Strict = f.jobsAtOnce(), f.timeout, f.strict
	book, err := set.openLedger()
	if err != nil {
		return round.Report{}, Done, err
	}
	children, err := supervise.New(proc.Default())
	if err != nil {
		return round.Report{}, Done, err
	}
	defer children.Close()
	keeper, err := set.keeperFor(f.sources, book)
	if err != nil {
		return round.Report{}, Done, err
	}
	if keeper != nil {
		defer keeper.Close()
	}
	sources, err := set.sources(f.sources, f.width, book, children, keeper)
	if err != nil {
		return round.Report{}, Done, err
	}

	signals := watch(ctx, c.world.Signals, func(text string) { c.log.Warn(text) })
	defer signals.stop()
	go func() {
		select {
		case <-signals.hurry:
			children.Hurry()
		case <-signals.over:
		}
	}()

	view := c.newProgress()
	report, err := round.Run(signals.ctx, plan, round.Deps{
		Ledger: book, FS: proc.Default(), Run: book.Run(),
		Sources: sources, Streams: keeper, Lookup: lookup, Log: c.log, LogIns: lockout.Open(book, !plan.Exclusive),
	}, view.tell)
	view.stop()
	if s := signals.signal(); s != nil {
		report.Signal = signalName(s)
		if err != nil {
			return report, Done, endedBy(s, err)
		}
	}
	return report, codeOfReport(report, signals.signal()), err
}

// ids are the ids of cameras, in their order.
func ids(cameras []camera.Camera) []string {
	var all []string
	for _, cam := range cameras {
		all = append(all, cam.ID)
	}
	return all
}
