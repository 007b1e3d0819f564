package commands

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/brand"
)

// newGenerate writes what packagers install. It is hidden because only this repository uses it (make generate).
func newGenerate() *cobra.Command {
	return &cobra.Command{
		Use:    "generate DIR",
		Short:  "Write man pages, completions and the page about cameras below DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := generated(cmd.Root())
			if err != nil {
				return err
			}
			for name, text := range files {
				path := filepath.Join(args[0], name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return fmt.Errorf("cannot make room for %s: %w", path, err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					return fmt.Errorf("cannot write %s: %w", path, err)
				}
			}
			return nil
		},
	}
}

// generated returns the text of every generated file by its path in the repository.
// Nothing in it depends on the day, the machine or the build, so that it can be committed and compared.
func generated(root *cobra.Command) (map[string]string, error) {
	files := map[string]string{}
	for shell, name := range shells() {
		script, err := completionScript(root, shell)
		if err != nil {
			return nil, err
		}
		files[filepath.Join("completions", name)] = script
	}
	files[filepath.Join("docs", "cameras.md")] = brand.Markdown()
	for _, page := range manPages(root) {
		files[filepath.Join("man", page.name+".1")] = page.text
	}
	return files, nil
}
