package commands

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/schema"
)

func newSchema(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [NAME]",
		Short: "Print the JSON Schema of a document",
		Long: `Print the JSON Schema (draft 2020-12) of a document that camwarden writes: "camwarden schema round" is that of
camwarden.round/1, "camwarden schema round-lines" that of each line that -o jsonl makes of it. Without NAME, list what there is. A validator, an editor or a code generator can read them; fields may
be added to a document, and are never renamed or dropped.`,
		Example:   "camwarden schema doctor > doctor.schema.json",
		ValidArgs: schema.Names(),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fault.New(fault.Usage, "", "schema takes one name").WithHint("for example: %s %s", cmd.CommandPath(), args[0])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.show(schemasDocument())
			}
			text, err := schema.Text(args[0])
			if err != nil {
				return err
			}
			return c.print(string(text))
		},
	}
}

func schemasDocument() document {
	type body struct {
		Schema string   `json:"schema"`
		Names  []string `json:"names"`
	}
	return document{
		value: body{"camwarden.schema/1", schema.Names()},
		table: func(p *page) { p.line("%s", strings.Join(schema.Names(), "\n")) },
	}
}
