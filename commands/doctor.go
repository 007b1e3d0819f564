package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/doctor"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/observe"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/round"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/sweep"
)

type doctorFlags struct {
	probe  bool
	failOn string
	save   string
	from   string
	all    bool
}

func newDoctor(c *cli) *cobra.Command {
	f := doctorFlags{failOn: string(doctor.Critical)}
	cmd := &cobra.Command{
		Use:   "doctor [CAMERA|SUBNET...] [flags]",
		Short: "Look at everything that holds cameras on this host, judge, and advise",
		Long: `Look at every process and every connection of this host that has to do with cameras, whoever started it, at the
ledger and at go2rtc; say what is wrong, what it rests on, and what to type next. Nothing is changed, and without
--probe no camera is touched. Needs no configuration; what root sees is more than what others see, and what could not
be looked at is said.

Of every address the connections are counted against its limit (2 where nobody says, marked assumed). Of every process
it is told what it is there for, since when, who started it, for how long its camera is silent, and whether
"camwarden reap" would end it. A leak is told from its beginning, in a timeline.

--probe asks the cameras for OPTIONS and DESCRIBE, never one that is exhausted or cooling. --save keeps what was seen,
without any secret; --from judges it again, on another host or a year later. -o markdown is an incident report.

CAMERA and SUBNET limit what is looked at: an id, an address, a URL, a prefix, or a name of the configuration.`,
		Example: `camwarden doctor
camwarden doctor 192.168.125.0/24 --probe -o markdown > incident.md
camwarden doctor --save incident.json; camwarden doctor --from incident.json
*/5 * * * * camwarden doctor -q --fail-on warning`,
		ValidArgsFunction: c.completeBoth,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.validate(cmd, args); err != nil {
				return err
			}
			return runDoctor(c, cmd, f, args)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.probe, "probe", false, "ask each camera for OPTIONS and DESCRIBE, unless it is exhausted or cooling")
	flags.Var(choice(&f.failOn, string(doctor.Warning), string(doctor.Critical)), "fail-on", "`SEVERITY` of a finding that makes the exit code 1: warning or critical")
	flags.StringVar(&f.save, "save", "", "write what was seen to `FILE`, without secrets")
	flags.StringVar(&f.from, "from", "", "judge what an earlier --save wrote to `FILE` (- is standard input), and look at nothing here")
	flags.BoolVarP(&f.all, "verbose", "v", false, "show all rows on a screen too, not only what is wrong")
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{string(doctor.Warning), string(doctor.Critical)}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f doctorFlags) validate(cmd *cobra.Command, args []string) error {
	given := cmd.Flags().Changed
	switch {
	case given("from") && f.from == "":
		return fault.New(fault.Usage, "", "--from is empty").WithHint("name a file; is a variable unset?")
	case given("save") && f.save == "":
		return fault.New(fault.Usage, "", "--save is empty").WithHint("name a file; is a variable unset?")
	case f.from != "" && f.probe:
		return fault.New(fault.Usage, "", "--from looks at nothing here, and --probe would").WithHint("give one of them")
	case f.from != "" && f.save != "":
		return fault.New(fault.Usage, "", "--from and --save together would copy a file").WithHint("use cp")
	case f.from != "" && len(args) > 0:
		return fault.New(fault.Usage, "", "--from judges what was seen then, and takes no cameras").WithHint("leave out %s", args[0])
	}
	return nil
}

func runDoctor(c *cli, cmd *cobra.Command, f doctorFlags, args []string) error {
	set, blind, err := c.loadToLook()
	if err != nil {
		return err
	}
	var seen observe.Observation
	if f.from != "" {
		seen, err = c.loadObservation(f.from)
	} else {
		c.warnOfPasswords(args)
		seen, err = c.look(cmd.Context(), set, blind, f, args)
	}
	if err != nil {
		return err
	}
	var known []doctor.Ignored
	for _, ignored := range set.config.Doctor.Ignore {
		known = append(known, doctor.Ignored(ignored))
	}
	report := doctor.Examine(seen, doctor.Terms{
		Rules:            sweep.Rules{OlderThan: set.config.Reap.OlderThan, SilentFor: set.config.Reap.SilentFor},
		DefaultLimit:     camera.DefaultMaxConnections, // what the defaults say is of the inventory
		ProcessesWarning: set.config.Doctor.ProcessesWarning, ProcessesCritical: set.config.Doctor.ProcessesCritical,
		Ignore: known, Subnets: set.named(),
	})
	for i := range report.Findings {
		report.Findings[i].Remedy = c.asTyped(report.Findings[i].Remedy)
	}
	for i := range report.Commands {
		report.Commands[i] = c.asTyped(report.Commands[i])
	}
	code := Done
	if report.Reaches(doctor.Severity(f.failOn)) {
		code = CameraFailed
	}
	if f.save != "" {
		if err := saveObservation(f.save, seen); err != nil { // what was seen is still worth to be shown
			c.log.Error("cannot save the observation: "+err.Error(), hintKey, "choose another place: camwarden doctor --save FILE")
			code = CameraFailed
		}
	}
	return c.showWith(document{
		value: report, list: "findings", table: func(p *page) { examinationPage(p, report, f.all) }, markdown: func() string { return incidentReport(report) },
	}, code)
}

// asTyped gives the camwardens of a remedy the configuration and the state directory that this one was given, so that it
// can be pasted as it is. What the environment says holds there as well.
func (c *cli) asTyped(remedy string) string {
	given := ""
	if c.flags.config != "" && c.env(environmentName("config")) == "" {
		given += " -c " + doctor.Word(c.flags.config)
	}
	if c.flags.stateDir != "" && c.env(environmentName("state-dir")) == "" {
		given += " --state-dir " + doctor.Word(c.flags.stateDir)
	}
	if given == "" {
		return remedy
	}
	return strings.ReplaceAll(remedy, "camwarden ", "camwarden"+given+" ")
}

// look looks at this host.
func (c *cli) look(ctx context.Context, set settings, blind []observe.Blind, f doctorFlags, args []string) (observe.Observation, error) {
	scope, err := set.scope(args, blind)
	if err != nil {
		return observe.Observation{}, err
	}
	if c.env("GOGC") == "" {
		// A look lasts a moment and keeps nearly all it reads: to collect at every 4 MiB, as is usual, takes a twentieth of it.
		debug.SetGCPercent(200)
	}
	signals := c.watchLook(ctx)
	defer signals.stop()
	book, err := set.peekLedger()
	scope.Ledger = err
	if keeper := set.keeperToLook(&scope, book); keeper != nil {
		defer keeper.Close()
		scope.Go2rtc, scope.Prefix = keeper.Client, set.config.Go2rtc.StreamPrefix
	}
	seen := observe.Look(signals.ctx, book, proc.Default(), scope)
	seen.Facts = set.facts(book)
	if f.probe {
		set.probe(signals.ctx, &seen, args)
	}
	if s := signals.signal(); s != nil {
		return seen, cutShort{fault.New(fault.Cancelled, "", "ended by %s before the look was finished", signalName(s)), CameraFailed}
	}
	return seen, nil
}

// facts are what can be told of this host's own means, without starting anything.
func (s settings) facts(book *ledger.Ledger) observe.Facts {
	var facts observe.Facts
	for _, problem := range s.config.SecretProblems {
		facts.Secrets = append(facts.Secrets, problem.String())
	}
	facts.Tool = doctor.ToolAt(s.config.FFmpeg.Path)
	if book != nil {
		var stills round.Stills
		if found, err := book.Load(round.StillsRecord, &stills); err == nil && found {
			facts.Stills, facts.Given = &stills.Stills, stills.Given
		}
	}
	return facts
}

// probe asks the cameras of the inventory, of the arguments, and those that this host is connected to.
func (s settings) probe(ctx context.Context, seen *observe.Observation, args []string) {
	book, err := s.openLedger()
	if err != nil { // without a ledger a slot cannot be taken, and so nothing may be dialled
		seen.Blind = append(seen.Blind, observe.Blind{Where: "probe", Why: err.Error()})
		return
	}
	var picked []camera.Camera
	for _, arg := range args {
		if cameras, err := s.config.Inventory.Pick([]string{arg}, lookup); err == nil {
			picked = append(picked, cameras...)
		}
	}
	asked := doctor.ToAsk(*seen, s.config.Inventory, picked)
	seen.Facts.Probes = doctor.Ask(ctx, slot.Table{Ledger: book, FS: proc.Default()}, lockout.Open(book, false), asked)
}

func (c *cli) loadObservation(path string) (observe.Observation, error) {
	if path == "-" {
		return observe.Load(c.world.Stdin)
	}
	file, err := os.Open(path)
	if err != nil {
		return observe.Observation{}, fault.New(fault.Usage, "", "cannot read the saved observation: %w", err).WithHint("%s", observe.HowToSave)
	}
	defer file.Close()
	return observe.Load(file)
}

// saveObservation writes an observation beside its final name and renames it, so that a reader never sees half of it.
func saveObservation(path string, seen observe.Observation) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".camwarden-*.tmp")
	if err != nil {
		return err
	}
	err = errors.Join(seen.Save(file), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
