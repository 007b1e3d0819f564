package commands

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/sweep"
)

type reapFlags struct {
	olderThan time.Duration
	silentFor time.Duration
	include   []string
	dryRun    bool
	grace     time.Duration
}

// What --include adds to what is ended.
const (
	includeSilent    = "silent"
	includeContainer = "container"
)

func newReap(c *cli) *cobra.Command {
	var f reapFlags
	cmd := &cobra.Command{
		Use:   "reap [CAMERA|SUBNET...] [flags]",
		Short: "End leaked captures, whoever started them, and nothing else",
		Long: `End the processes that hold cameras and should be gone, and say of every other one why it is kept.

Ended are: what camwarden itself left (its mark, and no living lease), of any age; and any capture of one frame from
a camera that is older than --older-than, whoever started it. A capture of one frame is an ffmpeg with an explicit
frame count of 1 on every output (-frames:v 1); anything else that reads a camera streams, a time-lapse too. While its
camera sends, one is kept that has any filter not known to give a picture for each it takes (thumbnail, palettegen), or
begins later (-ss). An ffprobe, an ffmpeg without an output, and a capture that is past the time of its -t are ended
once their camera has sent nothing for --silent-for. Builds of ffmpeg under other names (ffmpeg7, ffmpeg.real) count.

--include silent adds streams whose camera has sent nothing for --silent-for, unless most of a subnet fell silent at
the same moment: then the network is the cause. It also ends other programs that reap.programs of the configuration
names, and nothing else does: what their command lines mean is not known, so silence is the only evidence. --include container adds processes in containers. Streams of ours in
go2rtc that no run needs any more are removed, unless somebody watches.

Never ended are children of go2rtc, captures that a running camwarden answers for, and processes without a camera.
A process is signalled only when it is proven to be the one that was looked at: TERM, --grace, KILL, seen gone.

CAMERA and SUBNET limit what is looked at: an id, an address, a URL, a prefix, or a name of the configuration.`,
		Example: `camwarden reap --dry-run
camwarden reap 192.168.125.19
*/5 * * * * camwarden reap -q`,
		ValidArgsFunction: c.completeBoth,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.validate(); err != nil {
				return err
			}
			return runReap(c, cmd, f, args)
		},
	}
	flags := cmd.Flags()
	defaults := config.Default().Reap
	flags.DurationVar(&f.olderThan, "older-than", defaults.OlderThan, "least `AGE` at which a capture of one frame is leaked; also reap.older_than of the configuration")
	flags.DurationVar(&f.silentFor, "silent-for", defaults.SilentFor, "`TIME` without a byte after which a camera is silent; also reap.silent_for of the configuration")
	flags.StringSliceVar(&f.include, "include", nil, "comma-separated `LIST` of what to end as well: silent, container")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "say what would be ended, and end nothing")
	flags.DurationVar(&f.grace, "grace", 2*time.Second, "`TIME` between TERM and KILL")
	_ = cmd.RegisterFlagCompletionFunc("include", cobra.FixedCompletions([]string{includeSilent, includeContainer}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f reapFlags) validate() error {
	switch {
	case f.olderThan < 0:
		return fault.New(fault.Usage, "", "--older-than: %s is no age", f.olderThan).WithHint("for example --older-than 5m")
	case f.silentFor <= 0:
		return fault.New(fault.Usage, "", "--silent-for: %s is no silence", f.silentFor).WithHint("for example --silent-for 5m")
	case f.grace <= 0:
		return fault.New(fault.Usage, "", "--grace: %s leaves no time to end well", f.grace).WithHint("for example --grace 2s")
	case f.grace > time.Minute:
		return fault.New(fault.Usage, "", "--grace: %s is longer than a minute", f.grace).WithHint("for example --grace 2s")
	}
	for flag, d := range map[string]time.Duration{"--older-than": f.olderThan, "--silent-for": f.silentFor} {
		if d > config.Longest {
			return tooLong(flag, d)
		}
	}
	known := []string{includeSilent, includeContainer}
	for _, word := range f.include {
		if !slices.Contains(known, word) {
			return fault.New(fault.Usage, "", "--include: there is no %q", word).WithHint("one or both of: %s", strings.Join(known, ", "))
		}
	}
	return nil
}

// rules are those of the flags where they are given, else those of the configuration.
func (f reapFlags) rules(cmd *cobra.Command, set settings) sweep.Rules {
	r := sweep.Rules{
		OlderThan: set.config.Reap.OlderThan, SilentFor: set.config.Reap.SilentFor,
		Silent: slices.Contains(f.include, includeSilent), Containers: slices.Contains(f.include, includeContainer),
	}
	if cmd.Flags().Changed("older-than") {
		r.OlderThan = f.olderThan
	}
	if cmd.Flags().Changed("silent-for") {
		r.SilentFor = f.silentFor
	}
	return r
}

func runReap(c *cli, cmd *cobra.Command, f reapFlags, args []string) error {
	set, blind, err := c.loadToLook()
	if err != nil {
		return err
	}
	c.warnOfPasswords(args)
	scope, err := set.scope(args, blind)
	if err != nil {
		return err
	}
	book, err := set.openLedger()
	scope.Ledger = err // what is left of ours cannot be told then, which the verdict says
	if scope.Keeper = set.keeperToLook(&scope, book); scope.Keeper != nil {
		defer scope.Keeper.Close()
	}
	signals := c.watchLook(cmd.Context())
	defer signals.stop()
	broom := sweep.Broom{Ledger: book, FS: proc.Default(), Grace: f.grace}
	reaping := broom.Reap(signals.ctx, scope, f.rules(cmd, set), f.dryRun)
	code := Done
	switch s := signals.signal(); {
	case f.dryRun:
	case reaping.Verdict != sweep.Clean:
		code = LeftBehind
	case s != nil:
		code = codeOfSignal(s)
	}
	return c.showWith(document{value: reaping, list: "outcomes", table: func(p *page) { reapingPage(p, reaping) }}, code)
}

func reapingPage(p *page, r sweep.Reaping) {
	outcomes := slices.Clone(r.Outcomes)
	slices.SortStableFunc(outcomes, func(a, b sweep.Outcome) int { // what was kept is read last
		return cmp.Compare(rank(a.Action), rank(b.Action))
	})
	var rows [][]string
	for _, d := range outcomes {
		pid, age := "", ""
		if d.PID > 0 {
			pid, age = strconv.Itoa(d.PID), sweep.Span(d.AgeMS)
		}
		rows = append(rows, []string{pid, d.Name, cmp.Or(d.Camera, d.Target), age, paintAction(p, d.Action), d.Why})
	}
	p.table([]string{"PID", "PROGRAM", "CAMERA", "AGE", "RESULT", "WHY"}, rows, "PROGRAM", "AGE")
	for _, b := range r.Blind {
		p.line("could not look: %s: %s", b.Where, b.Why)
	}
	s := r.Summary
	if r.DryRun {
		p.line("%s would be ended%s, %d not permitted, %d kept", sweep.Processes(s.WouldKill), removedStreams(s.WouldRemove), s.NotPermitted, s.Kept)
	} else {
		p.line("%d killed%s, %d kept, %d survived, %d not permitted", s.Killed, removedStreams(s.Removed), s.Kept, s.Survived, s.NotPermitted)
	}
	colour := good
	if r.Verdict != sweep.Clean {
		colour = bad
	}
	p.line("verdict: %s", p.paint(colour, string(r.Verdict)))
}

// removedStreams is said only where there were streams: most hosts have no go2rtc.
func removedStreams(n int) string {
	if n == 0 {
		return ""
	}
	return ", " + sweep.Count(n, "stream") + " removed"
}

func rank(a sweep.Action) int {
	if a == sweep.Kept {
		return 1
	}
	return 0
}

func paintAction(p *page, a sweep.Action) string {
	switch a {
	case sweep.Kept:
		return string(a)
	case sweep.Killed, sweep.GoneAlready, sweep.Removed:
		return p.paint(good, string(a))
	case sweep.WouldKill, sweep.WouldRemove:
		return p.paint(odd, string(a))
	default:
		return p.paint(bad, string(a))
	}
}
