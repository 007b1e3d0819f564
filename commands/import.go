package commands

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/camwarden/camwarden/pkg/config"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/inventory"
	"github.com/camwarden/camwarden/pkg/redact"
)

func newConfigImport(c *cli) *cobra.Command {
	var format, secrets string
	cmd := &cobra.Command{
		Use:   "import FILE [--format frigate|go2rtc|csv] [--secrets DIR]",
		Short: "Turn the inventory of Frigate or go2rtc, or a table, into a configuration",
		Long: `Read the cameras of another program's file and write a configuration for them to standard output: a configuration
of Frigate (0.9 and newer, YAML or JSON), a go2rtc.yaml, or a table as CSV whose first line names its columns
(name, ip, port, username, password, path, url, sub_url, model, max_connections, enabled, in several languages).

What a Frigate takes from its own go2rtc is followed to the camera; the stream to record becomes the main one, that for
detect the smaller one (sub_path). Passwords go into new files below --secrets, one for each camera, that only you can
read; nothing is overwritten, and no password is printed. Variables are filled in from the environment; one that is not
set and is the whole password becomes password_env. No camera is touched, and no name is resolved.

What was left out, or taken in part, is said on standard error by line. With -o json it is a report on standard output,
with the text of the configuration in it.`,
		Example: `camwarden config import /etc/frigate/config.yml --secrets /etc/camwarden/secrets > config.yaml
camwarden config import cameras.csv --secrets secrets | tee config.yaml`,
		Args: exactlyOne("FILE", "/etc/frigate/config.yml"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yml", "yaml", "json", "csv", "tsv"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("secrets") && secrets == "" {
				return fault.New(fault.Usage, "", "--secrets is empty").WithHint("name a folder; is a variable unset?")
			}
			return c.importInventory(args[0], inventory.Format(format), secrets)
		},
	}
	cmd.Flags().Var(choice(&format, inventory.Formats()...), "format", "`FORMAT` of the file: frigate, go2rtc or csv (default: found out)")
	cmd.Flags().StringVar(&secrets, "secrets", "", "write the passwords into new files below `DIR`")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(inventory.Formats(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("secrets")
	return cmd
}

// importedConfig is camwarden.config-import/1.
type importedConfig struct {
	Schema        string             `json:"schema"`
	File          string             `json:"file"`
	Format        inventory.Format   `json:"format"`
	Cameras       []importedCamera   `json:"cameras"`
	Reported      []inventory.Report `json:"reported"`
	Secrets       []string           `json:"secrets"`       // the files that were written
	Configuration string             `json:"configuration"` // the text, as it is without -o
}

// importedCamera tells which line a camera of the configuration comes from.
type importedCamera struct {
	Camera string `json:"camera"`
	Line   int    `json:"line"`
}

func (c *cli) importInventory(path string, format inventory.Format, secrets string) error {
	content, err := config.ReadBounded(path)
	if err != nil {
		return fault.New(fault.Usage, "", "cannot read %s: %w", path, bare(err)).WithHint("name a file of Frigate or go2rtc, or a table as CSV")
	}
	read, err := inventory.Read(path, content, format, c.inventoryEnv())
	if err != nil {
		return err
	}
	files, err := writeSecrets(secrets, read.Cameras)
	if err != nil {
		return err
	}
	text, err := draftOf(path, read, files).YAML()
	if err != nil {
		return err
	}
	doc := importedConfig{
		Schema: "camwarden.config-import/1", File: path, Format: read.Format, Configuration: string(text),
		Cameras: []importedCamera{}, Reported: append([]inventory.Report{}, read.Reports...), Secrets: []string{},
	}
	for _, cam := range read.Cameras {
		doc.Cameras = append(doc.Cameras, importedCamera{cam.ID, cam.Line})
		if file := files[cam.ID]; file != "" {
			doc.Secrets = append(doc.Secrets, file)
		}
	}
	c.sayImported(path, read)
	code := Done
	if read.Lost() {
		code = CameraFailed
	}
	if c.flags.output != asTable && c.flags.output != asYAML {
		if text, err = c.render(document{value: doc, list: "reported"}, code); err != nil {
			return err
		}
	}
	if !c.write("the configuration", text) {
		for _, file := range doc.Secrets { // without the configuration nobody knows what they are for, and they would be in the way
			_ = os.Remove(file)
		}
		return ended(CameraFailed)
	}
	if code != Done {
		return ended(code)
	}
	return nil
}

// sayImported says on stderr what did not go over, by line.
func (c *cli) sayImported(path string, read inventory.Result) {
	for _, r := range read.Reports {
		said := fmt.Sprintf("%s:%d: %s: %s", path, r.Line, r.About, r.Why)
		switch r.Kind {
		case inventory.LeftOut:
			c.log.Warn(fmt.Sprintf("%s:%d: %s: left out: %s", path, r.Line, r.About, r.Why))
		case inventory.Partly:
			c.log.Warn(fmt.Sprintf("%s:%d: %s: taken in part: %s", path, r.Line, r.About, r.Why))
		default:
			c.log.Info(said)
		}
	}
	if slices.ContainsFunc(read.Cameras, func(cam inventory.Camera) bool {
		return redact.String("rtsp://h"+cam.Path) != "rtsp://h"+cam.Path || redact.String("rtsp://h"+cam.SubPath) != "rtsp://h"+cam.SubPath
	}) {
		c.log.Warn("a path in the configuration holds a password or a token: nobody else may read the file", hintKey, "chmod 600 the file that this is written to")
	}
	for _, address := range read.Shared {
		c.log.Info(fmt.Sprintf("%s has several cameras and no max_connections in the file: 2 are assumed for all of them together", address),
			hintKey, "a recorder allows more: give each of its cameras the same max_connections")
	}
}

func (c *cli) inventoryEnv() inventory.Env {
	return inventory.Env{
		Lookup: c.world.Getenv,
		Secret: func(name string) (string, bool) {
			if !filepath.IsLocal(name) || strings.ContainsRune(name, filepath.Separator) {
				return "", false
			}
			content, err := config.ReadBounded(filepath.Join(cmp.Or(c.env("CREDENTIALS_DIRECTORY"), "/run/secrets"), name))
			return strings.TrimRight(string(content), "\r\n"), err == nil
		},
	}
}

// draftOf is the configuration for what was read. files are the password files, by camera.
func draftOf(path string, read inventory.Result, files map[string]string) config.Draft {
	d := config.Draft{Head: []string{fmt.Sprintf("imported by camwarden from %s", strings.Join(strings.Fields(strings.ToValidUTF8(filepath.Base(path), "?")), " "))}}
	for _, cam := range read.Cameras {
		out := config.DraftCamera{
			ID: cam.ID, Host: cam.Host, Port: cam.Port, Path: cam.Path, SubPath: cam.SubPath, Snapshot: cam.Snapshot, Username: cam.Username,
			PasswordFile: files[cam.ID], PasswordEnv: cam.PasswordEnv, Model: cam.Model, Transport: cam.Transport, MaxConnections: cam.MaxConnections,
		}
		if cam.Scheme != "rtsp" { // only a URL can say so
			out.URL, out.Host, out.Port, out.Path = config.URLOf(cam.Scheme, cam.Host, cam.Port, cam.Path), "", 0, ""
		}
		if cam.Username != "" && cam.Password == "" && cam.PasswordEnv == "" {
			empty := ""
			out.Password = &empty
		}
		d.Cameras = append(d.Cameras, out)
	}
	return d
}

// writeSecrets writes the password of each camera that has one into a file of its own, all or none, and returns the files
// by camera.
func writeSecrets(dir string, cameras []inventory.Camera) (map[string]string, error) {
	files := map[string]string{}
	for _, cam := range cameras {
		if cam.Password != "" {
			files[cam.ID] = ""
		}
	}
	if len(files) == 0 {
		return files, nil
	}
	if dir == "" {
		return nil, fault.New(fault.Usage, "", "%s in the file, and no place for them", passwords(len(files))).
			WithHint("say where they go: --secrets DIR; each becomes a new file that only you can read")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.New(fault.Local, "", "cannot tell the current folder: %w", err).WithHint("give --secrets an absolute path")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Local, "", "cannot make the folder %s: %w", dir, bare(err)).WithHint("give --secrets another one")
	}
	var written []string
	for _, cam := range cameras {
		if cam.Password == "" {
			continue
		}
		path := filepath.Join(dir, cam.ID)
		if err := writeSecret(path, cam.Password); err != nil {
			for _, own := range written {
				_ = os.Remove(own)
			}
			f := fault.New(fault.Usage, "", "cannot write %s: %w", path, bare(err))
			if errors.Is(err, fs.ErrExist) {
				return nil, f.WithHint("it is left as it is, and nothing was imported; name a new folder: --secrets DIR")
			}
			return nil, f.WithHint("nothing was imported; give --secrets another folder")
		}
		written = append(written, path)
		files[cam.ID] = path
	}
	return files, nil
}

func passwords(n int) string {
	if n == 1 {
		return "1 password stands"
	}
	return fmt.Sprintf("%d passwords stand", n)
}

// writeSecret writes a file that must not exist yet and that nobody else can read, whole or not at all.
func writeSecret(path, password string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(password + "\n")
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

// bare is an error of the file system without the path, which our own words name.
func bare(err error) error {
	var inPath *fs.PathError
	if errors.As(err, &inPath) {
		return inPath.Err
	}
	return err
}

// exactlyOne asks for one argument of that kind.
func exactlyOne(what, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && args[0] != "" {
			return nil
		}
		return fault.New(fault.Usage, "", "%s needs one %s", cmd.CommandPath(), what).WithHint("for example: %s %s", cmd.CommandPath(), example)
	}
}
