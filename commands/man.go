package commands

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// manDate stands in the footer of every page. It is fixed, and moved by hand when the contract changes:
// the day of the build says nothing about the text.
const manDate = "2026-01-05"

type manPage struct{ name, text string }

// manPages renders the command tree as man pages, one a command.
func manPages(cmd *cobra.Command) []manPage {
	cmd.InitDefaultHelpFlag()
	pages := []manPage{{manName(cmd), roff(cmd)}}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			pages = append(pages, manPages(sub)...)
		}
	}
	return pages
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// roff renders one command in the macros of man(7).
func roff(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %q 1 %q \"camwarden\" \"camwarden\"\n", strings.ToUpper(manName(cmd)), manDate)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escape(manName(cmd)), escape(lowerFirst(cmd.Short)))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", escape(useLine(cmd)))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s", paragraphs(cmp.Or(cmd.Long, cmd.Short)))
	if cmd.HasAvailableSubCommands() {
		var rows [][2]string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				rows = append(rows, [2]string{manName(sub) + "(1)", sub.Short})
			}
		}
		tagged(&b, section{"Commands", rows})
	}
	if cmd.HasParent() {
		tagged(&b, section{"Options", flagRows(cmd.LocalFlags())})
		tagged(&b, section{"Global options", flagRows(cmd.InheritedFlags())})
	} else {
		tagged(&b, section{"Options", flagRows(cmd.Flags())})
	}
	for _, s := range contract(cmd) {
		tagged(&b, s)
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", escape(cmd.Example))
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", escape(seeAlso(cmd)))
	return b.String()
}

func tagged(b *strings.Builder, s section) {
	if len(s.rows) == 0 {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", strings.ToUpper(s.title))
	for _, r := range s.rows {
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", escape(strings.TrimSpace(r[0])), escape(r[1]))
	}
}

func seeAlso(cmd *cobra.Command) string {
	var names []string
	if cmd.HasParent() {
		names = append(names, manName(cmd.Parent())+"(1)")
	}
	names = append(names, "ffmpeg(1)", "systemd.timer(5)", "crontab(5)")
	return strings.Join(names, ", ")
}

func paragraphs(text string) string {
	var b strings.Builder
	for i, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(escape(p) + "\n")
	}
	return b.String()
}

// escape keeps roff from reading text as requests: a backslash, a hyphen that must stay one, a dot or a quote that begins a line.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func lowerFirst(s string) string {
	return strings.ToLower(s[:1]) + s[1:]
}
