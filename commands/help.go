package commands

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// section is one part of what help and man page both say of a command; rows are pairs of a term and what it means.
type section struct {
	title string
	rows  [][2]string
}

// contract returns what a script may rely on: exit status, files, environment.
func contract(cmd *cobra.Command) []section {
	return []section{
		{"Exit status", exitStatus(cmd)},
		{"Files", files()},
		{"Environment", environment(cmd)},
	}
}

func exitStatus(cmd *cobra.Command) [][2]string {
	var rows [][2]string
	for _, row := range exitRowsFor(topic(cmd)) {
		rows = append(rows, [2]string{row.code, row.meaning})
	}
	return rows
}

// topic is the command below the root that cmd belongs to; "" is the root itself.
func topic(cmd *cobra.Command) string {
	for ; cmd.HasParent(); cmd = cmd.Parent() {
		if !cmd.Parent().HasParent() {
			return cmd.Name()
		}
	}
	return ""
}

func files() [][2]string {
	return [][2]string{
		{"$XDG_CONFIG_HOME/camwarden/config.yaml", "the configuration, unless -c or CAMWARDEN_CONFIG names another (XDG_CONFIG_HOME defaults to ~/.config)"},
		{"/etc/camwarden/config.yaml", "the configuration, when the one above does not exist"},
		{"/run/camwarden, /var/lib/camwarden", "locks and leases, and durable state, of root"},
		{"$XDG_RUNTIME_DIR/camwarden, $XDG_STATE_HOME/camwarden", "the same of other users; without these variables (cron sets neither) /tmp/camwarden-UID, and ~/.local/state/camwarden or, without HOME, /var/tmp/camwarden-UID"},
	}
}

func environment(cmd *cobra.Command) [][2]string {
	var rows [][2]string
	cmd.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		rows = append(rows, [2]string{environmentName(f.Name), "stands in for --" + f.Name})
	})
	slices.SortFunc(rows, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
	return append(rows,
		[2]string{"CAM_PASSWORD", "password of cameras that name no other secret; cron does not pass it on by itself"},
		[2]string{"NO_COLOR, CLICOLOR_FORCE", "forbid colour; demand it even in a pipe"},
	)
}

// flagRows are the flags of a set: "-d, --dir DIR" and what they do, with the default unless it is empty.
func flagRows(flags *pflag.FlagSet) [][2]string {
	var rows [][2]string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "    --" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", --" + f.Name
		}
		if value != "" {
			name += " " + value
		}
		switch f.DefValue {
		case "", "false", "[]", "0", "0s":
		default:
			usage += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		rows = append(rows, [2]string{name, usage})
	})
	return rows
}

// helpText is the whole help of a command: the man page in short, with the same contract at its end.
func helpText(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)), useLine(cmd))
	if cmd.HasAvailableSubCommands() {
		var rows [][2]string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				rows = append(rows, [2]string{sub.Name(), sub.Short})
			}
		}
		writeSection(&b, section{"Commands", rows})
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n  %s\n", strings.ReplaceAll(cmd.Example, "\n", "\n  "))
	}
	if cmd.HasParent() {
		writeSection(&b, section{"Flags", flagRows(cmd.LocalFlags())})
		writeSection(&b, section{"Global flags", flagRows(cmd.InheritedFlags())})
	} else {
		writeSection(&b, section{"Flags", flagRows(cmd.Flags())})
	}
	for _, s := range contract(cmd) {
		writeSection(&b, s)
	}
	return b.String()
}

func useLine(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() {
		return cmd.CommandPath() + " COMMAND [flags]"
	}
	return cmd.UseLine()
}

func writeSection(b *strings.Builder, s section) {
	if len(s.rows) == 0 {
		return
	}
	const widest = 26 // a longer term stands on a line of its own
	width := 0
	for _, r := range s.rows {
		if len(r[0]) <= widest {
			width = max(width, len(r[0]))
		}
	}
	fmt.Fprintf(b, "\n%s:\n", s.title)
	for _, r := range s.rows {
		if len(r[0]) > widest {
			fmt.Fprintf(b, "  %s\n  %*s  %s\n", r[0], width, "", r[1])
			continue
		}
		fmt.Fprintf(b, "  %-*s  %s\n", width, r[0], r[1])
	}
}

func newHelp(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, _, err := cmd.Root().Find(args) // words behind a command are its arguments, typed in too
			if err != nil || len(args) > 0 && about == cmd.Root() {
				return knownCommand(cmd.Root(), args)
			}
			about.InitDefaultHelpFlag()
			return c.print(helpText(about))
		},
	}
}
