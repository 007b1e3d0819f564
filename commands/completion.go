package commands

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/brand"
	"github.com/camwarden/camwarden/pkg/fault"
)

// shells returns the shells we complete for, with the file name their packagers expect.
func shells() map[string]string {
	return map[string]string{"bash": "camwarden.bash", "fish": "camwarden.fish", "zsh": "_camwarden"}
}

func newCompletion(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|fish|zsh",
		Short: "Print the completion script of a shell",
		Long: `Print the script that completes camwarden's commands, flags, camera ids and subnets in a shell.
The scripts are also part of the release, below completions/.`,
		Example: `source <(camwarden completion bash)`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && shells()[args[0]] != "" {
				return nil
			}
			f := fault.New(fault.Usage, "", "%s needs the name of one shell: bash, fish or zsh", cmd.Name())
			return f.WithHint("for example: %s bash", cmd.CommandPath())
		},
		ValidArgs: []string{"bash", "fish", "zsh"},
		RunE: func(cmd *cobra.Command, args []string) error {
			script, err := completionScript(cmd.Root(), args[0])
			if err != nil {
				return err
			}
			return c.print(script)
		},
	}
}

func completionScript(root *cobra.Command, shell string) (string, error) {
	var b bytes.Buffer
	var err error
	switch shell {
	case "bash":
		err = root.GenBashCompletionV2(&b, true)
	case "fish":
		err = root.GenFishCompletion(&b, true)
	case "zsh":
		err = root.GenZshCompletion(&b)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write the completion script for %s: %w", shell, err)
	}
	return b.String(), nil
}

// completeGlobalFlags offers the words that the global flags take.
func completeGlobalFlags(root *cobra.Command) {
	for _, name := range []string{"output", "log-level", "log-format", "color"} {
		if value, ok := root.PersistentFlags().Lookup(name).Value.(*choiceValue); ok {
			_ = root.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(value.allowed, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// completeCameras offers the ids of the configuration, or nothing when it cannot be read: completion must not talk.
func (c *cli) completeCameras(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if set, err := c.load(); err == nil {
		for _, cam := range set.config.Inventory.Cameras {
			ids = append(ids, cobra.CompletionWithDesc(cam.ID, cam.Host))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// completeSubnets offers the subnets of the configuration, and "all".
func (c *cli) completeSubnets(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := []string{cobra.CompletionWithDesc("all", "every camera")}
	if set, err := c.load(); err == nil {
		for _, subnet := range set.config.Inventory.Subnets {
			names = append(names, subnet.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeBoth offers what names one camera and what names many.
func (c *cli) completeBoth(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	cameras, _ := c.completeCameras(cmd, args, word)
	subnets, directive := c.completeSubnets(cmd, args, word)
	return append(subnets, cameras...), directive
}

// completeBrands offers the makers that are known.
func completeBrands(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	for _, b := range brand.All() {
		ids = append(ids, cobra.CompletionWithDesc(b.ID, b.Name))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
