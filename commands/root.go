package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/redact"
)

// cli is one run of the command line: the world it stands in, the global flags, and its voice on stderr.
type cli struct {
	world  World
	flags  globalFlags // as parsed
	spoken globalFlags // as stderr speaks: a guess until the command line has proved right
	voice  *voice
	log    *slog.Logger
	helped error // of --help, which cobra lets return none
}

// Main runs the command line and returns the exit code. It returns only when everything it started has been cleaned up
// or reported, which is why nothing below main may exit the process.
func Main(world World, args []string) int {
	return int(run(world, args))
}

func run(world World, args []string) (code ExitCode) {
	c := &cli{world: world, flags: defaultFlags(), voice: &voice{to: world.Stderr, redact: redact.New()}}
	c.speakAs(glance(world, args))
	defer func() {
		if p := recover(); p != nil {
			// What it was doing is unknown, so what it left is too: that is what 3 says.
			c.log.Error(fmt.Sprintf("internal error: %v\n%s", p, debug.Stack()), hintKey, "please report this, with the lines above")
			code = LeftBehind
		}
	}()
	root := newRoot(c)
	root.SetArgs(args)
	root.SetIn(world.Stdin)
	root.SetOut(world.Stdout)
	root.SetErr(c.voice)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		err = c.helped
	}
	var said ended
	if err != nil && !errors.As(err, &said) {
		c.fail(err)
	}
	return codeOf(err)
}

// speakAs decides how stderr speaks. It is called twice: by what the arguments look like, so that even a wrong flag
// is reported in the format asked for, and again once they have proved right.
func (c *cli) speakAs(flags globalFlags) {
	c.spoken = flags
	c.log = newLogger(c.voice, flags.logFormat, flags.level())
}

// glance reads the global flags out of arguments that may be wrong elsewhere.
func glance(world World, args []string) globalFlags {
	g := defaultFlags()
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.ParseErrorsAllowlist.UnknownFlags = true
	set.Usage = func() {}
	g.register(set)
	_ = set.Parse(args)
	_ = fromEnvironment(set, world.Getenv)
	return g
}

func newRoot(c *cli) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "camwarden",
		Short: "Take stills from IP cameras, and leave nothing behind",
		Long: `camwarden takes a still from each camera of a subnet, on time, and cleans up after itself: a camera that
hangs costs its own time-out and nobody else's, no camera gets more connections than it allows, and a round
ends by looking, in the process table and among the kernel's sockets, whether anything of ours is left.`,
		Example: `camwarden config init                             a configuration to start from
camwarden round office -d /srv/stills             one still from each camera of "office"
camwarden snapshot gate                           one camera, to gate.jpg
camwarden snapshot rtsp://192.168.125.19/stream1  a camera that no configuration knows`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              knownCommand,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Root().PersistentFlags(), c.world.Getenv); err != nil {
				return err
			}
			c.speakAs(c.flags)
			if c.flags.output == asMarkdown && cmd.Name() != "doctor" {
				return fault.New(fault.Usage, "", "-o markdown: %s has no such report, only doctor has", cmd.Name()).WithHint("one of: table, json, yaml, jsonl")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if version {
				return c.print(fmt.Sprintf("camwarden %s\n", c.world.Build.Version))
			}
			return needsCommand(cmd, args)
		},
	}
	c.flags.register(root.PersistentFlags())
	root.Flags().BoolVar(&version, "version", false, "say which camwarden this is")
	root.SetFlagErrorFunc(flagFault)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { c.helped = c.print(helpText(cmd)) })
	root.SetHelpCommand(newHelp(c))
	root.AddCommand(newRound(c), newSnapshot(c), newStreams(c), newPrune(c), newReap(c), newDoctor(c), newDiscover(c), newConfig(c), newSchema(c), newCompletion(c), newVersion(c), newGenerate())
	completeGlobalFlags(root)
	return root
}

// print writes text, rather than a document, to stdout.
func (c *cli) print(text string) error {
	if code := c.deliver("the text", []byte(text), Done); code != Done {
		return ended(code)
	}
	return nil
}

// knownCommand refuses the name of a command that does not exist.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	f := fault.New(fault.Usage, "", "unknown command %q", strings.TrimSpace(topic(cmd)+" "+args[0]))
	if near := nearest(args[0], commandNames(cmd)); near != "" {
		return f.WithHint("did you mean: %s %s", cmd.CommandPath(), near)
	}
	return f.WithHint("the commands: %s --help", cmd.CommandPath())
}

// needsCommand is what a command that only groups others does by itself.
func needsCommand(cmd *cobra.Command, _ []string) error {
	return fault.New(fault.Usage, "", "a command is missing: %s", strings.Join(commandNames(cmd), ", ")).
		WithHint("see %s --help", cmd.CommandPath())
}

func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}
