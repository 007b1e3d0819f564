package commands

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/camwarden/camwarden/pkg/fault"
)

// globalFlags are the flags every command has.
type globalFlags struct {
	config    string
	output    string
	stateDir  string
	logLevel  string
	logFormat string
	color     string
	quiet     bool
}

const (
	logText = "text"
	logJSON = "json"
)

// defaults returns the flags as they stand when nobody sets them.
func defaultFlags() globalFlags {
	return globalFlags{output: asTable, logLevel: "info", logFormat: logText, color: "auto"}
}

func (g *globalFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&g.config, "config", "c", g.config, "configuration `FILE`")
	flags.VarP(choice(&g.output, formats()...), "output", "o", "`FORMAT` of the report: table, json, yaml or jsonl; of doctor also markdown")
	flags.StringVar(&g.stateDir, "state-dir", g.stateDir, "`DIR` for locks, leases and durable state")
	flags.Var(choice(&g.logLevel, "debug", "info", "warn", "error"), "log-level", "least `LEVEL` said on stderr: debug, info, warn or error")
	flags.Var(choice(&g.logFormat, logText, logJSON), "log-format", "`FORMAT` of what is said on stderr: text or json")
	flags.Var(choice(&g.color, "auto", "always", "never"), "color", "`WHEN` to use colour: auto, always or never")
	flags.BoolVarP(&g.quiet, "quiet", "q", g.quiet, "no table unless the exit code is not 0")
}

func (g globalFlags) level() slog.Level {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(g.logLevel)) // the flag has accepted it
	if g.quiet {
		return max(level, slog.LevelWarn)
	}
	return level
}

// environmentName is the variable that stands in for a global flag.
func environmentName(flag string) string {
	return "CAMWARDEN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnvironment fills in the global flags that the command line leaves open: flag, then environment, then file.
func fromEnvironment(flags *pflag.FlagSet, getenv func(string) (string, bool)) error {
	var problem error
	flags.VisitAll(func(f *pflag.Flag) {
		value, _ := getenv(environmentName(f.Name))
		if value == "" || f.Changed || problem != nil {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			problem = fault.New(fault.Usage, "", "environment variable %s: %v", environmentName(f.Name), reason(err)).
				WithHint("unset %s, or give --%s", environmentName(f.Name), f.Name)
		}
	})
	return problem
}

// reason is what is wrong with a value, without the sentence pflag puts around it.
func reason(err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return errors.Unwrap(invalid)
	}
	return err
}

// choiceValue is a flag that takes one of a few words.
type choiceValue struct {
	to      *string
	allowed []string
}

func choice(to *string, allowed ...string) pflag.Value { return &choiceValue{to, allowed} }

// String returns the word chosen.
func (c *choiceValue) String() string { return *c.to }

// Type names the value in help texts.
func (c *choiceValue) Type() string { return "WORD" }

// Set takes one of the allowed words.
func (c *choiceValue) Set(word string) error {
	if !slices.Contains(c.allowed, word) {
		return fmt.Errorf("%q is not one of %s", word, strings.Join(c.allowed, ", "))
	}
	*c.to = word
	return nil
}

// flagFault turns what pflag says into a sentence with a hint.
func flagFault(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		f := fault.New(fault.Usage, "", "unknown flag --%s", unknown.GetSpecifiedName())
		if near := nearest(unknown.GetSpecifiedName(), flagNames(cmd)); near != "" {
			return f.WithHint("did you mean --%s? All flags: %s --help", near, cmd.CommandPath())
		}
		return f.WithHint("the flags: %s --help", cmd.CommandPath())
	case errors.As(err, &unknown):
		return fault.New(fault.Usage, "", "unknown flag -%s", unknown.GetSpecifiedName()).
			WithHint("the flags: %s --help", cmd.CommandPath())
	case errors.As(err, &invalid):
		return invalidFlag(cmd, invalid)
	default:
		return fault.New(fault.Usage, "", "%v", err).WithHint("the flags: %s --help", cmd.CommandPath())
	}
}

// invalidFlag explains a value that a flag does not take, and what it does take where that can be told.
func invalidFlag(cmd *cobra.Command, err *pflag.InvalidValueError) error {
	flag, value := err.GetFlag(), err.GetValue()
	f := fault.New(fault.Usage, "", "--%s: %v", flag.Name, reason(err))
	_, notANumber := strconv.ParseFloat(value, 64)
	switch {
	case flag.Name == "output" && strings.ContainsAny(value, "./"):
		f = fault.New(fault.Usage, "", "--output: %q is no format of the report", value)
		if cmd.Flags().Lookup("file") != nil {
			return f.WithHint("the file of the picture is given with -f %s; the formats: %s", value, strings.Join(formatsOf(cmd), ", "))
		}
		return f.WithHint("the formats: %s; write the report to a file with > %s", strings.Join(formatsOf(cmd), ", "), value)
	case flag.Name == "output":
		return fault.New(fault.Usage, "", "--output: %q is not one of %s", value, strings.Join(formatsOf(cmd), ", ")).
			WithHint("the flags: %s --help", cmd.CommandPath())
	case flag.Value.Type() == "duration" && notANumber == nil:
		return fault.New(fault.Usage, "", "--%s: %s has no unit", flag.Name, value).WithHint("for seconds: --%s %ss", flag.Name, value)
	}
	return f.WithHint("the flags: %s --help", cmd.CommandPath())
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	}
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return names
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fault.New(fault.Usage, "", "%s takes no arguments, but was given %q", cmd.Name(), args[0]).
		WithHint("see %s --help", cmd.CommandPath())
}

// atLeastOne asks for arguments of that kind.
func atLeastOne(what, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return fault.New(fault.Usage, "", "%s needs at least one %s", cmd.Name(), what).
			WithHint("for example: %s %s", cmd.CommandPath(), example)
	}
}

// nearest returns the word that a typing error may have meant, or "": about a third of the word may differ.
func nearest(typed string, words []string) string {
	best, distance := "", 1+max(1, (len(typed)+1)/3)
	for _, w := range slices.Sorted(slices.Values(words)) {
		if d := edits(typed, w); d < distance {
			best, distance = w, d
		} else if best == "" && len(typed) > 2 && strings.HasPrefix(w, typed) {
			best = w
		}
	}
	return best
}

// edits is the Levenshtein distance: how many letters to add, drop or change.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
